"""Deauthorize and data deletion: kept durably at once, worked off by the active dispatcher's process."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

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
AT_ONCE = 200


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

    async def run(self) -> None:
        """Look for requests each second until the dispatcher stops."""
        while not self.tenure.stopping.is_set():
            if self.tenure.active:
                await self.pass_over()
            await rest(self.times.task_first, self.tenure.stopping)

    async def pass_over(self) -> None:
        """Try each open request that is due."""
        try:
            found = await self.tasks.open(AT_ONCE)
        except Unavailable:
            return
        self.tries = {task.id: self.tries[task.id] for task in found if task.id in self.tries}
        for task in found:
            tries, due = self.tries.get(task.id, (0, 0.0))
            if time.monotonic() < due or self.tenure.stopping.is_set():
                continue
            try:
                await self.work_off(task)
            except Unavailable as error:
                pause = min(self.times.task_most, self.times.task_first * 2.0 ** min(tries, 10))
                self.tries[task.id] = (tries + 1, time.monotonic() + pause)
                log.warning("request_of_meta_put_off", kind=task.kind, error=str(error), tries=tries + 1)

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
