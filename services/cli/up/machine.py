"""Puts one machine together: everything that can be checked is checked before the first process starts."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from services.cli import keyring
from services.cli.problem import Code, Problem, reason
from services.cli.up import folder as folders
from services.cli.up import plan, ports, pretend, valkey
from services.common.settings import load, problems

DRAIN_MARGIN_SECONDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What will run; nothing of it has started."""

    folder: Path
    lock: int
    valkey: plan.Child | None
    children: tuple[plan.Child, ...]
    stop_seconds: float
    facts: Mapping[str, str]
    links: tuple[tuple[str, str], ...]


def prepare(shell: Mapping[str, str], dotenv: Mapping[str, str | None], *, sandbox: bool, shift: int) -> Machine:
    """Lock the data folder, choose addresses, make a keyring on first use. Raises Problem."""
    env = plan.environment(shell, dotenv, sandbox=sandbox)
    folder = _folder(env, sandbox=sandbox)
    folders.open_folder(folder)
    lock = folders.lock_folder(folder)
    chosen = _ports(env, shift)
    own, redis_url = _redis(env, folder)
    told = plan.shared(env, chosen, folder=folder, redis_url=redis_url)
    children = _children(told, chosen, sandbox=sandbox)
    _require_keyring(Path(told["TOKEN_KEYS_DIR"]), folder / "tokens.db")
    drain = _require_settings(children)
    ports.require_free(children)
    return Machine(
        folder=folder,
        lock=lock,
        valkey=own,
        children=children,
        stop_seconds=drain + DRAIN_MARGIN_SECONDS,
        facts=_facts(children[-1].env, folders.DEMO_FACTS if sandbox else folders.FACTS),
        links=_links(told, chosen, sandbox=sandbox),
    )


def _folder(env: Mapping[str, str], *, sandbox: bool) -> Path:
    """The demo keeps to a folder of its own, so that its pretend account never meets the real Instagram."""
    folder = folders.data_folder(env.get("DATABASE_URL", ""))
    return folder / "sandbox" if sandbox and not env.get("DATABASE_URL") else folder


def _ports(env: Mapping[str, str], shift: int) -> plan.Ports:
    try:
        return plan.choose_ports(env, shift)
    except ValueError as error:
        raise Problem(f"LISTEN_ADDRESS, OPS_ADDRESS, TOKENS_ADDRESS, RESPONDER_ADDRESS: {error}", Code.USAGE) from error


def _redis(env: Mapping[str, str], folder: Path) -> tuple[plan.Child | None, str]:
    """Our own Valkey and its URL, or none and the URL that is set."""
    if env.get("REDIS_URL"):
        return None, env["REDIS_URL"]
    drawn = secrets.SystemRandom().sample(ports.QUIET, len(ports.QUIET))
    port, password = ports.free_port(drawn), secrets.token_urlsafe(24)
    return valkey.child(folder, port, password), f"redis://:{password}@127.0.0.1:{port}/0"


def _children(told: Mapping[str, str], chosen: plan.Ports, *, sandbox: bool) -> tuple[plan.Child, ...]:
    names = ("tokens", "responder", "gateway")
    if not sandbox:
        return tuple(plan.service(name, told, chosen) for name in names)
    told = pretend.pretend(told, chosen, secret=secrets.token_hex(16))
    pretender = plan.service("sandbox", pretend.for_sandbox(told, chosen), chosen)
    return (pretender, *(plan.service(name, told, chosen) for name in names))


def _require_settings(children: Sequence[plan.Child]) -> float:
    """Raise Problem with all that is wrong in the settings of all services; return the longest drain time."""
    wrong: dict[str, None] = {}  # in order, and each once: services share variables
    drain = 0.0
    for child in children:
        settings = import_module(f"services.{child.name}.settings").Settings
        try:
            drain = max(drain, load(settings, child.env).drain_seconds)
        except ValidationError as error:
            wrong |= dict.fromkeys(problems(error))
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        raise Problem(
            f"these settings need attention (.env or the environment; see .env.example):\n{lines}", Code.USAGE
        )
    return drain


def _require_keyring(keys: Path, tokens: Path) -> None:
    """Make the first key on first use; a folder that has keys is left as it is.

    A new key beside old tokens would hide that the old keyring is lost or not mounted.
    """
    if keys.is_dir() and keyring.key_names(keys):
        return
    if tokens.exists():
        raise Problem(
            f"{keys} holds no key, but the tokens in {tokens} were encrypted with one. Restore the keyring from your "
            "backup; without it, delete that file and connect the accounts again."
        )
    try:
        keyring.new_key(keys, now=datetime.now(UTC), entropy=secrets.token_bytes(keyring.KEY_BYTES))
    except OSError as error:
        raise Problem(f"cannot make a keyring in {keys}: {reason(error)}.") from error


def _facts(env: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    return {name: env[name] for name in names if env.get(name)}


def _links(env: Mapping[str, str], chosen: plan.Ports, *, sandbox: bool) -> tuple[tuple[str, str], ...]:
    if sandbox:
        gateway, chat = (plan.reachable(chosen.listen[name]) for name in ("gateway", "sandbox"))
        return (("1. Connect the account", f"http://{gateway}/connect"), ("2. Chat with the bot", f"http://{chat}/"))
    return (("Connect an account", f"{env['PUBLIC_URL']}/connect"),)
