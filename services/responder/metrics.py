"""What the responder counts and measures."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.metrics import Dependency, counter, gauge
from services.common.traffic import Target, outbound_calls, served_rpcs
from services.responder.account import HoldReason

DEPENDENCIES = (Dependency.DATABASE, Dependency.TOKENS, Dependency.MODEL, Dependency.GRAPH)
TARGETS = (
    Target.TOKENS,
    Target.MODEL,
    Target.GRAPH_SEND,
    Target.GRAPH_ACTION,
    Target.GRAPH_READ,
    Target.HANDOVER_URL,
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

    def __init__(self, registry: CollectorRegistry, *, methods: Iterable[str] = ()) -> None:
        """Declare the responder's metrics on its registry, with the names of its RPCs."""
        self.rpcs = served_rpcs(registry, methods)
        self.calls = outbound_calls(registry, TARGETS)
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
        self.failed = Gauge(
            "igbot_conversations_failed",
            "Conversations that are given up until a person or the customer does something; store-wide.",
            registry=registry,
        )
        self.accounts_held = gauge(
            registry,
            "igbot_accounts_held",
            "Accounts for which nothing is sent now, by reason; store-wide.",
            "reason",
            HoldReason,
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
        self.model_tokens = counter(
            registry,
            "igbot_model_tokens_total",
            "Tokens of the language model, as its answers tell.",
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
