"""Every page of the console in a browser, against a live connector under demo traffic."""

import asyncio
import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests import producing
from tests.console.conftest import NARROW, OUT, ROW, WIDE, Live, letters, violations
from tests.console_client import OLD_SID, yesterday

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def _first(page: Page, link: str) -> None:
    """Follow the first link of a list and wait for what it leads to."""
    await page.locator(link).first.click()
    await expect(page.locator(".facts").first).to_be_visible()


async def _command(page: Page) -> None:
    await page.get_by_role("button", name=re.compile("^Succeeded")).click()
    await _first(page, f"{ROW} a")


async def _callback(page: Page) -> None:
    await _first(page, f"{ROW} a:has-text('Signature')")


async def _letter(page: Page) -> None:
    await letters(page).locator("a").first.click()
    await expect(page.locator(".facts").first).to_be_visible()
    await page.get_by_role("button", name=re.compile("^Show content")).click()
    await expect(page.get_by_label("Content", exact=True)).to_be_visible()


async def _rows(page: Page) -> None:
    await expect(page.locator(ROW).first).to_be_visible()


async def _cards(page: Page) -> None:
    await expect(page.locator("article .pill", has_text="watching").first).to_be_visible()


async def _form(page: Page) -> None:
    await expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    await page.get_by_text("more parameters").click()


async def _flow(page: Page) -> None:
    await expect(page.locator(".log li").nth(9)).to_be_visible()
    await expect(page.locator(".lane.flows").first).to_be_visible()


async def _plots(page: Page) -> None:
    await expect(page.locator(".plot .line").first).to_be_visible()
    await expect(page.locator("figcaption", has_text="Commands finished")).to_contain_text("/s")


# Lists of few rows: axe-core takes a tenth of a second for each.
PAGES = {
    "overview": ("", _flow),
    "watches": ("watches", _cards),
    "commands": ("commands", _rows),
    "command": ("commands", _command),
    "callbacks": ("callbacks", _rows),
    "callback": ("callbacks", _callback),
    "dead-letters": ("dead-letters", _rows),
    "dead-letter": ("dead-letters", _letter),
    "send": ("send", _form),
    "settings": ("settings", _rows),
    "events": ("events?state=rejected", _rows),
    "health": ("health", _plots),
    "search": ("search?text=rejected-0&within=15", _rows),
}


LOOKS: dict[str, tuple[Any, Any]] = {"light": ("light", WIDE), "dark": ("dark", WIDE), "narrow": ("light", NARROW)}


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_opens_and_is_accessible_light_dark_and_narrow(live: Live, name: str) -> None:
    path, ready = PAGES[name]
    async with live.page(path) as page:
        await ready(page)
        OUT.mkdir(exist_ok=True)
        for look, (scheme, size) in LOOKS.items():
            await page.emulate_media(color_scheme=scheme)
            await page.set_viewport_size(size)
            await page.evaluate("window.scrollTo(0, 0)")
            await page.screenshot(path=OUT / f"{name}-{look}.png")
            assert await violations(page) == [], look
            # Nothing sticks out to the side, on a phone either.
            assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), look


async def test_the_overview_follows_the_flow_live(live: Live) -> None:
    async with live.page() as page:
        for lane in ("Watched records", "Callbacks", "Commands", "Results"):
            rate = page.locator(".lane", has_text=lane).locator(".rate")
            await expect(rate.filter(has_not_text=re.compile("^0$"))).to_be_visible()
        before = await page.locator(".log li").first.get_attribute("data-key")
        await expect(page.locator(f".log li:first-child:not([data-key='{before}'])")).to_be_visible()
        await expect(page.locator(".tile", has_text="Watches")).to_contain_text("3 of 3")


async def test_updates_stop_while_they_are_paused(live: Live) -> None:
    async with live.page() as page:
        await _flow(page)
        await page.get_by_role("button", name="Pause updates").click()
        first = page.locator(".log li").first
        before = await first.get_attribute("data-key")
        # Ticks go on, as the badge of the navigation shows; the page stays as it is.
        await page.evaluate(
            "new Promise((seen) => { let ticks = 0; const source = new EventSource('/api/stream');"
            "source.addEventListener('tick', () => { if (++ticks === 5) { source.close(); seen(); } }) })"
        )
        assert await first.get_attribute("data-key") == before
        await page.get_by_role("button", name="Resume updates").click()
        await expect(page.locator(f".log li:first-child:not([data-key='{before}'])")).to_be_visible()


