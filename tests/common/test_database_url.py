"""DATABASE_URL as people mistype it."""

import pytest

from services.common.database_url import MongoDatabase, parse_database_url


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://igbot:hunter\N{FULLWIDTH NUMBER SIGN}2@host/igbot",
        "mongodb://igbot:hun@ter2@host/igbot",
        "mongodb://igbot:hun:ter2@host/igbot",
        "mongodb://igbot:hun/ter2@host/igbot",
        "mongodb://igbot:hunter2@[host/igbot",
        "postgres://igbot:hunter2@host/igbot",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(url):
    with pytest.raises(ValueError, match=r"^must|^cannot be read") as found:
        parse_database_url(url)
    assert not any(piece in str(found.value) for piece in ("hun", "ter2"))


@pytest.mark.parametrize("hosts", ["a", "a:27017,b:27018", "igbot:hunter%402@a,b", "[::1]:27017"])
def test_a_good_address_is_taken(hosts):
    found = parse_database_url(f"mongodb://{hosts}/igbot?replicaSet=rs0")
    assert isinstance(found, MongoDatabase)
    assert found.name == "igbot"
