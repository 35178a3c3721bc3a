"""`igbot held`: parts of replies of which nobody knows whether Instagram took them."""

from __future__ import annotations

from typing import Annotated

import typer

from services.cli.output import AsJson, Yes, confirm, facts, show

app = typer.Typer(no_args_is_help=True, help="Replies that may or may not have arrived; a person decides.")
Reply = Annotated[str, typer.Argument(help="The reply's id, as `held list` shows it.")]
Part = Annotated[int, typer.Argument(help="The part's number, as `held list` shows it.")]
COLUMNS = ("reply", "n", "account", "person", "sending_at_ms", "text")


@app.command("list")
def list_held(
    *, account: Annotated[str, typer.Option(help="Only this account's.")] = "", as_json: AsJson = False
) -> None:
    """What is held. Look into the Instagram app, then `resend` what is missing and `drop` what is there."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    replies = ask_conversations("ListHeld", pb.ListHeldRequest(account=account), pb.ListHeldResponse).replies
    rows = [
        {"reply": reply.id, "account": reply.account, "person": reply.person, **facts(part)}
        for reply in replies
        for part in reply.parts
        if part.state == "held"
    ]
    show(rows, COLUMNS, as_json=as_json, nothing="nothing is held")


@app.command()
def resend(reply: Reply, part: Part, *, yes: Yes = False) -> None:
    """Send a held part again: it is not in the Instagram app."""
    confirm("Send it again? If it had arrived, the customer gets it twice.", yes=yes)
    _resolve(reply, part, "resend")
    typer.echo(f"will be sent again: {reply} part {part}")


@app.command()
def drop(reply: Reply, part: Part, *, yes: Yes = False) -> None:
    """Leave a held part as it is: it arrived, or is not worth sending any more."""
    confirm("Drop it? It will not be sent again.", yes=yes)
    _resolve(reply, part, "drop")
    typer.echo(f"dropped: {reply} part {part}")


def _resolve(reply: str, part: int, decision: str) -> None:
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    request = pb.ResolveHeldRequest(reply=reply, part=part, decision=decision)
    ask_conversations("ResolveHeld", request, pb.ResolveHeldResponse)
