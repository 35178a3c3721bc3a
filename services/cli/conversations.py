"""`igbot conversations`: what waits, what failed, and the whole story of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli.output import AsJson, facts, show, show_one
from services.cli.problem import Code, Problem

app = typer.Typer(no_args_is_help=True, help="Conversations: what waits, what failed, and one whole story.")
STATES = ("idle", "due", "working", "waiting", "paused", "failed", "held")
Account = Annotated[str, typer.Argument(help="Either id of the account.")]
Person = Annotated[str, typer.Argument(help="The person's Instagram-scoped id.")]
COLUMNS = ("account", "person", "username", "state", "waiting_for", "unanswered", "last_message_at_ms", "last_error")
MESSAGE = ("at_ms", "author", "text", "attachments", "answered_by", "taken_back", "edited")
PART = ("reply", "n", "state", "text", "sending_at_ms", "mid")


@app.command("list")
def list_conversations(
    *,
    state: Annotated[str, typer.Option(help=f"One of: {', '.join(STATES)}.")] = "",
    account: Annotated[str, typer.Option(help="Only this account's.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    as_json: AsJson = False,
) -> None:
    """Conversations, those in one state or all."""
    rows = _list(account, state, limit)
    show(rows, COLUMNS, as_json=as_json, nothing=f"no conversation is {state}" if state else "no conversation")


@app.command("show")
def show_conversation(account: Account, person: Person, *, as_json: AsJson = False) -> None:
    """The whole story of one: messages, why it waits, what was sent."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    answer = ask_conversations("Get", pb.GetRequest(account=account, person=person), pb.GetResponse)
    if as_json:
        show_one(facts(answer), as_json=True)
        return
    show_one(facts(answer.conversation), as_json=False)
    _section("messages", [facts(message) for message in answer.messages], MESSAGE)
    parts = [{"reply": reply.id, **facts(part)} for reply in answer.replies for part in reply.parts]
    _section("sent or being sent", parts, PART)


@app.command()
def retry(
    account: Annotated[str, typer.Argument(help="Either id of the account.")] = "",
    person: Annotated[str, typer.Argument(help="The person's Instagram-scoped id.")] = "",
    *,
    everything: Annotated[bool, typer.Option("--all", help="Every conversation that failed.")] = False,
) -> None:
    """Make a failed conversation due again."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    if everything == bool(account and person):
        raise Problem("name one conversation, ACCOUNT PERSON, or say --all", Code.USAGE)
    wanted = (
        [(row["account"], row["person"]) for row in _list("", "failed", 10_000)] if everything else [(account, person)]
    )
    if not wanted:
        raise Problem("no conversation is failed")
    for one, other in wanted:
        ask_conversations("Retry", pb.RetryRequest(account=one, person=other), pb.RetryResponse)
        typer.echo(f"due again: {one} {other}")


def _list(account: str, state: str, limit: int) -> list[dict[str, Any]]:
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    if state and state not in STATES:
        raise Problem(f"--state is one of: {', '.join(STATES)}", Code.USAGE)
    request = pb.ListRequest(account=account, state=state, limit=limit)
    return [facts(found) for found in ask_conversations("List", request, pb.ListResponse).conversations]


def _section(name: str, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    typer.echo(f"\n{name}:" + ("" if rows else " none"))
    if rows:
        show(rows, columns, as_json=False, nothing="")
