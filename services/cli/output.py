"""Tables for people, one JSON object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from google.protobuf.message import Message

from services.cli.problem import Problem

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
FOREVER_MS = 2**63 - 1
NO_CONTROL = {code: "�" for code in (*range(32), 127, *range(0x80, 0xA0)) if code not in {9, 10}}


def facts(message: Message) -> dict[str, Any]:
    """A proto message as plain values, zeros and empty ones included."""
    return {field.name: _plain(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}


def _plain(value: Any) -> Any:
    if isinstance(value, Message):
        return facts(value)
    if isinstance(value, str | bytes | int | float | bool):
        return value
    return [_plain(item) for item in value]


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, nothing: str) -> None:
    """Print rows. Raises Problem, which is exit code 1, when there are none."""
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row, ensure_ascii=False))
    elif rows:
        _table(rows, columns)
    if not rows:
        raise Problem(nothing)


def show_one(row: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing, a line a fact."""
    if as_json:
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    width = max(len(title(name)) for name in row)
    for name, value in row.items():
        typer.echo(f"{title(name):<{width}}  {cell(name, value)}")


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from services.cli.terminal import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(title(column), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(column, row.get(column))) for column in columns))
    console().print(table)


def title(name: str) -> str:
    """A field's name as people read it."""
    return name.removesuffix("_ms").replace("_", " ")


def cell(name: str, value: Any) -> str:
    """A value as people read it; what strangers wrote cannot move the terminal's cursor."""
    if name.endswith("_ms"):
        return moment(int(value or 0))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(cell("", item) for item in value)
    return clean(str(value))


def clean(text: str) -> str:
    """The text without control characters other than tab and line end."""
    return text.translate(NO_CONTROL)


def moment(milliseconds: int) -> str:
    """A time as people read it, in UTC; empty for none."""
    if milliseconds <= 0:
        return ""
    if milliseconds >= FOREVER_MS:
        return "until resumed"
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be taken back, unless told not to. Raises Problem on no."""
    if not yes and not typer.confirm(question):
        raise Problem("nothing done")
