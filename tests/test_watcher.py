"""The engine of a watch: what it asks, what it writes, and what happens when Twilio, Kafka or a row misbehaves."""

import asyncio
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import groupby
from typing import Any

import orjson
import pytest

from connector import events
from connector.errors import BadCredentials, NotExecuted, Refused, Superseded, Unavailable
from connector.events import Record
from connector.resources import WATCHES
from connector.resources.rows import Request
from connector.settings import WatchSettings
from connector.simulator import Simulator
from connector.telemetry import metrics
from connector.twilio.paging import Page, WalkInterrupted
from connector.watcher.advance import Found
from connector.watcher.catch_up import backfill
from connector.watcher.cursor import DAY, Cursor, Seen, first
from connector.watcher.reading import LONGEST_RETRY_SECONDS, Pace, Reader, TwilioSource
from connector.watcher.records import Publication
from connector.watcher.walk import Capacity
from connector.watcher.watcher import Watcher
from tests.twilio_servers import connected
from tests.watching import (
    ACCOUNT,
    NOW,
    QUICK,
    WITHIN,
    Kafka,
    Twilio,
    ending,
    logged,
    message,
    publication,
    running,
    sid,
    wait_for,
    watcher,
)

HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("back", "overlap", "is_far"),
    [(24 * HOUR, HOUR, False), (26 * HOUR, HOUR, True), (7 * DAY + 23 * HOUR, 7 * DAY, False)],
)
async def test_a_watch_that_is_more_than_a_day_beyond_its_overlap_back_catches_up_in_windows(
    back: timedelta,
    overlap: timedelta,
    is_far: bool,  # noqa: FBT001 - parametrised
) -> None:
    twilio, kafka = Twilio(), Kafka()
    async with running(watcher(twilio, kafka, overlap=overlap), first(NOW - back, since=NOW - back)):
        await wait_for(lambda: len(twilio.requests) > 1)
    assert any(name.startswith("DateSent") for name, _ in twilio.requests[1].query) is is_far


async def test_the_first_start_writes_a_cursor_and_publishes_nothing_older() -> None:
    twilio, kafka = Twilio(message(1), message(2, NOW - timedelta(hours=1))), Kafka()
    async with running(watcher(twilio, kafka)):
        await kafka.until(lambda: kafka.cursor is not None)
        twilio.rows.insert(0, message(3))
        await kafka.until(lambda: bool(kafka.sids))
    assert kafka.transactions[0][0] == ()
    assert kafka.sids == [sid(3)]
    assert kafka.cursor is not None
    assert kafka.cursor.started_at == NOW


async def test_an_event_says_what_the_contract_says() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1))):
        await kafka.until(lambda: bool(kafka.sids))
    record = kafka.records[0]
    event = events.decode(record.value, record.headers)
    assert (record.topic, record.key) == ("t.messages", sid(1).encode())
    assert (event.id, event.type, event.subject) == (sid(1), "twilio.message.created.v1", sid(1))
    assert event.source == f"/twilio/{ACCOUNT}/messages"
    assert event.time == NOW
    assert event.dataschema == WATCHES["messages"].dataschema
    assert event.extensions["watch"] == "inbox"
    assert datetime.fromisoformat(event.extensions["recordedtime"] or "") <= datetime.now(UTC)
    assert event.data["date_sent"] == "2026-11-24T12:00:30Z"


async def test_rows_and_cursor_are_written_together_in_transactions_of_the_limit_oldest_first() -> None:
    start = NOW - timedelta(minutes=5)
    twilio = Twilio(*(message(number, NOW - timedelta(seconds=number)) for number in range(25)))
    kafka = Kafka()
    async with running(watcher(twilio, kafka, start=start, limit=10, interval="1h")):
        await kafka.until(lambda: len(kafka.sids) == 25)
    written = [[(record.key or b"").decode() for record in records] for records, _ in kafka.transactions if records]
    assert [len(sids) for sids in written] == [10, 10, 5]
    assert kafka.sids == [sid(number) for number in range(24, -1, -1)]
    assert [len(cursor.seen) for _, cursor in kafka.transactions if cursor] == [0, 10, 20, 25]


