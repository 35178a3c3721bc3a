"""The stand-in for MongoDB is what the stores' tests take it for."""

import pymongo

from tests.mongo import MongoServer


def test_an_acknowledged_write_outlives_a_kill(own_mongo: MongoServer) -> None:
    with pymongo.MongoClient[dict[str, object]](own_mongo.url(), w="majority", journal=True) as client:
        client.get_default_database()["things"].insert_one({"_id": "kept"})
        own_mongo.kill()
        own_mongo.start()
        assert client.get_default_database()["things"].find_one() == {"_id": "kept"}


def test_each_test_has_a_database_of_its_own(mongo_url: str) -> None:
    with pymongo.MongoClient[dict[str, object]](mongo_url) as client:
        assert client.get_default_database().list_collection_names() == []
