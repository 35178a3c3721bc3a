"""The doctor's checks, in the order in which what they find must be mended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import aiohttp

from services.cli import doctor_local, doctor_public, doctor_services
from services.cli.findings import Finding
from services.cli.operator import OperatorSettings, merged_environment

SECONDS = 15.0
POD = "KUBERNETES_SERVICE_HOST"  # Kubernetes tells it to every container
NO_WAY_OUT = "not known: there is no way out of this pod, neither to PUBLIC_URL nor to the Graph API"
ELSEWHERE = "tokens and responder have told of their own way out; for PUBLIC_URL run the doctor outside the cluster"


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
    webhook, graph, certificate = await outward(settings, env)
    for finding in (*webhook, *graph):
        yield finding
    async for finding in doctor_services.accounts(settings):
        yield finding
    yield certificate


async def outward(
    settings: OperatorSettings, env: Mapping[str, str]
) -> tuple[Sequence[Finding], Sequence[Finding], Finding]:
    """What the world sees: the webhook, the Graph API, the certificate, as far as there is a way out from here.

    The gateway's pod has none by design. There, what nobody answered tells nothing as long as nobody answered at all.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS)) as session:
        webhook = [finding async for finding in doctor_public.webhook(session, settings)]
        graph = [finding async for finding in doctor_public.graph(session, env)]
    certificate = await doctor_public.certificate(settings.public_url)
    if POD in env and not any(finding.ok is not None and not finding.unreachable for finding in (*webhook, *graph)):
        return [unknown(one) for one in webhook], [unknown(one) for one in graph], unknown(certificate)
    return webhook, graph, certificate


def unknown(finding: Finding) -> Finding:
    """The same check as one that could not be made, if nobody answered it."""
    return replace(finding, ok=None, found=NO_WAY_OUT, advice=ELSEWHERE) if finding.unreachable else finding