async def test_a_restart_goes_on_from_the_written_cursor() -> None:
    start = NOW - timedelta(minutes=5)
    twilio, kafka = Twilio(message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=start)):
        await kafka.until(lambda: bool(kafka.sids))
    twilio.rows.insert(0, message(2))
    async with running(watcher(twilio, kafka, start=start), kafka.cursor):
        await kafka.until(lambda: len(kafka.sids) == 2)
    assert kafka.sids == [sid(1), sid(2)]


async def test_in_a_window_the_next_page_is_asked_for_before_the_present_one_is_looked_at() -> None:
    twilio = Twilio(*(message(number, NOW - 2 * DAY + timedelta(hours=6, seconds=-number)) for number in range(2500)))
    told: list[str] = []
    twilio.on_request = lambda _request: told.append("asked")

    class Telling(Publication):
        def found(self, *row: Any, **options: Any) -> Found:
            told.append("looked at")
            return super().found(*row, **options)

    settings, row = WatchSettings(resource="messages"), WATCHES["messages"]
    reader = Reader(settings, Telling(name="inbox", watch=row, account_sid=ACCOUNT, prefix="t"), twilio)
    cursor = backfill(row, since=NOW - 2 * DAY, until=NOW - DAY, now=NOW)
    sweep = await reader.walk(cursor, asyncio.Event())
    assert len(sweep.gathered().found) == 2500
    counted = [(name, len(list(same))) for name, same in groupby(told)]
    assert counted == [("asked", 2), ("looked at", 1000), ("asked", 1), ("looked at", 1500)]


class Rows(list[dict[str, Any]]):
    """A page's rows of which one can tell whether anybody still holds them."""


class Held(Twilio):
    """A list, and how many of its pages are in memory."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__(*rows)
        self.shown: list[weakref.ref[Rows]] = []

    @property
    def count(self) -> int:
        return sum(rows() is not None for rows in self.shown)

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        """Each page comes when the one before is not held any more."""
        async for page in super().pages(request):
            await wait_for(lambda: self.count == 0)
            rows = Rows(page.rows)
            self.shown.append(weakref.ref(rows))
            yield Page(rows, page.date)
            del rows


class Hanging(Twilio):
    """A list whose third page never comes."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__(*rows)
        self.fetching = self.asked = 0

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        walk = super().pages(request)
        yield await anext(walk)
        yield await anext(walk)
        self.fetching, self.asked = self.fetching + 1, self.asked + 1
        try:
            await asyncio.Event().wait()
        finally:
            self.fetching -= 1


@pytest.mark.parametrize("is_live", [True, False])
async def test_a_page_that_was_looked_at_is_not_held_while_the_next_one_comes(is_live: bool) -> None:  # noqa: FBT001
    newest = NOW if is_live else NOW - 2 * DAY + timedelta(hours=6)
    held, row = (
        Held(*(message(number, newest - timedelta(seconds=number)) for number in range(2500))),
        WATCHES["messages"],
    )

    settings = WatchSettings(resource="messages")
    reader = Reader(settings, publication(settings), held)
    live = first(NOW, since=NOW - timedelta(hours=1))
    cursor = live if is_live else backfill(row, since=NOW - 2 * DAY, until=NOW - DAY, now=NOW)
    sweep = await reader.walk(cursor, asyncio.Event())
    assert len(held.shown) >= 3
    assert len(sweep.gathered().found) == 2500


async def test_no_page_is_held_while_a_first_cursor_waits_to_be_written() -> None:
    held, kafka = Held(*(message(number) for number in range(10))), Kafka()
    during: list[int] = []

    async def commit(records: Sequence[Record], cursor: Cursor | None) -> None:
        during.append(held.count)
        await kafka.commit(records, cursor)

    async with running(watcher(held, kafka, commit)):
        await kafka.until(lambda: kafka.cursor is not None)
    assert held.shown
    assert during == [0]


