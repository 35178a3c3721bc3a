"""What the sandbox's use cases need of the world outside."""

from __future__ import annotations

from typing import Protocol

from services.sandbox.deliveries import Delivery


class Post(Protocol):
    """Carries deliveries to the webhook."""

    def post(self, delivery: Delivery, after: float = 0) -> None:
        """Deliver until it is taken in; begin `after` seconds from now."""

    def waiting(self) -> list[Delivery]:
        """What has not been taken in yet."""

    def drop_all(self) -> None:
        """Forget what waits."""
