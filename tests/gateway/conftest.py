"""Worlds for the gateway's tests."""

import pytest
import uvloop

from tests.gateway.world import world_on
from tests.valkey import valkey


def pytest_asyncio_loop_factories():
    """The loop of production: uvloop and asyncio fail in different words."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory):
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
async def world(shared_valkey):
    """A world on a Valkey that other tests of the module use too; empty at the start."""
    with shared_valkey.client() as client:
        client.flushall()
    async with world_on(shared_valkey) as made:
        yield made


@pytest.fixture
async def own_world(tmp_path):
    """A world on a Valkey of its own, which the test may kill, stop and fill."""
    with valkey(tmp_path / "valkey") as server:
        async with world_on(server) as made:
            yield made