async def test_no_page_is_fetched_while_the_transaction_with_its_rows_is_open() -> None:
    wanted = [message(number, NOW - 3 * DAY) for number in range(1000)]
    # The second page ends the walk of a window, when the third has been asked for; that one never comes.
    older = [message(number, NOW - 300 * DAY) for number in range(1000, 4000)]
    twilio, kafka = Hanging(*wanted, *older), Kafka()
    during: list[int] = []

    async def commit(records: Sequence[Record], cursor: Cursor | None) -> None:
        during.append(twilio.fetching)
        await kafka.commit(records, cursor)
        during.append(twilio.fetching)

    async with running(watcher(twilio, kafka, commit, start=NOW - 4 * DAY, limit=100)):
        await kafka.until(lambda: len(kafka.sids) >= 1000)
    assert twilio.asked
    assert set(during) == {0}


class Gated(Twilio):
    """A list of which, beyond the first window that is asked for, nothing comes before the gate is open."""

    def __init__(self, *rows: dict[str, Any]) -> None:
        super().__init__(*rows)
        self.gate = asyncio.Event()
        self.waiting: list[Request] = []
        self._first: Request | None = None

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        if any(name.startswith("DateSent") for name, _ in request.query):
            self._first = self._first or request
            if request != self._first:
                self.waiting.append(request)
                try:
                    await self.gate.wait()
                finally:
                    self.waiting.remove(request)
        async for page in super().pages(request):
            yield page


async def test_a_window_s_last_transaction_is_written_while_the_next_window_is_asked_for_and_does_not_wait() -> None:
    early = [message(number, NOW - 4 * DAY + timedelta(hours=1)) for number in range(250)]
    late = [message(number, NOW - 2 * DAY) for number in range(250, 500)]
    twilio, kafka = Gated(*late, *early), Kafka()
    during: list[int] = []

    async def commit(records: Sequence[Record], cursor: Cursor | None) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        if records:
            during.append(len(twilio.waiting))
        await kafka.commit(records, cursor)

    async with running(watcher(twilio, kafka, commit, start=NOW - 4 * DAY, limit=100)):
        await kafka.until(lambda: len(kafka.sids) == 250)
        assert during == [0, 0, 1]
        twilio.gate.set()
        await kafka.until(lambda: len(kafka.sids) == 500)
    assert Counter(kafka.sids) == Counter(sid(number) for number in range(500))


async def test_a_window_that_has_been_asked_for_is_given_up_with_the_watch() -> None:
    twilio, kafka = Gated(message(1, NOW - 4 * DAY + timedelta(hours=1))), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - 4 * DAY)):
        await kafka.until(lambda: len(kafka.sids) == 1)
        await wait_for(lambda: len(twilio.waiting) == 1)
    assert twilio.waiting == []


async def test_a_live_poll_asks_for_no_page_that_it_does_not_need() -> None:
    twilio, kafka = Twilio(*(message(number, NOW - timedelta(seconds=number)) for number in range(3000))), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(seconds=100), interval="1h")):
        await kafka.until(lambda: len(kafka.sids) >= 101)
    # For Twilio's time, and one page.
    assert len(twilio.requests) == 2


