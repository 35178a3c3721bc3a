"""The doctor's checks, in the order in which what they find must be mended."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from services.cli import doctor_local, doctor_remote
from services.cli.findings import Finding
from services.cli.operator import OperatorSettings, merged_environment
from services.cli.smoke import health
from services.common.rpc import tls_files

SECONDS = 15.0


async def doctor(settings: OperatorSettings) -> AsyncIterator[Finding]:
    """Make each check in turn, nearest first."""
    env = merged_environment()
    for finding in doctor_local.settings(env):
        yield finding
    yield doctor_local.keyring(settings.token_keys_dir)
    for finding in doctor_local.redis(settings):
        yield finding
    tls = tls_files(settings.grpc_tls_dir)
    yield await health("tokens", settings.tokens_address, tls)
    yield await health("responder", settings.responder_address, tls)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
        yield await doctor_remote.challenge(session, settings)
        yield await doctor_remote.model(session, env)
        yield await doctor_remote.graph(session, env)
    async for finding in doctor_remote.accounts(settings):
        yield finding
