"""The engine of one watch: poll, publish and write the cursor in one transaction, wait, again."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from connector.errors import ConnectorError, InvalidRecord, Superseded, TwilioError, Unavailable, Unwritable
from connector.events import Record
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from connector.settings.watches import WatchSettings
from connector.state import control
from connector.telemetry import tracing
from connector.watcher import catch_up, following
from connector.watcher import cursor as cursors
from connector.watcher.advance import Advance, Found, Gathered, advance
from connector.watcher.cursor import DAY, SECOND, Commit, Cursor, Failing
from connector.watcher.reading import LARGEST_PAGE, Pace, Reader, Source, Stopped
from connector.watcher.records import Publication, created_times, refused
from connector.watcher.report import Report, reason_of
from connector.watcher.requests import Moment, carry_out, start_anew
from connector.watcher.walk import CAPACITY, Capacity, Row

LARGEST_WRITE = 5000  # rows in one transaction, whatever the limit is: it must end within its time
ROWS_AT_A_STRETCH = 1000  # made records before the event loop has its turn
IDLE_WRITE_SECONDS = 60.0  # how old the written cursor may get while nothing is published
LONG_LIVED = DAY  # how long a call may take to reach the status that a watch asks for
OUTSIDE_RETENTION = 20004
LARGEST_MARGIN = 30 * DAY
REFUSALS = 3  # of the same write, before one of its rows is taken for the reason
NOTED_FAILURES = 2  # in a row, before the cursor tells of them


class Watcher:
    """One watch. `cursor` is where it stands, None before its first start.

    What goes wrong here stops this watch alone, until it is tried again: `failing` tells why. Only where the topic must
    tell what was written, and who may write, `run` ends.
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
        comes_late = not settings.filters.keys().isdisjoint((watch.status, *watch.late_filters))
        overlap = max(settings.overlap, watch.lateness, LONG_LIVED if comes_late else timedelta(0))
        # In whole seconds, as all times of a cursor.
        self._overlap = -(-overlap // SECOND) * SECOND
        self._limit = min(settings.limit, LARGEST_WRITE)
        # Set to interrupt a walk or a wait: at the end, and when something is asked for.
        self._attention = asyncio.Event()
        self._asked: deque[tuple[int, control.Request]] = deque()
        self._rest: Gathered | None = None
        self._checked: dict[str, datetime] = {}
        self._refusals = 0
        self._unreadable: InvalidRecord | None = None

    @property
    def failing(self) -> Failing | None:
        """Since when and why the watch stands still, without content; None when it does not."""
        return self._report.failing

    # --- life -----------------------------------------------------------------------------------------------------
    async def run(self, cursor: Cursor | None, stop: asyncio.Event, *, unreadable: InvalidRecord | None = None) -> None:
        """Watch from this cursor on (None: a first start) until `stop` is set.

        Where the cursor is `unreadable`, nothing is polled or written until a rewind makes another one. Raises
        Superseded and Unavailable.
        """
        self.cursor = cursor if cursor is None or self._publication.changes else replace(cursor, followed={})
        self._unreadable = unreadable
        stopping = asyncio.create_task(self._attend(stop), name=f"stop-{self._settings.name}")
        try:
            age = self._reader.now - cursor.polled_at if cursor else timedelta()
            with self._report.measured(lambda: self.is_paused, age=age):
                while not stop.is_set():
                    await self._carry_out_requests()
                    if self.is_paused:
                        await self._attention.wait()
                    else:
                        await self._wait(await self._guarded_turn())
        finally:
            stopping.cancel()
            await self._reader.give_up()

    async def catch_up(self, cursor: Cursor, stop: asyncio.Event) -> None:
        """Publish what is left of the cursor's catch-up, and return when that is done or `stop` is set.

        The last steps may not be written yet: `cursor` is where it stands. Raises what `commit` raises.
        """
        self.cursor = cursor
        stopping = asyncio.create_task(self._attend(stop), name=f"stop-{self._settings.name}")
        try:
            while not stop.is_set() and self.cursor.catch_up is not None:
                await self._wait(await self._patient_turn())
        finally:
            stopping.cancel()
            await self._reader.give_up()

    async def _attend(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._attention.set()

    @property
    def is_paused(self) -> bool:
        """Whether an operator has paused this watch."""
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
        while self._asked and (self.cursor is not None or self._unreadable is not None):
            offset, request = self._asked[0]
            cursor, answer = self._answered(request, offset)
            await self._write([control.encode(self._publication.prefix, answer)], cursor)
            self._unreadable = None if cursor is not None else self._unreadable
            self._asked.popleft()
            self._rest, self._checked = None, {}
            await self._reader.give_up()
            self._report.asked(answer)

    def _answered(self, request: control.Request, offset: int) -> tuple[Cursor | None, control.Answer]:
        moment = Moment(now=self._reader.now, overlap=self._overlap)
        if self.cursor is None:
            return start_anew(request, moment, offset=offset)
        return carry_out(self.cursor, request, moment, offset=offset)

    async def _guarded_turn(self) -> float:
        """A turn whose failure concerns this watch alone, unless Kafka must tell what was written."""
        try:
            return await self._turn()
        except (Superseded, Unavailable):
            raise
        except Exception as error:  # noqa: BLE001 - one watch that breaks must not break its neighbours
            self._report.counted("failed")
            return await self._stand_still(error)

    async def _patient_turn(self) -> float:
        """A turn after which Twilio's failures, and they alone, are waited out; the seconds to wait."""
        try:
            return await self._turn()
        except TwilioError as error:
            self._report.counted("failed")
            self._report.failed(error.label)
            return self._pace.after_failure(error)

    async def _stand_still(self, error: Exception) -> float:
        """Say why, in the cursor too when it lasts, and begin anew after a while; the seconds until then."""
        self._rest = None
        since = self.cursor.failing.since if self.cursor and self.cursor.failing else None
        if not isinstance(error, ConnectorError):
            self._report.broke(error)
        self._report.failed(reason_of(error, self._settings.name, is_cursor=error is self._unreadable), since=since)
        seconds = self._pace.after_failure(error)
        failing = self._report.failing
        if self.cursor is not None and self._pace.failures >= NOTED_FAILURES and failing != self.cursor.failing:
            cursor = replace(self.cursor, failing=failing)
            # The age of what was written before goes on.
            with suppress(Unwritable):
                await self._commit((), cursor)
                self.cursor = cursor
        return seconds

    async def _turn(self) -> float:
        """One poll, or the next part of one; the seconds to wait after it."""
        began = time.monotonic()
        try:
            with self._polling() if tracing.enabled else tracing.NOTHING as span:
                step = await self._poll()
                if tracing.enabled:
                    span.note(twilio_kafka__events=len(step.fresh))
        except Stopped:
            return 0.0
        except Superseded:
            self._report.counted("superseded")
            raise
        except TwilioError as error:
            if not self._is_outside_retention(error):
                raise
            return 0.0
        self._report.walked(is_capped=self._reader.is_capped, off=self._reader.odd_date)
        self._report.counted("published" if step.fresh else "idle")
        if step.is_waiting:
            return 0.0
        return self._pace.after_poll(published=bool(step.fresh), took=time.monotonic() - began)

    def _polling(self) -> tracing.Scope:
        return tracing.span(f"poll {self._watch.resource}", attributes={"twilio_kafka.watch": self._settings.name})

    async def _poll(self) -> Advance:
        cursor, gathered = await self._walked(await self._opened())
        step = await self._advance(cursor, gathered)
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

    def _is_outside_retention(self, error: TwilioError) -> bool:
        """Whether Twilio keeps less than is known; it is asked for less then."""
        if error.code != OUTSIDE_RETENTION or self._reader.margin >= LARGEST_MARGIN:
            return False
        self._reader.margin += DAY
        self._report.retention_is_shorter(self._reader.margin)
        return True

    # --- reading --------------------------------------------------------------------------------------------------
    async def _opened(self) -> Cursor:
        """The present cursor. At the start Twilio's time is asked for; a first cursor is written at once."""
        if self._unreadable is not None:
            raise self._unreadable
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
        is_from_then = isinstance(self._settings.start, datetime)
        page = await self._reader.top(1 if is_from_then and not self._watch.needs_time else LARGEST_PAGE)
        self._publication.check_first(page.rows)
        if isinstance(self._settings.start, datetime):
            return cursors.first(self._reader.now, since=self._settings.start.replace(microsecond=0))
        return cursors.first(self._reader.now, present=created_times(page.rows, self._watch))

    async def _walked(self, cursor: Cursor) -> tuple[Cursor, Gathered]:
        """What is to be published next, and the cursor with which it was found: the rest of a walk, or a new walk."""
        if self._rest is not None:
            return cursor, self._rest
        cursor = await self._catching_up_if_far_back(cursor)
        while True:
            sweep = await self._reader.walk(cursor, self._attention)
            if sweep.is_behind:
                # The cursor is ahead of every clock.
                turned_back = catch_up.turned_back(cursor, now=sweep.now, overlap=self._overlap)
                await self._write((), turned_back)
                self._report.turned_back(cursor, turned_back)
                cursor = turned_back
                continue
            gathered = sweep.gathered()
            smaller = cursor.catch_up and gathered.is_cut and catch_up.narrower(cursor.catch_up, self._watch)
            if not smaller:
                return cursor, gathered
            cursor = replace(cursor, catch_up=smaller)

    async def _catching_up_if_far_back(self, cursor: Cursor) -> Cursor:
        """The cursor, which begins to catch up when it is far back; that is written, so that it begins once."""
        now = self._reader.now
        if cursor.catch_up is not None or now - self._overlap - cursor.since <= catch_up.AFTER:
            return cursor
        begun = catch_up.begin(cursor, self._watch, now=now, overlap=self._overlap)
        if begun is not cursor:
            await self._write((), begun)
            self._report.catching_up(cursor, begun)
        return begun

    # --- publishing -----------------------------------------------------------------------------------------------
    async def _advance(self, cursor: Cursor, gathered: Gathered) -> Advance:
        """Publish the next rows. What Kafka refuses again and again is halved until the row is found that it means."""
        limit = self._limit
        while True:
            step = advance(cursor, gathered, watch=self._watch, overlap=self._overlap, limit=limit)
            try:
                await self._publish(step, cursor)
                self._refusals = self._refusals if limit < self._limit else 0
            except Unwritable as error:
                self._refusals += 1
                if error.is_of_topic or not step.fresh or self._refusals < REFUSALS:
                    raise
                if len(step.fresh) > 1:
                    limit = len(step.fresh) // 2
                    continue
                await self._publish_in_part(step, cursor, error)
            return step

    async def _publish_in_part(self, step: Advance, before: Cursor, error: Unwritable) -> None:
        """Of a single row that Kafka refuses publish the dead letter: whole, then short, and at last nothing."""
        (found,) = step.fresh
        while True:
            found = found._replace(row=refused(found.row, str(error)))
            if not found.row.data:
                self._report.left_out(found.sid, str(error))
            try:
                await self._publish(replace(step, fresh=[found]), before)
                break
            except Unwritable as again:
                if not found.row.data:
                    raise
                error = again

    async def _publish(self, step: Advance, before: Cursor) -> None:
        """Write the fresh rows and the cursor; the cursor alone when it was not written for long."""
        is_due = step.must_write or before.failing or time.monotonic() - self._report.written_at >= IDLE_WRITE_SECONDS
        step = replace(step, cursor=replace(step.cursor, failing=None)) if before.failing else step
        dead_letters = 0
        if step.fresh or is_due:
            if step.rest is None and before.catch_up is not None:
                # All that this transaction will say is at hand: Twilio need not wait for Kafka.
                await self._reader.begin(step.cursor)
            with self._sending(len(step.fresh)) if tracing.enabled else tracing.NOTHING:
                records, dead_letters = await self._records(step.fresh)
                await self._write(records, step.cursor)
        self.cursor, self._rest = step.cursor, step.rest
        self._report.advanced(before, step, dead_letters=dead_letters, lag=self._lag(step))

    def _sending(self, count: int) -> tracing.Scope:
        attributes: tracing.Attributes = {"messaging.system": "kafka", "messaging.batch.message_count": count}
        return tracing.span(f"send {self._publication.topic}", kind="producer", attributes=attributes)

    async def _records(self, fresh: Sequence[Found]) -> tuple[list[Record], int]:
        """The records, and how many of them are dead letters."""
        records: list[Record] = []
        dead_letters = 0
        for start in range(0, len(fresh), ROWS_AT_A_STRETCH):
            if start:
                await asyncio.sleep(0)
            stretch, dead = self._publication.records(fresh[start : start + ROWS_AT_A_STRETCH])
            records += stretch
            dead_letters += dead
        return records, dead_letters

    async def _write(self, records: Sequence[Record], cursor: Cursor | None) -> None:
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
            await self._settle(cursor, answers)

    async def _settle(self, cursor: Cursor, answers: Mapping[str, Row | None]) -> None:
        """Publish what fetched rows tell."""
        step = following.settle(cursor, answers, self._publication)
        try:
            await self._publish(step, cursor)
        except Unwritable as error:
            if error.is_of_topic or not step.fresh:
                raise
            if len(step.fresh) == 1:
                await self._publish_in_part(step, cursor, error)
                return
            sids = list(answers)
            for half in (sids[: len(sids) // 2], sids[len(sids) // 2 :]):
                await self._settle(self.cursor or cursor, {sid: answers[sid] for sid in half})


def commit_to(
    transactions: Transactions, kafka: KafkaSettings, name: str, partition: int, writing: asyncio.Lock
) -> Commit:
    """How a watch of this partition writes. Its neighbours share the producer, one after the other."""

    async def commit(records: Sequence[Record], cursor: Cursor | None) -> None:
        last = cursors.record(kafka.topic_prefix, name, cursor, partition=partition) if cursor else None
        async with writing:
            try:
                await transactions.write([*records, last] if last else records)
            except Unwritable:
                # Opened anew, the producer has ended the transaction: its neighbours go on, and the topic tells.
                await transactions.open()
                if last is None or (await cursors.restore(kafka, partition)).get(name) != last.value:
                    raise
            if not transactions.usable:
                raise Unavailable("A commit was slow; the producer is replaced.")

    return commit
