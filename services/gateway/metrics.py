"""What the gateway counts and measures."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.metrics import Dependency, counter
from services.common.traffic import Target, Traffic, outbound_calls

DEPENDENCIES = (Dependency.REDIS, Dependency.TOKENS, Dependency.RESPONDER)


class WebhookOutcome(StrEnum):
    """What became of a webhook POST."""

    KEPT = "kept"
    BAD_SIGNATURE = "bad_signature"
    NO_SIGNATURE = "no_signature"
    TOO_LARGE = "too_large"
    INBOX_DOWN = "inbox_down"
    INBOX_FULL = "inbox_full"
    OVERLOADED = "overloaded"


class EventVerdict(StrEnum):
    """What the responder says of an event."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNKNOWN_ACCOUNT = "unknown_account"
    INVALID = "invalid"
    LATER = "later"


class DeliverOutcome(StrEnum):
    """How one call of the responder's Deliver ended."""

    OK = "ok"
    DOWN = "down"
    SLOW = "slow"
    FAULT = "fault"


class InboxLoss(StrEnum):
    """What of the inbox was missing; after a fail-over, what may be."""

    GROUP = "group"
    ENTRIES = "entries"
    FAIL_OVER = "fail_over"


class ConnectOutcome(StrEnum):
    """How an owner's way through the OAuth pages ended."""

    CONNECTED = "connected"
    DECLINED = "declined"
    MISSING_SCOPES = "missing_scopes"
    REFUSED = "refused"
    UPSTREAM = "upstream"
    BAD_STATE = "bad_state"


class PageName(StrEnum):
    """The addresses that browsers and Meta's forms use."""

    HOME = "home"
    CONNECT = "connect"
    CALLBACK = "callback"
    WEBHOOK_SET_UP = "webhook_set_up"
    DEAUTHORIZE = "deauthorize"
    DATA_DELETION = "data_deletion"
    DELETION_STATE = "deletion_state"
    STYLE = "style"
    NOWHERE = "nowhere"


class GatewayMetrics:
    """The gateway: deliveries in, inbox, dead letters, the dispatcher, owners that connect."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        secrets: int = 1,
        ignored: Iterable[str] = (),
        dead: Iterable[str] = (),
    ) -> None:
        """Declare the gateway's metrics for so many app secrets and the closed words of its parser."""
        self.deliveries = counter(
            registry,
            "igbot_webhook_deliveries_total",
            "Webhook POSTs by outcome.",
            "outcome",
            WebhookOutcome,
        )
        self.webhook_seconds = Histogram(
            "igbot_webhook_seconds",
            "From the whole body of a delivery to the answer.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1),
            registry=registry,
        )
        self.pages = Traffic(
            registry,
            "page_request",
            "page",
            PageName,
            texts=("Requests for pages and forms, by page and how they ended.", "Time to answer a page or form."),
            buckets=(0.005, 0.02, 0.05, 0.1, 0.3, 1, 3, 10),
        )
        self.calls = outbound_calls(registry, (Target.TOKENS, Target.RESPONDER))
        self.inbox_entries = Gauge(
            "igbot_inbox_entries",
            "Deliveries that wait in the inbox; store-wide.",
            registry=registry,
        )
        self.inbox_oldest = Gauge(
            "igbot_inbox_oldest_seconds",
            "Age of the oldest delivery in the inbox; store-wide.",
            registry=registry,
        )
        self.dead_letters = Gauge("igbot_dead_letters", "Entries in the stream dead; store-wide.", registry=registry)
        self.signatures = counter(
            registry,
            "igbot_webhook_signatures_total",
            "Deliveries by the app secret that signed them: its place in APP_SECRET.",
            "secret",
            map(str, range(secrets)),
        )
        self.items_ignored = counter(
            registry,
            "igbot_items_ignored_total",
            "Items of deliveries that mean nothing to igbot, by reason.",
            "reason",
            ignored,
        )
        self.items_dead = counter(
            registry,
            "igbot_items_dead_total",
            "Items of deliveries that were put aside, by reason.",
            "reason",
            dead,
        )
        self.events = counter(
            registry,
            "igbot_events_total",
            "Events handed to the responder, by its verdict.",
            "verdict",
            EventVerdict,
        )
        self.deliver_calls = counter(
            registry,
            "igbot_deliver_calls_total",
            "Calls of the responder's Deliver by outcome.",
            "outcome",
            DeliverOutcome,
        )
        self.dispatcher_active = Gauge(
            "igbot_dispatcher_active", "1 on the gateway whose dispatcher is active.", registry=registry
        )
        self.inbox_lost = counter(
            registry,
            "igbot_inbox_lost_total",
            "Times that Redis had lost what it once kept, by what was missing, or may have in a fail-over.",
            "what",
            InboxLoss,
        )
        self.redis_safe = Gauge(
            "igbot_redis_safe",
            "1 while Redis is set to lose nothing: noeviction, append-only and, where Redis tells, fsync always.",
            registry=registry,
        )
        self.redis_memory = Gauge(
            "igbot_redis_memory_ratio", "Redis's used memory as a part of maxmemory; 0 without one.", registry=registry
        )
        self.connects = counter(
            registry, "igbot_connects_total", "Owners' connections by outcome.", "outcome", ConnectOutcome
        )
        self.crashes = Counter(
            "igbot_loop_crashes_total", "Loops that met what nobody foresaw and began anew.", registry=registry
        )
        self.tasks = Gauge("igbot_tasks", "Deauthorizations and deletions that wait; store-wide.", registry=registry)
