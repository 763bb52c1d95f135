"""Reading Twilio's list for one watch: requests with filters and fitting pages, walks, and Twilio's time."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, Protocol

from connector.errors import TwilioError
from connector.resources.rows import Request, Watch, wire_value
from connector.settings.watches import WatchSettings
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock
from connector.twilio.paging import Page, WalkInterrupted, pages
from connector.watcher import catch_up
from connector.watcher.cursor import Cursor, whole
from connector.watcher.records import Publication
from connector.watcher.walk import CAPACITY, Bounds, Capacity, Present, Row, Sweep, date_filters

LARGEST_PAGE = 1000  # above it Twilio answers 20007
SMALLEST_PAGE = 50
LONG_AGO = timedelta(minutes=5)
APART = timedelta(seconds=60)
"""How far the date of an answer may be from the time that is expected, without a word."""
WALKS_IN_A_ROW = 5
NOT_FOUND = 404
# Looking at a page takes the event loop: the request for the next one must be out before.
TURNS_TO_ASK = 2


class Stopped(Exception):
    """The watch is to stop: what has been read is given up."""


class Source(Protocol):
    """Where rows come from. `pages` and `fetch` raise TwilioError."""

    @property
    def clock(self) -> TwilioClock:
        """Twilio's clock, as its answers tell it, and this machine's."""

    def pages(self, request: Request) -> AsyncIterator[Page]:
        """Walk a list."""

    async def fetch(self, request: Request) -> Any:
        """One row as JSON."""


class TwilioSource:
    """The lists of one account."""

    def __init__(self, client: TwilioClient, watch: Watch) -> None:
        self.clock = client.clock
        self._client = client
        self._items = watch.items

    def pages(self, request: Request) -> AsyncIterator[Page]:
        """Walk a list."""
        return pages(self._client, request, items=self._items)

    async def fetch(self, request: Request) -> Any:
        """One row as JSON."""
        return (await self._client.request(request)).json()


class Reader:
    """The list of one watch.

    `margin` shortens Twilio's retention where it proves shorter than known. `odd_date`: by how much the date of the
    last answer was off, where that was much.
    """

    def __init__(
        self, settings: WatchSettings, publication: Publication, source: Source, *, capacity: Capacity = CAPACITY
    ) -> None:
        self.margin = timedelta(0)
        self.present: Present | None = None
        self.odd_date: timedelta | None = None
        self._publication = publication
        self._watch = publication.watch
        self._source = source
        self._capacity = capacity
        self._filters = {self._watch.filters[name]: value for name, value in settings.filters.items()}
        self._answered: tuple[datetime, float] | None = None
        self._is_busy = True

    @property
    def now(self) -> datetime:
        """Twilio's time: its last answer's, and our clock since."""
        if self._answered is None:
            return whole(self._source.clock.own())
        date, at = self._answered
        return whole(date + timedelta(seconds=time.monotonic() - at))

    @property
    def knows_time(self) -> bool:
        """Whether `now` is Twilio's time."""
        return self._answered is not None

    async def top(self, rows: int) -> Page:
        """The first page of the list; `now` is Twilio's time from then on, and `present` tells what the clocks say."""
        async with _closing(self._source.pages(self._request(Bounds(), page_size=rows))) as pages:
            page = await anext(pages, Page([], None))
        self.present = self._present(page.date)
        self._answered = self.present.earliest, time.monotonic()
        return page

    async def walk(self, cursor: Cursor, stop: asyncio.Event) -> Sweep:
        """Walk the list as the cursor asks; from its start again when Twilio has forgotten a page token.

        Raises Stopped, and TwilioError.
        """
        for _ in range(WALKS_IN_A_ROW - 1):
            with suppress(WalkInterrupted):
                return await self._walk(cursor, stop)
        return await self._walk(cursor, stop)

    async def _walk(self, cursor: Cursor, stop: asyncio.Event) -> Sweep:
        sweep = Sweep(cursor, self._publication, capacity=self._capacity)
        page_size = self._page_size(cursor)
        for bounds in map(self._narrowed, sweep.queries()):
            if not bounds.is_empty:
                await self._read(sweep, self._request(bounds, page_size=page_size), stop, ahead=_ends(bounds))
        sweep.present = sweep.present or Present(self.now, self.now)
        self._is_busy = sweep.pages > 1
        if sweep.pages:
            self._answered = sweep.now, sweep.began_at
        return sweep

    async def _read(self, sweep: Sweep, request: Request, stop: asyncio.Event, *, ahead: bool) -> None:
        walk = self._source.pages(request)
        async with _closing(_ahead(walk) if ahead else walk) as pages:
            async for page in pages:
                if stop.is_set():
                    raise Stopped
                if not sweep.read(page.rows, self._present(page.date), page.odd):
                    return
                del page  # not held while the next one is fetched

    def _present(self, date: datetime | None) -> Present:
        """What Twilio's clock and ours say. Until enough answers agree, the one at hand tells Twilio's time."""
        clock = self._source.clock
        own, twilio = clock.own(), clock.now() if clock.is_known else date or clock.own()
        self.odd_date = date - twilio if date is not None and abs(date - twilio) > APART else None
        if not clock.is_known and date is not None and abs(date - own) > APART:
            self.odd_date = date - own
        return Present(min(own, twilio), max(own, twilio))

    async def fetch(self, sids: list[str], *, name: str) -> dict[str, Row | None]:
        """Rows by SID as they are now; None for one that is gone, nothing for one of which Twilio does not tell."""
        answers: dict[str, Row | None] = {}
        async with asyncio.TaskGroup() as tasks:
            for sid in sids:
                tasks.create_task(self._fetch_one(sid, answers), name=name)
        return answers

    async def _fetch_one(self, sid: str, answers: dict[str, Row | None]) -> None:
        path = (self._watch.fetch or "").replace("{sid}", sid)
        operation = self._watch.operation.replace("List", "Fetch", 1)
        try:
            row = await self._source.fetch(Request("GET", path, host=self._watch.host, operation=operation))
        except TwilioError as error:
            if error.status == NOT_FOUND:
                answers[sid] = None
            return
        if isinstance(row, dict) and row.get("sid") == sid:
            answers[sid] = row

    def _page_size(self, cursor: Cursor) -> int:
        """Enough for the window in one page, so that the walk is a snapshot, and not much more."""
        if self._is_busy or cursor.catch_up is not None or self.now - cursor.polled_at > LONG_AGO:
            return LARGEST_PAGE
        return min(len(cursor.seen) + SMALLEST_PAGE, LARGEST_PAGE)

    def _request(self, bounds: Bounds, *, page_size: int) -> Request:
        window = date_filters(self._watch, bounds)
        query = {name: wire_value(value) for name, value in self._filters.items()} | dict(window)
        return Request(
            "GET",
            self._watch.path,
            query=(*query.items(), ("PageSize", str(page_size))),
            host=self._watch.host,
            operation=self._watch.operation,
        )

    def _narrowed(self, bounds: Bounds) -> Bounds:
        """The bounds of a window, within Twilio's retention and the dates that the settings give."""
        low, high = (self._filters.get(name or "") for name in (self._watch.since, self._watch.before))
        since, before = bounds
        if since is not None:
            lows = [since, catch_up.earliest(self._watch, self.now, margin=self.margin)]
            since = max(*lows, low) if isinstance(low, datetime) else max(lows)
        return Bounds(since, min(before, high) if before is not None and isinstance(high, datetime) else before)


def _ends(bounds: Bounds) -> bool:
    """Whether the list ends where the walk does, so that no page is fetched in vain."""
    return bounds.since is not None


async def _ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The pages, the next one of which is fetched while the present one is looked at."""
    async with _closing(pages):
        following = asyncio.create_task(_next(pages), name="next-page")
        try:
            while (page := await following) is not None:
                following = asyncio.create_task(_next(pages), name="next-page")
                for _ in range(TURNS_TO_ASK):
                    await asyncio.sleep(0)
                yield page
                del page
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _next(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)


@asynccontextmanager
async def _closing(pages: AsyncIterator[Page]) -> AsyncIterator[AsyncIterator[Page]]:
    """End a walk that is left early at once, not when it is collected."""
    try:
        yield pages
    finally:
        if isinstance(pages, AsyncGenerator):
            await pages.aclose()
