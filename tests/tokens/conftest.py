"""A world of stand-ins for each test, and the Mongo-wire server."""

import pytest

from tests.mongo import mongo_host, mongo_url, own_mongo
from tests.tokens.fakes import World, world

__all__ = ["here", "mongo_host", "mongo_url", "own_mongo"]


@pytest.fixture
def here() -> World:
    return world()