async def test_the_second_look_at_the_top_of_a_known_list_goes_no_further_than_a_row_may_have_moved() -> None:
    # Ten rows a second: a page is 100 s, and in a minute a row may move.
    twilio = Twilio(*(message(number, NOW - timedelta(seconds=number // 10)) for number in range(1, 4500)))
    kafka = Kafka()
    watch = watcher(twilio, kafka, start=NOW - timedelta(seconds=440), interval="1h")
    async with running(watch):
        await kafka.until(lambda: len(kafka.sids) >= 4400)
        twilio.requests.clear()
        twilio.rows.insert(0, message(0, NOW))
        watch.poll_now()
        await kafka.until(lambda: sid(0) in kafka.sids)
    # Five pages of the window, then one.
    assert len(twilio.requests) == 5 + 1


async def test_more_rows_than_fit_into_memory_are_published_all_the_same() -> None:
    twilio = Twilio(*(message(number, NOW - timedelta(seconds=number // 3)) for number in range(100)))
    kafka = Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=5), limit=7, capacity=20, interval="1h")):
        await kafka.until(lambda: len(kafka.sids) >= 100)
    assert Counter(kafka.sids) == {sid(number): 1 for number in range(100)}


async def test_an_odd_row_goes_to_the_dead_letters_in_the_same_transaction() -> None:
    odd = message(2, num_segments="many", body="secret text")
    twilio, kafka = Twilio(message(3), odd, message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1))):
        await kafka.until(lambda: bool(kafka.records))
    records = kafka.transactions[1][0]
    assert [record.topic for record in records] == ["t.messages", "t.dead-letters", "t.messages"]
    assert orjson.loads(records[1].value or b"") == odd
    message_text = dict(records[1].headers)["dlq.errors.message"].decode()
    assert "num_segments (int_parsing)" in message_text
    assert "many" not in message_text
    assert dict(records[1].headers)["dlq.errors.stage"] == b"watch"


async def test_the_log_tells_sids_and_counts_and_no_content() -> None:
    twilio, kafka = Twilio(message(2), message(1)), Kafka()
    with logged() as lines:
        async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1))):
            await kafka.until(lambda: bool(kafka.sids))
    (line,) = [line for line in lines if line["event"] == "published"]
    assert (line["watch"], line["events"], line["first"], line["last"]) == ("inbox", 2, sid(1), sid(2))
    assert "secret" not in str(lines)


# --- what is asked ------------------------------------------------------------------------------------------------
async def test_filters_are_sent_and_pages_fit_what_is_expected() -> None:
    twilio, kafka = Twilio(), Kafka()
    cursor = first(NOW, present=[(sid(number), NOW) for number in range(70)])
    async with running(watcher(twilio, kafka, None, **{"to": "+15550100001", "from": "+15550100002"}), cursor):
        await wait_for(lambda: len(twilio.requests) >= 4)
    queries = [dict(request.query) for request in twilio.requests]
    assert all((query["To"], query["From"]) == ("+15550100001", "+15550100002") for query in queries)
    assert [query["PageSize"] for query in queries[:4]] == ["1", "1000", "170", "170"]
    assert not any("DateSent" in name for query in queries for name in query)


async def test_a_start_in_the_past_is_caught_up_with_in_windows_of_days() -> None:
    old = [message(number, NOW - timedelta(days=number)) for number in range(5)]
    twilio, kafka = Twilio(*old), Kafka()
    start = NOW - timedelta(days=10)
    async with running(watcher(twilio, kafka, start=start, interval="1h")):
        await kafka.until(lambda: len(kafka.sids) == 5)
        await wait_for(lambda: kafka.cursor is not None and kafka.cursor.catch_up is None)
    assert kafka.sids == [sid(number) for number in range(4, -1, -1)]
    windows = [dict(request.query) for request in twilio.requests if "DateSent>" in dict(request.query)]
    assert windows[0]["DateSent>"] == "2026-11-14"
    assert windows[-1]["DateSent<"] == "2026-11-25"
    assert all(query["PageSize"] == "1000" for query in windows)


async def test_dates_of_the_settings_bound_the_windows() -> None:
    twilio, kafka = Twilio(), Kafka()
    bounds: dict[str, Any] = {"start_date": "2026-11-10T00:00:00Z", "end_date": "2026-11-12T00:00:00Z"}
    start = NOW - timedelta(days=20)
    watch = watcher(twilio, kafka, resource="alerts", start=start, interval="1h", **bounds)
    async with running(watch):
        await wait_for(lambda: len(kafka.transactions) > 1 and not (watch.cursor and watch.cursor.catch_up))
    windows = [(dict(request.query)["StartDate"], dict(request.query)["EndDate"]) for request in twilio.requests]
    assert len(windows) > 3
    assert all("2026-11-10T00:00:00Z" <= since < before <= "2026-11-12T00:00:00Z" for since, before in windows)
    assert twilio.requests[0].host == "monitor"


