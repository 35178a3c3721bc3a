"""Why an account is not active, in words for its owner and operator, from an error's numbers. Rules only."""

from __future__ import annotations

from services.common.graph_errors import Fault, GraphError

DEAD = frozenset({Fault.TOKEN_DEAD, Fault.APP_REMOVED})
LIMITING = frozenset({Fault.ACCOUNT_LIMITED, Fault.BLOCKED})
UNDECIDED = frozenset({Fault.TRANSIENT, Fault.RATE_LIMITED, Fault.APP_LIMITED})

RECONNECT = "the owner must connect the account again"
BY_SUBCODE = {
    458: "the owner removed the app in Instagram",
    459: "the owner must pass a check in the Instagram app, then connect again",
    460: "the owner's password changed; " + RECONNECT,
    463: "the token ran out; " + RECONNECT,
    464: "the owner must confirm the account in the Instagram app, then connect again",
    467: "the owner logged out everywhere; " + RECONNECT,
    1893063: "Instagram restricts this account from sending for a while",
    2207050: "the owner must open the Instagram app: the account is restricted or must pass a check",
    2207051: "Instagram blocked the account's messages as spam",
    2534029: "Instagram blocked the business from its messaging API",
    2534041: "the owner switched message access off: in the Instagram app, Settings, Messages and story replies, "
    "Message controls, Connected tools, Allow access to messages",
    2534077: "the owner must switch on two-factor authentication, or connect again",
}
BY_CODE = {
    10: "a permission is missing: the owner must connect again and leave every box ticked",
    25: BY_SUBCODE[2207050],
    368: "Instagram blocks the account for breaking a policy",
}
TESTER = (
    "Instagram answers this account's calls as a stranger's: the account must have accepted its invitation as an "
    "Instagram Tester of the app, or the app must have passed App Review (docs/meta-app.md)"
)
MESSAGES_OFF = "a permission is missing, or message access is off: " + BY_SUBCODE[2534041].partition(": ")[2]


def reason(error: GraphError | None) -> str:
    """Say what an error means for the account and who can mend it."""
    if error is None:
        return ""
    if error.subcode in BY_SUBCODE:
        return BY_SUBCODE[error.subcode]
    if error.fault in DEAD:
        return f"Instagram no longer accepts the token ({error.code}); {RECONNECT}"
    if error.fault == Fault.SETUP:
        return TESTER
    if error.code is not None and 200 <= error.code <= 299:
        return MESSAGES_OFF
    return BY_CODE.get(error.code or 0, f"Instagram refuses this account's calls ({error})")
