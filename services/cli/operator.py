"""Where the operator's commands find everything: the environment, else what a running `igbot up` has told."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from typing import Annotated

from dotenv.parser import parse_stream
from pydantic import Field, SecretStr, ValidationError

from services.cli.problem import Code, Problem, reason
from services.cli.up.folder import data_folder, running
from services.common.public_url import public_url
from services.common.settings import Address, ListenAddress, ServiceSettings, Words, load, problems


class OperatorSettings(ServiceSettings):
    """What a person at a terminal needs to reach the services; commands ask for more where they need it."""

    tokens_address: ListenAddress = Address("127.0.0.1", 50051)
    responder_address: ListenAddress = Address("127.0.0.1", 50052)
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    redis_prefix: str = ""
    token_keys_dir: Path | None = None
    public_url: str = ""
    app_secret: Annotated[Words, Field(repr=False)] = ()
    webhook_verify_token: SecretStr = SecretStr("")


def operator_settings() -> OperatorSettings:
    """Read them. Raises Problem with all that is wrong in them, which is exit code 2."""
    env = merged_environment()
    try:
        return load(OperatorSettings, env)
    except ValidationError as error:
        lines = "".join(f"\n  {line}" for line in problems(error))
        raise Problem(f"these settings need attention (.env or the environment):{lines}", Code.USAGE) from None


def merged_environment() -> dict[str, str]:
    """The environment; besides, what the `igbot up` that runs here has told; besides, .env. Always with PUBLIC_URL."""
    dotenv = {name: value for name, value in read_dotenv().items() if value}
    folder = data_folder(os.environ.get("DATABASE_URL") or dotenv.get("DATABASE_URL", ""))
    real, demo = running(folder), running(Path("var/sandbox"))
    told = real or demo or {}
    # A demo has nothing to do with the real Instagram of .env.
    env = {**({} if demo and not real else dotenv), **{key: told[key] for key in told if key.isupper()}, **os.environ}
    return {**env, "PUBLIC_URL": public_url(env.get("PUBLIC_URL", ""), env.get("REDIRECT_URI", ""))}


def read_dotenv() -> dict[str, str | None]:
    """The variables of .env in the current folder, None where a name stands alone. Raises Problem."""
    path = Path(".env")
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except UnicodeDecodeError:
        raise Problem(".env is not UTF-8 text; save it as UTF-8.", Code.USAGE) from None
    except OSError as error:
        raise Problem(f".env cannot be read: {reason(error)}.", Code.USAGE) from error
    lines = list(parse_stream(StringIO(text)))
    for line in lines:
        if line.error:
            raise Problem(f".env, line {line.original.line}: write NAME=value, and close what is quoted.", Code.USAGE)
    return {line.key: line.value for line in lines if line.key}
