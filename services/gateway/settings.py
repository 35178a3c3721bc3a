"""What the gateway reads from the environment."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode
from redis.asyncio.connection import parse_url

from services.common.public_url import CallbackAddress, PageAddress, public_url
from services.common.settings import Address, Flag, ListenAddress, ServiceSettings, split_url, split_words

AUTHORIZE_URL = "https://www.instagram.com/oauth/authorize"


def split_secrets(value: object) -> object:
    """Read a comma-separated list of secrets."""
    return tuple(SecretStr(str(word)) for word in split_words(value)) if isinstance(value, str) else value  # type: ignore[attr-defined]  # split_words gives a tuple for a string


def require_redis(value: str) -> str:
    """Take an address that redis-py understands."""
    if split_url(value).scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    try:
        parse_url(value)
    except ValueError:  # its words show what may be a password
        raise ValueError("must be redis://user:password@host:port/number, with the password percent-encoded") from None
    return value


Secrets = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split_secrets), Field(min_length=1)]


class Settings(ServiceSettings):
    """The gateway's variables; README and design name each."""

    instagram_client_id: str
    redirect_uri: CallbackAddress
    app_secret: Secrets
    webhook_verify_token: SecretStr
    public_url: PageAddress = ""
    operator_password: SecretStr | None = None
    connect_open: Flag = False
    trust_proxy: Flag = False
    # A SecretStr: the address may hold a password.
    redis_url: Annotated[SecretStr, AfterValidator(lambda url: SecretStr(require_redis(url.get_secret_value())))] = (
        SecretStr("redis://127.0.0.1:6379/0")
    )
    redis_prefix: str = ""
    tokens_address: ListenAddress = Address("127.0.0.1", 50051)
    responder_address: ListenAddress = Address("127.0.0.1", 50052)
    listen_address: ListenAddress = Address("127.0.0.1", 8080)
    ops_address: ListenAddress = Address("127.0.0.1", 9090)
    instagram_authorize_url: PageAddress = AUTHORIZE_URL
    dead_letter_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 14

    @model_validator(mode="before")
    @classmethod
    def live_where_the_callback_is(cls, values: dict[str, object]) -> dict[str, object]:
        """Take PUBLIC_URL from REDIRECT_URI unless it is set: both are this gateway as browsers see it."""
        found = public_url(str(values.get("public_url") or ""), str(values.get("redirect_uri") or ""))
        # Without a good REDIRECT_URI the problem is that one alone.
        return {**values, "public_url": found or "http://unknown"}

    @property
    def public_host(self) -> str:
        """The host, with its port where there is one, that browsers should use."""
        return urlsplit(self.public_url).netloc

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The app secrets as the keys that signatures are made with."""
        return tuple(secret.get_secret_value().encode() for secret in self.app_secret)
