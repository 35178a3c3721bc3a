"""The doctor's checks, in the order in which what they find must be mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from services.cli import doctor_local, doctor_public, doctor_services
from services.cli.findings import Finding
from services.cli.operator import OperatorSettings, merged_environment

SECONDS = 15.0


async def doctor(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Make each check in turn, nearest first."""
    env = merged_environment()
    for finding in doctor_local.settings(env):
        yield finding
    yield doctor_local.keyring(settings.token_keys_dir)
    for finding in doctor_local.redis(settings):
        yield finding
    async for finding in doctor_services.services(settings):
        yield finding
    yield doctor_local.redirect_uri(env)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
        async for finding in doctor_public.webhook(session, settings):
            yield finding
        async for finding in doctor_public.graph(session, env):
            yield finding
    async for finding in doctor_services.accounts(settings):
        yield finding
    yield await doctor_public.certificate(settings.public_url)
