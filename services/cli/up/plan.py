"""Rules: which processes make up one machine, and what each is told. No I/O."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.common.public_url import public_url
from services.common.settings import Address, parse_address

LISTEN_PORTS = {"gateway": 8080, "tokens": 50051, "responder": 50052, "sandbox": 8090}
OPS_PORTS = {"gateway": 9090, "tokens": 9091, "responder": 9092, "sandbox": 9093}
# No load balancer has to notice that it goes, which is what the gateway's longer default is for.
GATEWAY_DRAIN_SECONDS = "4"
# Stopped in this order: nothing new comes in, what is in hand goes out, and what others lean on ends last.
STOP_ORDER = ("gateway", "responder", "tokens", "sandbox", "valkey")
# A .env for the real Instagram must not lead the demo to its stores, its people or their alarms.
NOT_FOR_SANDBOX = (
    "ACCOUNT_ALERT_URL",
    "DATABASE_URL",
    "HANDOVER_URL",
    "REDIS_PREFIX",
    "REDIS_URL",
    "TOKEN_KEYS_DIR",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of the machine."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    stdin: bytes = field(default=b"", repr=False)
    listens: tuple[Address, ...] = ()
    ops: Address | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each service listens."""

    listen: Mapping[str, Address]
    ops: Mapping[str, Address]


def environment(shell: Mapping[str, str], dotenv: Mapping[str, str | None], *, sandbox: bool) -> dict[str, str]:
    """What the shell sets, and what .env sets besides."""
    skipped = NOT_FOR_SANDBOX if sandbox else ()
    return {name: value for name, value in dotenv.items() if value and name not in skipped} | dict(shell)


def choose_ports(env: Mapping[str, str], shift: int) -> Ports:
    """The defaults moved up by `shift`, except where a variable says otherwise.

    LISTEN_ADDRESS and OPS_ADDRESS are the gateway's, for it alone faces the outside. Raises ValueError.
    """
    listen = {name: Address("127.0.0.1", port + shift) for name, port in LISTEN_PORTS.items()}
    ops = {name: Address("127.0.0.1", port + shift) for name, port in OPS_PORTS.items()}
    named = {"gateway": "LISTEN_ADDRESS", "tokens": "TOKENS_ADDRESS", "responder": "RESPONDER_ADDRESS"}
    listen |= {service: parse_address(env[name]) for service, name in named.items() if env.get(name)}
    if env.get("OPS_ADDRESS"):
        ops["gateway"] = parse_address(env["OPS_ADDRESS"])
    return Ports(listen, ops)


def shared(env: Mapping[str, str], ports: Ports, *, folder: Path, redis_url: str) -> dict[str, str]:
    """What all services are told: their stores, one another's addresses, and what browsers call all of it."""
    return {
        **env,
        "PUBLIC_URL": public_url(env.get("PUBLIC_URL", ""), env.get("REDIRECT_URI", "")),
        "DATABASE_URL": env.get("DATABASE_URL") or sqlite_url(folder),
        "REDIS_URL": redis_url,
        "TOKEN_KEYS_DIR": env.get("TOKEN_KEYS_DIR") or str(folder / "keys"),
        "TOKENS_ADDRESS": str(ports.listen["tokens"]),
        "RESPONDER_ADDRESS": str(ports.listen["responder"]),
    }


def sqlite_url(folder: Path) -> str:
    """The folder as DATABASE_URL writes it."""
    return f"sqlite:///{folder}"


def service(name: str, env: Mapping[str, str], ports: Ports) -> Child:
    """One service as a child of ours."""
    listen, ops = ports.listen[name], ports.ops[name]
    own = {"LISTEN_ADDRESS": str(listen), "OPS_ADDRESS": str(ops)}
    if name == "gateway" and not env.get("DRAIN_SECONDS"):
        own["DRAIN_SECONDS"] = GATEWAY_DRAIN_SECONDS
    return Child(
        name=name,
        # -P: the current folder may hold another package named services.
        command=(sys.executable, "-P", "-m", "services.cli.main", name),
        env={**env, **own},
        listens=(listen, ops),
        ops=ops,
    )


def reachable(address: Address) -> str:
    """An address as this machine's browser reaches it."""
    return str(address) if address.host else f"127.0.0.1:{address.port}"
