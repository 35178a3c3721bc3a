"""The doctor's checks of what is this side's own: settings, keyring, Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from services.cli.findings import Finding
from services.cli.operator import OperatorSettings
from services.cli.problem import Code, Problem
from services.common.public_url import CALLBACK_PATH
from services.common.settings import ServiceSettings, load, problems

SERVICES = ("gateway", "tokens", "responder")
SLOW_MS = 50
FULL = 0.8
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
WANTED = {
    "maxmemory-policy": ("noeviction", "a full Redis must refuse, not forget: CONFIG SET maxmemory-policy noeviction"),
    "appendonly": ("yes", "deliveries that were answered 200 must be on disk: CONFIG SET appendonly yes"),
    "appendfsync": ("always", "everysec may lose the last second of a crash: CONFIG SET appendfsync always"),
}


def settings(env: Mapping[str, str]) -> Iterator[Finding]:
    """Whether each service would start with this environment; none is expected to where nothing is set."""
    values = {name.lower(): value for name, value in env.items() if value}
    models = {name: import_module(f"services.{name}.settings").Settings for name in SERVICES}
    expected = expected_here(values, models)
    for name, model in models.items():
        if name not in expected:
            yield Finding(f"settings {name}", None, "not set here", "run the doctor where the service runs", local=True)
            continue
        try:
            load(model, env)
        except ValidationError as error:
            yield Finding(f"settings {name}", False, "; ".join(problems(error)), "see .env.example", local=True)
        else:
            yield Finding(f"settings {name}", True, "complete", local=True)


def expected_here(values: Mapping[str, str], models: Mapping[str, type[ServiceSettings]]) -> set[str]:
    """Which services are meant to run with this environment: those of which something is set that only they require.

    Where nothing of the kind is set, what services share tells as much as there is to know.
    """
    required = {
        name: {field for field, facts in model.model_fields.items() if facts.is_required()}
        for name, model in models.items()
    }
    own = {
        name: fields.difference(*(others for other, others in required.items() if other != name))
        for name, fields in required.items()
    }
    return {name for name in own if own[name] & set(values)} or {name for name in own if required[name] & set(values)}


def redirect_uri(env: Mapping[str, str]) -> Finding:
    """Whether the address that owners come back to has the form that Meta takes, and leads to this gateway."""
    given, public = env.get("REDIRECT_URI") or "", urlsplit(env.get("PUBLIC_URL") or "")
    if not given:
        return Finding("redirect uri", None, "REDIRECT_URI is not set here", local=True)
    parts = urlsplit(given)
    advice = f"it must be the very text that stands in the Meta app, and lead to PUBLIC_URL{CALLBACK_PATH}"
    if not given.endswith(CALLBACK_PATH) or parts.query or parts.fragment:
        return Finding("redirect uri", False, f"does not end in {CALLBACK_PATH}", advice, local=True)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        return Finding("redirect uri", False, "is not https", f"Instagram returns to https only; {advice}", local=True)
    if public.netloc and (public.scheme, public.netloc) != (parts.scheme, parts.netloc):
        found = f"leads to {parts.netloc}, PUBLIC_URL to {public.netloc}"
        return Finding("redirect uri", False, found, advice, local=True)
    return Finding("redirect uri", True, given, local=True)


def keyring(folder: Path | None) -> Finding:
    """Whether the keys can be read."""
    from services.tokens.keyring import load_keys

    if folder is None:
        return Finding("keyring", None, "TOKEN_KEYS_DIR is not set here", local=True)
    try:
        keys = load_keys(folder)
    except (ValueError, OSError) as error:
        advice = "restore it from your backup: tokens cannot be read without it"
        return Finding("keyring", False, str(error), advice, local=True)
    return Finding("keyring", True, f"{len(keys)} key{'s' if len(keys) > 1 else ''}, {max(keys)} encrypts", local=True)


def redis(settings: OperatorSettings) -> Iterator[Finding]:
    """Whether Redis answers, can be written, and keeps what it acknowledges."""
    from services.cli.dead_stream import open_redis

    try:
        with open_redis(settings) as client:
            yield _written(client, settings.redis_prefix)
            yield _room(client)
            yield from _configured(client)
    except Problem as problem:
        absent = problem.code == Code.UNREACHABLE
        refused = "see igbot dead-letters and the responder, if it is full; else what REDIS_URL's user may do"
        advice = refused if problem.code == Code.FOUND_A_PROBLEM else "start it, or mend REDIS_URL"
        yield Finding("redis", False, str(problem), f"{advice}; deliveries are answered 503 meanwhile", absent)


def _written(client: Any, prefix: str) -> Finding:
    began = time.perf_counter()
    client.set(f"{prefix}doctor", "1", px=1000)
    took = (time.perf_counter() - began) * 1000
    return Finding("redis", took < SLOW_MS, f"answers, writes in {took:.1f} ms", "each delivery waits for such a write")


def _room(client: Any) -> Finding:
    memory = client.info("memory")
    used, most = memory["used_memory"], memory.get("maxmemory", 0)
    if not most:
        return Finding("redis memory", True, f"{used >> 20} MiB used, no limit of its own")
    advice = (
        "above 90 % deliveries are refused: is the responder up? Look at igbot dead-letters list, give it more memory"
    )
    return Finding("redis memory", used < FULL * most, f"{used / most:.0%} of {most >> 20} MiB used", advice)


def _configured(client: Any) -> Iterator[Finding]:
    from redis.exceptions import ResponseError

    for name, (wanted, advice) in WANTED.items():
        try:
            found = client.config_get(name).get(name, "")
        except ResponseError:
            yield Finding(f"redis {name}", None, "this Redis does not tell", f"must be {wanted}")
            continue
        value = found.decode() if isinstance(found, bytes) else str(found)
        yield Finding(f"redis {name}", value == wanted, value, advice)
