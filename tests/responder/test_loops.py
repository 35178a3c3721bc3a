"""Whatever a round of a loop meets, the next one comes; and a loop that ends is missed."""

import asyncio
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import SchemaTooNew, Unavailable
from services.common.metrics import CommonMetrics
from services.common.ops import Health
from services.responder.compose import run_loops
from services.responder.settings import Settings
from tests.responder.fakes import A, B
from tests.responder.test_claim import claiming, until
from tests.responder.town import SECOND, opened


class Meddled:
    """The rows of a store, one method of which fails as told."""

    def __init__(self, rows, method, fails):
        self.rows, self.method, self.fails = rows, method, fails

    def __getattr__(self, name):
        return self.call if name == self.method else getattr(self.rows, name)

    async def call(self, *args):
        error = self.fails(*args)
        if error is not None:
            raise error
        return await getattr(self.rows, self.method)(*args)


async def test_a_row_that_only_a_newer_igbot_can_read_keeps_no_other_account_waiting(file):
    async with claiming(file) as (town, _):
        town.store.conversations = Meddled(
            town.store.conversations, "claim", lambda account, *_: SchemaTooNew("too new") if account == A else None
        )
        await town.say("hello")
        await town.say("hello", account=B)
        await until(lambda: town.got(account=B) == ["answer 1"])
        town.store.conversations = town.store.conversations.rows
        await until(lambda: town.got() == ["answer 2"])


@pytest.mark.parametrize("error", [SchemaTooNew("too new"), RuntimeError("unforeseen")])
async def test_the_claimer_goes_on_after_a_round_that_failed(file, error):
    errors = [error, error]
    async with claiming(file) as (town, _):
        town.store.conversations = Meddled(
            town.store.conversations, "due_accounts", lambda: errors.pop() if errors else None
        )
        town.deliverer.wake = lambda _account, _at: None
        await until(lambda: not errors)
        await town.say("hello")
        await until(lambda: town.got() == ["answer 1"])


async def test_a_lease_that_could_not_be_renewed_once_is_renewed_the_next_time(file):
    async with opened(file) as town:
        town.worker.lease_ms, errors = 30, [SchemaTooNew("odd"), Unavailable("away")]
        renewed = []

        async def slowly():
            await until(lambda: len(renewed) >= 2)

        town.store.conversations = Meddled(
            town.store.conversations, "renew", lambda *_: errors.pop() if errors else renewed.append(1)
        )
        town.writer.meanwhile = [slowly]
        await town.say("hello")
        town.clock.ms += 2 * SECOND
        await town.worker.handle_message(await town.store.conversations.claim(A, "one", 30))
        assert town.got() == ["answer 1"]


async def test_a_loop_that_ends_by_itself_ends_the_process_with_its_error(tmp_path):
    """A responder without its claimer would answer every probe and no customer."""
    settings = Settings(openai_api_key="k", database_url=f"sqlite:///{tmp_path}", gap_check=False, drain_seconds=1)
    registry = CollectorRegistry()
    health, stopped = Health(CommonMetrics(registry, []), []), asyncio.Event()

    async def dies():
        raise SchemaTooNew("the claimer is gone")

    async def rests():
        return None

    upkeep = SimpleNamespace(mirror=rests, gauges=rests, ping=rests, retention=rests)
    parts = SimpleNamespace(
        claimer=SimpleNamespace(run=dies, running={}), upkeep=upkeep, handovers=SimpleNamespace(close=rests)
    )
    async with asyncio.timeout(5):
        with pytest.raises(SchemaTooNew):
            await run_loops(settings, parts, stopped, health)
    assert stopped.is_set()
