"""Meta's error answers, shaped as its servers were seen to shape them. Rules only.

https://developers.facebook.com/documentation/business-messaging/messenger-platform/error-codes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from services.common.errors import Refused


class Declined(Refused):
    """The pretend Meta says no: `status`, `body` and `headers` are what it answers."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        """Keep the whole answer."""
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = dict(body)
        self.headers = dict(headers or {})


def graph(
    status: int, code: int, message: str, subcode: int | None = None, *, kind: str = "IGApiException"
) -> Declined:
    """An error of the Graph API."""
    error: dict[str, Any] = {"message": message, "type": kind, "code": code}
    if subcode is not None:
        error["error_subcode"] = subcode
    return Declined(status, {"error": {**error, "fbtrace_id": "ASandboxTrace_x-Yz"}})


def oauth(message: str, status: int = 400) -> Declined:
    """An error of the code exchange, which has a shape of its own."""
    return Declined(status, {"error_type": "OAuthException", "code": status, "error_message": message})


def token_unreadable() -> Declined:
    """The token was never one of ours."""
    return graph(400, 190, "Invalid OAuth access token - Cannot parse access token", kind="OAuthException")


def token_dead() -> Declined:
    """The token was one of ours and is revoked."""
    return graph(401, 190, "Invalid OAuth 2.0 Access Token")


def token_expired() -> Declined:
    """The token ran out."""
    return graph(400, 190, "Error validating access token: Session has expired", 463, kind="OAuthException")


def too_young() -> Declined:
    """A refresh within 24 hours; Meta does not say what it answers, this is a guess."""
    return graph(400, 100, "The access token is too recent to be refreshed")


def session_key() -> Declined:
    """An exchange of a token that is long-lived already."""
    return graph(400, 452, "Session key invalid. This could be because the session key has an incorrect format")


def no_permission() -> Declined:
    """The owner did not tick the box that this call needs."""
    return graph(403, 10, "(#10) Application does not have permission for this action", kind="OAuthException")


def wrong_method(method: str) -> Declined:
    """The call exists with another method."""
    return graph(400, 100, f"Unsupported request - method type: {method.lower()}")


def missing(name: str) -> Declined:
    """No such object, or not visible with this token."""
    return graph(400, 100, f"Unsupported get request. Object with ID '{name}' does not exist", 33)


def deleted() -> Declined:
    """The message is gone, or older than the twenty newest."""
    return graph(400, 9000001, "This Message has been deleted by the user or the business.", kind="OAuthException")


def no_such_recipient() -> Declined:
    """An id of nobody who has written to this account; Meta says it in any language, here in Portuguese."""
    return graph(400, 100, "O usuário solicitado não foi encontrado.", 2534014)


def window_closed() -> Declined:
    """More than 24 hours since the person last wrote."""
    return graph(403, 10, "Esta mensagem foi enviada fora da janela permitida.", 2534022)


def human_agent() -> Declined:
    """The HUMAN_AGENT tag without Meta's approval."""
    text = "To use 'Human Agent', your use of this endpoint must be reviewed and approved by Facebook."
    return graph(403, 10, text)


def unreachable() -> Declined:
    """The person blocked the business."""
    return graph(400, 551, "(#551) This person isn't available right now.", 1545041, kind="OAuthException")


def bad_message(text: str = "Invalid message data") -> Declined:
    """The body of a send makes no sense."""
    return graph(400, 100, text, 2534015)


def text_too_long() -> Declined:
    """Over 1,000 bytes of UTF-8."""
    text = "(#100) Length of param message[text] must be less than or equal to 1000"
    return graph(400, 100, text, kind="OAuthException")


def unknown_field(name: str, place: int) -> Declined:
    """One unknown webhook field fails the whole subscription."""
    text = f"(#100) Param subscribed_fields[{place}] must be one of {{messages, messaging_postbacks}}, not {name}"
    return graph(400, 100, text, kind="OAuthException")


def consent() -> Declined:
    """A profile of somebody who has not written."""
    return graph(400, 230, "User consent is required to access user profile")


def limited(account: str, minutes: int) -> Declined:
    """The account is over its limit; the minutes to wait are in a header."""
    text = "There have been too many calls to this Instagram account. Wait a bit and try again."
    refusal = graph(400, 80002, text, 2446079, kind="OAuthException")
    refusal.headers = usage_headers(account, percent=100, minutes=minutes)
    return refusal


def usage_headers(account: str, *, percent: int = 1, minutes: int = 0) -> dict[str, str]:
    """How much of the limits is used, as graph.instagram.com says it in headers."""
    usage = {
        "type": "instagram",
        "call_count": percent,
        "total_cputime": 1,
        "total_time": 1,
        "estimated_time_to_regain_access": minutes,
    }
    return {
        "X-App-Usage": json.dumps({"call_volume": 0, "cpu_time": 0}, separators=(",", ":")),
        "X-Business-Use-Case-Usage": json.dumps({account: [usage]}),
    }
