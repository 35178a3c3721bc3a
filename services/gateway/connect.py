"""Connecting an account: who may start, where they are sent, and what their return comes to."""

from __future__ import annotations

import asyncio
import hmac
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import structlog

from services.common.errors import BadState, Unavailable
from services.gateway.outcomes import Ending, Page, connected, ending_of, failed
from services.gateway.ports import ConnectFailed, Doorkeeper, States, Tokens
from services.gateway.secret_words import digest, is_secret, new_secret
from services.gateway.times import Times

log = structlog.get_logger(__name__)

SCOPES = "instagram_business_basic,instagram_business_manage_messages"
WRONG_TRIES = 5
LONGEST = 4096  # of a code; Instagram's have some hundred characters


@dataclass(frozen=True, slots=True)
class App:
    """What the OAuth way needs to know of the app."""

    client_id: str
    redirect_uri: str
    authorize_url: str
    password: bytes | None
    open: bool


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks for /connect."""

    address: str
    browser: str  # what its cookie says, empty without one
    password: bytes | None = None
    invite: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """Where a visitor is sent, and the secret that their browser keeps: for its invitation's life, if it has one."""

    url: str
    browser: str
    invited_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Return:
    """What Instagram's redirect carries."""

    browser: str
    state: str
    code: str = ""
    error: str = ""


async def handle_connect(visitor: Visitor, app: App, doorkeeper: Doorkeeper, states: States) -> Departure | Ending:
    """Return Instagram's page to go to, or the page that says why not. Raises Unavailable."""
    # What is no secret of ours may hold what no cookie can, and would come back for ever.
    browser = visitor.browser if is_secret(visitor.browser) else new_secret()
    invite, invited = "", 0.0
    if visitor.invite and not app.open:
        invite = digest(visitor.invite)
        claimed = await doorkeeper.claim(invite, digest(browser))
        if claimed is None:
            return Ending(Page.INVITE_USED)
        invited = claimed
    elif refusal := await refuse(visitor, app, doorkeeper):
        return Ending(refusal)
    nonce = new_secret()
    await states.begin(nonce, digest(browser), invite)
    return Departure(authorize_url(app, nonce), browser, invited)


async def refuse(visitor: Visitor, app: App, doorkeeper: Doorkeeper) -> Page | None:
    """Return why a visitor without an invitation may not connect an account, None when they may."""
    if app.open:
        return None
    if app.password is None:
        return Page.CLOSED
    given = visitor.password
    right = given is not None and hmac.compare_digest(digest_bytes(given), digest_bytes(app.password))
    wrong_tries = await doorkeeper.wrong_tries(visitor.address, another=given is not None and not right)
    # Also a right password waits: otherwise the limit would only slow the guessing down that fails.
    if wrong_tries >= WRONG_TRIES:
        return Page.LOCKED_OUT
    return None if right else Page.PASSWORD


def digest_bytes(password: bytes) -> bytes:
    """Return something of one length to compare, so that not even a password's length shows."""
    return digest(password.decode(errors="surrogateescape")).encode()


def authorize_url(app: App, nonce: str) -> str:
    """Return Instagram's page that asks the owner.

    https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
    """
    query = {
        "client_id": app.client_id,
        "redirect_uri": app.redirect_uri,
        "response_type": "code",
        "scope": SCOPES,
        "state": nonce,
        "force_reauth": "true",
    }
    return f"{app.authorize_url}?{urlencode(query)}"


async def handle_oauth_callback(
    back: Return, states: States, doorkeeper: Doorkeeper, tokens: Tokens, times: Times
) -> Ending:
    """Return the page that an owner's return comes to; a repeated one shows the first one's. Raises Unavailable."""
    if not back.state or not back.browser:
        return Ending(Page.BAD_STATE)
    try:
        spent = await states.spend(back.state, digest(back.browser))
    except BadState as error:
        log.info("oauth_state_refused", why=str(error))
        return Ending(Page.BAD_STATE)
    if not spent.first:
        return await first_outcome(back.state, states, times)
    ending = await outcome(back, spent.invite, doorkeeper, tokens)
    log.info("oauth_finished", page=str(ending.page))
    try:
        await states.settle(back.state, ending.text())
    except Unavailable:
        log.warning("oauth_outcome_not_kept")  # the owner sees it all the same
    return ending


async def outcome(back: Return, invite: str, doorkeeper: Doorkeeper, tokens: Tokens) -> Ending:
    """Trade the code, unless the owner said no."""
    code = back.code.removesuffix("#_")  # some browsers and apps pass the fragment on
    if back.error or not code or len(code) > LONGEST:
        return Ending(Page.DECLINED if back.error == "access_denied" else Page.REFUSED)
    if not invite:
        return await trade(code, tokens)
    return await trade_invited(code, invite, digest(back.browser), doorkeeper, tokens)


async def trade_invited(code: str, invite: str, browser: str, doorkeeper: Doorkeeper, tokens: Tokens) -> Ending:
    """Trade a code for an invitation's one account: nobody else can meanwhile, and only success uses it up.

    When nobody knows what came of it, the account may yet be connected: the invitation stays taken for its two minutes.
    """
    if not await doorkeeper.take(invite, browser):
        return Ending(Page.INVITE_USED)
    ending = await trade(code, tokens)
    if ending.page is Page.UNFINISHED:
        return ending
    used = ending.page is Page.CONNECTED
    try:
        await (doorkeeper.spend(invite) if used else doorkeeper.give_back(invite))
    except Unavailable:
        log.warning("invitation_not_settled", used=used)  # the same browser may use it again in two minutes
    return ending


async def trade(code: str, tokens: Tokens) -> Ending:
    """Trade a code for an account."""
    try:
        return connected(await tokens.connect(code))
    except ConnectFailed as error:
        log.warning("account_not_connected", fault=str(error.fault), error=error.detail)
        return failed(error)


async def first_outcome(state: str, states: States, times: Times) -> Ending:
    """Wait for what the first callback with this state comes to."""
    deadline = time.monotonic() + times.outcome
    while True:
        kept = await states.outcome(state)
        if kept:
            return ending_of(kept)
        if time.monotonic() >= deadline:
            return Ending(Page.UNFINISHED)
        await asyncio.sleep(times.outcome / 50)
