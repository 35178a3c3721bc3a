"""What a check found: a green, red or skipped line for people, an object for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import aiohttp
import typer

from services.cli.output import clean
from services.cli.problem import Code, Problem


@dataclass(frozen=True, slots=True)
class Finding:
    """One check; `ok` None means that it could not be made here, which is no fault.

    `local` ones need nobody to answer, so they say nothing of what can be reached.
    """

    check: str
    ok: bool | None
    found: str
    advice: str = ""
    unreachable: bool = False
    local: bool = False


MARKS = {True: ("✓", typer.colors.GREEN), False: ("✗", typer.colors.RED), None: ("-", typer.colors.YELLOW)}


def tell(finding: Finding, *, as_json: bool) -> None:
    """Print one finding, as soon as it is there."""
    if as_json:
        typer.echo(json.dumps(asdict(finding), ensure_ascii=False))
        return
    mark, colour = MARKS[finding.ok]
    typer.secho(f"{mark} ", fg=colour, nl=False)
    typer.echo(f"{finding.check:<20} {clean(finding.found)}")
    if finding.advice and finding.ok is not True:
        typer.echo(f"{'':22} → {clean(finding.advice)}")


def conclude(findings: Sequence[Finding]) -> None:
    """Raise Problem when anything is red: exit code 1, or 3 when nothing at all could be reached."""
    bad = {finding.check: finding.unreachable for finding in findings if finding.ok is False}
    reached = any(finding.ok for finding in findings if not finding.local)
    if bad:
        code = Code.UNREACHABLE if all(bad.values()) and not reached else Code.FOUND_A_PROBLEM
        raise Problem(f"needs attention: {', '.join(bad)}", code)


def unreached(error: Exception) -> bool:
    """Whether a call failed because nobody was there; a certificate that is refused was shown by somebody."""
    nobody = isinstance(error, (aiohttp.ClientConnectorError, TimeoutError))
    return nobody and not isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError))


def why(error: Exception) -> str:
    """An error's words; a time-out has none."""
    return str(error) or "no answer in time"