async def test_a_call_that_takes_long_to_reach_the_wanted_status_is_published() -> None:
    date = format_datetime(NOW - timedelta(hours=3))
    call = {"sid": sid(1, "CA"), "date_created": date, "start_time": date, "status": "completed"}
    twilio, kafka = Twilio(), Kafka()
    cursor = first(NOW - timedelta(hours=4))
    async with running(watcher(twilio, kafka, resource="calls", status="completed"), cursor):
        await wait_for(lambda: len(twilio.requests) >= 4)
        twilio.rows.append(call)
        await kafka.until(lambda: bool(kafka.sids))
    assert kafka.sids == [sid(1, "CA")]


# --- changes ------------------------------------------------------------------------------------------------------
async def test_a_changed_row_is_published_as_an_update_with_its_version_in_the_id() -> None:
    twilio, kafka = Twilio(message(1, status="sent", price=None)), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1), emit="changes")):
        await kafka.until(lambda: len(kafka.sids) == 1)
        twilio.rows[0] = message(1, date_updated=format_datetime(NOW + timedelta(seconds=9)))
        await kafka.until(lambda: len(kafka.sids) == 2)
    fingerprint = publication(WatchSettings(resource="messages")).fingerprint(twilio.rows[0])
    event = events.decode(kafka.records[1].value, kafka.records[1].headers)
    assert (event.id, event.type) == (f"{sid(1)}@{fingerprint}", "twilio.message.updated.v1")
    assert event.time == NOW + timedelta(seconds=9)


async def test_a_row_that_changes_after_it_left_the_window_is_fetched_by_sid() -> None:
    followed = {sid(number): Seen(NOW - timedelta(hours=1), "0a1b2c3d", is_open=True) for number in (1, 2)}
    cursor = Cursor(since=NOW, complete_until=NOW, started_at=NOW, polled_at=NOW, followed=followed)
    twilio, kafka = Twilio(), Kafka()
    twilio.unlisted.append(message(1, NOW - timedelta(hours=1)))
    async with running(watcher(twilio, kafka, emit="changes"), cursor):
        await kafka.until(lambda: bool(kafka.sids))
    assert kafka.sids == [sid(1)]
    assert sorted(set(twilio.fetched)) == [sid(1), sid(2)]
    assert kafka.cursor is not None
    assert kafka.cursor.followed == {}


# --- failures -----------------------------------------------------------------------------------------------------
async def test_a_failure_is_logged_once_and_once_when_it_is_over() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    twilio.failures.extend([NotExecuted("busy with +15550100001", status=429, code=20429)] * 2)
    with logged() as lines:
        async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1))):
            await kafka.until(lambda: bool(kafka.sids))
    assert [line["event"] for line in lines if "poll" in line["event"]] == ["polling fails", "polling works again"]
    assert lines[0]["reason"] == "NotExecuted status=429 code=20429"
    assert "+1555" not in str(lines)


async def test_a_forgotten_page_token_starts_the_walk_again() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=NOW - timedelta(minutes=1))):
        await kafka.until(lambda: bool(kafka.sids))
        twilio.failures.append(WalkInterrupted("token", status=400, code=21481))
        twilio.rows.insert(0, message(2))
        await kafka.until(lambda: len(kafka.sids) == 2)
    assert kafka.sids == [sid(1), sid(2)]


async def test_a_date_outside_the_retention_is_moved_up_until_twilio_accepts_it() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()

    def refuse_older(request: Request) -> None:
        if dict(request.query).get("DateSent>", "9") < "2025-10-23":
            raise Refused("outside", status=400, code=20004)

    twilio.on_request = refuse_older
    with logged() as lines:
        async with running(watcher(twilio, kafka, start=NOW - timedelta(days=500), interval="1h")):
            await kafka.until(lambda: bool(kafka.sids))
    oldest = [dict(request.query)["DateSent>"] for request in twilio.requests if "DateSent>" in dict(request.query)]
    assert oldest[:3] == ["2025-10-21", "2025-10-22", "2025-10-23"]
    said = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert said[0] == "the start is beyond Twilio's retention, older records cannot be had"
    assert said.count(said[0]) == 1


