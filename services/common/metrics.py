"""Every metric of igbot. The naming rule is `igbot_<noun>_<verb>_<unit>`.

Label values are closed enums and exist from the start, so a dashboard shows zero and never "no data". No account,
person or message id is ever a label. Each service makes its own class on its own registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Dependency(StrEnum):
    """What a service needs and does not own."""

    REDIS = "redis"
    DATABASE = "database"
    KEYRING = "keyring"
    TOKENS = "tokens"
    RESPONDER = "responder"
    GRAPH = "graph"
    MODEL = "model"


def counter(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> Counter:
    """Make a counter with one label whose every value starts at zero."""
    made = Counter(name, text, [label], registry=registry)
    for value in values:
        made.labels(str(value))
    return made


def gauge(registry: CollectorRegistry, name: str, text: str, label: str, values: Iterable[str]) -> Gauge:
    """Make a gauge with one label whose every value starts at zero."""
    made = Gauge(name, text, [label], registry=registry)
    for value in values:
        made.labels(str(value))
    return made


class CommonMetrics:
    """What each service says of itself: its build and what it depends on."""

    def __init__(self, registry: CollectorRegistry, dependencies: Iterable[Dependency]) -> None:
        """Declare the metrics for the given dependencies."""
        self.build = Gauge(
            "igbot_build_info",
            "Always 1; the version is the label.",
            ["version"],
            registry=registry,
        )
        self.build.labels(version("igbot")).set(1)
        self.dependency_up = gauge(
            registry,
            "igbot_dependency_up",
            "1 while the dependency answers.",
            "dependency",
            dependencies,
        )


class WebhookOutcome(StrEnum):
    """What became of a webhook POST."""

    KEPT = "kept"
    BAD_SIGNATURE = "bad_signature"
    NO_SIGNATURE = "no_signature"
    TOO_LARGE = "too_large"
    INBOX_DOWN = "inbox_down"
    INBOX_FULL = "inbox_full"
    OVERLOADED = "overloaded"
    BAD_REQUEST = "bad_request"


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
    """What of the inbox was missing."""

    GROUP = "group"
    ENTRIES = "entries"


class ConnectOutcome(StrEnum):
    """How an owner's way through the OAuth pages ended."""

    CONNECTED = "connected"
    DECLINED = "declined"
    MISSING_SCOPES = "missing_scopes"
    REFUSED = "refused"
    UPSTREAM = "upstream"
    BAD_STATE = "bad_state"


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
            "Times that Redis had lost what it once kept, by what was missing.",
            "what",
            InboxLoss,
        )
        self.redis_safe = Gauge(
            "igbot_redis_safe",
            "1 while Redis is set to lose nothing: noeviction and append-only.",
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


class AccountState(StrEnum):
    """What an account's token can do."""

    ACTIVE = "active"
    REAUTHORIZE = "reauthorize"
    LIMITED = "limited"
    DISCONNECTED = "disconnected"


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

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the token service's metrics on its registry."""
        self.accounts = gauge(registry, "igbot_accounts", "Accounts by state; store-wide.", "state", AccountState)
        self.expiry = Gauge(
            "igbot_token_expiry_seconds",
            "Least life left of any active account's token; store-wide.",
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


class ReplyOutcome(StrEnum):
    """How a reply ended."""

    SENT = "sent"
    PARTLY_SENT = "partly_sent"
    UNSETTLED = "unsettled"
    REFUSED = "refused"
    HELD = "held"
    DROPPED = "dropped"


class Skip(StrEnum):
    """Why a customer's message gets no reply: closed words, the same in RPCs, logs, metrics and CLI."""

    PAUSED = "paused"
    OPTED_OUT = "opted_out"
    WINDOW_CLOSED = "window_closed"
    STALE = "stale"
    TAKEN_BACK = "taken_back"
    OWN_ACCOUNT = "own_account"
    NOTHING_TO_ANSWER = "nothing_to_answer"
    OVER_BUDGET = "over_budget"
    DISCONNECTED = "disconnected"


class SendOutcome(StrEnum):
    """What one POST to the Send API came to."""

    SENT = "sent"
    REFUSED = "refused"
    RETRY = "retry"
    UNKNOWN = "unknown"
    HELD = "held"


class ModelOutcome(StrEnum):
    """What one call of the language model came to."""

    ANSWERED = "answered"
    EMPTY = "empty"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    FAILED = "failed"
    BREAKER_OPEN = "breaker_open"


class ResponderMetrics:
    """The responder: replies, skips, sends, what is due, the model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Declare the responder's metrics on its registry."""
        self.replies = counter(registry, "igbot_replies_total", "Replies by outcome.", "outcome", ReplyOutcome)
        self.reply_seconds = Histogram(
            "igbot_reply_seconds",
            "From the customer's message to the first part sent.",
            buckets=(1, 2, 3, 5, 8, 13, 20, 30, 45, 60, 120, 300),
            registry=registry,
        )
        self.added_seconds = Histogram(
            "igbot_reply_added_seconds",
            "Time that igbot adds to a reply: from due to sent, without the model and Graph.",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
        self.skips = counter(registry, "igbot_skips_total", "Messages without a reply by reason.", "reason", Skip)
        self.sends = counter(
            registry,
            "igbot_sends_total",
            "POSTs to the Send API by outcome.",
            "outcome",
            SendOutcome,
        )
        self.sends_held = Gauge(
            "igbot_sends_held",
            "Replies whose fate nobody could find out; store-wide.",
            registry=registry,
        )
        self.due = Gauge(
            "igbot_conversations_due",
            "Conversations that are due and not held; store-wide.",
            registry=registry,
        )
        self.due_oldest = Gauge(
            "igbot_conversations_due_oldest_seconds",
            "How long the oldest due conversation has waited; store-wide.",
            registry=registry,
        )
        self.model_calls = counter(
            registry,
            "igbot_model_calls_total",
            "Calls of the language model by outcome.",
            "outcome",
            ModelOutcome,
        )
        self.model_seconds = Histogram(
            "igbot_model_call_seconds",
            "Time of one call of the language model.",
            buckets=(0.25, 0.5, 1, 2, 3, 5, 8, 13, 20),
            registry=registry,
        )
        self.model_tokens = counter(
            registry,
            "igbot_model_tokens_total",
            "Tokens of the language model.",
            "direction",
            ("in", "out"),
        )
        self.handovers = counter(
            registry,
            "igbot_handovers_total",
            "Conversations that came to need a person, or got one, by reason.",
            "reason",
            ("failed", "held", "taken_over"),
        )
        self.automatic_replies = Gauge(
            "igbot_automatic_replies_suspected",
            "Accounts whose takeovers mostly begin within 3 s of a message: Instagram's own automatic replies.",
            registry=registry,
        )
        self.gap_messages = Counter(
            "igbot_gap_messages_total", "Messages that only the gap check found.", registry=registry
        )
