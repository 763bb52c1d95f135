"""Reading Twilio's list for one watch: when, requests with filters and fitting pages, walks, and Twilio's time."""

import asyncio
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from connector.errors import BadCredentials, TwilioError
from connector.resources.rows import Pairs, Request, Watch, wire_value
from connector.settings.watches import WatchSettings
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock
from connector.twilio.paging import Page, WalkInterrupted, pages
from connector.watcher import catch_up
from connector.watcher.cursor import SECOND, Cursor
from connector.watcher.records import Publication, fields_of, identity
from connector.watcher.walk import BELOW_FLOOR, CAPACITY, Bounds, Capacity, Present, Row, Sweep, plan

LARGEST_PAGE = 1000  # above it Twilio answers 20007
NEW_ROWS = 50  # that may have come since the last poll, of a watch at rest
LONG_AGO = timedelta(minutes=5)
APART = timedelta(seconds=60)
"""How far the date of an answer may be from the time that is expected, without a word."""
WALKS_IN_A_ROW = 5
NOT_FOUND = 404
# Looking at a page takes the event loop: the request for the next one must be out before.
TURNS_TO_ASK = 2
QUICKEST = 4
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
UNAUTHORIZED_IN_A_ROW = 3
JITTER = 0.1
_GOLDEN = 0.618034


class Stopped(Exception):
    """The watch is to stop: what has been read is given up."""


class Source(Protocol):
    """Where rows come from. `pages` and `fetch` raise TwilioError."""

    @property
    def clock(self) -> TwilioClock:
        """Twilio's clock, as its answers tell it, and this machine's."""

    def begin(self, since: datetime) -> None:
        """A walk begins, for rows created since then."""

    def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        """Walk a list."""

    async def fetch(self, request: Request) -> Any:
        """One row as JSON."""


class TwilioSource:
    """The lists of one account."""

    def __init__(self, client: TwilioClient, watch: Watch) -> None:
        self.clock = client.clock
        self._client = client
        self._items = watch.items

    def begin(self, since: datetime) -> None:
        """A walk begins; this list needs not to know."""

    def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        """Walk a list."""
        return pages(self._client, request, items=self._items)

    async def fetch(self, request: Request) -> Any:
        """One row as JSON."""
        return (await self._client.request(request)).json()


class Pace:
    """Seconds to wait after each poll. They differ from watch to watch, so that watches do not poll in step."""

    def __init__(self, name: str, interval: timedelta) -> None:
        self.failures = 0
        self._longest = interval.total_seconds()
        self._present = self._longest
        self._phase = zlib.crc32(name.encode()) / 2**32

    def after_poll(self, *, published: bool, took: float = 0.0) -> float:
        """The interval, down to a quarter of it while there is something to publish, and to what the poll took.

        So a list that takes Twilio long to give is not asked for all the time.
        """
        self.failures = 0
        factor = 0.5 if published else 2.0
        self._present = min(max(self._present * factor, self._longest / QUICKEST), self._longest)
        return self._jittered(min(max(self._present, took), self._longest))

    def after_failure(self, error: Exception) -> float:
        """Twice as long after each failure; wrong credentials, once they are certain, are tried once a minute."""
        self.failures += 1
        if isinstance(error, BadCredentials) and self.failures >= UNAUTHORIZED_IN_A_ROW:
            return self._jittered(LONGEST_RETRY_SECONDS)
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 10), LONGEST_RETRY_SECONDS)
        asked = error.retry_after if isinstance(error, TwilioError) else None
        return max(self._jittered(delay), asked or 0.0)

    def _jittered(self, seconds: float) -> float:
        """Not longer, and up to a tenth shorter."""
        self._phase = (self._phase + _GOLDEN) % 1
        return seconds * (1 - JITTER * self._phase)


class _Begun(NamedTuple):
    """A walk whose first page is asked for already."""

    request: Request
    pages: AsyncGenerator[Page, None]
    first: asyncio.Task[Page | None]


