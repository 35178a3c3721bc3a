"""Chooses when a token is refreshed: the emptiest of a few moments around half of its life."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.tokens import schedule
from services.tokens.ports import Ports

USUAL_LIFE = timedelta(days=60)


async def usual_refresh(ports: Ports) -> datetime:
    """Return the moment for a token issued now that lives as long as Instagram's do.

    Asked before the token is, so that nothing stands between Instagram's answer and the store.
    """
    now = ports.clock.now()
    moments = schedule.refresh_candidates(now, now + USUAL_LIFE, ports.chance)
    planned = await ports.rota.planned([schedule.hour_of(at) for at in moments])
    return schedule.emptiest(moments, planned)


def refresh_at(ports: Ports, usual: datetime, issued: datetime, expires: datetime) -> datetime:
    """Return the usual moment, or one that suits a life which is not the usual one."""
    if schedule.fitting(usual, issued, expires):
        return usual
    return schedule.refresh_candidates(issued, expires, ports.chance)[0]
