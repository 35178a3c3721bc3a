import asyncio
import base64
import re
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

import aiohttp
import grpc
import pytest
from yarl import URL

from services.gateway.secret_words import invite_key, invite_link
from tests.gateway.world import until

AUTHORIZE = "https://www.instagram.com/oauth/authorize"
HOSTILE = "<script>alert('x')</script> & \"quotes\""


class Browser:
    """Keeps cookies by itself, follows nothing, and calls the gateway by its public name."""

    def __init__(self, world, gateway=None):
        self.world = world
        self.gateway = gateway
        self.jar = {}

    async def get(self, path, **headers):
        known = {"Host": "127.0.0.1:8080", "Cookie": "; ".join(f"{name}={value}" for name, value in self.jar.items())}
        async with self.world.session.get(
            self.world.url(path, self.gateway), headers={**known, **headers}, allow_redirects=False
        ) as answer:
            text = await answer.text()
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    self.jar[name] = morsel.value
            answer.page, answer.cookies_set = text, answer.headers.getall("Set-Cookie", [])
            return answer

    async def depart(self, path="/connect", **headers):
        """Go to /connect and return the state that it sends along."""
        answer = await self.get(path, **headers)
        assert answer.status == 302, answer.page
        return parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]

    async def back(self, state, code="good-code", **more):
        query = "&".join(f"{name}={value}" for name, value in {"code": code, "state": state, **more}.items())
        return await self.get(f"/oauth/callback?{query}")


def basic(password, user="anyone"):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def heading(answer):
    found = re.search(r"<h1>(.*?)</h1>", answer.page)
    return found[1] if found else ""


async def test_connect_sends_the_owner_to_instagram_with_all_that_it_wants(world):
    world.start(connect_open=True)
    answer = await Browser(world).get("/connect")
    where = urlsplit(answer.headers["Location"])
    query = {name: value for name, (value,) in parse_qs(where.query).items()}
    assert answer.status == 302
    assert f"{where.scheme}://{where.netloc}{where.path}" == AUTHORIZE
    assert len(query.pop("state")) >= 22  # 128 bits
    assert query == {
        "client_id": "990",
        "redirect_uri": "http://127.0.0.1:8080/oauth/callback",
        "response_type": "code",
        "scope": "instagram_business_basic,instagram_business_manage_messages",
        "force_reauth": "true",
    }


async def test_an_owner_connects_and_the_code_goes_to_the_token_service(world):
    world.start(connect_open=True)
    browser = Browser(world)
    answer = await browser.back(await browser.depart(), code="good-code%23_")
    assert answer.status == 200
    assert heading(answer) == "@north_pier_bakery is connected"
    assert world.tokens.spent == [("good-code", "http://127.0.0.1:8080/oauth/callback")]
    assert await world.metric("igbot_connects_total", outcome="connected") == 1


async def test_fields_that_meta_left_out_are_told(world):
    world.tokens.missing = ["message_reactions"]
    world.start(connect_open=True)
    browser = Browser(world)
    answer = await browser.back(await browser.depart())
    assert "<code>message_reactions</code>" in answer.page


async def test_a_second_callback_shows_the_outcome_of_the_first_also_on_another_replica(world):
    first, second = world.start(connect_open=True), world.start(connect_open=True)
    browser = Browser(world, first)
    state = await browser.depart()
    world.tokens.slow.clear()
    one = asyncio.create_task(browser.back(state))
    browser.gateway = second
    two = asyncio.create_task(browser.back(state))
    await asyncio.wait([one, two], timeout=0.2)
    assert not one.done()
    assert not two.done()
    world.tokens.slow.set()
    answers = [await one, await two, await browser.back(state)]
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert {heading(answer) for answer in answers} == {"@north_pier_bakery is connected"}
    assert len(world.tokens.spent) == 1


async def test_a_state_survives_a_restart_of_the_gateway(world):
    first = world.start(connect_open=True)
    browser = Browser(world)
    state = await browser.depart()
    await world.stop(first)
    world.start(connect_open=True)
    assert (await browser.back(state)).status == 200


async def test_a_gateway_that_is_told_to_stop_finishes_a_callback_first(world):
    gateway = world.start(connect_open=True, drain_seconds=8)
    browser = Browser(world)
    state = await browser.depart()
    world.tokens.slow.clear()
    callback = asyncio.create_task(browser.back(state))
    await until(lambda: gateway.web.door.visits)
    stopping = asyncio.create_task(world.stop(gateway))
    await until(lambda: gateway.web.server._stopped)  # it listens no more
    await asyncio.wait([callback], timeout=1.5)  # longer than connections without a request are left
    world.tokens.slow.set()
    await asyncio.wait([callback, stopping])  # also of a test that fails the gateway must not be left half stopped
    answer = await callback
    assert (answer.status, heading(answer)) == (200, "@north_pier_bakery is connected")
    await stopping


