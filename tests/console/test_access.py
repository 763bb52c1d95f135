"""The token, and the loss of what the console stands on, as a person sees them."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from connector.simulator import Simulator
from tests.brokers import QuickBroker
from tests.console.conftest import OUT, WATCHES, Live, violations
from tests.running import configuration, running

pytestmark = pytest.mark.asyncio(loop_scope="package")

TOKEN = "a-token-of-the-console"


async def test_a_wrong_token_is_refused_and_the_right_one_opens_the_console_until_signing_out(
    browser: Browser, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with Simulator() as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES, admin={"token": TOKEN})
        async with running(document, tmp_path) as (process,):
            live = Live(process, simulator, kafka, prefix, browser)
            async with live.page("commands?state=failed") as page:
                token = page.get_by_label("Token")
                await expect(token).to_be_focused()
                OUT.mkdir(exist_ok=True)
                await page.screenshot(path=OUT / "login-light.png")
                await token.fill("not-it")
                await page.keyboard.press("Enter")
                await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
                assert await violations(page) == []
                await page.get_by_label("Token").fill(TOKEN)
                await page.keyboard.press("Enter")
                # The page that was asked for.
                await expect(page.get_by_role("heading", name="Commands")).to_be_visible()
                await expect(page.locator(".choices [aria-pressed=true]")).to_contain_text("Failed")
                await page.get_by_role("link", name="Overview").click()
                await expect(page.locator(".tile", has_text="Watches")).to_contain_text("3 of 3")
                assert TOKEN not in await page.content()
                assert await page.evaluate("document.cookie") == ""
                await page.get_by_role("button", name="Sign out").click()
                await expect(page.get_by_label("Token")).to_be_visible()
    assert [line for line in live.problems if "401" not in line] == []


async def test_the_loss_of_the_broker_and_of_the_process_is_told_and_its_return_too(
    browser: Browser, tmp_path: Path
) -> None:
    broker = await QuickBroker().start()
    try:
        async with Simulator() as simulator:
            kafka = broker.bootstrap_servers
            document = configuration(simulator, kafka=kafka, prefix="lost", watches=WATCHES)
            async with running(document, tmp_path) as (process,):
                live = Live(process, simulator, kafka, "lost", browser)
                async with live.page() as page:
                    banner = page.locator("#banner")
                    await expect(page.locator(".tile", has_text="Watches")).to_contain_text("3 of 3")
                    await expect(banner).to_be_hidden()
                    await broker.nodes[0].kill()
                    await expect(banner).to_contain_text("Kafka does not answer.")
                    await page.screenshot(path=OUT / "broker-lost-light.png")
                    assert await violations(page) == []
                    await broker.nodes[0].start()
                    await broker.nodes[0].ready()
                    await expect(banner).to_be_hidden(timeout=60_000)
                    simulator.receive(from_="+15550100001", to="+15551234567", body="after all")
                    await expect(page.locator(".log")).to_contain_text("messages", timeout=60_000)

                    await process.kill()
                    await expect(banner).to_contain_text("This connector does not answer.")
                    await process.start()
                    await expect(banner).to_be_hidden(timeout=60_000)
    finally:
        await broker.stop(gracefully=False)
        await asyncio.sleep(0)
