"""The simulator's own page, in the same browser."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from connector.simulator import PHONE_NUMBER, Simulator
from tests.console.conftest import NARROW, WIDE, violations

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of a new browser profile."""
    context = await browser.new_context(viewport=WIDE)
    opened = await context.new_page()
    yield opened
    await context.close()


async def test_the_simulator_is_shown_and_steered_on_a_page(page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    async with Simulator(seed=1) as simulator:
        await page.goto(f"{simulator.url}/_sim/")
        await page.get_by_label("Kind").select_option("throttle")
        await expect(page.locator("#effect")).to_contain_text("not executed, answered")
        await page.get_by_label("Operation").fill("Create*")
        await page.get_by_role("button", name="Set").click()
        await expect(page.locator("#faults")).to_contain_text("Create*")
        (fault,) = simulator.faults.rows
        assert (fault.kind, fault.times, fault.seconds) == ("throttle", None, 0)

        await page.get_by_label("Text").fill("Is anybody there?")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("status")).to_contain_text("has arrived")
        (row,) = simulator.state.stores[simulator.account_sid].messages.rows.values()
        assert (row.to, row.body) == (PHONE_NUMBER, "Is anybody there?")

        await page.get_by_text("Settings").click()
        await page.get_by_label("Name").select_option("deliver_delay")
        await page.get_by_label("Value").fill("2.5")
        await page.get_by_role("button", name="Change").click()
        await expect(page.get_by_role("status")).to_contain_text("The setting is changed.")
        assert simulator.state.settings.deliver_delay == 2.5

        await page.get_by_role("button", name="Clear all").click()
        await expect(page.get_by_role("status")).to_contain_text("No fault is set.")
        await page.set_viewport_size(NARROW)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            assert await violations(page) == []
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert problems == []
