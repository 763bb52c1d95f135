"""A browser, and a live connector under demo traffic. Without a Chromium on this machine these tests are skipped."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, Page, Request, async_playwright, expect

from connector.dev.demo import traffic
from connector.events import Record
from connector.kafka import produce
from connector.simulator import Simulator
from tests.running import Connector, configuration, running

OUT = Path(__file__).parent.parent / "out"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
ROW = "tbody tr"
WIDE: Any = {"width": 1360, "height": 900}
NARROW: Any = {"width": 390, "height": 844}
# A page that has not become so by then will not.
PATIENCE_MS = 20_000

WATCHES: list[dict[str, Any]] = [
    {"resource": "messages", "interval": "1s", "emit": "changes"},
    {"resource": "calls", "interval": "1s"},
    {"resource": "recordings", "interval": "2s"},
]


def chromium() -> str | None:
    """Where a Chromium is, None where there is none."""
    given = os.environ.get("CHROMIUM")
    return given or next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Live:
    """A connector at work, and pages of its console."""

    process: Connector
    simulator: Simulator
    kafka: str
    prefix: str
    browser: Browser
    problems: list[str] = field(default_factory=list)

    def _note_request(self, request: Request) -> None:
        """No page may ask any other host for anything."""
        if not request.url.startswith((self.process.admin, "data:")):
            self.problems.append(f"asked for {request.url}")

    @contextlib.asynccontextmanager
    async def page(self, path: str = "") -> AsyncIterator[Page]:
        """A page of a new browser profile; what it reports as an error ends up in `problems`."""
        context = await self.browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        try:
            page = await context.new_page()
            page.on("pageerror", lambda error: self.problems.append(str(error)))
            page.on("request", self._note_request)
            page.on("console", lambda line: self.problems.append(line.text) if line.type == "error" else None)
            await page.goto(f"{self.process.admin}/#/{path}")
            yield page
        finally:
            await context.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    """Chromium, with a profile that is thrown away."""
    executable = chromium()
    if executable is None:
        pytest.skip("There is no Chromium here: install chromium, or name one in CHROMIUM.")
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS, headless=True)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def live(
    request: pytest.FixtureRequest, browser: Browser, kafka: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Live]:
    """A connector under demo traffic."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    prefix = f"console-{os.getpid()}-{worker}"
    folder = tmp_path_factory.mktemp("console")
    async with Simulator(settings={"queue_delay": 0.1, "send_delay": 0.2, "deliver_delay": 0.4}) as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
        async with running(document, folder) as (process,):
            simulator.configure(inbound_url=f"{process.callbacks}/callbacks/inbound-message")
            await _reject(process)
            driving = asyncio.create_task(traffic(process.settings, simulator), name="demo")
            try:
                yield Live(process, simulator, kafka, prefix, browser)
            finally:
                driving.cancel()
                await asyncio.gather(driving, return_exceptions=True)


async def _reject(process: Connector) -> None:
    """A few commands that end as dead letters, as one does in the demo now and then."""
    value = json.dumps({"to": "nobody", "from": "+15550100001", "body": "This one is rejected."}).encode()
    for number in range(4):
        topic = f"{process.settings.kafka.topic_prefix}.commands.send-message"
        await produce.send(process.settings.kafka, Record(topic, b"k", value, [("id", f"rejected-{number}".encode())]))


@pytest_asyncio.fixture(loop_scope="package", autouse=True)
async def no_errors(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """No page may report an error."""
    yield
    found = request.node.funcargs.get("live")
    if isinstance(found, Live):
        problems, found.problems = found.problems, []
        assert problems == []


def letters(page: Page) -> Locator:
    """The rows of single dead letters, not those of their reasons."""
    return page.get_by_role("region", name="Dead letters", exact=True).locator(ROW)


async def violations(page: Page) -> list[str]:
    """What axe-core has against a page, of any weight."""
    session = await page.context.new_cdp_session(page)
    await session.send("Runtime.evaluate", {"expression": Axe().axe_script})
    answer = await session.send(
        "Runtime.evaluate",
        {"expression": "axe.run({resultTypes: ['violations']})", "awaitPromise": True, "returnByValue": True},
    )
    await session.detach()
    found = answer["result"]["value"]["violations"]
    return [
        f"{one['impact']} {one['id']}: {one['help']} ({node['html'][:160]})" for one in found for node in one["nodes"]
    ]
