"""`igbot doctor` and `igbot smoke`: what is wrong here, and does a running igbot work at all?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from services.cli.output import AsJson
from services.cli.problem import Code, Problem

if TYPE_CHECKING:
    from services.cli.findings import Finding


def doctor(*, as_json: AsJson = False) -> None:
    """Check settings, keyring, Redis, the services, the model and Instagram, and say what to do."""
    from services.cli.doctor import doctor as checks
    from services.cli.operator import operator_settings

    _examine(checks(operator_settings()), as_json=as_json)


def smoke(*, as_json: AsJson = False) -> None:
    """Send a signed test delivery and a forged one through PUBLIC_URL, and ask the services for their health."""
    from services.cli.operator import operator_settings
    from services.cli.smoke import smoke as checks
    from services.common.settings import require_http

    settings = operator_settings()
    if not settings.public_url or not settings.app_secret:
        raise Problem("PUBLIC_URL and APP_SECRET must be set.", Code.USAGE)
    try:
        require_http(settings.public_url)
    except ValueError as error:
        raise Problem(f"PUBLIC_URL {error}.", Code.USAGE) from None
    _examine(checks(settings), as_json=as_json)


def _examine(checks: AsyncIterator[Finding], *, as_json: bool) -> None:
    """Tell each finding when it is there. Raises Problem: 3 when nothing can be reached, 1 when anything is red."""
    from services.cli.findings import conclude, tell
    from services.cli.remote import run

    async def work() -> list[Finding]:
        findings = []
        async for finding in checks:
            tell(finding, as_json=as_json)
            findings.append(finding)
        return findings

    conclude(run(work()))