async def test_a_first_callback_that_never_ends_is_not_waited_for_for_ever(world):
    gateway = world.start(connect_open=True)
    browser = Browser(world)
    state = await browser.depart()
    world.tokens.slow.clear()
    one = asyncio.create_task(browser.back(state))
    await until(lambda: any(b"spent" in world.redis.hgetall(key).values() for key in world.redis.keys("oauth:*")))
    answer = await browser.back(state)
    assert (answer.status, heading(answer)) == (502, "Instagram did not answer")
    assert gateway.times.outcome == 2
    world.tokens.slow.set()
    await one


@pytest.mark.parametrize("kind", ["missing", "forged", "foreign", "expired", "no cookie"])
async def test_a_state_that_is_not_this_browsers_is_400_and_spends_no_code(world, kind):
    world.start(connect_open=True)
    browser, other = Browser(world), Browser(world)
    state = await browser.depart()
    await other.depart()
    if kind == "missing":
        answer = await browser.get("/oauth/callback?code=good-code")
    elif kind == "forged":
        answer = await browser.back("A" * 22)
    elif kind == "foreign":
        answer = await other.back(state)
    elif kind == "expired":
        world.redis.flushall()
        answer = await browser.back(state)
    else:
        answer = await Browser(world).back(state)
    assert (answer.status, heading(answer)) == (400, "This sign-in cannot be used")
    assert world.tokens.spent == []


async def test_a_foreign_callback_does_not_spend_the_state(world):
    world.start(connect_open=True)
    browser, other = Browser(world), Browser(world)
    state = await browser.depart()
    await other.depart()
    assert (await other.back(state)).status == 400
    assert (await browser.back(state)).status == 200


async def test_states_live_ten_minutes(world):
    world.start(connect_open=True)
    await Browser(world).depart()
    (key,) = world.redis.keys("oauth:*")
    assert world.gateways[0].times.state == 120  # a fifth of ten minutes, as all times here
    assert 100_000 < world.redis.pttl(key) <= 120_000


async def test_two_tabs_of_one_browser_both_work(world):
    world.tokens.codes = {"one", "two"}
    world.start(connect_open=True)
    browser = Browser(world)
    first, second = await browser.depart(), await browser.depart()
    assert (await browser.back(first, "one")).status == 200
    assert (await browser.back(second, "two")).status == 200


async def test_the_owners_refusal_is_an_ordinary_page(world):
    world.start(connect_open=True)
    browser = Browser(world)
    state = await browser.depart()
    answer = await browser.get(
        f"/oauth/callback?error=access_denied&error_reason=user_denied&error_description=denied&state={state}"
    )
    assert (answer.status, heading(answer)) == (200, "Nothing was connected")
    assert await world.metric("igbot_connects_total", outcome="declined") == 1


INVALID, FAILED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize(
    ("status", "detail", "http", "title"),
    [
        (INVALID, "instagram_business_basic was not granted: connect again", 200, "A permission is missing"),
        (INVALID, "Instagram says that this code was used already", 400, "This sign-in was used already"),
        (INVALID, "this is no professional account: switch it", 200, "This is no professional account"),
        (INVALID, "something new", 502, "Instagram said no"),
        (FAILED, "Instagram refuses this app: REDIRECT_URI must be exactly", 502, "Instagram refuses this app"),
        (grpc.StatusCode.UNAVAILABLE, "down", 502, "Instagram did not answer"),
        (grpc.StatusCode.INTERNAL, "Traceback", 502, "Instagram did not answer"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "later", 502, "Instagram did not answer"),
    ],
)
async def test_each_failure_has_its_own_page_that_says_what_to_do(world, status, detail, http, title):
    world.start(connect_open=True)
    world.tokens.status, world.tokens.detail = status, detail
    browser = Browser(world)
    answer = await browser.back(await browser.depart())
    assert (answer.status, heading(answer)) == (http, title)
    assert "Traceback" not in answer.page


async def test_nothing_of_metas_text_is_unescaped(world):
    world.start(connect_open=True)
    world.tokens.status, world.tokens.detail = INVALID, HOSTILE
    browser = Browser(world)
    answer = await browser.back(await browser.depart())
    assert HOSTILE not in answer.page
    assert "&lt;script&gt;" in answer.page
    denied = await browser.back(await browser.depart(), error="%3Cscript%3E", error_description="%3Cscript%3E")
    assert "<script>" not in denied.page


