"""Deauthorize and data deletion: kept durably at once, worked off by the active dispatcher's process."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from services.common.errors import Unavailable
from services.gateway.ports import DeadLetters, DeletionStatus, Responder, Task, Tasks, Tokens
from services.gateway.secret_words import keyed, new_secret
from services.gateway.signature import read_signed_request, unpadded
from services.gateway.tenure import Tenure, rest
from services.gateway.times import Times

log = structlog.get_logger(__name__)

DEAUTHORIZE = "deauthorize"
DELETION = "deletion"
SIDE_BY_SIDE = 4
"""So many requests of a kind are worked off at once."""


async def take_request(kind: str, signed_request: str, secrets: Sequence[bytes], tasks: Tasks) -> str:
    """Keep what Meta asks for and return its code; raises BadSignature, BadPayload and Unavailable.

    Requests of the same owner, while one is open, are one request; so is one that comes again when it was done.
    """
    user = read_signed_request(signed_request, secrets)
    # Under each secret: what was kept before the app's secret changed is known by the old one.
    marks = [keyed(secret, kind, user) for secret in secrets]
    code = await tasks.add(kind, user, new_secret(), marks, issued_ms(signed_request))
    log.info("request_of_meta_kept", kind=kind)
    return code


def issued_ms(signed_request: str) -> int:
    """Return when Meta signed a request of which it is known that it did, at that second's end; 0 if not told."""
    at = json.loads(unpadded(signed_request.partition(".")[2])).get("issued_at")
    said = isinstance(at, int) and not isinstance(at, bool) and at > 0
    return at * 1000 + 999 if said else 0


async def look_up(code: str, tasks: Tasks) -> DeletionStatus | None:
    """Return how far a deletion is, None when there is no such code."""
    return await tasks.status(code)


class Lane:
    """Requests of one kind, worked off a few side by side."""

    def __init__(self, work: Callable[[Task], Awaitable[None]]) -> None:
        """Begin with none; `work` fails for nothing but a mistake in it."""
        self.work = work
        self.waiting: deque[Task] = deque()
        self.in_hand: set[str] = set()
        self.workers: set[asyncio.Task[None]] = set()

    def offer(self, due: Iterable[Task]) -> None:
        """Let these wait to be worked off, in this order, in place of those that waited before."""
        self.waiting = deque(due)
        for _ in range(min(SIDE_BY_SIDE - len(self.workers), len(self.waiting))):
            worker = asyncio.create_task(self._work())
            self.workers.add(worker)
            worker.add_done_callback(self.workers.discard)

    async def _work(self) -> None:
        while self.waiting:
            task = self.waiting.popleft()
            self.in_hand.add(task.id)
            try:
                await self.work(task)
            finally:
                self.in_hand.discard(task.id)

    async def finish(self) -> None:
        """Begin nothing more, and wait for what is in hand."""
        self.waiting.clear()
        await asyncio.gather(*self.workers)

    def drop(self) -> None:
        """Leave what is in hand where it stands."""
        for worker in self.workers:
            worker.cancel()


class Clerk:
    """Works the requests off, each until every service said yes."""

    def __init__(
        self,
        tasks: Tasks,
        tokens: Tokens,
        responder: Responder,
        dead: DeadLetters,
        tenure: Tenure,
        times: Times,
    ) -> None:
        """Work only while this process's dispatcher is active."""
        self.tasks = tasks
        self.tokens = tokens
        self.responder = responder
        self.dead = dead
        self.tenure = tenure
        self.times = times
        self.tries: dict[str, tuple[int, float]] = {}
        # A deauthorization asks one service and is quick; it waits for no deletion, which asks them all.
        self.lanes = {kind: Lane(self.attempt) for kind in (DEAUTHORIZE, DELETION)}

    async def run(self) -> None:
        """Look for requests each second until the dispatcher stops, and finish what is in hand then."""
        try:
            while not self.tenure.stopping.is_set():
                await self.look()
                await rest(self.times.task_first, self.tenure.stopping)
            await asyncio.gather(*(lane.finish() for lane in self.lanes.values()))
        finally:
            for lane in self.lanes.values():
                lane.drop()

    async def look(self) -> None:
        """Offer all open requests that are due; those that were tried least go first, then the oldest."""
        # While the list is read nothing is begun: what is not in hand now is not done when the list is there.
        for lane in self.lanes.values():
            lane.waiting.clear()
        busy = {task for lane in self.lanes.values() for task in lane.in_hand}
        if not self.tenure.active:
            return
        try:
            found = await self.tasks.open()
        except Unavailable:
            return
        self.tries = {task.id: self.tries[task.id] for task in found if task.id in self.tries}
        now = time.monotonic()
        due = [task for task in found if task.id not in busy and self.tries.get(task.id, (0, 0.0))[1] <= now]
        due.sort(key=lambda task: self.tries.get(task.id, (0, 0.0))[0])
        for kind, lane in self.lanes.items():
            lane.offer(task for task in due if task.kind == kind)

    async def attempt(self, task: Task) -> None:
        """Work a request off; what fails is put off, longer each time."""
        try:
            await self.work_off(task)
        except Unavailable as error:
            self.put_off(task, str(error))
        except Exception as error:  # a request that fails in a way nobody foresaw must not end the others' turn
            log.exception("request_of_meta_failed", kind=task.kind)
            self.put_off(task, type(error).__name__)

    def put_off(self, task: Task, why: str) -> None:
        """Plan the next try."""
        tries, _ = self.tries.get(task.id, (0, 0.0))
        pause = min(self.times.task_most, self.times.task_first * 2.0 ** min(tries, 10))
        self.tries[task.id] = (tries + 1, time.monotonic() + pause)
        log.warning("request_of_meta_put_off", kind=task.kind, error=why, tries=tries + 1)

    async def work_off(self, task: Task) -> None:
        """Disconnect, erase, forget, in this order; each may be repeated."""
        # Each time anew: the owner may have connected the account again, and asked again, since it was tried last.
        gone = await self.tokens.disconnect(task.user, task.kind, task.asked_ms)
        erases = task.kind == DELETION and not gone.connected_again
        if erases:
            await self.erase(task, gone.accounts)
        if not await self.tasks.done(task, kept=gone.connected_again):
            return  # the next pass does what was asked meanwhile
        if erases:
            await self.tasks.rewrite()
        known, kept = bool(gone.accounts or task.accounts), gone.connected_again
        log.info("request_of_meta_done", kind=task.kind, known=known, connected_again=kept)

    async def erase(self, task: Task, known: Sequence[str]) -> None:
        """Erase what is known of an owner's accounts; their ids are noted first, since their row goes last."""
        accounts = tuple(dict.fromkeys((*known, *task.accounts)))
        if accounts != task.accounts:
            await self.tasks.note_accounts(task, accounts)
        for account in accounts:
            await self.responder.erase(account)
        await self.dead.erase([*accounts, task.user])
        await self.tokens.forget(task.user)
