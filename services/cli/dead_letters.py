"""`igbot dead-letters`: deliveries that could not be handled, kept in the gateway's Redis."""

from __future__ import annotations

import json
import re
import time
from typing import Annotated, Any

import typer

from services.cli.output import AsJson, Yes, confirm, show, show_one
from services.cli.problem import Code, Problem

app = typer.Typer(no_args_is_help=True, help="Deliveries that could not be handled.")
COLUMNS = ("id", "at_ms", "reason", "source", "account", "person", "mids", "bytes")
# Everything else may be what people wrote, also where a text stands in an object's place.
TOLD = {"action", "field", "id", "mid", "object", "time", "timestamp", "type"}
STARS = "***"
IDENTIFIER = re.compile(r"[\w.:=+/-]{1,512}", re.ASCII)
NAME = re.compile(r"\w{1,64}", re.ASCII)
Ids = Annotated[list[str] | None, typer.Argument(help="Ids, as `dead-letters list` shows them.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them, or all with --reason.")]
Reason = Annotated[str, typer.Option(help="Only those with this reason.")]


@app.command("list")
def list_dead_letters(
    *, reason: Reason = "", limit: Annotated[int, typer.Option(min=1)] = 100, as_json: AsJson = False
) -> None:
    """What lies there, oldest first."""
    from services.cli.dead_stream import with_dead_stream

    rows = [letter.row() for letter in with_dead_stream(lambda stream: stream.read(reason, limit))]
    show(rows, COLUMNS, as_json=as_json, nothing="no dead letter" + (f" with reason {reason}" if reason else ""))


@app.command("show")
def show_dead_letter(
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    text: Annotated[bool, typer.Option("--text", help="With what people wrote.")] = False,
    as_json: AsJson = False,
) -> None:
    """One of them with its body; what people wrote is masked unless asked for."""
    from services.cli.dead_stream import with_dead_stream

    found = with_dead_stream(lambda stream: stream.one(letter_id))
    if found is None:
        raise Problem(f"no dead letter has the id {letter_id}")
    show_one({**found.row(), "body": body_of(found.body, text=text)}, as_json=as_json)


@app.command()
def replay(ids: Ids = None, *, everything: Everything = False, reason: Reason = "", yes: Yes = False) -> None:
    """Put bodies back into the inbox; what was recorded before is not answered again."""
    from services.cli.dead_stream import with_dead_stream

    wanted = _wanted(ids, everything=everything, reason=reason)
    confirm(f"Replay {len(wanted)}?", yes=yes or not everything)
    now = int(time.time() * 1000)
    done = with_dead_stream(lambda stream: [one for one in wanted if stream.replay(one, now_ms=now)])
    _report("replayed", done, wanted)


@app.command()
def drop(ids: Ids = None, *, everything: Everything = False, reason: Reason = "", yes: Yes = False) -> None:
    """Delete them for good."""
    from services.cli.dead_stream import with_dead_stream

    wanted = _wanted(ids, everything=everything, reason=reason)
    confirm(f"Delete {len(wanted)} for good?", yes=yes)
    done = with_dead_stream(lambda stream: [one for one in wanted if stream.drop(one)])
    _report("dropped", done, wanted)


def body_of(body: bytes, *, text: bool) -> str:
    """The body as it came, or with stars for what people wrote; unreadable bytes only with `text`."""
    if text:
        return body.decode(errors="backslashreplace")
    try:
        return json.dumps(masked(json.loads(body)), ensure_ascii=False)
    except ValueError:
        return f"{len(body)} bytes that are not JSON; --text shows them"


def masked(value: Any, key: str = "") -> Any:
    """The same shape with stars for what people wrote: every text but an identifier under a key that holds such."""
    if isinstance(value, dict):
        return {name if NAME.fullmatch(name) else STARS: masked(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [masked(one) for one in value]
    return STARS if isinstance(value, str) and not (key in TOLD and IDENTIFIER.fullmatch(value)) else value


def _wanted(ids: list[str] | None, *, everything: bool, reason: str) -> list[str]:
    from services.cli.dead_stream import with_dead_stream

    if everything == bool(ids):
        raise Problem("name ids, or say --all", Code.USAGE)
    wanted = ids or [letter.id for letter in with_dead_stream(lambda stream: stream.read(reason, None))]
    if not wanted:
        raise Problem("no dead letter" + (f" with reason {reason}" if reason else ""))
    return wanted


def _report(what: str, done: list[str], wanted: list[str]) -> None:
    for one in done:
        typer.echo(f"{what}: {one}")
    missing = [one for one in wanted if one not in done]
    if missing:
        raise Problem(f"not found: {', '.join(missing)}")