async def test_every_page_has_a_strict_policy_and_is_not_stored(world):
    world.start(connect_open=True, operator_password="pw")
    browser = Browser(world)
    for path in ("/", "/connect", "/oauth/callback", "/nothing", "/data-deletion/none"):
        headers = (await browser.get(path)).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'self'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in headers


async def test_the_cookie_is_bound_to_host_and_https_where_there_is_https(world):
    world.start(connect_open=True, redirect_uri="https://bot.example/oauth/callback")
    answer = await Browser(world).get("/connect", Host="bot.example")
    (cookie,) = answer.cookies_set
    assert cookie.startswith("__Host-igbot_state=")
    for word in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert word in cookie
    assert "Domain" not in cookie
    plain = world.start(connect_open=True)
    (cookie,) = (await Browser(world, plain).get("/connect")).cookies_set
    assert cookie.startswith("igbot_state=")
    assert "Secure" not in cookie


@pytest.mark.parametrize("cookie", ['"a\\040b"', '"a\\012b"', '"\\377\\000"', "é", "x", "x" * 3000])
async def test_a_cookie_that_is_not_ours_is_replaced_and_the_browser_connects(world, cookie):
    world.start(connect_open=True)
    browser = Browser(world)
    browser.jar["igbot_state"] = cookie
    state = await browser.depart()
    assert re.fullmatch(r"[\w-]{22}", browser.jar["igbot_state"])
    assert (await browser.back(state)).status == 200


async def test_a_browser_keeps_its_cookie(world):
    world.start(connect_open=True)
    browser = Browser(world)
    for _ in range(20):
        await browser.depart()
        first = browser.jar["igbot_state"]
        await browser.depart()
        assert browser.jar.pop("igbot_state") == first


async def test_connect_first_goes_to_the_public_host(world):
    world.start(connect_open=True, public_url="https://bot.example", redirect_uri="https://bot.example/oauth/callback")
    browser = Browser(world)
    answer = await browser.get("/connect?invite=abc", Host="10.0.0.7:8080")
    assert (answer.status, answer.headers["Location"]) == (302, "https://bot.example/connect?invite=abc&here=1")
    assert answer.cookies_set == []
    again = await browser.get("/connect?here=1", Host="10.0.0.7:8080")
    assert again.headers["Location"].startswith(AUTHORIZE)


async def test_what_a_proxy_says_counts_only_when_it_is_trusted(world):
    plain = world.start(operator_password="right")
    trusting = world.start(operator_password="right", trust_proxy=True)
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Host": "127.0.0.1:8080"}
    for gateway in (plain, trusting):
        for n in range(5):
            made_up = {"X-Real-Ip": f"198.51.100.{n}"}  # a proxy that does not set it passes it on
            await Browser(world, gateway).get("/connect", **basic("wrong"), **forwarded, **made_up)
    keys = world.redis.keys("wrong:*")
    assert len(keys) == 2  # the connection's own address, and the one that the trusted proxy names
    away = {"Host": "inside:1", "X-Forwarded-Host": "127.0.0.1:8080"}
    assert (await Browser(world, plain).get("/connect", **away)).status == 302
    assert (await Browser(world, trusting).get("/connect", **away)).status in {401, 429}


async def test_without_any_setting_connect_is_403_and_says_what_to_set(world):
    world.start()
    answer = await Browser(world).get("/connect", **basic("x"))
    assert answer.status == 403
    assert "OPERATOR_PASSWORD" in answer.page
    assert "CONNECT_OPEN" in answer.page


async def test_the_password_opens_connect_under_any_user_name(world):
    world.start(operator_password="pässwörd")
    browser = Browser(world)
    asked = await browser.get("/connect")
    assert (asked.status, asked.headers["WWW-Authenticate"]) == (401, 'Basic realm="igbot", charset="UTF-8"')
    assert (await browser.get("/connect", **basic("wrong"))).status == 401
    assert (await browser.get("/connect", Authorization="Basic %%%")).status == 401
    assert (await browser.get("/connect", Authorization="Bearer pässwörd".encode().decode("latin1"))).status == 401
    for user in ("operator", ""):
        assert (await browser.get("/connect", **basic("pässwörd", user))).status == 302


