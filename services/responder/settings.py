"""The responder's variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from services.common.database_url import DatabaseUrl, SqliteFolder
from services.common.settings import (
    Address,
    ApiVersion,
    BaseAddress,
    Flag,
    Hours,
    ListenAddress,
    Seconds,
    ServiceSettings,
    WebAddress,
    Words,
)
from services.responder.times import HOUR, SECOND, Policy
from services.responder.words import as_word, clean

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


class Settings(ServiceSettings):
    """Read once at start; a field's name in upper case is the variable's."""

    listen_address: ListenAddress = Address("127.0.0.1", 50052)
    ops_address: ListenAddress = Address("127.0.0.1", 9092)
    database_url: DatabaseUrl = SqliteFolder(Path("var"))
    tokens_address: ListenAddress = Address("127.0.0.1", 50051)
    graph_url: BaseAddress = "https://graph.instagram.com"
    graph_version: ApiVersion = "v25.0"
    openai_api_key: SecretStr
    openai_base_url: BaseAddress | None = None
    openai_model: str = "gpt-5-mini"
    model_timeout_seconds: Seconds = 20
    model_stream: Flag = False
    system_prompt_file: Path | None = None
    quiet_seconds: Seconds = 2
    quiet_max_seconds: Seconds = 8
    takeover_hours: Hours = 12
    stale_hours: Hours = 12
    stop_words: Words = ("stop", "unsubscribe")
    start_words: Words = ("start",)
    max_parts: Positive = 3
    max_tries: Positive = 8
    workers: Positive = 32
    lease_seconds: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 6
    reply_deadline_seconds: Seconds = 60
    sends_per_second: Positive = 100
    replies_per_person_hour: Count = 20
    replies_per_person_day: Count = 60
    fallback_text: str = ""
    gap_check: Flag = True
    human_agent_enabled: Flag = False
    retention_days: Positive = 90
    handover_url: WebAddress | None = None
    alert_secret: SecretStr | None = Field(default=None, validate_default=True)

    # Only for tests: they shrink the ledger's times and kill the process at a named step.
    igbot_test_time_divisor: Annotated[float, Field(gt=0)] = 1
    igbot_test_kill_at: str = ""

    @field_validator("stop_words", "start_words")
    @classmethod
    def _can_be_written(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(as_word, value)):
            raise ValueError("holds a word of nothing but dots and exclamation marks")
        return value

    @field_validator("alert_secret")
    @classmethod
    def _signs_handovers(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.data.get("handover_url") and not value:
            raise ValueError("is missing: HANDOVER_URL needs it to sign")
        return value

    @property
    def policy(self) -> Policy:
        """Return the operator's choices as the rules take them."""
        return Policy(
            quiet=int(self.quiet_seconds * SECOND),
            quiet_max=int(self.quiet_max_seconds * SECOND),
            takeover=int(self.takeover_hours * HOUR),
            stale=int(self.stale_hours * HOUR),
            stop_words=frozenset(map(as_word, self.stop_words)),
            start_words=frozenset(map(as_word, self.start_words)),
            max_parts=self.max_parts,
            max_tries=self.max_tries,
            per_hour=self.replies_per_person_hour,
            per_day=self.replies_per_person_day,
            human_agent=self.human_agent_enabled,
            fallback_text=clean(self.fallback_text),
            reply_deadline=int(self.reply_deadline_seconds * SECOND),
        )
