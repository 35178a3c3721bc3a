"""Who allowed the app what: codes, tokens, scopes and webhook fields. Rules only; times are milliseconds.

https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from services.sandbox import refusals

HOUR = 3_600_000
DAY = 24 * HOUR
LONG_LIFE_SECONDS = 5_183_944
SCOPES = (
    "instagram_business_basic",
    "instagram_business_manage_messages",
    "instagram_business_manage_comments",
    "instagram_business_content_publish",
    "instagram_business_manage_insights",
)
FIELDS = frozenset(
    [
        "messages",
        "message_echoes",
        "message_edit",
        "message_reactions",
        "messaging_handover",
        "messaging_optins",
        "messaging_postbacks",
        "messaging_referral",
        "messaging_seen",
        "standby",
        "comments",
        "mentions",
    ]
)


@dataclass(slots=True)
class Code:
    """An authorization code: good once, for an hour."""

    account: str
    scopes: list[str]
    made_at: int
    spent: bool = False


@dataclass(slots=True)
class Token:
    """A token; short ones live an hour, long ones about sixty days."""

    account: str
    scopes: list[str]
    made_at: int
    ends_at: int
    long: bool
    dead: bool = False


@dataclass(slots=True)
class Grants:
    """Every code and token of one app, and the webhook fields of each account."""

    client_id: str
    client_secret: str
    redirect_uri: str
    codes: dict[str, Code] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    fields: dict[str, list[str]] = field(default_factory=dict)
    ticked: frozenset[str] = FIELDS

    def check_app(self, client_id: str, redirect_uri: str) -> None:
        """Refuse an app or a return address that is not the registered one, letter for letter."""
        if client_id != self.client_id:
            raise refusals.oauth("Invalid platform app")
        if redirect_uri != self.redirect_uri:
            raise refusals.oauth("Invalid redirect_uri: it is not one of the app's registered redirect URIs")

    def authorize(self, account: str, scopes: list[str], code: str, now: int) -> None:
        """Remember the owner's yes under a fresh code."""
        self.codes[code] = Code(account, [scope for scope in scopes if scope in SCOPES], now)

    def exchange(self, form: Mapping[str, str], fresh: str, now: int) -> Token:
        """Trade a code for a short-lived token, `fresh`."""
        if form.get("client_id") != self.client_id:
            raise refusals.oauth("Invalid platform app")
        if form.get("client_secret") != self.client_secret or form.get("grant_type") != "authorization_code":
            raise refusals.oauth("Error validating client secret.")
        code = self.codes.get(form.get("code", ""))
        if code is None or code.spent or now - code.made_at > HOUR:
            raise refusals.oauth("Matching code was not found or was already used")
        if form.get("redirect_uri") != self.redirect_uri:
            raise refusals.oauth(
                "Error validating verification code. Please make sure your redirect_uri is identical"
                " to the one you used in the OAuth dialog request"
            )
        code.spent = True
        token = Token(code.account, list(code.scopes), now, now + HOUR, long=False)
        self.tokens[fresh] = token
        return token

    def lengthen(self, params: Mapping[str, str], fresh: str, now: int) -> Token:
        """Trade a short-lived token for a long-lived one, `fresh`."""
        if params.get("grant_type") != "ig_exchange_token" or params.get("client_secret") != self.client_secret:
            raise refusals.graph(400, 101, "Error validating client secret.", kind="OAuthException")
        short = self.living(params.get("access_token", ""), now)
        if short.long:
            raise refusals.session_key()
        return self._long(short, fresh, now)

    def refresh(self, params: Mapping[str, str], fresh: str, now: int) -> Token:
        """Trade a long-lived token of at least 24 hours for the next one."""
        if params.get("grant_type") != "ig_refresh_token":
            raise refusals.graph(400, 100, "Invalid grant_type", kind="OAuthException")
        old = self.living(params.get("access_token", ""), now)
        if not old.long or now - old.made_at < DAY:
            raise refusals.too_young()
        return self._long(old, fresh, now)

    def _long(self, old: Token, fresh: str, now: int) -> Token:
        token = Token(old.account, list(old.scopes), now, now + LONG_LIFE_SECONDS * 1000, long=True)
        self.tokens[fresh] = token
        return token

    def living(self, text: str, now: int) -> Token:
        """The token of this text; refuse one that is unknown, revoked or over."""
        token = self.tokens.get(text)
        if token is None:
            raise refusals.token_unreadable()
        if token.dead:
            raise refusals.token_dead()
        if now >= token.ends_at:
            raise refusals.token_expired()
        return token

    def messaging(self, text: str, now: int) -> Token:
        """The token of this text, when its owner allowed messages."""
        token = self.living(text, now)
        if "instagram_business_manage_messages" not in token.scopes:
            raise refusals.no_permission()
        return token

    def subscribe(self, account: str, names: list[str]) -> None:
        """Deliver these webhook fields from now on; one unknown name fails all, one that is not ticked is left out."""
        for place, name in enumerate(names):
            if name not in FIELDS:
                raise refusals.unknown_field(name, place)
        if not names:
            raise refusals.graph(400, 100, "(#100) The parameter subscribed_fields is required.")
        self.fields[account] = sorted(self.ticked.intersection(names))

    def tick(self, names: list[str]) -> None:
        """Tick these fields in the app's dashboard and no others; what an account loses, it must ask for again."""
        self.ticked = FIELDS.intersection(names)
        self.fields = {account: [one for one in kept if one in self.ticked] for account, kept in self.fields.items()}

    def unsubscribe(self, account: str) -> None:
        """Deliver nothing any more."""
        self.fields.pop(account, None)

    def delivers(self, account: str, name: str) -> bool:
        """Whether a webhook field of this account is delivered; echoes come with `messages`."""
        return name in self.fields.get(account, ())

    def revoke(self, account: str) -> None:
        """Kill every token of an account, as when its owner changes the password; its webhooks go on."""
        for token in self.tokens.values():
            token.dead = token.dead or token.account == account

    def saved(self) -> dict[str, Any]:
        """Everything but the app's own secrets, as JSON."""
        whole = asdict(self)
        return {name: whole[name] for name in ("codes", "tokens", "fields")}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take up what `saved` gave."""
        self.codes = {text: Code(**code) for text, code in saved["codes"].items()}
        self.tokens = {text: Token(**token) for text, token in saved["tokens"].items()}
        self.fields = {account: list(names) for account, names in saved["fields"].items()}
