"""Notes to the operator's own addresses (ACCOUNT_ALERT_URL, HANDOVER_URL): one JSON POST, signed as Meta signs.

`X-Igbot-Signature-256: sha256=` and the hex HMAC-SHA256 of the raw body with ALERT_SECRET. Who sends them repeats a
note that did not arrive under the same `id`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import nullcontext

import aiohttp
from pydantic import SecretStr

from services.common.errors import Unavailable
from services.common.traffic import Watch

TIMEOUT_SECONDS = 10


class SignedNotes:
    """Posts notes to one address."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, secret: SecretStr, name: str, watch: Watch = nullcontext
    ) -> None:
        """Post to `url`, which errors call by `name`: the address itself may hold a key."""
        self.session = session
        self.url = url
        self.secret = secret
        self.name = name
        self.watch = watch

    async def post(self, content: Mapping[str, object]) -> None:
        """Post one note; anything but a 2xx is Unavailable."""
        with self.watch():
            await self._post(content)

    async def _post(self, content: Mapping[str, object]) -> None:
        body = json.dumps(content).encode()
        headers = {"Content-Type": "application/json", "X-Igbot-Signature-256": signature(self.secret, body)}
        limit = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with self.session.post(
                self.url, data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{self.name} does not answer: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise Unavailable(f"{self.name} answers {status}")


def signature(secret: SecretStr, body: bytes) -> str:
    """Sign a body."""
    return "sha256=" + hmac.new(secret.get_secret_value().encode(), body, hashlib.sha256).hexdigest()
