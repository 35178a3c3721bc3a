"""The variables of the token service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.common.database_url import DatabaseUrl, SqliteFolder
from services.common.public_url import CALLBACK_PATH, CallbackAddress
from services.common.settings import Address, ApiVersion, BaseAddress, ListenAddress, ServiceSettings, WebAddress
from services.tokens.keyring import load_keys


class Settings(ServiceSettings):
    """What `igbot tokens` reads from the environment."""

    instagram_client_id: str
    instagram_client_secret: SecretStr
    redirect_uri: CallbackAddress
    database_url: DatabaseUrl = SqliteFolder(Path("var"))
    token_keys_dir: Path
    graph_url: BaseAddress = "https://graph.instagram.com"
    graph_version: ApiVersion = "v25.0"
    instagram_token_url: WebAddress = "https://api.instagram.com/oauth/access_token"  # noqa: S105 - an address
    sweep_seconds: Annotated[float, Field(gt=0, le=3600)] = 30
    account_alert_url: WebAddress | None = None
    alert_secret: SecretStr | None = Field(default=None, validate_default=True)
    listen_address: ListenAddress = Address("127.0.0.1", 50051)
    ops_address: ListenAddress = Address("127.0.0.1", 9091)

    @field_validator("token_keys_dir")
    @classmethod
    def _holds_keys(cls, value: Path) -> Path:
        load_keys(value)
        return value

    @field_validator("alert_secret")
    @classmethod
    def _signs_alerts(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("account_alert_url") and not value:
            raise ValueError("is missing: ACCOUNT_ALERT_URL needs it to sign")
        return value

    @property
    def connect_url(self) -> str:
        """Where an owner connects again: the gateway's page beside the callback."""
        return self.redirect_uri.removesuffix(CALLBACK_PATH) + "/connect"
