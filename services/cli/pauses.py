"""`igbot pause` and `igbot resume`: one conversation, one account, or everything."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from services.cli.problem import Code, Problem

Everything = Annotated[bool, typer.Option("--all", help="Every account.")]
Account = Annotated[str, typer.Option(help="Either id of one account.")]
Person = Annotated[str, typer.Option(help="One person of that account.")]


def pause(
    *,
    everything: Everything = False,
    account: Account = "",
    person: Person = "",
    hours: Annotated[float, typer.Option(min=0, help="Ends by itself after so long; 0: until resumed.")] = 0,
) -> None:
    """Stop answering; messages are still stored."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    _require_one_target(everything, account, person)
    until = int((time.time() + hours * 3600) * 1000) if hours else 0
    request = pb.PauseRequest(account=account, person=person, until_ms=until)
    typer.echo(f"paused: {ask_conversations('Pause', request, pb.PauseResponse).paused}")


def resume(
    *,
    everything: Everything = False,
    account: Account = "",
    person: Person = "",
    answer_pending: Annotated[
        bool, typer.Option("--answer-pending", help="Answer the newest message that waits, if it is not stale.")
    ] = False,
) -> None:
    """Answer again."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    _require_one_target(everything, account, person)
    request = pb.ResumeRequest(account=account, person=person, answer_pending=answer_pending)
    typer.echo(f"resumed: {ask_conversations('Resume', request, pb.ResumeResponse).resumed}")


def _require_one_target(everything: bool, account: str, person: str) -> None:  # noqa: FBT001 - all three are needed
    if everything == bool(account) or (person and not account):
        raise Problem("say --all, or --account A, or --account A --person P", Code.USAGE)
