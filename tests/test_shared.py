"""One piece of work for all callers that wait at the same time."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import Metric

from connector.admin.server import AdminServer
from connector.admin.shared import Shared
from connector.telemetry import metrics

CALLERS = 100


class Work:
    """Counts how often it was begun, and how many were under way at once."""

    def __init__(self) -> None:
        self.begun = self.running = self.most = 0
        self.has_begun = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        self.has_begun.set()
        self.running += 1
        self.most = max(self.most, self.running)
        number = self.begun
        await asyncio.sleep(0)
        self.running -= 1
        if number == 2:
            raise ValueError("the second one")
        return number


async def test_callers_share_what_is_begun_after_they_asked() -> None:
    work = Work()
    shared = Shared(work)
    first = asyncio.create_task(shared())
    await work.has_begun.wait()
    # The first has begun already: it may not show what has happened since.
    others = [asyncio.create_task(shared()) for _ in range(CALLERS)]
    others[0].cancel()
    found = await asyncio.gather(first, *others, return_exceptions=True)
    assert found[0] == 1
    assert isinstance(found[1], asyncio.CancelledError)
    assert {str(error) for error in found[2:]} == {"the second one"}
    assert await shared() == 3
    assert (work.begun, work.most) == (3, 1)


class Counting:
    """A collector that knows how often it was read."""

    def __init__(self) -> None:
        self.read = 0

    def collect(self) -> list[Metric]:
        """Nothing."""
        self.read += 1
        return []


@pytest.fixture
async def admin() -> AsyncIterator[str]:
    server = AdminServer(live=list, ready=list)
    port = await server.start(host="127.0.0.1", port=0)
    yield f"http://127.0.0.1:{port}"
    await server.stop()


async def test_a_flood_of_scrapes_costs_a_few(admin: str) -> None:
    counting = Counting()
    metrics.REGISTRY.register(counting)
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CALLERS)) as session:

            async def scrape() -> int:
                async with session.get(f"{admin}/metrics") as answer:
                    await answer.read()
                    return answer.status

            # Registering reads it, too.
            before = counting.read
            assert set(await asyncio.gather(*(scrape() for _ in range(5 * CALLERS)))) == {200}
    finally:
        metrics.REGISTRY.unregister(counting)
    assert 0 < counting.read - before < CALLERS
