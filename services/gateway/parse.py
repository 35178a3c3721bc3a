"""Raw bytes to items. Each delivery of an array, each entry and each item stands alone: one bad item harms no other.

The shapes: https://developers.facebook.com/docs/instagram-platform/webhooks/examples
"""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from services.gateway.events import Ignored, Invalid, Item, Nothing, Reason, Source
from services.gateway.items import identifier, read_item

# Instagram's words for fields of the `changes` style that carry what `messaging` carries.
MESSAGE_FIELDS = ("messag", "standby")
DECODER = json.JSONDecoder(parse_float=Decimal)  # json.loads would make one for each delivery


def parse(body: bytes, received_ms: int) -> list[Item]:
    """Return what a delivery holds, in its order. `received_ms` stands in for times that make no sense."""
    try:
        # A byte that is not UTF-8 costs one character, not the delivery.
        tree = read_json(body.removeprefix(BOM_UTF8).decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return [Item(Invalid(Reason.UNREADABLE))]
    deliveries = tree if isinstance(tree, list) else [tree]
    return [item for delivery in deliveries for item in read_delivery(delivery, received_ms)]


def read_json(text: str) -> Any:
    """Return what JSON text holds; a number out of all reach costs itself, not the delivery."""
    try:
        return DECODER.decode(text)
    except (ValueError, ArithmeticError):
        return json.loads(text, parse_float=number(Decimal), parse_int=number(int))


def number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader of numbers to which one that cannot be is none."""

    def read(digits: str) -> Any:
        try:
            return kind(digits)
        except (ValueError, ArithmeticError):
            return None

    return read


def read_delivery(delivery: Any, received_ms: int) -> Iterator[Item]:
    """Yield the items of one delivery."""
    if not isinstance(delivery, dict):
        yield Item(Invalid(Reason.NOT_A_DELIVERY))
        return
    if delivery.get("object") != "instagram":
        yield Item(Ignored(Nothing.OTHER_OBJECT))
        return
    entries = delivery.get("entry") or []
    if not isinstance(entries, list):
        yield Item(Invalid(Reason.NOT_A_DELIVERY))
        return
    if not entries:
        yield Item(Ignored(Nothing.EMPTY))
    for entry in entries:
        yield from read_entry(entry, received_ms)


def read_entry(entry: Any, received_ms: int) -> Iterator[Item]:
    """Yield the items of one entry: of `messaging`, `standby`, `changes`, or of the entry itself (the flat style)."""
    if not isinstance(entry, dict):
        yield Item(Invalid(Reason.NOT_AN_ENTRY), Source(None, None, "", entry))
        return
    account, found = identifier(entry.get("id")), False
    for source in sources(entry):
        found = True
        if account == "0":
            yield Item(Ignored(Nothing.DASHBOARD_TEST), source)
        elif source.array == "changes":
            yield read_change(account, source, received_ms)
        else:
            yield Item(read_item(account, source, received_ms), source)
    if not found:
        yield Item(Ignored(Nothing.EMPTY))


def sources(entry: dict[str, Any]) -> Iterator[Source]:
    """Yield where each item of an entry stands."""
    place = (entry.get("id"), entry.get("time"))
    for array in ("messaging", "standby", "changes"):
        items = entry.get(array)
        if items is None:
            continue
        for raw in items if isinstance(items, list) else [items]:
            yield Source(*place, array, raw)
    if "field" in entry:
        yield Source(*place, "changes", {"field": entry["field"], "value": entry.get("value")})


def read_change(account: str, source: Source, received_ms: int) -> Item:
    """Read an item of the `changes` style; a comment is one too, and no message."""
    change = source.raw
    field = change.get("field") if isinstance(change, dict) else None
    if not isinstance(field, str):
        return Item(Invalid(Reason.NOT_AN_ITEM, account), source)
    if not field.startswith(MESSAGE_FIELDS):
        return Item(Ignored(Nothing.OTHER_FIELD), source)
    array = "standby" if field == "standby" else "messaging"
    inner = Source(source.entry_id, source.time, array, change.get("value"))
    return Item(read_item(account, inner, received_ms), source)


def envelope(source: Source) -> bytes:
    """Return a delivery that holds this item alone, so that it can be posted to the inbox again."""
    entry = {"id": source.entry_id, "time": source.time, source.array: [source.raw]} if source.array else source.raw
    delivery = {"object": "instagram", "entry": [entry]}
    return json.dumps(delivery, separators=(",", ":"), default=plain_number).encode()


def plain_number(value: Any) -> int | float:
    """Return a number that JSON can write."""
    return int(value) if value == value.to_integral_value() and abs(value.adjusted()) < 30 else float(value)