async def test_an_owner_that_was_superseded_writes_nothing_more() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    before = polls("superseded")
    async with ending(watcher(twilio, kafka, start=NOW - timedelta(minutes=1)), Superseded):
        await kafka.until(lambda: bool(kafka.sids))
        kafka.failures.append(Superseded("taken over"))
        twilio.rows.insert(0, message(2))
    assert kafka.sids == [sid(1)]
    assert polls("superseded") == before + 1


async def test_a_write_of_unknown_outcome_ends_the_watch() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    async with ending(watcher(twilio, kafka, start=NOW - timedelta(minutes=1)), Unavailable):
        await kafka.until(lambda: bool(kafka.sids))
        kafka.failures.append(Unavailable("perhaps written"))
        twilio.rows.insert(0, message(2))
    assert kafka.sids == [sid(1)]


async def test_stopping_interrupts_the_wait_between_polls() -> None:
    twilio, kafka = Twilio(), Kafka()
    async with running(watcher(twilio, kafka, interval="7d")):
        await wait_for(lambda: len(twilio.requests) >= 2)


async def test_stopping_interrupts_a_walk_and_gives_up_what_was_read() -> None:
    twilio, kafka = Twilio(*(message(number) for number in range(3000))), Kafka()
    watch, stop = watcher(twilio, kafka, start=NOW - timedelta(minutes=1)), asyncio.Event()
    twilio.on_request = lambda _request: stop.set() if len(twilio.requests) == 3 else None
    async with asyncio.timeout(WITHIN):
        await watch.run(None, stop)
    assert kafka.sids == []
    assert len(twilio.requests) == 3


async def test_the_metrics_of_a_watch_end_with_it() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    async with running(watcher(twilio, kafka, name="ephemeral", start=NOW - timedelta(minutes=1))):
        await kafka.until(lambda: bool(kafka.sids))
        shown = metrics.exposition().decode()
        assert 'watch_cursor_age_seconds{watch="ephemeral"}' in shown
        assert 'watch_lag_seconds{watch="ephemeral"}' in shown
    gone = metrics.exposition().decode()
    assert 'watch_cursor_age_seconds{watch="ephemeral"}' not in gone
    assert 'watch_published_total{watch="ephemeral"} 1.0' in gone


# --- waiting ------------------------------------------------------------------------------------------------------
def test_a_poll_that_takes_long_is_followed_by_a_pause_as_long_but_for_the_interval() -> None:
    pace = Pace("inbox", timedelta(seconds=16))
    waits = [pace.after_poll(published=True, took=took) for took in (0, 0, 0, 3, 10, 100)]
    assert all(3.6 <= seconds <= 4 for seconds in waits[2:4])
    assert 9 <= waits[4] <= 10
    assert 14.4 <= waits[5] <= 16


def test_the_interval_is_never_exceeded_and_shrinks_to_a_quarter_with_traffic() -> None:
    pace = Pace("inbox", timedelta(seconds=16))
    busy = [pace.after_poll(published=True) for _ in range(5)]
    idle = [pace.after_poll(published=False) for _ in range(5)]
    assert busy[0] <= 8
    assert all(3.6 <= seconds <= 4 for seconds in busy[2:])
    assert all(14.4 <= seconds <= 16 for seconds in idle[2:])


def test_failures_are_retried_ever_later_and_not_before_twilio_says() -> None:
    pace = Pace("inbox", timedelta(seconds=15))
    delays = [pace.after_failure(NotExecuted("busy")) for _ in range(12)]
    assert delays[0] <= 1
    assert delays[-1] > 50
    assert max(delays) <= LONGEST_RETRY_SECONDS
    assert Pace("inbox", timedelta(seconds=15)).after_failure(NotExecuted("busy", retry_after=300)) == 300


