"""/sandbox/…: JSON to play customers and owners, to break things, and to read what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.common.errors import BadPayload
from services.sandbox.doors import ControlDoor
from services.sandbox.faults import read_fault
from services.sandbox.world import Message


def text_in(body: Mapping[str, Any], name: str) -> str:
    """A text that must be there; ids may be numbers."""
    value = body.get(name)
    if not isinstance(value, (str, int)) or value == "" or isinstance(value, bool):
        raise BadPayload(f"{name} is missing")
    return str(value)


def shown(message: Message) -> dict[str, object]:
    """What the caller learns of the message that changed."""
    return {"mid": message.mid, "account": message.account, "person": message.person, "timestamp": message.at}


class Say(ControlDoor):
    """POST /sandbox/say {account, person, text}: a customer writes."""

    def post(self) -> None:
        """Answer with the message's id."""
        self.do(lambda: shown(self.stage.say(*self.who(), text_in(self.json_body(), "text"))))

    def who(self) -> tuple[str, str]:
        """The account, by either id, and the person."""
        body = self.json_body()
        return self.stage.world.account(text_in(body, "account")).id, text_in(body, "person")


class Human(Say):
    """POST /sandbox/human {account, person, text}: the owner answers in the Instagram app."""

    def post(self) -> None:
        """Answer with the message's id."""
        self.do(lambda: shown(self.stage.human(*self.who(), text_in(self.json_body(), "text"))))


class Meet(Say):
    """POST /sandbox/meet {account, person}: make a person known whose messages are delivered by somebody else."""

    def post(self) -> None:
        """Answer with the conversation's id."""
        self.do(lambda: {"conversation": self.stage.world.meet(*self.who(), self.stage.clock()).id})


class Unsend(ControlDoor):
    """POST /sandbox/unsend {mid}: a customer takes a message back."""

    def post(self) -> None:
        """Answer with the message's id."""
        self.do(lambda: shown(self.stage.unsend(text_in(self.json_body(), "mid"))))


class Edit(ControlDoor):
    """POST /sandbox/edit {mid, text}: a customer changes a message."""

    def post(self) -> None:
        """Answer with the message's id."""
        self.do(lambda: shown(self.stage.edit(text_in(self.json_body(), "mid"), text_in(self.json_body(), "text"))))


class Revoke(ControlDoor):
    """POST /sandbox/revoke {account}: the owner changes the password, and every token of the account is dead."""

    def post(self) -> None:
        """Answer with the account's id."""
        self.do(self.revoke)

    def revoke(self) -> dict[str, object]:
        """Kill them."""
        account = self.stage.world.account(text_in(self.json_body(), "account")).id
        self.stage.grants.revoke(account)
        self.stage.ledger.add("oauth", step="revoked", account=account)
        return {"account": account}


class Dashboard(ControlDoor):
    """POST /sandbox/dashboard {fields}: the webhook fields that are ticked in the app's dashboard."""

    def post(self) -> None:
        """Answer with those that are ticked now."""
        self.do(self.tick)

    def tick(self) -> dict[str, object]:
        """Tick them."""
        fields = self.json_body().get("fields")
        if not isinstance(fields, list):
            raise BadPayload("fields is missing")
        self.stage.grants.tick([str(name) for name in fields])
        return {"fields": sorted(self.stage.grants.ticked)}


class FaultOrder(ControlDoor):
    """POST /sandbox/faults {target, kind, times, match, …}: let something go wrong. DELETE: no more of it."""

    def get(self) -> None:
        """List what still waits to go wrong."""
        self.do(
            lambda: {"waiting": [{"target": one.target, "kind": one.kind, "times": one.times} for one in self.all()]}
        )

    def post(self) -> None:
        """Take the order."""
        self.do(self.order)

    def delete(self) -> None:
        """Let everything go well again."""
        self.stage.faults.waiting.clear()
        self.do(lambda: {"waiting": []})

    def all(self) -> list[Any]:
        """The faults that wait."""
        return list(self.stage.faults.waiting)

    def order(self) -> dict[str, object]:
        """Read and add it."""
        fault = read_fault(self.json_body())
        self.stage.faults.add(fault)
        return {"target": fault.target, "kind": fault.kind, "times": fault.times}


class LedgerPage(ControlDoor):
    """GET /sandbox/ledger?since=N&limit=M: what happened, oldest first; `next` is the N to go on with."""

    def get(self) -> None:
        """Answer with the entries."""
        self.do(self.read)

    def read(self) -> dict[str, object]:
        """Read them."""
        since, limit = self.number("since", 0), self.number("limit", 100_000)
        entries = self.stage.ledger.since(since, limit)
        waiting = len(self.stage.office.waiting()) if self.stage.office else 0
        return {"entries": entries, "next": since + len(entries), "waiting": waiting}

    def number(self, name: str, otherwise: int) -> int:
        """A number of the query."""
        text = self.get_argument(name, "") or str(otherwise)
        if not (text.isascii() and text.isdigit()):
            raise BadPayload(f"{name} is not a number")
        return int(text)


class Reset(ControlDoor):
    """POST /sandbox/reset: forget conversations, ledger and faults; connected accounts stay connected."""

    def post(self) -> None:
        """Forget."""
        self.stage.reset()
        self.do(lambda: {"reset": True})


class Nowhere(ControlDoor):
    """Whatever else stands below /sandbox/."""

    def prepare(self) -> None:
        """Say that nothing is there."""
        self.answer({"error": "there is no such path; docs/sandbox.md lists them"}, 404)