async def test_five_wrong_passwords_a_minute_lock_an_address_out_of_every_replica(world):
    first, second = world.start(operator_password="right"), world.start(operator_password="right")
    for n in range(5):
        assert (await Browser(world, (first, second)[n % 2]).get("/connect", **basic(f"no{n}"))).status == 401
    for gateway in (first, second):
        answer = await Browser(world, gateway).get("/connect", **basic("right"))
        assert (answer.status, answer.headers["Retry-After"]) == (429, "60")
    (key,) = world.redis.keys("wrong:*")
    assert 0 < world.redis.pttl(key) <= 12_000  # a fifth of a minute, as all times here
    world.redis.delete(key)
    assert (await Browser(world, first).get("/connect", **basic("right"))).status == 302


async def test_an_invitation_connects_one_account_from_one_browser(world):
    world.tokens.codes = {"one", "two"}
    world.start(operator_password="right")
    world.redis.set(invite_key("", "an-invite"), "", px=60_000)
    path = invite_link("http://127.0.0.1:8080", "an-invite").removeprefix("http://127.0.0.1:8080")
    owner, thief = Browser(world), Browser(world)
    preview = await thief.get(path, **{"User-Agent": "WhatsApp/2.23"})
    assert preview.status == 200
    state = await owner.depart(path)
    assert (await thief.get(path)).status == 403
    state = await owner.depart(path)  # the same browser may begin again
    assert (await owner.back(state, "one")).status == 200
    assert (await owner.get(path)).status == 403
    assert world.redis.keys("invite:*") == []


async def test_an_invited_browser_is_known_for_as_long_as_its_invitation(world):
    gateway = world.start(operator_password="right")
    state = int(gateway.times.state)
    for life, seconds in ((604_800_000, range(604_700, 604_801)), (60_000, [state])):
        world.redis.set(invite_key("", f"invite-{life}"), "", px=life)
        answer = await Browser(world).get(f"/connect?invite=invite-{life}")
        assert int(SimpleCookie(answer.cookies_set[0])["igbot_state"]["max-age"]) in seconds
    (key, *_) = world.redis.keys("oauth:*")
    assert 0 < world.redis.pttl(key) <= state * 1000  # the state keeps its own ten minutes
    plain = await Browser(world).get("/connect", **basic("right"))
    assert int(SimpleCookie(plain.cookies_set[0])["igbot_state"]["max-age"]) == state


async def test_an_invitation_is_not_used_up_by_a_failure(world):
    world.start(operator_password="right")
    world.redis.set(invite_key("", "an-invite"), "", px=60_000)
    browser = Browser(world)
    denied = await browser.back(await browser.depart("/connect?invite=an-invite"), error="access_denied")
    assert heading(denied) == "Nothing was connected"
    assert (await browser.back(await browser.depart("/connect?invite=an-invite"))).status == 200


async def test_an_unknown_invitation_is_403(world):
    world.start(operator_password="right")
    assert (await Browser(world).get("/connect?invite=guess")).status == 403


async def test_redis_down_is_a_page_with_503_and_not_an_error(own_world):
    own_world.start(connect_open=True)
    own_world.redis_server.kill()
    for path in ("/connect", "/oauth/callback?code=x&state=y", "/data-deletion/abc"):
        browser = Browser(own_world)
        browser.jar["igbot_state"] = "x"
        answer = await browser.get(path)
        assert (answer.status, heading(answer)) == (503, "Please try again in a moment")


async def test_secrets_reach_no_log(world, capsys):
    world.start(connect_open=True, operator_password="canary-password")
    browser = Browser(world)
    state = await browser.depart()
    world.tokens.status, world.tokens.detail = grpc.StatusCode.UNAVAILABLE, "down"
    await browser.back(state, code="canary-code")
    await browser.get("/connect?code=canary-code", **basic("canary-password"))
    await browser.get(f"/nothing?state={state}&code=canary-code")
    said = capsys.readouterr()
    for secret in ("canary-code", "canary-password", state, browser.jar["igbot_state"]):
        assert secret not in said.out + said.err


async def test_a_hostile_query_is_never_a_500(world):
    world.start(connect_open=True)
    browser = Browser(world)
    await browser.depart()
    for path in (
        "/oauth/callback?state=%00&code=%ff",
        "/oauth/callback?state=%ed%a0%80&code=x",
        "/connect?invite=%ff%00",
        "/oauth/callback?" + "state=a&" * 50,
        "/data-deletion/..%2f",
        "/webhook?hub.mode=%ff",
    ):
        async with aiohttp.ClientSession() as session:
            url = world.url(path)
            headers = {"Host": "127.0.0.1:8080", "Cookie": "igbot_state=%ff"}
            async with session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as answer:
                assert answer.status < 500, path
