"""The one way out to Instagram's API: aiohttp, no retries, no redirects, errors read from the body.

A failure says whether the request may have reached Instagram: `reached` is False only when it certainly did not.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from services.common.graph_errors import GraphFailure as GraphFailure  # noqa: PLC0414 - callers may name it from here
from services.common.graph_errors import read_error
from services.common.graph_usage import Usage, read_usage
from services.common.traffic import Target, unwatched

MAX_ANSWER_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: the JSON object and how much of the limits is used."""

    body: dict[str, Any]
    usage: Usage


class GraphClient:
    """Calls addresses below one base, for example `https://graph.instagram.com/v25.0`."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        timeout: float,
        timed: Callable[[Target], AbstractContextManager[None]] = unwatched,
    ) -> None:
        """Use the given session; `timeout` is in seconds for a whole call, which is made in a `timed`."""
        self.session = session
        self.base = base.rstrip("/")
        self.timeout = timeout
        self.timed = timed

    async def get(self, path: str, params: Mapping[str, str], *, token: str = "", timeout: float = 0) -> Answer:
        """Read. The token goes into the query as Meta documents it, and into the header where that is accepted."""
        query = {**params, "access_token": token} if token else dict(params)
        return await self._call("GET", path, params=query, headers=bearer(token), timeout=timeout)

    async def post(self, path: str, body: Mapping[str, Any], *, token: str = "", timeout: float = 0) -> Answer:
        """Send JSON with the token in the header, as the Send API documents it."""
        return await self._call("POST", path, json=body, headers=bearer(token), timeout=timeout)

    async def post_query(self, path: str, params: Mapping[str, str], *, token: str) -> Answer:
        """Post with everything in the query, as `subscribed_apps` documents it."""
        return await self._call("POST", path, params={**params, "access_token": token}, headers=bearer(token))

    async def post_form(self, address: str, form: Mapping[str, str]) -> Answer:
        """Post a form to a whole address, as the code exchange wants it."""
        return await self._call("POST", address, data=dict(form))

    async def delete(self, path: str, *, token: str) -> Answer:
        """Delete."""
        return await self._call("DELETE", path, params={"access_token": token}, headers=bearer(token))

    async def _call(self, method: str, path: str, *, timeout: float = 0, **options: Any) -> Answer:
        with self.timed(target_of(method, path, options.get("json"))):
            return await self._ask(method, path, timeout or self.timeout, **options)

    async def _ask(self, method: str, path: str, seconds: float, **options: Any) -> Answer:
        address = path if path.startswith("http") else f"{self.base}/{path.lstrip('/')}"
        limit = aiohttp.ClientTimeout(total=seconds)
        try:
            async with self.session.request(
                method, address, timeout=limit, allow_redirects=False, **options
            ) as response:
                return deciphered(response.status, await whole(response), response.headers)
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            ssl.SSLError,
        ) as error:
            raise GraphFailure(f"not reached: {type(error).__name__}", reached=False) from None
        except aiohttp.InvalidURL as error:
            raise GraphFailure(f"not called: {type(error).__name__}", reached=False) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # `from None`: the foreign error's text holds the address, and the address may hold the token.
            slow = isinstance(error, TimeoutError)
            raise GraphFailure(f"no answer: {type(error).__name__}", reached=True, slow=slow) from None


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """Return the whole body, in however many pieces it comes; more than we would keep is a failure."""
    raw = bytearray()
    async for piece in response.content.iter_any():
        raw += piece
        if len(raw) > MAX_ANSWER_BYTES:
            raise GraphFailure(f"an answer of more than {MAX_ANSWER_BYTES} bytes", reached=True)
    return bytes(raw)


def target_of(method: str, path: str, body: Mapping[str, Any] | None) -> Target:
    """Return what kind of call this is."""
    if path.startswith("http"):
        return Target.OAUTH
    last = path.rpartition("/")[2]
    if method == "POST" and last == "messages":
        return Target.GRAPH_ACTION if body and "sender_action" in body else Target.GRAPH_SEND
    if last == "subscribed_apps":
        return Target.GRAPH_SUBSCRIPTION
    return Target.GRAPH_TOKEN if last in {"access_token", "refresh_access_token"} else Target.GRAPH_READ


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def deciphered(status: int, raw: bytes, headers: Mapping[str, str]) -> Answer:
    """Return the JSON object of a success; raise GraphFailure for everything else."""
    usage = read_usage(headers)
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    error = read_error(status, body)
    if error is not None:
        raise GraphFailure(f"Graph error {error}", reached=True, error=error, usage=usage)
    if not isinstance(body, dict):
        raise GraphFailure(f"unreadable answer (HTTP {status})", reached=True, usage=usage)
    return Answer(body, usage)


def session(to: str, *, connections: int = 100) -> aiohttp.ClientSession:
    """Make the session that a service calls out with, through the proxy that the environment names for `to`.

    The proxy is looked up once: aiohttp's trust_env reads the environment and ~/.netrc again at each call. Close the
    session at the end.
    """
    where = urlsplit(to)
    proxy = None if proxy_bypass(where.hostname or "") else getproxies().get(where.scheme)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=30),
        auto_decompress=True,
        proxy=proxy,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
