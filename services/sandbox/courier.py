"""Carries deliveries to the webhook as Meta does: at least once, in no promised order, patiently."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from urllib.parse import urlencode

import aiohttp
import structlog

from services.sandbox.deliveries import Delivery, pause_before, signed
from services.sandbox.faults import Fault, Faults
from services.sandbox.ledger import Ledger

log = structlog.get_logger(__name__)
TIMEOUT_SECONDS = 5.0
AT_ONCE = 64


class Courier:
    """One task a delivery, at most so many calls at once; an answer other than 200 means again, later."""

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Sequence[str], secret: str, *, ledger: Ledger, faults: Faults
    ) -> None:
        """Deliver to any of the addresses, signed with `secret`; each attempt goes into the ledger."""
        self.session = session
        self.addresses = addresses
        self.secret = secret
        self.ledger = ledger
        self.faults = faults
        self.tasks: dict[asyncio.Task[None], Delivery] = {}
        self.turns = asyncio.Semaphore(AT_ONCE)

    def post(self, delivery: Delivery, after: float = 0) -> None:
        """Deliver until it is taken in; begin `after` seconds from now."""
        task = asyncio.get_running_loop().create_task(self._carry(delivery, after))
        self.tasks[task] = delivery
        task.add_done_callback(lambda done: self.tasks.pop(done, None))

    @property
    def address(self) -> str:
        """Where the next attempt goes."""
        return random.choice(self.addresses)  # noqa: S311 - spreads load, guards nothing

    def waiting(self) -> list[Delivery]:
        """What has not been taken in yet."""
        return list(self.tasks.values())

    def drop_all(self) -> None:
        """Forget what waits."""
        for task in list(self.tasks):
            task.cancel()

    async def _carry(self, delivery: Delivery, after: float) -> None:
        await asyncio.sleep(after)
        attempt = 1
        while not await self._attempt(delivery, attempt):
            await asyncio.sleep(pause_before(attempt, random.random()))  # noqa: S311 - spreads load, guards nothing
            attempt += 1
        if delivery.kind == "echo":
            self.ledger.add("echo", account=delivery.account, mid=delivery.mid)

    async def _attempt(self, delivery: Delivery, attempt: int) -> bool:
        fault = self.faults.take("webhook", delivery.about) if self.faults.waiting else None
        async with self.turns:
            status, why = await self._call(delivery, fault)
        facts = {"event": delivery.kind, "account": delivery.account, "mid": delivery.mid}
        self.ledger.add("delivery", **facts, attempt=attempt, status=status, why=why)
        if status != 200:
            log.info("webhook_refused", status=status, why=why, attempt=attempt)
        return status == 200

    async def _call(self, delivery: Delivery, fault: Fault | None) -> tuple[int, str]:
        """The webhook's status, 0 for no answer. A fault loses the call, or with `after` only its answer."""
        if fault is not None and not fault.after:
            return (fault.status if fault.kind == "status" else 0), f"fault {fault.kind}"
        limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        headers = signed(delivery.body, self.secret)
        try:
            async with self.session.post(self.address, data=delivery.body, headers=headers, timeout=limit) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 0, type(error).__name__
        return (0, f"fault {fault.kind}, answer lost") if fault is not None else (status, "")

    async def shake_hands(self, verify_token: str) -> bool:
        """Ask the webhook for a challenge, as Meta does when the address is set in its dashboard."""
        challenge = str(random.randrange(10**9, 10**10))  # noqa: S311 - a number to repeat, not a secret
        query = {"hub.mode": "subscribe", "hub.challenge": challenge, "hub.verify_token": verify_token}
        limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with self.session.get(f"{self.address}?{urlencode(query)}", timeout=limit) as answer:
                return answer.status == 200 and await answer.text() == challenge
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