async def test_a_watch_is_paused_resumed_and_rewound_with_a_confirmation(live: Live) -> None:
    async with live.page("watches") as page:
        card = page.locator("article", has=page.get_by_role("heading", name="calls"))
        await card.get_by_role("button", name="Pause").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Pause calls?")
        await dialog.get_by_role("button", name="Cancel").click()
        await expect(card.locator(".pill")).to_have_text("watching")

        await card.get_by_role("button", name="Pause").click()
        await dialog.get_by_role("button", name="Pause").click()
        await expect(card.locator(".pill")).to_have_text("paused")
        await expect(page.locator(".toast")).to_contain_text("It stays so over restarts")
        await expect(card.get_by_role("button", name="Scan now")).to_be_disabled()
        await card.get_by_role("button", name="Resume").click()
        await expect(card.locator(".pill")).to_have_text("watching")

        await card.get_by_role("button", name="Rewind …").click()
        await expect(dialog.get_by_label("Back to")).to_be_focused()
        await dialog.get_by_role("button", name="Rewind").click()
        await expect(card.locator(".answer")).to_contain_text("Rewound to")
        await card.get_by_role("button", name="Scan now").click()
        await expect(card.locator(".answer")).to_contain_text("again now")


async def test_a_command_s_timeline_shows_parameters_attempt_result_and_events_but_no_text(live: Live) -> None:
    async with live.page("commands") as page:
        await _command(page)
        steps = page.locator(".steps")
        for heading in ("Command send-message was written", "Noted in the journal", "Result"):
            await expect(steps).to_contain_text(heading)
        await expect(steps).to_contain_text("Event on message-status")
        await expect(page).to_have_title(re.compile("Twilio–Kafka console$"))  # noqa: RUF001 - the name on the page
        assert "timeline" not in await page.title()
        await steps.locator("summary").first.click()
        await expect(steps.locator(".json").first).to_contain_text("characters]")
        everything = await page.locator("body").inner_text()
        assert "Your " not in everything
        assert "+1555010" not in everything
        await steps.locator("li", has_text="Event on message-status").first.locator("summary").click()
        await steps.get_by_role("link", name=re.compile("^Open callback")).first.click()
        await expect(page.get_by_role("heading", name="A stored callback")).to_be_visible()


async def test_commands_are_filtered_by_outcome_and_text(live: Live) -> None:
    async with live.page("commands") as page:
        await _rows(page)
        await page.locator("#search").fill("no-such-id")
        await expect(page.locator(".empty")).to_contain_text("No such command")
        await page.locator("#search").fill("")
        await page.get_by_role("button", name=re.compile("^Succeeded")).click()
        await expect(page.locator(ROW).first).to_contain_text("succeeded")
        await expect(page.locator(f"{ROW} .pill", has_text="rejected")).to_have_count(0)


IN_ORDER = """(order) => {
    const shown = [...document.querySelectorAll("tbody tr td:nth-child(1)")].map((cell) => cell.textContent);
    const wanted = [...shown].sort();
    if (order === "descending") wanted.reverse();
    return new Set(shown).size > 1 && shown.join() === wanted.join();
}"""


async def test_a_column_sorts_all_rows_and_the_order_survives_back(live: Live) -> None:
    async with live.page("commands") as page:
        await _rows(page)
        heading = page.get_by_role("columnheader", name="State")
        for order in ("ascending", "descending"):
            await heading.get_by_role("button").click()
            await expect(heading).to_have_attribute("aria-sort", order)
            await page.wait_for_function(IN_ORDER, arg=order)
        assert await violations(page) == []
        await page.get_by_role("link", name="Overview").click()
        await _flow(page)
        await page.go_back()
        await expect(heading).to_have_attribute("aria-sort", "descending")
        await heading.get_by_role("button").click()
        await expect(heading).to_have_attribute("aria-sort", "none")
        assert "sort" not in page.url


async def _refused(live: Live, page: Page) -> None:
    """Deliver a callback that nobody signed, and look at why it was refused."""
    answer = await page.request.post(
        f"{live.process.callbacks}/callbacks/message-status",
        form={"MessageSid": "SM" + "0" * 32, "AccountSid": live.simulator.account_sid, "Body": "a secret text"},
        headers={"X-Twilio-Signature": "bm90IGEgc2lnbmF0dXJl"},
    )
    assert answer.status == 403
    await page.get_by_role("button", name="Refused here").click()
    await page.get_by_role("link", name=re.compile("^Why")).first.click()


async def test_a_refused_callback_says_what_was_signed_and_why_it_failed(live: Live) -> None:
    async with live.page("callbacks") as page:
        await _refused(live, page)
        await expect(page.locator(".note")).to_contain_text("most likely the auth token is another one")
        signed = page.locator(".signed").first
        await expect(signed).to_contain_text(f"{live.process.callbacks}/callbacks/message-statusAccountSid")
        await expect(page.locator("main")).not_to_contain_text("a secret text")
        await expect(page.locator("main")).not_to_contain_text("bm90IGEgc2lnbmF0dXJl")
        await expect(page.get_by_role("button", name="Deliver again")).to_have_count(0)
        await page.get_by_role("button", name="Show values").click()
        await expect(signed).to_contain_text("a secret text")
        await expect(page.locator("main")).not_to_contain_text("bm90IGEgc2lnbmF0dXJl")


async def test_a_stored_callback_is_delivered_again(live: Live) -> None:
    async with live.page("callbacks") as page:
        await _callback(page)
        await page.get_by_role("button", name="Deliver again …").click()
        await page.get_by_role("dialog").get_by_role("button", name="Deliver again").click()
        await expect(page.locator(".toast")).to_contain_text("answered 20")


