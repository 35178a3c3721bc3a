"""Deleting dead letters that nobody looked at for long."""

from __future__ import annotations

from services.common.errors import Unavailable
from services.gateway.redis_dead import RedisDeadLetters
from services.gateway.tenure import Tenure, rest
from services.gateway.times import Times

DAY_MS = 86_400_000


class Tidy:
    """Trims the stream `dead` each hour, on the active dispatcher's process."""

    def __init__(self, dead: RedisDeadLetters, tenure: Tenure, days: float, times: Times) -> None:
        """Keep dead letters for so many days."""
        self.dead = dead
        self.tenure = tenure
        self.milliseconds = int(days * DAY_MS)
        self.times = times

    async def run(self) -> None:
        """Trim until the dispatcher stops; a Redis that is away is asked again soon."""
        while not self.tenure.stopping.is_set():
            pause = self.times.renew
            if self.tenure.active:
                try:
                    await self.dead.trim(self.milliseconds)
                    pause = self.times.tidy
                except Unavailable:
                    pause = self.times.renew
            await rest(pause, self.tenure.stopping)
