"""What a person does with dead letters, against a live connector under demo traffic."""

import re

import pytest
from playwright.async_api import expect

from connector.events import Record
from connector.kafka import produce
from tests.console.conftest import ROW, Live, letters

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_a_dead_letter_is_shown_on_request_edited_and_replayed(live: Live) -> None:
    async with live.page("dead-letters") as page:
        await letters(page).locator("a").first.click()
        await expect(page.locator(".note").first).to_contain_text("is not an E.164 number")
        await expect(page.locator("main")).not_to_contain_text("This one is rejected.")
        await page.get_by_role("button", name=re.compile("^Show content")).click()
        editor = page.get_by_label("Content", exact=True)
        await expect(editor).to_have_value(re.compile("This one is rejected."))
        replay = page.get_by_role("button", name="Replay edited …")
        await replay.click()
        await expect(page.locator("#content-fault")).to_contain_text("as it is it must fail again")
        given = await editor.input_value()
        await editor.fill(given.replace('"body"', '"boddy"'))
        await replay.click()
        await expect(page.locator("#content-fault")).to_contain_text("did you mean body?")
        await editor.fill(re.sub(r'"to": "[^"]*"', '"to": "+15550100002"', given))
        await replay.click()
        await expect(page.get_by_role("dialog")).to_contain_text("Replay the edited record?")
        await page.get_by_role("dialog").get_by_role("button", name="Replay").click()
        await expect(page.get_by_role("heading", name="send-message")).to_be_visible()
        await expect(page.locator(".facts").first).to_contain_text("succeeded")
        await page.get_by_role("link", name="Dead letters").click()
        await page.get_by_role("button", name=re.compile("^Replayed")).click()
        await expect(letters(page).first).to_contain_text("replayed")


async def test_a_dead_letter_is_discarded_with_a_note(live: Live) -> None:
    async with live.page("dead-letters") as page:
        await letters(page).locator("a").last.click()
        await page.get_by_role("button", name="Discard …").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Note for the others").fill("an example")
        await dialog.get_by_role("button", name="Discard").click()
        await page.get_by_role("button", name=re.compile("^Discarded")).click()
        await letters(page).locator("a").first.click()
        await expect(page.locator(".note", has_text="an example")).to_contain_text("discarded by console")


HOSTILE = (
    "<img src=x onerror=window.evil=1> \u202egpj.exe \u2066a\u2069 b\u200bc \x1b[31m \x9b "
    "<script>window.evil=1</script>"
)
UNSEEN = (
    r"[...document.body.innerText].filter((one) => /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(one)"
    r' && !"\n\t".includes(one))'
)


async def test_what_strangers_wrote_is_text_and_shows_as_itself(live: Live) -> None:
    reasons = {"topic": f"{live.prefix}.commands.send-message", "partition": "0", "offset": "7"}
    reasons |= dict.fromkeys(("message", "class", "stage", "group", "twilio-code"), HOSTILE)
    headers = [(f"dlq.errors.{name}", text.encode()) for name, text in reasons.items()]
    headers += [("id", HOSTILE.encode()), (HOSTILE, HOSTILE.encode())]
    letter = Record(f"{live.prefix}.dead-letters", b"k", HOSTILE.encode(), headers)
    await produce.send(live.process.settings.kafka, letter)
    async with live.page("dead-letters") as page:
        row = letters(page).filter(has_text="gpj.exe").first
        await expect(row).to_contain_text(r"\u202egpj.exe")
        assert await page.evaluate(UNSEEN) == []
        await row.locator("a").first.click()
        await expect(page.locator(".note").first).to_contain_text("<img src=x onerror=window.evil=1>")
        await page.get_by_role("button", name=re.compile("^Show content")).click()
        # What is edited is what is in the record.
        await expect(page.get_by_label("Content", exact=True)).to_have_value(HOSTILE)
        assert await page.evaluate(UNSEEN) == []
        assert await page.evaluate("window.evil") is None


async def test_the_letters_of_one_reason_are_discarded_together(live: Live) -> None:
    async with live.page("dead-letters") as page:
        reason = page.get_by_role("region", name="Open dead letters by reason").locator(ROW, has_text="E.164").first
        await expect(reason).to_be_visible()
        await reason.get_by_role("button", name=re.compile("^Replay …")).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("must fail again as they are")
        await dialog.get_by_role("button", name="Cancel").click()
        await reason.get_by_role("button", name=re.compile("^Discard …")).click()
        await dialog.get_by_label("Note for the others").fill("a group of examples")
        await dialog.get_by_role("button", name="Discard").click()
        await expect(page.locator(".note", has_text="discarded.")).to_be_visible()
        await page.get_by_role("button", name=re.compile("^Discarded")).click()
        await expect(letters(page).first).to_contain_text("discarded")