async def test_a_message_is_sent_from_the_form_and_its_story_opens(live: Live) -> None:
    async with live.page("send") as page:
        await page.get_by_label("to required").fill("+15550100002")
        await page.get_by_label("from", exact=True).fill("+15551234567")
        await page.get_by_label("body", exact=True).fill("Sent from the form.")
        send = page.get_by_role("button", name="Send", exact=True).first
        await page.get_by_label("to required").fill("nobody")
        await send.click()
        await expect(page.locator("#field-to-fault")).to_contain_text("is not an E.164 number")
        await expect(page.get_by_label("to required")).to_be_focused()
        await page.get_by_label("to required").fill("+15550100002")

        async def lose_the_answer(route: Route) -> None:
            await route.fetch()
            await route.abort()

        # The command is written, and the browser does not hear of it.
        before = len(live.simulator.journal.of("CreateMessage"))
        await page.route("**/api/commands", lose_the_answer, times=1)
        dialog = page.get_by_role("dialog")
        for _ in range(2):
            await send.click()
            await expect(dialog).to_contain_text("it costs money")
            await dialog.get_by_role("button", name="Send").click()
            await expect(dialog).to_have_count(0)
            if await page.locator("form.send").count():
                await expect(page.locator("form.send .note")).to_contain_text("cannot send twice")
        await expect(page.get_by_role("heading", name="send-message")).to_be_visible()
        await expect(page.locator(".steps")).to_contain_text("Event on message-status")
        sent = [
            request for request in live.simulator.journal.of("CreateMessage")[before:] if "Sent from" in str(request)
        ]
        assert len(sent) == 1
    live.problems[:] = [line for line in live.problems if "ERR_FAILED" not in line]


async def test_what_is_not_in_memory_is_found_from_every_page_and_links_to_it_last(live: Live) -> None:
    await asyncio.to_thread(producing.produce, live.kafka, yesterday(live.prefix))
    async with live.page() as page:
        await _flow(page)
        await page.keyboard.press("/")
        await expect(page.locator("#find")).to_be_focused()
        await page.keyboard.type("order-old")
        await page.keyboard.press("Enter")
        await expect(page.locator(".empty")).to_contain_text("Nothing that fits")
        await page.get_by_role("button", name="24 hours").click()
        await expect(page.locator(ROW)).to_have_count(2)
        await expect(page.get_by_text("Searched. 2 records found.")).to_be_visible()
        assert "order-old" in page.url
        await page.locator(f"{ROW} a").first.click()
        await expect(page.locator(".steps > li")).to_have_count(3)
        assert "old-1?at=" in page.url
        # The address of a SID, as of a link in a ticket of yesterday.
        await page.goto(f"{live.process.admin}/#/commands/{OLD_SID}")
        await page.reload()
        await expect(page.locator(".steps > li")).to_have_count(3)
        await page.goto(f"{live.process.admin}/#/commands/no-such-id")
        await expect(page.locator(".note")).to_contain_text("no-such-id was not found")
        await page.go_back()
        await page.go_back()
        await page.go_back()
        await expect(page.locator(ROW)).to_have_count(2)


async def test_the_form_follows_the_schemas_of_all_commands(live: Live) -> None:
    async with live.page("send") as page:
        command = page.get_by_label("Command")
        for name in await command.locator("option").all_inner_texts():
            await command.select_option(name)
            await page.get_by_role("button", name="Fill in an example").click()
            await expect(page.locator(".field:visible").nth(1)).to_be_visible()
        await command.select_option("get")
        await page.get_by_label("Resource", exact=True).select_option("recording")
        await page.get_by_label("sid required").fill("RE" + "0" * 32)
        await page.get_by_role("button", name="Send", exact=True).click()
        await page.locator(".steps summary").first.click()
        await expect(page.locator(".steps .json").first).to_contain_text('resource: "recording"')


async def test_settings_show_origins_and_mask_secrets(live: Live) -> None:
    async with live.page("settings") as page:
        await page.locator("#search").fill("auth_token")
        row = page.locator(ROW, has_text="connections.default.auth_token")
        await expect(row).to_contain_text("********")
        await expect(row).to_contain_text(".yaml:")
        await page.locator("#search").fill("")
        few = await page.locator(ROW).count()
        await page.get_by_role("button", name=re.compile("^All")).click()
        assert await page.locator(ROW).count() > few


async def test_everything_is_reached_with_the_keyboard(live: Live) -> None:
    async with live.page() as page:
        await _flow(page)
        await page.keyboard.press("Tab")
        await expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
        for name in ("Twilio–Kafka", "", "Overview", "Watches"):  # noqa: RUF001 - the name on the page
            await page.keyboard.press("Tab")
            link = page.get_by_role("link", name=re.compile(f"^{name}")).first
            await expect(link if name else page.locator("#find")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="Watches", level=1)).to_be_visible()
        await expect(page.locator("main")).to_be_focused()
        pause = page.locator("article").first.get_by_role("button", name="Pause")
        await pause.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(pause).to_be_focused()
