"""A watch at work on a list and a Kafka that a test writes: what it asked, what it wrote, and how it ended."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from connector.errors import Refused, TwilioError
from connector.events import Record
from connector.resources.rows import Request
from connector.settings import WatchSettings
from connector.twilio.clock import TwilioClock
from connector.twilio.paging import Page
from connector.watcher.cursor import Commit, Cursor
from connector.watcher.records import Publication
from connector.watcher.walk import Capacity
from connector.watcher.watcher import Watcher

ACCOUNT = "AC" + "0" * 32
WITHIN = 30.0
NOW = datetime(2026, 11, 24, 12, 0, 30, tzinfo=UTC)
QUICK = "20ms"


def sid(number: int, prefix: str = "SM") -> str:
    return f"{prefix}{number:032x}"


def message(number: int, created: datetime = NOW, **fields: Any) -> dict[str, Any]:
    """A message as the list shows it."""
    date = format_datetime(created)
    row = {"sid": sid(number), "account_sid": ACCOUNT, "date_created": date, "date_sent": date, "status": "delivered"}
    return row | {"price": "-0.0075", "body": "secret text", "date_updated": date} | fields


class Twilio:
    """One list, newest first, that a test writes; `failures` are raised by the next requests.

    `unlisted` rows can only be fetched. `date` is what its answers say, `own` what this machine's clock says, where
    that is not `now`.
    """

    def __init__(self, *rows: dict[str, Any], now: datetime = NOW) -> None:
        self.rows = list(rows)
        self.unlisted: list[dict[str, Any]] = []
        self.now = now
        self.date: datetime | None = None
        self.own: datetime | None = None
        self.clock = TwilioClock("default", own=self._own)
        self.failures: deque[TwilioError] = deque()
        self.requests: list[Request] = []
        self.fetched: list[str] = []
        self.on_request: Callable[[Request], None] = lambda _request: None

    def _own(self) -> float:
        return (self.own or self.now).timestamp()

    def begin(self, since: datetime) -> None:
        """A walk begins."""

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        size = int(dict(request.query)["PageSize"])
        for start in range(0, max(len(self.rows), 1), size):
            self.requests.append(request)
            if self.failures:
                raise self.failures.popleft()
            self.on_request(request)
            await asyncio.sleep(0)
            yield Page(self.rows[start : start + size], self.date or self.now)

    async def fetch(self, request: Request) -> Mapping[str, Any]:
        wanted = request.path.rpartition("/")[2].removesuffix(".json")
        self.fetched.append(wanted)
        for row in (*self.rows, *self.unlisted):
            if row["sid"] == wanted:
                return row
        raise Refused("gone", status=404, code=20404)


class Kafka:
    """What the transactions of a watch have written; `failures` are raised by the next ones."""

    def __init__(self) -> None:
        self.transactions: list[tuple[Sequence[Record], Cursor | None]] = []
        self.failures: deque[Exception] = deque()
        self.written = asyncio.Event()

    async def commit(self, records: Sequence[Record], cursor: Cursor | None) -> None:
        if self.failures:
            raise self.failures.popleft()
        await asyncio.sleep(0)
        self.transactions.append((records, cursor and Cursor.from_json(cursor.to_json())))
        self.written.set()

    @property
    def records(self) -> list[Record]:
        return [record for records, _ in self.transactions for record in records]

    @property
    def sids(self) -> list[str]:
        return [(record.key or b"").decode() for record in self.records]

    @property
    def cursor(self) -> Cursor | None:
        return self.transactions[-1][1] if self.transactions else None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a transaction makes it true; a failure tells what is there."""
        try:
            async with asyncio.timeout(WITHIN):
                while not condition():
                    self.written.clear()
                    await self.written.wait()
        except TimeoutError:
            pytest.fail(
                f"after {WITHIN} s there are {len(self.transactions)} transactions with {len(self.sids)} records"
            )


def watcher(twilio: Twilio, kafka: Kafka, commit: Commit | None = None, **settings: Any) -> Watcher:
    given = {"resource": "messages", "name": "inbox", "interval": QUICK} | settings
    capacity = Capacity(given.pop("capacity", 20_000))
    chosen = WatchSettings(**given)
    return Watcher(chosen, publication(chosen), twilio, commit or kafka.commit, capacity=capacity)


def publication(settings: WatchSettings) -> Publication:
    """What the watch publishes."""
    return Publication(
        name=settings.name,
        watch=settings.row,
        account_sid=ACCOUNT,
        prefix="t",
        changes=settings.emit == "changes",
    )


@asynccontextmanager
async def running(watch: Watcher, cursor: Cursor | None = None) -> AsyncIterator[None]:
    """The watch at work; at the end it is told to stop, and must. Raises what ended it before."""
    stop = asyncio.Event()
    task = asyncio.create_task(watch.run(cursor, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, WITHIN)


@asynccontextmanager
async def ending(watch: Watcher, error: type[Exception]) -> AsyncIterator[None]:
    """The watch at work, which ends by itself with this error."""
    task = asyncio.create_task(watch.run(None, asyncio.Event()))
    try:
        yield
        with pytest.raises(error):
            await asyncio.wait_for(task, WITHIN)
    finally:
        task.cancel()


@contextmanager
def logged() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for something that no transaction announces."""
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.005)
