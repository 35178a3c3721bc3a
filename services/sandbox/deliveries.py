"""What a webhook delivery looks like on the wire: Meta's JSON, its signatures and its patience. Rules only."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.sandbox.world import Message

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body for the webhook; `about` names the event for the ledger and for faults."""

    id: str
    body: bytes
    account: str
    kind: str
    mid: str

    @property
    def about(self) -> str:
        """What a fault's `match` is looked for in."""
        return f"{self.kind} {self.account} {self.mid} {self.body.decode()}"


def dumped(value: object) -> bytes:
    r"""JSON as Meta writes it: compact, `\/` for `/`, lower-case `\uXXXX` for all that is not ASCII."""
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/").encode()


def envelope(account: str, item: Mapping[str, Any], now: int) -> bytes:
    """The body of a delivery of one item."""
    return dumped({"object": "instagram", "entry": [{"time": now, "id": account, "messaging": [item]}]})


def _item(message: Message, at: int, kind: str, inner: Mapping[str, Any]) -> dict[str, Any]:
    customer, account = {"id": message.person}, {"id": message.account}
    sender, recipient = (customer, account) if message.author == "customer" else (account, customer)
    return {"sender": sender, "recipient": recipient, "timestamp": at, kind: inner}


def written(message: Message) -> dict[str, Any]:
    """The item of a new message; one that the business wrote is an echo."""
    inner: dict[str, Any] = {"mid": message.mid, "text": message.text}
    if message.author != "customer":
        inner["is_echo"] = True
    return _item(message, message.at, "message", inner)


def unsent(message: Message, now: int) -> dict[str, Any]:
    """The item of a message taken back: its timestamp is that of the taking back."""
    return _item(message, now, "message", {"mid": message.mid, "is_deleted": True})


def edited(message: Message, now: int) -> dict[str, Any]:
    """The item of a message that its writer changed."""
    inner = {"mid": message.mid, "text": message.text, "num_edit": message.num_edit}
    return _item(message, now, "message_edit", inner)


def edit_zero(message: Message, now: int) -> dict[str, Any]:
    """The noise that comes with some new messages: an edit that is none, without sender and recipient."""
    return {"timestamp": now, "message_edit": {"mid": message.mid, "num_edit": 0}}


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The headers of a delivery."""
    key = secret.encode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "facebookexternalua",
        "X-Hub-Signature": "sha1=" + hmac.new(key, body, hashlib.sha1).hexdigest(),
        "X-Hub-Signature-256": "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest(),
    }


def pause_before(attempt: int, chance: float) -> float:
    """Seconds to wait before another attempt: growing, with a chance from 0 to 1 that spreads them."""
    whole = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 1, 20))
    return whole * (0.5 + chance / 2)
