"""An owner said yes, or an operator brought a token: the account is stored, then its webhooks are asked for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from services.common.errors import BotError, NotSetUp, RateLimited, Refused, Unavailable
from services.common.graph_errors import Fault, GraphFailure
from services.tokens import schedule, state, subscription
from services.tokens.accounts import TOKEN_FIELD, Account, Fresh, Grant, Profile
from services.tokens.answers import DEFAULT_LIFE
from services.tokens.planner import refresh_at, usual_refresh
from services.tokens.ports import Ports
from services.tokens.reasons import DEAD, UNDECIDED

log = structlog.get_logger(__name__)

REQUIRED = ("instagram_business_basic", "instagram_business_manage_messages")
TRIES = 3
STORE_SECONDS = 20.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connected:
    """A stored account and the webhook fields that Instagram left out."""

    account: Account
    missing_fields: tuple[str, ...]


async def connect(ports: Ports, code: str, redirect_uri: str) -> Connected:
    """Trade a code for a lasting token and store its account.

    Refused says what the owner must do; NotSetUp what the operator must; Unavailable that Instagram did not answer.
    """
    usual = await usual_refresh(ports)  # asks the store: one that is away must not cost the owner's code
    grant = await patiently(
        ports, lambda: ports.grants.exchange(code, redirect_uri), again=lambda failure: not failure.reached
    )
    require_scopes(grant)
    fresh = await lasting(ports, grant.text)
    profile = await patiently(ports, lambda: ports.instagram.profile(fresh.text))
    return await adopt(ports, profile, fresh, grant, usual)


async def add(ports: Ports, token: str) -> Connected:
    """Store the account of a token that was made in Meta's dashboard; Refused when Instagram does not accept it."""
    profile = await patiently(ports, lambda: ports.instagram.profile(token))
    usual = await usual_refresh(ports)
    fresh = await lasting(ports, token, keep=True)
    return await adopt(ports, profile, fresh, Grant(token, scopes=None), usual)


def require_scopes(grant: Grant) -> None:
    """Refuse a grant whose owner took a needed permission out; one that does not list any is believed."""
    if grant.scopes is None:
        return
    missing = [scope for scope in REQUIRED if scope not in grant.scopes]
    if missing:
        raise Refused(f"{' and '.join(missing)} was not granted: connect again and leave every box ticked")


async def lasting(ports: Ports, token: str, *, keep: bool = False) -> Fresh:
    """Lengthen a token; a token that is long-lived already is refreshed, or kept where that is refused and `keep`."""
    try:
        return await patiently(ports, lambda: ports.grants.lengthen(token), plain=True)
    except GraphFailure as failure:
        if failure.fault in UNDECIDED or not (keep or failure.fault == Fault.ALREADY_LONG_LIVED):
            raise explained(failure) from failure
    try:
        return await patiently(ports, lambda: ports.grants.refresh(token), plain=True)
    except GraphFailure as failure:
        if failure.fault in UNDECIDED | DEAD:
            raise explained(failure) from failure
    # Too young to be refreshed, and Instagram does not tell when it ends: the first refresh will.
    return Fresh(token, DEFAULT_LIFE, exact=False)


async def adopt(ports: Ports, profile: Profile, fresh: Fresh, grant: Grant, usual: datetime) -> Connected:
    """Store the account under both of its ids, then ask for its webhooks."""
    if not profile.account:
        raise Refused(
            "this is no professional account: switch it to business or creator in the Instagram app, then connect"
        )
    known = Profile(profile.account, profile.app_scoped_id or grant.app_scoped_id or profile.account, profile.username)
    stored = ready(ports, known, fresh, usual)
    account = await store(ports, known, stored, grant.scopes or ())
    log.info("account_connected", account=account.account, version=account.last_version)
    return await ask_for_webhooks(ports, account, fresh.text)