class Reader:
    """The list of one watch.

    `margin` shortens Twilio's retention where it proves shorter than known. `odd_date`: by how much the date of the
    last answer was off, where that was much; `knows_time`: `now` is Twilio's; `is_capped`: the last walk showed a part
    of a second's rows.
    """

    def __init__(
        self, settings: WatchSettings, publication: Publication, source: Source, *, capacity: Capacity = CAPACITY
    ) -> None:
        self.margin = timedelta(0)
        self.present: Present | None = None
        self.odd_date: timedelta | None = None
        self.knows_time = False
        self.is_capped = False
        self._publication = publication
        self._watch = publication.watch
        self._source = source
        self._capacity = capacity
        self._filters = {self._watch.filters[name]: value for name, value in settings.filters.items()}
        self._answered: tuple[datetime, float] | None = None
        self._is_busy = True
        self._begun: _Begun | None = None

    @property
    def now(self) -> datetime:
        """Twilio's time in whole seconds: its last answer's, and our clock since."""
        if self._answered is None:
            return self._source.clock.own().replace(microsecond=0)
        date, at = self._answered
        return date + int(time.monotonic() - at) * SECOND

    async def top(self, rows: int, *, since: datetime | None = None) -> Page:
        """The first page of the list; `now` is Twilio's time from then on, and `present` tells what the clocks say.

        Of a list under parents it is that of the first parent under which something may be new `since` then, or now.
        """
        self._source.begin(since or self.now)
        async with aclosing(self._source.pages(self._request(Bounds(), page_size=rows))) as pages:
            page = await anext(pages, Page([], None))
        self.present = self._present(page.date)
        self._answered, self.knows_time = (self.present.earliest, time.monotonic()), True
        return page

    async def begin(self, cursor: Cursor) -> None:
        """Ask for the first page of the window that a walk with this cursor reads, if it catches up."""
        await self.give_up()
        if cursor.catch_up is None or cursor.catch_up.phase != "windows":
            return
        bounds = self._narrowed(plan(cursor, self._watch).bounds)
        if bounds is not None:
            request = self._request(bounds, page_size=self._page_size(cursor))
            self._source.begin(cursor.since)
            self._begun = self._begin(request)

    def _begin(self, request: Request) -> _Begun:
        pages = self._source.pages(request)
        return _Begun(request, pages, asyncio.create_task(next_page(pages), name="first-page"))

    async def give_up(self) -> None:
        """Leave the walk that has begun and not gone on, if there is one."""
        begun, self._begun = self._begun, None
        if begun is not None:
            async with aclosing(begun.pages):
                await _end(begun.first)

    async def walk(self, cursor: Cursor, stop: asyncio.Event) -> Sweep:
        """Walk the list as the cursor asks; from its start again when Twilio has forgotten a page token.

        Raises Stopped, and TwilioError.
        """
        for _ in range(WALKS_IN_A_ROW - 1):
            with suppress(WalkInterrupted):
                return await self._walk(cursor, stop)
        return await self._walk(cursor, stop)

    async def _walk(self, cursor: Cursor, stop: asyncio.Event) -> Sweep:
        self._source.begin(cursor.since)
        page_size = self._page_size(cursor)
        sweep = Sweep(cursor, self._publication, capacity=self._capacity)
        for query in sweep.queries():
            bounds = self._narrowed(query)
            if bounds is not None:
                # A list that ends where the walk does: no page is fetched in vain.
                request = self._request(bounds, page_size=page_size)
                await self._read(sweep, request, stop, ahead=bounds.since is not None)
        sweep.present = sweep.present or Present(self.now, self.now)
        self._is_busy, self.is_capped = sweep.pages > 1, sweep.is_capped
        if sweep.pages:
            self._answered, self.knows_time = (sweep.now, sweep.began_at), True
        return sweep

    async def _read(self, sweep: Sweep, request: Request, stop: asyncio.Event, *, ahead: bool) -> None:
        async with aclosing(await self._going_on(request) if ahead else self._source.pages(request)) as pages:
            async for page in pages:
                if stop.is_set():
                    raise Stopped
                if not sweep.read(page.rows, self._present(page.date), page.odd):
                    return
                del page  # not held while the next one is fetched

    async def _going_on(self, request: Request) -> AsyncGenerator[Page, None]:
        """The pages of a walk, which may have begun, each fetched while the one before is looked at."""
        if self._begun is None or self._begun.request != request:
            await self.give_up()
            self._begun = self._begin(request)
        begun, self._begun = self._begun, None
        return _ahead(begun)

    def _present(self, date: datetime | None) -> Present:
        """What Twilio's clock and ours say. Until enough answers agree, the one at hand tells Twilio's time."""
        clock = self._source.clock
        own, twilio = clock.own(), clock.now() if clock.is_known else date or clock.own()
        self.odd_date = date - twilio if date is not None and abs(date - twilio) > APART else None
        if not clock.is_known and date is not None and abs(date - own) > APART:
            self.odd_date = date - own
        return Present(min(own, twilio).replace(microsecond=0), max(own, twilio).replace(microsecond=0))

    async def fetch(self, sids: list[str], *, name: str) -> dict[str, Row | None]:
        """Rows by SID as they are now; None for one that is gone, nothing for one of which Twilio does not tell."""
        answers: dict[str, Row | None] = {}
        async with asyncio.TaskGroup() as tasks:
            for sid in sids:
                tasks.create_task(self._fetch_one(sid, answers), name=name)
        return answers

    async def _fetch_one(self, sid: str, answers: dict[str, Row | None]) -> None:
        path = self._watch.fetch or ""
        for name, value in fields_of(sid, self._watch.key).items():
            path = path.replace(f"{{{name}}}", value)
        operation = self._watch.operation.replace("List", "Fetch", 1)
        try:
            row = await self._source.fetch(Request("GET", path, host=self._watch.host, operation=operation))
        except TwilioError as error:
            if error.status == NOT_FOUND:
                answers[sid] = None
            return
        if isinstance(row, dict) and identity(row, self._watch.key) == sid:
            answers[sid] = row

    def _page_size(self, cursor: Cursor) -> int:
        """Enough for the window in one page, so that the walk is a snapshot, and not much more.

        That is: what is known, some new rows, and below them as many as end a walk.
        """
        if self._is_busy or cursor.catch_up is not None or self.now - cursor.polled_at > LONG_AGO:
            return LARGEST_PAGE
        return min(len(cursor.seen) + NEW_ROWS + BELOW_FLOOR, LARGEST_PAGE)

    def _request(self, bounds: Bounds, *, page_size: int) -> Request:
        window = date_filters(self._watch, bounds)
        query = {name: wire_value(value) for name, value in self._filters.items()} | dict(window)
        return Request(
            "GET",
            self._watch.path,
            query=(*query.items(), ("PageSize", str(min(page_size, self._watch.page_size)))),
            host=self._watch.host,
            operation=self._watch.operation,
        )

    def _narrowed(self, bounds: Bounds) -> Bounds | None:
        """The bounds within Twilio's retention and the dates that the settings give; None when nothing is left."""
        low, high = (self._filters.get(name or "") for name in (self._watch.since, self._watch.before))
        since, before = bounds
        if since is not None:
            lows = [since, catch_up.earliest(self._watch, self.now, margin=self.margin)]
            since = max(*lows, low) if isinstance(low, datetime) else max(lows)
        if before is not None and isinstance(high, datetime):
            before = min(before, high)
        return None if since is not None and before is not None and since >= before else Bounds(since, before)


