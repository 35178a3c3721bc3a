"""What the token service counts and measures."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Gauge

from services.common.account_state import AccountState
from services.common.metrics import Dependency, counter, gauge
from services.common.traffic import Target, outbound_calls, served_rpcs

DEPENDENCIES = (Dependency.DATABASE, Dependency.KEYRING, Dependency.GRAPH)
TARGETS = (Target.OAUTH, Target.GRAPH_TOKEN, Target.GRAPH_READ, Target.GRAPH_SUBSCRIPTION, Target.ALERT_URL)


class RefreshOutcome(StrEnum):
    """What became of one attempt to refresh a token."""

    REFRESHED = "refreshed"
    TOO_YOUNG = "too_young"
    REFUSED = "refused"
    FAILED = "failed"
    LOST_LEASE = "lost_lease"


class SubscriptionOutcome(StrEnum):
    """What one look at an account's webhook subscription came to."""

    IN_PLACE = "in_place"
    REPAIRED = "repaired"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"
    FAILED = "failed"


class TokensMetrics:
    """The token service: accounts by state, token life, refreshes."""

    def __init__(self, registry: CollectorRegistry, *, methods: Iterable[str] = ()) -> None:
        """Declare the token service's metrics on its registry, with the names of its RPCs."""
        self.rpcs = served_rpcs(registry, methods)
        self.calls = outbound_calls(registry, TARGETS)
        self.accounts = gauge(registry, "igbot_accounts", "Accounts by state; store-wide.", "state", AccountState)
        self.expiry = Gauge(
            "igbot_token_expiry_seconds",
            "Least life left of any active account's token; store-wide.",
            registry=registry,
        )
        self.unsubscribed = Gauge(
            "igbot_accounts_unsubscribed",
            "Active accounts whose messages Instagram does not deliver; store-wide.",
            registry=registry,
        )
        self.refreshes = counter(
            registry,
            "igbot_refreshes_total",
            "Token refreshes by outcome.",
            "outcome",
            RefreshOutcome,
        )
        self.expiry_by_state = gauge(
            registry,
            "igbot_token_least_expiry_seconds",
            "Least life left of any token by its account's state; store-wide.",
            "state",
            AccountState,
        )
        self.last_success = Gauge(
            "igbot_refresh_last_success_timestamp_seconds",
            "When a token was last given by Instagram, in seconds since 1970; store-wide.",
            registry=registry,
        )
        self.subscriptions = counter(
            registry,
            "igbot_subscription_checks_total",
            "Looks at an account's webhook subscription by outcome; repaired and incomplete are drift.",
            "outcome",
            SubscriptionOutcome,
        )
        self.mass_rejection = Gauge(
            "igbot_mass_token_rejection",
            "1 while so many tokens are rejected at once that no account is given up; store-wide.",
            registry=registry,
        )
