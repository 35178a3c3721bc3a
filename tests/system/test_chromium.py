"""The demo in a real Chromium: connect, write, read the answer. Makes the README's screenshot.

Pictures go to tests/.artifacts; UPDATE_SCREENSHOTS=1 puts the one that the README shows into docs/images.
"""

import os
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright, expect

from tests.ports import free_shift
from tests.system.demo import demo
from tests.system.supervisor import ROOT
from tests.tools import need

pytestmark = pytest.mark.long
expect.set_options(timeout=20_000)  # milliseconds; a page that is drawn late is no fault of ours
ARTIFACTS = ROOT / "tests" / ".artifacts"
PHONE = {"width": 390, "height": 780}
DESKTOP = {"width": 1280, "height": 860}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@asynccontextmanager
async def chromium():
    path = need("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def page_of(browser, viewport, troubles, *, dark=False):
    """A page that notes what goes wrong in it, and each address beyond this machine that it asks for."""
    scheme = "dark" if dark else "light"
    context = await browser.new_context(viewport=viewport, device_scale_factor=2, color_scheme=scheme, locale="en-GB")
    page = await context.new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append((line.text, line.location)) if line.type == "error" else None)
    page.on("request", lambda request: troubles.append(request.url) if not local(request.url) else None)
    try:
        yield page
    finally:
        await context.close()


def local(url):
    return urlsplit(url).hostname == "127.0.0.1" or url.startswith("data:")


async def shoot(page, name):
    ARTIFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTIFACTS / f"{name}.png")


async def connect(page, demo):
    await page.goto(demo.chat)
    await expect(page.get_by_text("This account is not connected")).to_be_visible()
    async with page.expect_popup() as opened:  # "You may close this page" must not close the chat
        await page.get_by_role("link", name="Connect it").click()
    tab = await opened.value
    await expect(tab.get_by_role("heading")).to_contain_text("Allow this app")
    await shoot(tab, "authorize")
    await tab.get_by_role("button", name="Allow").click()
    await expect(tab.get_by_role("heading")).to_contain_text("@north_pier_bakery is connected")
    await shoot(tab, "connected")
    await tab.close()


async def ask(page, text):
    await page.get_by_label("Message").fill(text)
    await page.get_by_label("Message").press("Enter")
    await expect(page.locator("li.customer .bubble", has_text=text)).to_be_visible()


async def read_answer(page, text):
    answer = page.locator("li.app .bubble", has=page.get_by_text(text, exact=True))
    await expect(answer).to_be_visible()
    return answer


async def test_chromium_connects_writes_and_reads_the_answer(tmp_path):
    troubles: list = []
    async with chromium() as browser, demo(tmp_path, free_shift(), MODEL_DELAY_SECONDS="6") as running:
        async with page_of(browser, PHONE, troubles) as phone:
            await connect(phone, running)
            await expect(phone.get_by_text("This account is not connected")).to_be_hidden()
            await ask(phone, "Hello! Do you have rye bread today?")
            await expect(phone.get_by_text("Seen")).to_be_visible()
            await expect(phone.get_by_label("typing")).to_be_visible()
            await read_answer(phone, "Hello! Do you have rye bread today?")
            await ask(phone, "Lovely, please keep a loaf for me")
            await read_answer(phone, "Lovely, please keep a loaf for me")
            await ask(phone, "Is there a birthday cake for Saturday?")
            await expect(phone.get_by_label("typing")).to_be_visible()
            await picture_for_the_readme(phone)
            await read_answer(phone, "Is there a birthday cake for Saturday?")
            await edits_and_unsends(phone)
            await no_sideways_scrolling(phone)
        for viewport, name, dark in ((DESKTOP, "desktop", False), (DESKTOP, "desktop-dark", True)):
            async with page_of(browser, viewport, troubles, dark=dark) as page:
                await page.goto(running.chat)
                await expect(page.get_by_role("heading", name="You are the customer.")).to_be_visible()
                await expect(page.locator("li.app").first).to_be_visible()
                await shoot(page, name)
                await no_sideways_scrolling(page)
        async with page_of(browser, DESKTOP, troubles) as page:
            await page.goto(running.chat)
            await takes_over(page)
        assert await running.stop() == 0
    assert troubles == []


async def picture_for_the_readme(page):
    await shoot(page, "chat")
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        (ROOT / "docs" / "images" / "chat.png").write_bytes((ARTIFACTS / "chat.png").read_bytes())


async def edits_and_unsends(page):
    await ask(page, "Never mind this one")
    bubble = page.locator("li.customer .bubble", has_text="Never mind this one")
    page.once("dialog", lambda dialog: dialog.accept("Never mind this other one"))
    await bubble.click(button="right")
    await page.get_by_role("menuitem", name="Edit").click()
    other = page.locator("li.customer .bubble", has_text="Never mind this other one")
    await expect(other).to_be_visible()
    await expect(page.get_by_text("edited")).to_be_visible()
    await other.click(button="right")
    await shoot(page, "menu")
    await page.get_by_role("menuitem", name="Unsend").click()
    await expect(page.get_by_text("taken back")).to_be_visible()
    await expect(other).to_have_count(0)


async def takes_over(page):
    await page.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Answer as the shop").click()
    await page.get_by_label("Message").fill("Anna here, I will set one aside for you.")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("a person at the shop")).to_be_visible()
    await shoot(page, "takeover")


async def no_sideways_scrolling(page):
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
