"""`igbot accounts`: connected accounts and their tokens."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.cli.output import AsJson, Yes, confirm, facts, show, show_one
from services.cli.problem import Code, Problem

app = typer.Typer(no_args_is_help=True, help="Connected accounts and their tokens.")
AccountId = Annotated[str, typer.Argument(help="Either id of the account.")]
COLUMNS = ("account", "username", "state", "expires_at_ms", "next_refresh_at_ms", "reason")


@app.command("list")
def list_accounts(*, as_json: AsJson = False) -> None:
    """All accounts."""
    show(_list(""), COLUMNS, as_json=as_json, nothing="no account is connected")


@app.command("show")
def show_account(account: AccountId, *, as_json: AsJson = False) -> None:
    """Everything known about one account, except its token."""
    rows = _list(account)
    if not rows:
        raise Problem(f"no account has the id {account}")
    show_one(rows[0], as_json=as_json)


@app.command()
def add(*, as_json: AsJson = False) -> None:
    """Add an account by a long-lived token made in Meta's dashboard, read from standard input."""
    from services.cli.remote import ask_tokens
    from services.common.pb import tokens_pb2 as pb

    answer = ask_tokens("Add", pb.AddRequest(token=_read_token()), pb.AddResponse)
    show_one(facts(answer.account), as_json=as_json)
    if answer.missing_fields:
        raise Problem(f"added, but Instagram left out these webhook fields: {', '.join(answer.missing_fields)}")


@app.command()
def invite(
    *, hours: Annotated[float, typer.Option(min=0.1, max=24 * 90, help="How long the link is good.")] = 24 * 7
) -> None:
    """Print a link that connects one account without the operator's password; good for one browser, once."""
    from services.cli.dead_stream import open_redis
    from services.cli.operator import operator_settings
    from services.gateway.secret_words import invite_key, invite_link, new_secret

    settings = operator_settings()
    if not settings.public_url:
        raise Problem("PUBLIC_URL is not set, so there is no address to make a link from.", Code.USAGE)
    word = new_secret()
    with open_redis(settings) as client:
        client.set(invite_key(settings.redis_prefix, word), "", px=int(hours * 3_600_000))
    typer.echo(invite_link(settings.public_url.rstrip("/"), word))


@app.command()
def disconnect(
    account: AccountId, *, reason: Annotated[str, typer.Option(help="Kept with the account.")] = "", yes: Yes = False
) -> None:
    """Take an account's webhooks off, forget its token, stop answering for it."""
    from services.cli.remote import ask_tokens
    from services.common.pb import tokens_pb2 as pb

    confirm(f"Disconnect {account}? Its owner must connect it again.", yes=yes)

    answer = ask_tokens("Disconnect", pb.DisconnectRequest(account=account, reason=reason), pb.DisconnectResponse)
    if not answer.account:
        raise Problem(f"no account has the id {account}")
    if answer.connected_again:
        raise Problem(f"{answer.account} was connected again meanwhile, and stays connected")
    typer.echo(f"disconnected {answer.account}")


@app.command()
def refresh(account: AccountId, *, as_json: AsJson = False) -> None:
    """Ask Instagram for a fresh token now."""
    from services.cli.remote import ask_tokens
    from services.common.pb import tokens_pb2 as pb

    answer = ask_tokens("Refresh", pb.RefreshRequest(account=account), pb.RefreshResponse)
    show_one({"outcome": answer.outcome, **facts(answer.account)}, as_json=as_json)
    if answer.outcome not in {"refreshed", "too_young"}:
        raise Problem(f"not refreshed: {answer.outcome}")
    if answer.outcome == "too_young":
        planned = moment(answer.account.next_refresh_at_ms)
        typer.echo(f"igbot: the token is younger than 24 hours; it stays planned for {planned}", err=True)


@app.command()
def check(
    account: AccountId,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="Ask Instagram again for missing webhook fields.")] = False,
    as_json: AsJson = False,
) -> None:
    """Whether one account can work: token, scopes, webhook fields, last message, and what to do if not."""
    from services.cli.remote import ask_tokens
    from services.common.pb import tokens_pb2 as pb

    answer = ask_tokens("Check", pb.CheckRequest(account=account, repair=repair), pb.CheckResponse)
    findings = [*(facts(finding) for finding in answer.findings), _last_message(answer.account.account)]
    show(findings, ("check", "ok", "found", "advice"), as_json=as_json, nothing="nothing was checked")
    bad = [str(finding["check"]) for finding in findings if not finding["ok"]]
    if bad:
        raise Problem(f"needs attention: {', '.join(bad)}")


def _last_message(account: str) -> dict[str, Any]:
    """When a webhook last brought something of the account; the responder knows, and silence is no fault."""
    from services.cli.remote import ask_conversations
    from services.common.pb import responder_pb2 as pb

    try:
        answer = ask_conversations("List", pb.ListRequest(account=account, limit=1), pb.ListResponse)
    except Problem as problem:
        return {"check": "last message", "ok": True, "found": f"not known: {problem}", "advice": ""}
    last = max((one.last_message_at_ms for one in answer.conversations), default=0)
    return {"check": "last message", "ok": True, "found": moment(last) if last else "none yet", "advice": ""}


def moment(at_ms: int) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def _list(account: str) -> list[dict[str, Any]]:
    from services.cli.remote import ask_tokens
    from services.common.pb import tokens_pb2 as pb

    answer = ask_tokens("ListAccounts", pb.ListAccountsRequest(account=account), pb.ListAccountsResponse)
    return [facts(found) for found in answer.accounts]


def _read_token() -> str:
    """A token never stands in arguments, where other users of the machine and the shell's history see it."""
    try:
        token = typer.prompt("Token", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
        token.encode()
    except UnicodeError:
        raise Problem("what is on standard input is not text, so it is no token") from None
    if not token.strip():
        raise Problem("no token on standard input: igbot accounts add < token.txt")
    return str(token).strip()
