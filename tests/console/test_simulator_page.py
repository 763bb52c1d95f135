"""The simulator's own page, in the same browser."""

from base64 import b64encode
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from connector.simulator import PHONE_NUMBER, Simulator
from tests.console.conftest import NARROW, WIDE, violations
from tests.running import until

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
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


async def test_requests_open_messages_are_moved_and_webhooks_are_sent_again(page: Page) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    async with Simulator(seed=1, settings={"queue_delay": 3600.0}) as simulator:
        login = b64encode(f"{simulator.account_sid}:{simulator.auth_token}".encode()).decode()
        # Nothing listens there: the webhook fails, and can be sent again.
        form: dict[str, str | float | bool] = {
            "To": "+15557654321",
            "From": PHONE_NUMBER,
            "Body": "Hello",
            "StatusCallback": "http://127.0.0.1:9/",
        }
        messages = f"{simulator.url}/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
        for method in ("POST", "GET"):
            await page.request.fetch(
                messages,
                method=method,
                form=form if method == "POST" else None,
                headers={"Authorization": f"Basic {login}"},
            )
        (row,) = simulator.state.stores[simulator.account_sid].messages.rows.values()
        await page.goto(f"{simulator.url}/_sim/")

        requests = page.locator("#journal tr")
        await expect(requests).to_have_count(2)
        await page.get_by_label("Show").select_option("writes")
        await expect(requests).to_have_count(1)
        await page.get_by_role("button", name="CreateMessage").click()
        await expect(page.locator("#asked")).to_contain_text("To = +15557654321")
        await expect(page.locator("#answered")).to_contain_text(f'"sid": "{row.sid}"')
        assert await violations(page) == []
        await page.get_by_role("button", name="Close").click()

        await page.get_by_label(f"State of {row.sid}").select_option("undelivered")
        await expect(page.locator("#messages")).to_contain_text("undelivered")
        assert row.status == "undelivered"
        delivery = simulator.state.deliveries.rows[-1]
        await expect(page.locator("#webhooks")).to_contain_text("failed")
        tried = len(delivery.attempts)
        await page.get_by_role("button", name=f"Resend webhook {delivery.number}").click()
        await expect(page.get_by_role("status")).to_contain_text("is sent again")
        await until(lambda: len(delivery.attempts) > tried)

        await page.get_by_role("button", name="Every fifth answer is lost").click()
        await expect(page.locator("#faults")).to_contain_text("lose-answer")
        assert await violations(page) == []
    assert problems == []
