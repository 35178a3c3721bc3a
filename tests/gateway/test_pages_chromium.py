"""The gateway's pages on a phone, in a real Chromium: nothing overflows, nothing is blocked, a thumb finds the button.

Pictures go to tests/.artifacts/gateway, for people to look at.
"""

from contextlib import asynccontextmanager

import grpc
import pytest
from playwright.async_api import async_playwright

from tests.gateway.world import ROOT
from tests.tools import need

pytestmark = pytest.mark.long
ARTIFACTS = ROOT / "tests" / ".artifacts" / "gateway"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "Instagram refused: " + "an_unbroken_word_of_an_error_that_is_longer_than_any_phone_is_wide_" * 3
CASES = [
    ("connected", None, "", "good-code"),
    ("missing_scopes", INVALID, "instagram_business_basic was not granted", "good-code"),
    ("code_spent", INVALID, "this code was used already", "good-code"),
    ("setup", grpc.StatusCode.FAILED_PRECONDITION, "INSTAGRAM_CLIENT_ID and REDIRECT_URI must be exactly", "good-code"),
    ("not_professional", INVALID, "this is no professional account", "good-code"),
    ("refused", INVALID, LONG, "good-code"),
    ("upstream", grpc.StatusCode.UNAVAILABLE, "down", "good-code"),
]


@asynccontextmanager
async def phone(*, dark=False):
    path = need("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        context = await browser.new_context(
            viewport={"width": 390, "height": 780}, device_scale_factor=2, color_scheme="dark" if dark else "light"
        )
        page = await context.new_page()
        troubles: list[str] = []
        page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        try:
            yield page, troubles
        finally:
            await browser.close()


async def look(page, name):
    """Check what a person with a phone needs, and take a picture."""
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390, name
    assert await page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "16px", name
    assert float((await page.evaluate("getComputedStyle(document.body).fontSize"))[:-2]) >= 16
    for button in await page.query_selector_all("a.go"):
        box = await button.bounding_box()
        assert box["height"] >= 44, name
    assert await page.locator("h1").count() == 1, name
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=str(ARTIFACTS / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_page_can_be_read_on_a_phone(world, dark):
    gateway = world.start(connect_open=True)
    closed = world.start()
    base = f"http://127.0.0.1:{gateway.web.port}"
    suffix = "-dark" if dark else ""
    world.tokens.missing = ["message_reactions", "messaging_postbacks"]
    async with phone(dark=dark) as (page, troubles):
        await page.goto(f"{base}/")
        await look(page, f"home{suffix}")
        for name, status, detail, code in CASES:
            world.tokens.codes.add("good-code")
            world.tokens.status, world.tokens.detail = status, detail
            # Instagram's page is beyond this machine: the redirect is read, not followed.
            left = await page.context.request.get(f"{base}/connect?here=1", max_redirects=0)
            state = left.headers["location"].partition("state=")[2].partition("&")[0]
            await page.goto(f"{base}/oauth/callback?code={code}&state={state}#_")
            await look(page, f"{name}{suffix}")
        for name, path in (("bad_state", "/oauth/callback?state=x&code=y"), ("not_found", "/nothing")):
            await page.goto(base + path)
            await look(page, f"{name}{suffix}")
        await page.goto(f"http://127.0.0.1:{closed.web.port}/connect?here=1")
        await look(page, f"closed{suffix}")
        # The statuses themselves are printed as errors; nothing else may be.
        assert [line for line in troubles if "the server responded with a status of" not in line] == []
