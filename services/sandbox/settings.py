"""What the sandbox reads from the environment. Every variable has a default that fits a gateway on this machine."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from services.common.settings import Address, Flag, ListenAddress, Seconds, ServiceSettings, Words

SQLITE = "sqlite:///"


class Settings(ServiceSettings):
    """The sandbox's settings; its secrets are worth nothing anywhere else."""

    listen_address: ListenAddress = Address("127.0.0.1", 8090)
    ops_address: ListenAddress = Address("127.0.0.1", 9093)
    webhook_url: Words = ("http://127.0.0.1:8080/webhook",)  # of several, each attempt takes any, as behind a balancer
    app_secret: SecretStr = SecretStr("sandbox-secret")
    webhook_verify_token: SecretStr = SecretStr("sandbox-verify")
    instagram_client_id: str = "1000000000000001"
    instagram_client_secret: SecretStr = SecretStr("sandbox-secret")
    redirect_uri: str = "http://127.0.0.1:8080/oauth/callback"
    database_url: str = ""
    model_delay_seconds: Seconds = Field(default=1.0, description="how long the pretend model thinks")
    edit_noise: Flag = Field(default=False, description="send a message_edit with num_edit 0 after each message")

    @property
    def folder(self) -> Path | None:
        """Where the account and its conversations are kept over a restart; None: nowhere."""
        return Path(self.database_url.removeprefix(SQLITE)) if self.database_url.startswith(SQLITE) else None

    @property
    def signing_secret(self) -> str:
        """The secret that signs deliveries: the first, while they rotate."""
        return self.app_secret.get_secret_value().split(",")[0].strip()
