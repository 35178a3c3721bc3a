"""What a dashboard's field configuration makes of a value: its text by mappings and unit, its color by thresholds."""

import math
from collections.abc import Mapping
from typing import Any

COLORS = {"green": "#56a64b", "yellow": "#e0b400", "red": "#d4344a", "blue": "#3274d9", "dark-red": "#8f1f2f"}
SCALES = ((604_800, "weeks"), (86_400, "days"), (3600, "h"), (60, "min"))


def said(value: float, defaults: Mapping[str, Any]) -> str:
    """A value as Grafana would write it: mappings first, then the unit."""
    for mapping in defaults.get("mappings", []):
        text = mapped(value, mapping)
        if text is not None:
            return text
    return "no data" if math.isnan(value) else measured(value, defaults["unit"], defaults.get("decimals"))


def mapped(value: float, mapping: Mapping[str, Any]) -> str | None:
    """What a mapping says of a value, None when it does not speak of it."""
    options = mapping["options"]
    if mapping["type"] == "value":
        found = options.get(f"{value:g}")
        return str(found["text"]) if found else None
    if mapping["type"] == "special":
        return str(options["result"]["text"]) if math.isnan(value) else None
    return str(options["result"]["text"]) if value >= options["from"] else None


def measured(value: float, unit: str, decimals: int | None = None) -> str:
    """A number with its unit."""
    if unit == "s":
        return lasting(value, decimals)
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    plain = f"{value:.{decimals}f}" if decimals is not None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return plain + unit.removeprefix("suffix:") if unit.startswith("suffix:") else plain


def lasting(seconds: float, decimals: int | None = None) -> str:
    """A duration in the unit that fits it."""
    for size, name in SCALES:
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {name}"
    if abs(seconds) >= 1 or seconds == 0:
        return f"{seconds:.{decimals}f} s" if decimals is not None else f"{seconds:.3g} s"
    return f"{1000 * seconds:.3g} ms"


def color_at(value: float, thresholds: Mapping[str, Any]) -> str:
    """The color of a value by the panel's thresholds."""
    color = thresholds["steps"][0]["color"]
    for step in thresholds["steps"]:
        if step["value"] is not None and not math.isnan(value) and value >= step["value"]:
            color = step["color"]
    return COLORS[color]
