"""A console over large topics opens at once, and the process that serves it does not grow."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from connector.simulator import Simulator
from tests.console.conftest import Live
from tests.producing import Message, produce
from tests.running import Connector, configuration, running

pytestmark = pytest.mark.asyncio(loop_scope="package")

RECORDS = 100_000
TOPICS = ("messages", "message-status", "results.send-message", "dead-letters")


def _messages(prefix: str, count: int) -> Iterator[Message]:
    """So many events, of different SIDs, over four topics."""
    for number in range(count):
        sid = f"SM{number:032x}"
        value = {"sid": sid, "status": "delivered", "outcome": "succeeded", "body": "x" * 200}
        headers = {"ce_specversion": "1.0", "ce_id": sid, "ce_source": "/twilio/AC/messages", "ce_subject": sid}
        headers |= {"ce_type": "twilio.message.created.v1", "content-type": "application/json"}
        yield Message(f"{prefix}.{TOPICS[number % len(TOPICS)]}", value, sid, headers)


def _fill(kafka: str, prefix: str, count: int) -> None:
    produce(kafka, _messages(prefix, count), **{"linger.ms": 20, "queue.buffering.max.messages": count + 1})


def _resident(process: Connector) -> int:
    """Resident memory in MiB."""
    assert process.process is not None
    pages = Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096 // 2**20


async def _until_live(page: Page, process: Connector) -> None:
    """Wait until the reader has come to the end of all topics."""
    last = -1
    async with asyncio.timeout(30):
        while True:
            tick = (await (await page.request.get(f"{process.admin}/api/overview")).json())["tick"]
            if tick["live"] and tick["version"] == last:
                return
            last = tick["version"]
            await asyncio.sleep(0.5)


async def test_the_first_page_opens_over_100000_records(
    browser: Browser, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with Simulator() as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix)
        async with running(document, tmp_path) as (process,):
            await asyncio.to_thread(_fill, kafka, prefix, RECORDS)
            live = Live(process, simulator, kafka, prefix, browser)
            async with live.page() as page:
                await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
                await expect(page.locator(".node", has_text="Kafka")).to_contain_text(prefix)
                await expect(page.locator(".log li").nth(9)).to_be_visible()

            # Another hundred thousand while somebody looks: skipped where they come too fast, and none is kept.
            async with live.page("commands") as page:
                await expect(page.locator("tbody tr").nth(99)).to_be_visible()
                before = _resident(process)
                await asyncio.to_thread(_fill, kafka, prefix, RECORDS)
                await _until_live(page, process)
                found = await (await page.request.get(f"{process.admin}/api/overview")).json()
                assert found["tick"]["timelines"] <= 3_000
                assert _resident(process) - before < 60, (before, _resident(process))
