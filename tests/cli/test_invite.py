import re

import pytest

from services.gateway.secret_words import invite_key


def test_an_invitation_is_a_link_that_the_gateway_knows(bare, valkey, valkey_url):
    ran = bare("accounts", "invite", REDIS_URL=valkey_url, REDIS_PREFIX="t:", PUBLIC_URL="https://bot.example.com/")
    assert ran.code == 0
    (word,) = re.findall(r"^https://bot\.example\.com/connect\?invite=([\w-]{22})\n$", ran.out)
    assert valkey.get(invite_key("t:", word)) == b""
    assert 0 < valkey.ttl(invite_key("t:", word)) <= 7 * 86400


def test_without_a_public_address_there_is_no_invitation(bare, valkey_url):
    ran = bare("accounts", "invite", REDIS_URL=valkey_url)
    assert ran.code == 2
    assert "PUBLIC_URL" in ran.err


@pytest.mark.parametrize("public", ["", "https://bot.example.com/"])
def test_an_invitation_needs_no_more_than_the_redirect_uri(bare, valkey_url, tmp_path, public):
    (tmp_path / ".env").write_text(f"REDIRECT_URI=https://bot.example.com/oauth/callback\nPUBLIC_URL={public}\n")
    ran = bare("accounts", "invite", REDIS_URL=valkey_url)
    assert ran.out.startswith("https://bot.example.com/connect?invite=")


def test_an_absent_redis_is_exit_code_three(bare):
    ran = bare("accounts", "invite", REDIS_URL="redis://127.0.0.1:1/0", PUBLIC_URL="https://bot.example.com")
    assert ran.code == 3


def test_a_full_redis_is_one_line(bare, valkey, valkey_url):
    limit = valkey.config_get("maxmemory")["maxmemory"]
    valkey.config_set("maxmemory", 1)
    try:
        ran = bare("accounts", "invite", REDIS_URL=valkey_url, PUBLIC_URL="https://bot.example.com")
    finally:
        valkey.config_set("maxmemory", limit)
    assert (ran.code, ran.err) == (1, "igbot: Redis is full: it refuses to write (OOM)\n")
