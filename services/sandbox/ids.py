"""Ids that look like Instagram's: base64 of account, thread and number, with Meta's odd escapes. Rules only."""

from __future__ import annotations

from base64 import urlsafe_b64encode

THREAD = "340282366841710301244"


def _escaped(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def message_id(account: str, person: str, count: int, at: int) -> str:
    """A message's id: unique by its count, about 165 letters and digits long."""
    inside = f"{account}:{THREAD}{person[-18:]:0>18}:{3303546}{at:0>14}{count:0>14}"
    return f"aWdfZAG1faXRlbToxOklHTWVzc2FnZAUlEOj{_escaped(inside)}ZD"


def conversation_id(account: str, person: str) -> str:
    """A conversation's id: the same for the same two."""
    return f"aWdfZAG06{_escaped(f'{account[-10:]}{THREAD}{person}')}"
