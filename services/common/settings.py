"""What every service reads from the environment, once, at start.

Each service declares `class Settings(ServiceSettings)`; a field's name in upper case is the variable's.
`read(Settings)` reports every problem in one message and ends the program with code 2.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Address(NamedTuple):
    """Where to listen or to call; an empty host means every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        """Say it as gRPC and people write it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host or '[::]'}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in {"localhost", "::1"} or self.host.startswith("127.")


def parse_address(value: object) -> Address:
    """Read `host:port`, `:port` or `[::1]:port`."""
    if isinstance(value, Address):
        return value
    host, colon, port = str(value).rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port, with a port from 0 to 65535")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 host goes in brackets, as in [::1]:8080")
    host = host.strip("[]")
    return Address("" if host == "::" else host, int(port))


def parse_flag(value: object) -> bool:
    """Read true or false; anything else is a mistake, not a guess."""
    if isinstance(value, bool):
        return value
    words = {"true": True, "false": False}
    if str(value).strip().lower() not in words:
        raise ValueError("must be true or false")
    return words[str(value).strip().lower()]


def split_words(value: object) -> object:
    """Read a comma-separated list; blanks around and between commas are dropped."""
    if isinstance(value, str):
        return tuple(word for word in (piece.strip() for piece in value.split(",")) if word)
    return value


def split_url(value: str) -> SplitResult:
    """Take an address apart. Raises ValueError, without the address: it may hold a password, and urlsplit shows all."""
    try:
        return urlsplit(value)
    except ValueError:
        raise ValueError("cannot be read as an address; percent-encode what is special in a password") from None


def require_http(value: str) -> str:
    """Take an absolute http or https address."""
    parts = split_url(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address that begins with https:// (or http:// on this machine)")
    return value


def require_base(value: str) -> str:
    """Take an address to which paths are added; return it without a slash at its end."""
    return require_http(value).rstrip("/")


def require_certificates(folder: Path | None) -> Path | None:
    """Take a folder that holds what mutual TLS needs."""
    if folder is None:
        return None
    for name in ("tls.key", "tls.crt", "ca.crt"):
        try:
            (folder / name).open("rb").close()
        except OSError as error:
            raise ValueError(f"{name} cannot be read there: {(error.strerror or 'no reason').lower()}") from None
    return folder


ListenAddress = Annotated[Address, NoDecode, BeforeValidator(parse_address)]
WebAddress = Annotated[str, AfterValidator(require_http)]
BaseAddress = Annotated[str, AfterValidator(require_base)]
ApiVersion = Annotated[str, Field(pattern=r"^v\d+\.\d+$")]
Flag = Annotated[bool, BeforeValidator(parse_flag)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_words)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ServiceSettings(BaseSettings):
    """The variables that all services share. An empty variable counts as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] | None = None
    log_text: Flag = False
    grpc_tls_dir: Annotated[Path | None, AfterValidator(require_certificates)] = None
    drain_seconds: Seconds = 15


S = TypeVar("S", bound=BaseSettings)


def load(settings: type[S], env: Mapping[str, str]) -> S:
    """Return the settings; what `env` names wins over this process's environment. Raises ValidationError."""
    given: dict[str, Any] = {name.lower(): value for name, value in env.items() if value}
    return settings(**given)


def read(settings: type[S], env: Mapping[str, str] | None = None) -> S:
    """Return the settings as `load` does, or print every problem to standard error and exit with code 2."""
    try:
        return load(settings, env or {})
    except ValidationError as error:
        print("igbot cannot start; these settings need attention:", file=sys.stderr)  # noqa: T201 - the log is not set up yet
        for line in problems(error):
            print(f"  {line}", file=sys.stderr)  # noqa: T201 - the log is not set up yet
        raise SystemExit(2) from None


def problems(error: ValidationError) -> list[str]:
    """Say each problem in one line, never with the value: it may be a secret."""
    lines = []
    for found in error.errors(include_input=False, include_url=False, include_context=False):
        name = str(found["loc"][0]).upper() if found["loc"] else "settings"
        what = "is missing" if found["type"] == "missing" else found["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {what}")
    return lines
