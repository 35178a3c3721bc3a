"""What the responder sees of its own database and model, and whether a machine speaks over it; for `igbot doctor`."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from services.common.errors import BotError, Unavailable
from services.common.findings import Finding
from services.responder.outside import Turn, Writer
from services.responder.ports import Store

QUESTION = "Say ok."
SECONDS = 10.0
DATABASE = "is DATABASE_URL right, and the server up?"
PROVIDER = "is OPENAI_BASE_URL right? See the provider's status page"
STATUS = re.compile(r"answered (\d{3})")
ADVICE = {
    "400": "OPENAI_MODEL does not take such a question",
    "401": "OPENAI_API_KEY is refused",
    "403": "OPENAI_API_KEY may not use this model",
    "404": "OPENAI_MODEL is not there, or OPENAI_BASE_URL is wrong: it ends in /v1",
    "429": "too many calls, or no credit left",
}
MACHINES = "Instagram's automatic replies, or another tool, answer there: docs/meta-app.md says how to switch them off"


@dataclass(frozen=True)
class Examiner:
    """The use case behind Conversations.Examine."""

    store: Store
    writer: Writer
    suspected: Callable[[], Collection[str]]  # accounts in which a machine seems to take over

    async def examine(self) -> list[Finding]:
        """Look at everything that is the service's own. The model is asked one tiny question."""
        try:
            found = await self.store.examine()
        except Unavailable as error:
            found = [Finding("database", ok=False, found=str(error), advice=DATABASE)]
        return [*found, await self.model(), self.machines()]

    async def model(self) -> Finding:
        """Say whether the model answers."""
        try:
            written = await self.writer.write_reply([Turn(role="user", text=QUESTION)], within=SECONDS)
        except (BotError, TimeoutError) as error:
            status = STATUS.search(str(error))
            advice = ADVICE.get(status.group(1) if status else "", PROVIDER)
            return Finding("model", ok=False, found=str(error) or "no answer in time", advice=advice)
        return Finding("model", ok=True, found=f"answers, with {written.tokens_in} + {written.tokens_out} tokens")

    def machines(self) -> Finding:
        """Say where most takeovers are faster than any person."""
        accounts = sorted(self.suspected())
        found = f"suspected for {', '.join(accounts)}" if accounts else "none suspected since this replica started"
        return Finding("automatic replies", not accounts, found, MACHINES)