def test_wrong_credentials_are_tried_once_a_minute_when_they_are_certain() -> None:
    pace = Pace("inbox", timedelta(seconds=15))
    delays = [pace.after_failure(BadCredentials("no", status=401)) for _ in range(3)]
    assert delays[1] <= 2
    assert delays[2] > 50


# --- against the simulator ----------------------------------------------------------------------------------------
@asynccontextmanager
async def simulated(simulator: Simulator, kafka: Kafka, **settings: Any) -> AsyncIterator[Callable[[], Watcher]]:
    """Makes watchers of the simulator's lists, with the real client."""
    chosen = WatchSettings(**{"resource": "messages", "interval": QUICK} | settings)
    published = replace(publication(chosen), account_sid=simulator.account_sid)
    async with connected(simulator.url) as client:

        def build() -> Watcher:
            return Watcher(
                chosen, published, TwilioSource(client, published.watch), kafka.commit, capacity=Capacity(300)
            )

        yield build


@pytest.mark.parametrize("granularity", ["day", "second"])
@pytest.mark.parametrize("resource", ["messages", "calls", "recordings", "transcriptions", "alerts"])
async def test_a_back_fill_publishes_each_row_once_through_crashes(resource: str, granularity: str) -> None:
    kafka = Kafka()
    async with Simulator(seed=7, settings={"granularity": granularity}) as simulator:
        simulator.fault("short-page", "List*", rows=40, probability=0.2)
        wanted = simulator.fill(resource, count=900, step=2 * 3600 / 3)
        start = datetime.now(UTC) - timedelta(days=29)
        async with simulated(simulator, kafka, resource=resource, limit=90, start=start) as build:
            for crash in (3, 5, 8):
                async with crashing(build(), kafka.cursor):
                    await kafka.until(lambda crash=crash: len(kafka.transactions) >= crash)  # type: ignore[misc]  # mypy cannot type the default
            async with running(build(), kafka.cursor):
                await kafka.until(lambda: len(kafka.sids) >= 900)
    assert Counter(kafka.sids) == Counter(wanted)


async def test_rows_that_come_late_move_or_vanish_are_published_once_while_traffic_goes_on() -> None:
    kafka = Kafka()
    sent: list[str] = []
    async with Simulator(seed=3, settings={"ties": "sid", "send_delay": 0.3}) as simulator:
        simulator.fault("late-visibility", "InboundMessage", seconds=0.5, probability=0.5)
        simulator.fault("delete-while-paging", "ListMessage", rows=2, probability=0.02)
        simulator.fault("bad-token", "ListMessage", probability=0.02)
        async with simulated(simulator, kafka, limit=15, overlap="30s") as build:
            watch = running(build())
            await watch.__aenter__()
            await kafka.until(lambda: kafka.cursor is not None)
            for round_ in range(12):
                rows = [simulator.receive(from_="+15550100002", to="+15550100001", body="x") for _ in range(20)]
                sent += [row.sid for row in rows]
                await kafka.until(lambda round_=round_: len(kafka.sids) >= 12 * round_)  # type: ignore[misc]  # mypy cannot type the default
            kept = [one for one in sent if one in simulator.state.stores[simulator.account_sid].messages.rows]
            await kafka.until(lambda: set(kept) <= set(kafka.sids))
            await watch.__aexit__(None, None, None)
    assert set(Counter(kafka.sids).values()) == {1}
    assert set(kafka.sids) <= set(sent)


@asynccontextmanager
async def crashing(watch: Watcher, cursor: Cursor | None) -> AsyncIterator[None]:
    """The watch at work, cancelled wherever it is at the end."""
    task = asyncio.create_task(watch.run(cursor, asyncio.Event()))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def polls(outcome: str) -> float:
    value = metrics.REGISTRY.get_sample_value("twilio_kafka_watch_polls_total", {"watch": "inbox", "outcome": outcome})
    return value or 0.0