def date_filters(watch: Watch, bounds: Bounds) -> Pairs:
    """The wire filters that let at least the rows within the bounds through.

    Twilio documents days only, and `X<` may or may not include the day itself: a bound inside a day is moved outwards.
    Of a time, "after" may or may not include its own second.
    """
    since, before = bounds
    pairs = []
    if since is not None and watch.since is not None:
        is_given = watch.since in watch.filters.values()
        low = since - SECOND if (watch.midnights or watch.seconds) and not is_given else since
        pairs.append((watch.since, _wire(watch, low if watch.seconds else catch_up.day_before(low))))
    if before is not None and watch.before is not None:
        pairs.append((watch.before, _wire(watch, before if watch.seconds else catch_up.day_after(before))))
    return tuple(pairs)


def _wire(watch: Watch, moment: datetime) -> str:
    return wire_value(moment) if watch.seconds or watch.midnights else moment.date().isoformat()


async def _ahead(begun: _Begun) -> AsyncGenerator[Page, None]:
    """The pages, the next one of which is fetched while the present one is looked at."""
    _, pages, following = begun
    del begun  # its page is not held while the next ones come
    async with aclosing(pages):
        try:
            while (page := await following) is not None:
                following = asyncio.create_task(next_page(pages), name="next-page")
                for _ in range(TURNS_TO_ASK):
                    await asyncio.sleep(0)
                yield page
                del page
        finally:
            await _end(following)


async def _end(fetching: asyncio.Task[Page | None]) -> None:
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)


async def next_page(pages: AsyncIterator[Page]) -> Page | None:
    """The next page of a walk, None at its end."""
    return await anext(pages, None)
