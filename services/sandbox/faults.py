"""Faults that a test or a curious person asks for, each a number of times. Rules only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args

from services.common.errors import BadPayload

Target = Literal["oauth", "graph", "model", "webhook"]
Kind = Literal["status", "timeout", "reset", "late_echo", "no_echo", "limit", "dead_token"]
ANSWERS = frozenset({"status", "timeout", "reset", "limit", "dead_token"})
ECHOES = frozenset({"late_echo", "no_echo"})
ECHOING = frozenset({"graph", "webhook"})  # the send that causes an echo, or the delivery that brings it

TYPES: Mapping[str, type | tuple[type, ...]] = {
    "times": int,
    "match": str,
    "status": int,
    "code": int,
    "subcode": (int, NoneType),
    "seconds": (int, float),
    "after": bool,
}


@dataclass(slots=True)
class Fault:
    """What goes wrong, how often it still will, and on which calls.

    `match` is looked for in "METHOD path account body" of a call, or "kind account mid body" of a delivery.
    `after` means that the work is done before the answer fails, as when a message was sent although the answer is 500.
    """

    target: str
    kind: str
    times: int = 1
    match: str = ""
    status: int = 500
    code: int = 2
    subcode: int | None = None
    seconds: float = 30.0
    after: bool = False


class Faults:
    """The faults that still wait for their call."""

    def __init__(self) -> None:
        """Begin with none."""
        self.waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let this go wrong from now on."""
        self.waiting.append(fault)

    def take(self, target: str, about: str, kinds: frozenset[str] = ANSWERS) -> Fault | None:
        """The first fault that this call meets, used up by one; None when all goes well."""
        for fault in self.waiting:
            if fault.target == target and fault.kind in kinds and fault.match in about:
                fault.times -= 1
                self.waiting = [one for one in self.waiting if one.times > 0]
                return fault
        return None


def read_fault(body: Mapping[str, Any]) -> Fault:
    """Read a fault; raise BadPayload with what is wrong."""
    target, kind = body.get("target"), body.get("kind")
    if target not in get_args(Target):
        raise BadPayload(f"target must be one of {', '.join(get_args(Target))}")
    if kind not in get_args(Kind):
        raise BadPayload(f"kind must be one of {', '.join(get_args(Kind))}")
    known = set(Fault.__dataclass_fields__)
    if unknown := set(body) - known:
        raise BadPayload(f"unknown: {', '.join(sorted(unknown))}")
    if wrong := [name for name, kind in TYPES.items() if name in body and not fits(body[name], kind)]:
        raise BadPayload(f"of the wrong type: {', '.join(wrong)}")
    if kind in ECHOES and target not in ECHOING:
        raise BadPayload(f"{kind} is a fault of {' or '.join(sorted(ECHOING))}")
    if body.get("times", 1) < 1:
        raise BadPayload("times must be at least 1")
    return Fault(**body)


def fits(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type; true and false are no numbers."""
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
