"""The engine of one watch: poll, publish and write the cursor in one transaction, wait, again."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from connector import tracing
from connector.errors import Superseded, TwilioError
from connector.events import Record
from connector.kafka import control
from connector.resources.rows import Watch
from connector.settings.watches import WatchSettings
from connector.watcher import catch_up, following
from connector.watcher import cursor as cursors
from connector.watcher.advance import Advance, Found, Gathered, advance
from connector.watcher.cursor import DAY, Cursor
from connector.watcher.oldest import Capacity
from connector.watcher.pace import Pace
from connector.watcher.reading import LARGEST_PAGE, Reader, Source, Stopped
from connector.watcher.records import Publication, identity
from connector.watcher.report import Report
from connector.watcher.requests import Moment, carry_out
from connector.watcher.walk import CAPACITY, Row

Commit = Callable[[Sequence[Record], Cursor], Awaitable[None]]

LARGEST_WRITE = 5000  # rows in one transaction, whatever the limit is: it must end within its time
ROWS_AT_A_STRETCH = 1000  # made records before the event loop has its turn
IDLE_WRITE_SECONDS = 60.0  # how old the written cursor may get while nothing is published
LONG_LIVED = DAY  # how long a call may take to reach the status that a watch asks for
OUTSIDE_RETENTION = 20004
LARGEST_MARGIN = 30 * DAY


class Watcher:
    """One watch. `cursor` is where it stands, None before its first start.

    `commit(records, cursor)` writes all in one fenced transaction; whatever it raises ends `run`, since only the topic
    knows then what was written.
    """

    def __init__(
        self,
        settings: WatchSettings,
        publication: Publication,
        source: Source,
        commit: Commit,
        *,
        capacity: Capacity = CAPACITY,
    ) -> None:
        self.cursor: Cursor | None = None
        self._settings = settings
        self._publication = publication
        self._watch = watch = publication.watch
        self._commit = commit
        self._reader = Reader(settings, publication, source, capacity=capacity)
        self._report = Report(settings.name, interval=settings.interval)
        self._pace = Pace(settings.name, settings.interval)
        # A call appears in a list by status when it reaches that status, which may be long after its creation.
        self._overlap = max(settings.overlap, LONG_LIVED) if watch.status in settings.filters else settings.overlap
        self._limit = min(settings.limit, LARGEST_WRITE)
        # Set to interrupt a walk or a wait: at the end, and when something is asked for.
        self._attention = asyncio.Event()
        self._asked: deque[tuple[int, control.Request]] = deque()
        self._rest: Gathered | None = None
        self._checked: dict[str, datetime] = {}

    @property
    def failing(self) -> str | None:
        """Why Twilio cannot be polled at present, without content; None when it can."""
        return self._report.failing

    # --- life -----------------------------------------------------------------------------------------------------
    async def run(self, cursor: Cursor | None, stop: asyncio.Event) -> None:
        """Watch from this cursor on (None: a first start) until `stop` is set. Raises what `commit` raises."""
        self.cursor = cursor if cursor is None or self._publication.changes else replace(cursor, followed={})
        stopping = asyncio.create_task(self._attend(stop), name=f"stop-{self._settings.name}")
        try:
            age = self._reader.now - cursor.polled_at if cursor else timedelta()
            with self._report.measured(lambda: self.is_paused, age=age):
                while not stop.is_set():
                    await self._carry_out_requests()
                    if self.is_paused:
                        await self._attention.wait()
                    else:
                        await self._wait(await self._turn())
        finally:
            stopping.cancel()

    async def catch_up(self, cursor: Cursor, stop: asyncio.Event) -> None:
        """Publish what is left of the cursor's catch-up, and return when that is done or `stop` is set.

        The last steps may not be written yet: `cursor` is where it stands. Raises what `commit` raises.
        """
        self.cursor = cursor
        stopping = asyncio.create_task(self._attend(stop), name=f"stop-{self._settings.name}")
        try:
            while not stop.is_set() and self.cursor.catch_up is not None:
                await self._wait(await self._turn())
        finally:
            stopping.cancel()

    async def _attend(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._attention.set()

    @property
    def is_paused(self) -> bool:
        """Whether somebody has asked that nobody polls."""
        return self.cursor is not None and self.cursor.paused_at is not None

    def ask(self, offset: int, request: control.Request) -> None:
        """Have a request of the control topic carried out: between two polls, or when there is a cursor."""
        self._asked.append((offset, request))
        self._attention.set()

    def poll_now(self) -> None:
        """Interrupt the wait, as when credentials have changed that were refused."""
        self._attention.set()

    async def _carry_out_requests(self) -> None:
        """Write what each request leads to together with the answer to it."""
        self._attention.clear()
        while self._asked and self.cursor is not None:
            offset, request = self._asked[0]
            moment = Moment(now=self._reader.now, overlap=self._overlap)
            cursor, answer = carry_out(self.cursor, request, moment, offset=offset)
            await self._write([control.encode(self._publication.prefix, answer)], cursor)
            self._asked.popleft()
            self._rest, self._checked = None, {}
            self._report.asked(answer)

    async def _turn(self) -> float:
        """One poll, or the next part of one; the seconds to wait after it."""
        began = time.monotonic()
        try:
            with tracing.span(
                f"poll {self._watch.resource}", attributes={"twilio_kafka.watch": self._settings.name}
            ) as span:
                step = await self._poll()
                span.note(twilio_kafka__events=len(step.fresh))
        except Stopped:
            return 0.0
        except Superseded:
            self._report.counted("superseded")
            raise
        except TwilioError as error:
            self._report.counted("failed")
            return self._failed(error)
        self._report.counted("published" if step.fresh else "idle")
        self._report.recovered()
        if step.is_waiting:
            return 0.0
        return self._pace.after_poll(published=bool(step.fresh), took=time.monotonic() - began)

    async def _poll(self) -> Advance:
        cursor, gathered = await self._walked(await self._opened())
        step = advance(cursor, gathered, watch=self._watch, overlap=self._overlap, limit=self._limit)
        await self._publish(step, cursor)
        if self._publication.changes and not step.is_waiting:
            await self._follow(step.cursor, gathered.now)
        return step

    async def _wait(self, seconds: float) -> None:
        """Wait, less when stopped."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._attention.wait()

    def _failed(self, error: TwilioError) -> float:
        """What a failed poll means; the seconds to wait."""
        if error.code == OUTSIDE_RETENTION and self._reader.margin < LARGEST_MARGIN:
            self._reader.margin += DAY
            self._report.retention_is_shorter(self._reader.margin)
            return 0.0
        self._report.failed(error)
        return self._pace.after_failure(error)

    # --- reading --------------------------------------------------------------------------------------------------
    async def _opened(self) -> Cursor:
        """The present cursor. At the start Twilio's time is asked for; a first cursor is written at once."""
        if self.cursor is not None and self._reader.knows_time:
            return self.cursor
        if self.cursor is not None:
            await self._reader.top(1)
            return self.cursor
        cursor = await self._first()
        await self._write((), cursor)
        self._report.started(cursor)
        return cursor

    async def _first(self) -> Cursor:
        """A first cursor. Its page ends here: watches that start together wait for each other with their write."""
        if isinstance(self._settings.start, datetime):
            await self._reader.top(1)
            return cursors.first(self._reader.now, since=cursors.whole(self._settings.start))
        page = await self._reader.top(LARGEST_PAGE)
        return cursors.first(self._reader.now, present=created_times(page.rows, self._watch))

    async def _walked(self, cursor: Cursor) -> tuple[Cursor, Gathered]:
        """What is to be published next, and the cursor with which it was found: the rest of a walk, or a new walk."""
        if self._rest is not None:
            return cursor, self._rest
        cursor = await self._catching_up_if_due(cursor)
        while True:
            sweep = await self._reader.walk(cursor, self._attention)
            gathered = sweep.gathered()
            self._report.condition("Twilio shows a part of a second's records: set filters", holds=sweep.is_capped)
            smaller = cursor.catch_up and gathered.is_cut and catch_up.narrower(cursor.catch_up, self._watch)
            if not smaller:
                return cursor, gathered
            cursor = replace(cursor, catch_up=smaller)

    async def _catching_up_if_due(self, cursor: Cursor) -> Cursor:
        """The cursor, which begins to catch up when it is far back; that is written, so that it begins once."""
        now = self._reader.now
        if not catch_up.is_due(cursor, self._watch, now=now, overlap=self._overlap):
            return cursor
        begun = catch_up.begin(cursor, self._watch, now=now, overlap=self._overlap)
        if begun is not cursor:
            await self._write((), begun)
            self._report.catching_up(cursor, begun)
        return begun

    # --- publishing -----------------------------------------------------------------------------------------------
    async def _publish(self, step: Advance, before: Cursor) -> None:
        """Write the fresh rows and the cursor; the cursor alone when it was not written for long."""
        is_due = time.monotonic() - self._report.written_at >= IDLE_WRITE_SECONDS
        if step.fresh or step.must_write or is_due:
            with tracing.span(f"send {self._publication.topic}", kind="producer") as span:
                span.note(messaging__system="kafka", messaging__batch__message_count=len(step.fresh))
                records, dead_letters = await self._records(step.fresh)
                await self._write(records, step.cursor)
            if step.fresh:
                self._report.published(step, dead_letters=dead_letters)
        self._report.advanced(before, step)
        self.cursor, self._rest = step.cursor, step.rest
        self._report.lagging(self._lag(step))

    async def _records(self, fresh: Sequence[Found]) -> tuple[list[Record], int]:
        """The records, and how many of them are dead letters."""
        records: list[Record] = []
        dead_letters = 0
        for start in range(0, len(fresh), ROWS_AT_A_STRETCH):
            stretch, dead = self._publication.records(fresh[start : start + ROWS_AT_A_STRETCH])
            records += stretch
            dead_letters += dead
            await asyncio.sleep(0)
        return records, dead_letters

    async def _write(self, records: Sequence[Record], cursor: Cursor) -> None:
        await self._commit(records, cursor)
        self.cursor = cursor
        self._report.written_at = time.monotonic()

    def _lag(self, step: Advance) -> timedelta:
        if step.rest is not None:
            return self._reader.now - step.rest.found[0].created
        if step.cursor.catch_up is not None:
            return self._reader.now - step.cursor.catch_up.low
        return timedelta(0)

    # --- rows that may still change -------------------------------------------------------------------------------
    async def _follow(self, cursor: Cursor, now: datetime) -> None:
        """Fetch what left the window before it was final, and publish what has changed."""
        self._checked = {sid: at for sid, at in self._checked.items() if sid in cursor.followed}
        due = following.due(cursor, self._checked, now=now, interval=self._settings.interval)[: self._limit]
        if due:
            answers = await self._reader.fetch(due, name=f"follow-{self._settings.name}")
            self._checked |= dict.fromkeys(due, now)
            await self._publish(following.settle(cursor, answers, self._publication), cursor)


def created_times(rows: Iterable[Row], watch: Watch) -> Iterable[tuple[str, datetime]]:
    """SID and creation time of the rows that tell both."""
    for row in rows:
        with suppress(LookupError, TypeError, ValueError):
            yield identity(row), cursors.whole(watch.created_at(row))
