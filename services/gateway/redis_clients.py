"""How this gateway talks to Redis: no retries hidden in the client, and a short time-out on everything."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from services.gateway.wire import Wire


def options(seconds: float) -> dict[str, Any]:
    """Return what every connection shares."""
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "client_name": "igbot-gateway",
        # A managed cluster's announcements; asking for them costs a round trip and an error on every other Redis.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }


def client(url: str, seconds: float, connections: int) -> Redis:
    """Return a client that waits for a free connection rather than failing."""
    pool = BlockingConnectionPool.from_url(url, max_connections=connections, timeout=seconds, **options(seconds))
    return Redis(connection_pool=pool)


def wire(url: str) -> Wire:
    """Return a connection that keeps the time itself."""
    asked = {**options(0), "socket_timeout": None, "socket_connect_timeout": None, "protocol": 2}
    return Wire(ConnectionPool.from_url(url, **asked))