def ready(ports: Ports, profile: Profile, fresh: Fresh, usual: datetime) -> state.Stored:
    """Seal a token and plan its first refresh."""
    now = ports.clock.now()
    expires = now + timedelta(seconds=fresh.lives)
    due = refresh_at(ports, usual, now, expires) if fresh.exact else now + schedule.MIN_AGE
    return state.Stored(ports.keys.seal(profile.account, TOKEN_FIELD, fresh.text), now, expires, due)


async def store(ports: Ports, profile: Profile, token: state.Stored, scopes: tuple[str, ...]) -> Account:
    """Store the account; a store that is away for seconds is waited for, since the code is spent."""
    look_at = schedule.retry_subscription(token.at, ports.chance)
    rule = partial(state.connected, profile=profile, token=token, scopes=scopes, subscription_at=look_at)
    ends = ports.clock.monotonic() + STORE_SECONDS
    twin: Account | None = None  # stays known when the store fails after its row was dropped
    while True:
        try:
            twin = twin or await renumbered(ports, profile)
            if twin is None:
                return await ports.accounts.put(profile.account, rule)
            made = partial(rule, former=(*twin.former, twin.account))
            return await ports.accounts.put(profile.account, made, in_place_of=twin.account)
        except Unavailable as error:
            if ports.clock.monotonic() > ends:
                raise
            log.warning("account_not_stored_yet", why=str(error))
        await ports.clock.sleep(1)


async def renumbered(ports: Ports, profile: Profile) -> Account | None:
    """Return the account as it was before it got a new professional id: the person is the same, its webhooks are not.

    Its row makes room for the new one, which keeps the former id: a deletion must reach what was said under it.
    """
    twin = await ports.accounts.find(profile.app_scoped_id)
    if twin is None or twin.account == profile.account:
        return None
    log.warning("account_renumbered", account=twin.account, now=profile.account)
    return twin


async def ask_for_webhooks(ports: Ports, account: Account, token: str) -> Connected:
    """Subscribe; what goes wrong here is repaired by the next look, the account stays connected."""
    try:
        fields = await subscription.subscribe(ports.instagram, token)
    except GraphFailure as failure:
        after = await subscription.failed(ports, account, failure)
        # A passing fault says nothing of the dashboard, and the next look is minutes away.
        return Connected(after, () if failure.fault in UNDECIDED else subscription.WANTED)
    after = await subscription.note(ports, account, fields)
    return Connected(after, subscription.missing(fields))


async def patiently(
    ports: Ports,
    call: Callable[[], Awaitable[T]],
    *,
    again: Callable[[GraphFailure], bool] = lambda failure: failure.fault == Fault.TRANSIENT,
    plain: bool = False,
) -> T:
    """Call up to three times: the code is spent, so this caller cannot start over. Failures come out explained."""
    for attempt in range(1, TRIES + 1):
        try:
            return await call()
        except GraphFailure as failure:
            if attempt == TRIES or not again(failure):
                raise (failure if plain else explained(failure)) from failure
        await ports.clock.sleep(0.5 * attempt)
    raise AssertionError("unreachable")


def explained(failure: GraphFailure) -> BotError:
    """Say what a failed call means for whoever is connecting."""
    if failure.fault == Fault.RATE_LIMITED:
        return RateLimited("Instagram asks to try later", retry_after=failure.usage.regain_seconds)
    if failure.fault in UNDECIDED:
        return failure
    if failure.fault == Fault.SETUP:
        return NotSetUp(SETUP)
    if failure.fault == Fault.CODE_SPENT:
        return Refused("Instagram says that this code was used already or is unknown: start again")
    if failure.fault in DEAD:
        return Refused(f"Instagram does not accept this token ({failure.error})")
    return Refused(f"Instagram refused: {failure.error}")


SETUP = (
    "Instagram refuses this app: INSTAGRAM_CLIENT_ID, INSTAGRAM_CLIENT_SECRET and REDIRECT_URI must be exactly those "
    "of the Instagram app, and the account needs an accepted tester role, or the app its App Review"
)
