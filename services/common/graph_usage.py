"""How much of its limits an account has used, as Instagram's answers tell in their headers. Rules only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

REGAIN = "estimated_time_to_regain_access"


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of its limits the account has used, from an answer's headers; percentages and seconds."""

    percent: float = 0.0
    regain_seconds: float | None = None


def read_usage(headers: Mapping[str, str]) -> Usage:
    """Read X-App-Usage, X-Business-Use-Case-Usage and Retry-After; what cannot be read counts as not there.

    https://developers.facebook.com/docs/graph-api/overview/rate-limiting: regain times there are in minutes.
    """
    given = {name.lower(): value for name, value in headers.items()}
    percents: list[float] = []
    regains: list[float] = []
    found = [_json(given.get("x-app-usage"))]
    buckets = _json(given.get("x-business-use-case-usage"))
    if isinstance(buckets, dict):
        found += [one for many in buckets.values() if isinstance(many, list) for one in many]
    for one in found:
        if isinstance(one, dict):
            percents += [_float(value) for key, value in one.items() if key not in {"type", REGAIN}]
            regains += [_float(one[REGAIN]) * 60] if _float(one.get(REGAIN)) > 0 else []
    retry_after = _float(given.get("retry-after"))
    regains += [retry_after] if retry_after > 0 else []
    return Usage(percent=max(percents, default=0.0), regain_seconds=max(regains) if regains else None)


def _json(text: str | None) -> object:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _float(value: object) -> float:
    try:
        number = float(value) if isinstance(value, (int, float, str)) else 0.0
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e9 else 0.0
