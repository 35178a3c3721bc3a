"""All commands under one roof, and what an error means to the shell."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from services.cli import accounts, checkups, conversations, dead_letters, held, keys, pauses, services
from services.cli.problem import Code, Problem, reason
from services.cli.up.command import up

app = typer.Typer(
    name="igbot",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"max_content_width": 120},
)


@app.callback()
def igbot(
    *, version: Annotated[bool, typer.Option("--version", help="Say the version and exit.", is_eager=True)] = False
) -> None:
    """Answer Instagram direct messages. Settings are environment variables: see README.md."""
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"igbot {version_of('igbot')}")
        raise typer.Exit


def _add_service(name: str, what: str) -> None:
    @app.command(name, help=what)
    def run() -> None:
        services.run_service(name)


for _name, _what in services.SERVICES.items():
    _add_service(_name, _what)
app.command("up")(up)
app.command("doctor")(checkups.doctor)
app.command("smoke")(checkups.smoke)
app.add_typer(accounts.app, name="accounts")
app.add_typer(keys.app, name="keys")
app.add_typer(conversations.app, name="conversations")
app.command("pause")(pauses.pause)
app.command("resume")(pauses.resume)
app.add_typer(held.app, name="held")
app.add_typer(dead_letters.app, name="dead-letters")


def run_command(words: list[str]) -> int:
    """Run one command and return its exit code; whatever is wrong is one line on standard error."""
    try:
        _require_text(words)
        app(words, prog_name="igbot", standalone_mode=True)
    except Problem as problem:
        typer.echo(f"igbot: {problem}", err=True)
        return problem.code
    except OSError as error:
        typer.echo(f"igbot: {_why(error)}", err=True)
        # Whatever could not be written would be tried, and fail, once more at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Code.FOUND_A_PROBLEM
    return Code.DONE


def _why(error: OSError) -> str:
    return f"{error.filename}: {reason(error)}" if error.filename else reason(error)


def _require_text(words: list[str]) -> None:
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        raise Problem("what was typed is not UTF-8 text", Code.USAGE) from None
