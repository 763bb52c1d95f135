"""The pure core of the watcher against a model of Twilio's lists: exactly once, oldest first, whatever happens."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, cycle, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st

from connector.resources.rows import Watch
from connector.watcher import catch_up, following
from connector.watcher.advance import FOLLOWED_LIMIT, SEEN_LIMIT, Found, Gathered, advance
from connector.watcher.cursor import DAY, NOT_PUBLISHED, Cursor, Seen, first
from connector.watcher.reading import date_filters
from connector.watcher.walk import BELOW_FLOOR, Bounds, Capacity, Present, Sweep
from tests.examples import examples
from tests.watch_model import CAPPED, EPOCH, FIXED, MOVING, PLAIN, PRECISE, Item, Listing, Process, at, publication

OVERLAP = 60
DAY_SECONDS = 86_400
WATCHES = st.sampled_from([MOVING, MOVING, FIXED, PLAIN, PRECISE])


# --- the model's histories ----------------------------------------------------------------------------------------
def quarters(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(int(low * 4), int(high * 4)).map(lambda ticks: ticks / 4)


NEAR = quarters(-3, 3)
LATER = st.tuples(st.sampled_from(["at once", "soon", "near"]), st.integers(0, 99), NEAR, quarters(0, OVERLAP))
ITEM = st.tuples(
    st.integers(0, 99),
    NEAR | quarters(-2 * OVERLAP, 2 * OVERLAP),
    st.just(0.0) | quarters(0, OVERLAP),
    st.none() | LATER,
    st.none() | st.none() | st.none() | LATER,
)
ITEMS = st.sampled_from([1, 5, 15, 25]).flatmap(lambda size: st.lists(ITEM, min_size=size // 2, max_size=size))


def later(moments: list[float], created: float, drawn: tuple[str, int, float, float] | None) -> float | None:
    """A moment after the creation: at once, soon, or about when something else happens."""
    if drawn is None:
        return None
    kind, index, offset, delay = drawn
    if kind == "near":
        return max(created, moments[index % len(moments)] + offset)
    return created + (delay if kind == "soon" else 0.0)


def items(drawn: list[Any], moments: list[float]) -> list[Item]:
    """Rows in clusters, so that seconds, midnights, polls and the ends of windows are shared."""
    rows = []
    for number, (index, offset, delay, sent, deleted) in enumerate(drawn):
        created = max(0.0, moments[index % len(moments)] + offset)
        visible = created + delay
        rows.append(Item(number, created, visible, later(moments, created, sent), later(moments, visible, deleted)))
    return rows


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["", "", "", "before", "after"]),
        st.sampled_from([0.0, 5.0, 15.0, 15.0, 45.0, 600.0, 0.4 * DAY_SECONDS, 1.7 * DAY_SECONDS]),
        st.booleans(),
    ),
    max_size=25,
)
# A row of the model has some 120 bytes.
FEW = st.sampled_from([Capacity(4), Capacity(50, bytes=450)])
CAPACITIES = st.sampled_from([Capacity(6), Capacity(50), Capacity(50, bytes=1)]) | FEW
History = tuple[Process, list[tuple[str, float, bool]]]


@st.composite
def histories(
    draw: st.DrawFn, *, watches: st.SearchStrategy[Watch] = WATCHES, rows: st.SearchStrategy[list[Any]] = ITEMS
) -> History:
    """A list, a process that watches it, and when it polls and crashes."""
    actions = draw(ACTIONS)
    begin = draw(st.sampled_from([0.0, 2.0 * DAY_SECONDS, 2.6 * DAY_SECONDS]))
    polls = [begin, *accumulate((pause for _, pause, _ in actions), initial=begin)]
    moments = [*polls, *(day * DAY_SECONDS for day in range(int(polls[-1] // DAY_SECONDS) + 1))]
    listing = Listing(
        watch=draw(watches),
        items=items(draw(rows), moments),
        now=begin,
        latency=draw(st.sampled_from([0.25, 1.0, 7.0])),
        by_second=draw(st.booleans()),
        before_includes_day=draw(st.booleans()),
        undated_match_filters=draw(st.booleans()),
        ties_reversed=draw(st.booleans()),
        tokens_follow_moves=draw(st.booleans()),
    )
    start = later(moments, 0.0, draw(st.none() | LATER))
    process = Process(
        listing=listing,
        overlap=OVERLAP,
        limit=draw(st.sampled_from([1, 2, 3, 100])),
        page_size=draw(st.sampled_from([1, 2, 3, 5, 100])),
        capacity=draw(CAPACITIES),
        start=None if start is None else at(int(start)),
    )
    return process, actions


def live_through(process: Process, actions: list[tuple[str, float, bool]]) -> None:
    """Play the history, then poll on until every row has become visible and has left the overlap."""
    for crash, pause, write_idle in actions:
        process.poll(crash=crash, write_idle=write_idle)
        process.listing.now += pause
    events = sorted(moment for item in process.listing.items for moment in (item.created, item.visible, item.sent or 0))
    process.drain()
    while process.listing.now <= max(events, default=0.0) + 3 * OVERLAP:
        nearest = min((abs(moment - process.listing.now) for moment in events), default=0.0)
        process.listing.now += 15 if nearest < 3 * OVERLAP else max(nearest - 2 * OVERLAP, 15)
        process.drain()
    process.drain()


def wanted(process: Process, opened_at: float) -> tuple[set[str], set[str]]:
    """SIDs that must be published, and those that may be."""
    start = int(opened_at) if process.start is None else (process.start - EPOCH).total_seconds()
    may = {item for item in process.listing.items if int(item.created) >= start}
    must = {item for item in may if item.deleted is None and (process.start or item.visible > opened_at)}
    return {item.sid for item in must}, {item.sid for item in may}


def versions(process: Process) -> dict[str, list[str]]:
    """The versions of each row in the order in which they were published."""
    published: dict[str, list[str]] = {}
    for found in (found for step in process.published for found in step):
        published.setdefault(found.sid, []).append(f"{found.kind} {found.fingerprint}")
    return published


EXAMPLES = settings(
    max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


SECONDS_OFF = st.sampled_from([-365.0 * DAY_SECONDS, -3600.0, -40.0, 40.0, 3600.0, 365.0 * DAY_SECONDS])
ONE_CLOCK_OFF = st.tuples(SECONDS_OFF, st.just(0.0)) | st.tuples(st.just(0.0), SECONDS_OFF) | st.just((0.0, 0.0))


@EXAMPLES
@given(histories(), st.lists(ONE_CLOCK_OFF, min_size=1, max_size=20))
def test_every_row_is_published_exactly_once_while_one_clock_is_right(
    history: History, offs: list[tuple[float, float]]
) -> None:
    process, actions = history
    opened_at = process.listing.now
    clocks = cycle(offs)

    def present(date: datetime) -> Present:
        moments = [date + timedelta(seconds=off) for off in next(clocks)]
        return Present(min(moments), max(moments))

    process.present = present
    live_through(process, actions)
    published = Counter(found.sid for step in process.published for found in step)
    must, may = wanted(process, opened_at - (0 if process.start else 366 * DAY_SECONDS))
    assert all(published[sid] == 1 for sid in must if process.start or sid in wanted(process, opened_at)[0])
    assert all(count == 1 for count in published.values())
    assert published.keys() <= may


@settings(EXAMPLES, max_examples=examples(1000))
@given(histories())
def test_every_row_is_published_exactly_once(history: History) -> None:
    process, actions = history
    opened_at = process.listing.now
    live_through(process, actions)
    published = Counter(found.sid for step in process.published for found in step)
    must, may = wanted(process, opened_at)
    note(f"requests {process.listing.requests}, queries {process.listing.queries}")
    assert must <= set(published), "lost"
    assert set(published) <= may, "not wanted"
    assert set(published.values()) <= {1}, "repeated"


@EXAMPLES
@given(histories())
def test_a_transaction_holds_at_most_the_limit_oldest_first(history: History) -> None:
    process, actions = history
    live_through(process, actions)
    for step in process.published:
        assert len(step) <= process.limit
        assert list(step) == sorted(step, key=lambda found: (found.created, found.sid))


@EXAMPLES
@given(histories())
def test_what_was_created_before_the_watermark_has_been_published(history: History) -> None:
    process, actions = history
    opened_at = process.listing.now
    done: set[str] = set()
    for crash, pause, write_idle in [*actions, *[("", 15.0, True)] * 20]:
        before = len(process.published)
        process.poll(crash=crash, write_idle=write_idle)
        done |= {found.sid for step in process.published[before:] for found in step}
        cursor = Cursor.from_json(process.written or b"")
        must, _ = wanted(process, opened_at)
        start = process.start or EPOCH
        complete = [item for item in process.listing.items if start <= at(int(item.created)) < cursor.complete_until]
        assert {item.sid for item in complete} & must <= done
        assert cursor.complete_until <= max(cursor.started_at, start, at(process.listing.now - OVERLAP))
        process.listing.now += pause


@st.composite
def moving_lists(draw: st.DrawFn) -> Process:
    """Rows that were created during an outage and are sent while the first walks after it go through them."""
    created = draw(st.lists(quarters(0, 300), max_size=15))
    rows = [Item(number, moment, moment, draw(st.none() | quarters(400, 450))) for number, moment in enumerate(created)]
    listing = Listing(
        watch=MOVING,
        items=rows,
        now=400.0,
        latency=draw(st.sampled_from([0.25, 1.0, 3.0])),
        ties_reversed=draw(st.booleans()),
        tokens_follow_moves=draw(st.booleans()),
    )
    limit = draw(st.sampled_from([1, 3, 100]))
    page_size = draw(st.integers(1, 4))
    return Process(
        listing=listing, overlap=OVERLAP, limit=limit, page_size=page_size, capacity=Capacity(6), start=EPOCH
    )


@EXAMPLES
@given(moving_lists())
def test_rows_that_move_to_the_top_while_a_walk_is_below_are_not_lost(process: Process) -> None:
    for _ in range(60):
        process.poll()
        process.listing.now += 5
    published = Counter(found.sid for step in process.published for found in step)
    assert published == {item.sid: 1 for item in process.listing.items}


@settings(EXAMPLES, max_examples=examples(300))
@given(histories(watches=st.just(CAPPED), rows=st.just([])), st.lists(quarters(0, 4), min_size=8, max_size=25))
def test_rows_beyond_what_a_query_shows_are_published_once(history: History, burst: list[float]) -> None:
    process, actions = history
    process.start = EPOCH
    process.listing.items = [Item(number, 30 + moment, 30 + moment) for number, moment in enumerate(burst)]
    live_through(process, actions)
    published = Counter(found.sid for step in process.published for found in step)
    most_in_a_second = max(Counter(int(moment) for moment in burst).values())
    assume(most_in_a_second < (CAPPED.cap or 0))
    assert published == {item.sid: 1 for item in process.listing.items}


AGES = st.lists(st.tuples(st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5]) | quarters(0, 3), st.none() | LATER), max_size=12)


@st.composite
def moving_catch_ups(draw: st.DrawFn) -> Process:
    """Rows of the past days that are sent while the connector catches up."""
    now = 3.0 * DAY_SECONDS
    moments = [now, now - 0.5 * DAY_SECONDS, now - DAY_SECONDS, now - 2 * DAY_SECONDS]
    rows = []
    for number, (age, sent) in enumerate(draw(AGES)):
        created = now - age * DAY_SECONDS
        rows.append(Item(number, created, created, later(moments, created, sent)))
    listing = Listing(
        watch=MOVING,
        items=rows,
        now=now,
        latency=draw(st.sampled_from([0.25, 3.0, 11.0])),
        by_second=draw(st.booleans()),
        before_includes_day=draw(st.booleans()),
        undated_match_filters=draw(st.booleans()),
        tokens_follow_moves=draw(st.booleans()),
    )
    limit = draw(st.sampled_from([1, 2, 100]))
    page_size = draw(st.integers(1, 3))
    return Process(listing=listing, overlap=OVERLAP, limit=limit, page_size=page_size, capacity=draw(FEW), start=EPOCH)


@EXAMPLES
@given(moving_catch_ups(), st.lists(st.sampled_from(["", "", "before", "after"]), max_size=20))
def test_rows_that_are_sent_during_a_catch_up_are_published_once(process: Process, crashes: list[str]) -> None:
    for crash in crashes:
        process.poll(crash=crash)
    for _ in range(40):
        process.drain()
        process.listing.now += 15
    published = Counter(found.sid for step in process.published for found in step)
    assert published == {item.sid: 1 for item in process.listing.items}


@EXAMPLES
@given(histories(watches=st.just(MOVING)))
def test_each_version_that_is_seen_is_published_once(history: History) -> None:
    process, actions = history
    process.changes = True
    live_through(process, actions)
    for published in versions(process).values():
        assert [version.startswith("created") for version in published] == [True] + [False] * (len(published) - 1)
        assert all(before != after for before, after in pairwise(published))


@EXAMPLES
@given(histories(watches=st.just(MOVING)))
def test_the_last_version_is_published_however_late_it_comes(history: History) -> None:
    process, actions = history
    process.changes = True
    live_through(process, actions)
    end = max([process.listing.now, *(item.sent or 0 for item in process.listing.items)])
    while process.listing.now < end + 6 * DAY_SECONDS:
        process.drain()
        process.listing.now += DAY_SECONDS / 2
    published = versions(process)
    for item in process.listing.items:
        if item.sid in published and item.deleted is None:
            final = publication(MOVING).fingerprint(process.listing.row(item))
            assert published[item.sid][-1].endswith(final), item


# --- single rules -------------------------------------------------------------------------------------------------
NOW = at(10 * DAY_SECONDS)
LONG = timedelta(minutes=10)
PRESENT = Present(NOW, NOW)


def row(sid: str, created: datetime, **fields: Any) -> dict[str, Any]:
    return {"sid": sid, "date_created": created.strftime("%a, %d %b %Y %H:%M:%S +0000"), "date_sent": None} | fields


def found(sid: str, created: datetime, **fields: Any) -> Found:
    return publication(MOVING).found(row(sid, created, **fields), sid, created, "created", versioned=False)


ROW_BYTES = len(found("TY0", NOW).row.data)


def live(**fields: Any) -> Cursor:
    cursor = first(NOW - timedelta(minutes=20), since=NOW - LONG)
    return replace(cursor, **fields)


def sweep_of(cursor: Cursor, *pages: list[dict[str, Any]], watch: Watch = MOVING, changes: bool = False) -> Sweep:
    """A sweep that has read these pages with its first query."""
    sweep = Sweep(cursor, publication(watch, changes=changes))
    next(sweep.queries())
    for page in pages:
        sweep.read(page, PRESENT)
    return sweep


def sids(gathered: Gathered) -> list[str]:
    return [item.sid for item in gathered.found]


def test_the_first_second_publishes_only_what_was_not_there() -> None:
    cursor = first(NOW, present=[("TY1", NOW), ("TY0", NOW - timedelta(seconds=1))])
    assert set(cursor.seen) == {"TY1"}
    assert sids(sweep_of(cursor, [row("TY2", NOW), row("TY1", NOW)]).gathered()) == ["TY2"]


def test_an_old_row_that_is_sent_now_is_not_published_again() -> None:
    old = row("TY1", NOW - DAY, date_sent="Fri, 20 Mar 2026 00:00:00 +0000")
    assert sids(sweep_of(live(), [old]).gathered()) == []


def test_rows_of_one_second_are_cut_by_the_limit_and_not_lost() -> None:
    gathered = Gathered(found=[found(f"TY{number}", NOW) for number in range(5)], now=NOW)
    published: list[str] = []
    cursor = live()
    for _ in range(3):
        step = advance(cursor, gathered, watch=MOVING, overlap=LONG, limit=2)
        published += [item.sid for item in step.fresh]
        cursor, again = step.cursor, [row(f"TY{number}", NOW) for number in range(5)]
        gathered = sweep_of(Cursor.from_json(cursor.to_json()), again).gathered()
    assert published == ["TY0", "TY1", "TY2", "TY3", "TY4"]


def test_a_full_cursor_shortens_the_overlap_and_says_so() -> None:
    seen = {f"TY{number}": Seen(NOW - timedelta(seconds=500 - number // 50)) for number in range(SEEN_LIMIT)}
    new = [found(f"NEW{number}", NOW - timedelta(seconds=100)) for number in range(100)]
    step = advance(live(seen=seen), Gathered(found=new, now=NOW), watch=MOVING, overlap=LONG, limit=1000)
    assert step.is_shrunk
    assert len(step.cursor.seen) <= SEEN_LIMIT
    assert step.cursor.since == NOW - timedelta(seconds=498)
    assert step.cursor.complete_until == NOW - LONG


def test_a_full_cursor_does_not_advance_over_what_is_not_published() -> None:
    seen = {f"TY{number}": Seen(NOW - timedelta(seconds=100)) for number in range(SEEN_LIMIT)}
    new = [found("OLD1", NOW - timedelta(seconds=500)), found("OLD2", NOW - timedelta(seconds=499))]
    step = advance(live(seen=seen), Gathered(found=new, now=NOW), watch=MOVING, overlap=LONG, limit=1)
    assert step.rest is not None
    assert step.cursor.since <= step.rest.found[0].created


def test_more_rows_in_the_present_second_than_a_cursor_holds_are_all_remembered() -> None:
    new = [found(f"TY{number}", NOW) for number in range(SEEN_LIMIT + 10)]
    step = advance(live(), Gathered(found=new, now=NOW), watch=MOVING, overlap=LONG, limit=SEEN_LIMIT + 10)
    assert len(step.cursor.seen) == SEEN_LIMIT + 10


@pytest.mark.parametrize("capacity", [Capacity(3), Capacity(rows=100, bytes=3 * ROW_BYTES), Capacity(3, bytes=10**6)])
def test_a_walk_keeps_the_oldest_rows_when_there_are_too_many(capacity: Capacity) -> None:
    sweep = Sweep(live(), publication(MOVING), capacity=capacity)
    next(sweep.queries())
    sweep.read([row(f"TY{number}", NOW - timedelta(seconds=number)) for number in range(10)], PRESENT)
    gathered = sweep.gathered()
    assert sids(gathered) == ["TY9", "TY8", "TY7"]
    step = advance(live(), gathered, watch=MOVING, overlap=timedelta(0), limit=100)
    assert step.is_waiting
    assert step.cursor.since == NOW - timedelta(seconds=7)


def test_a_row_that_is_larger_than_the_memory_for_rows_is_published_all_the_same() -> None:
    sweep = Sweep(live(), publication(MOVING), capacity=Capacity(bytes=1))
    next(sweep.queries())
    sweep.read([row(f"TY{number}", NOW - timedelta(seconds=number)) for number in range(10)], PRESENT)
    gathered = sweep.gathered()
    assert sids(gathered) == ["TY9"]
    assert gathered.is_cut


def test_a_row_that_is_shown_twice_takes_its_room_once() -> None:
    sweep = Sweep(live(), publication(MOVING), capacity=Capacity(bytes=2 * ROW_BYTES))
    next(sweep.queries())
    for _ in range(5):
        sweep.read([row("TY2", NOW), row("TY1", NOW)], PRESENT)
    gathered = sweep.gathered()
    assert sids(gathered) == ["TY1", "TY2"]
    assert not gathered.is_cut


def test_a_walk_of_one_page_needs_no_second_look() -> None:
    sweep = Sweep(live(), publication(MOVING))
    queries = sweep.queries()
    assert next(queries) == Bounds()
    sweep.read([row("TY1", NOW - DAY)], PRESENT)
    assert next(queries, None) is None


def test_an_empty_page_does_not_end_a_walk() -> None:
    sweep = Sweep(live(), publication(MOVING))
    next(sweep.queries())
    assert sweep.read([], PRESENT)
    assert sweep.read([row("TY1", NOW)], PRESENT)
    assert not sweep.read([row("TY2", NOW - DAY)], PRESENT)


@pytest.mark.parametrize(
    "odd",
    [
        {"sid": "TY1", "date_created": None, "date_sent": None},
        {"sid": "TY1", "date_created": "yesterday", "date_sent": "soon"},
        {"sid": "TY1", "date_created": 5, "date_sent": 5},
        {"status": "waiting", "date_created": None},
        {"sid": None},
        {"sid": ""},
        {},
    ],
)
@pytest.mark.parametrize("catching_up", [False, True])
def test_a_row_that_cannot_be_read_is_found_once_and_stops_nothing(odd: dict[str, Any], catching_up: bool) -> None:  # noqa: FBT001 - parametrised
    cursor = live()
    if catching_up:
        cursor = catch_up.begin(live(since=NOW - 3 * DAY), FIXED, now=NOW, overlap=LONG)
        cursor = replace(cursor, catch_up=replace(cursor.catch_up, high=NOW) if cursor.catch_up else None)
    above = row("TY9", NOW - timedelta(minutes=10.5 if catching_up else 5))
    below = row("TY8", NOW - timedelta(minutes=12 if catching_up else 6))
    gathered = sweep_of(cursor, [above, odd, below], watch=FIXED).gathered()
    assert len(gathered.found) == 3
    step = advance(cursor, gathered, watch=FIXED, overlap=LONG, limit=10)
    assert sids(sweep_of(step.cursor, [above, odd, below], watch=FIXED).gathered()) == []


# --- windows ------------------------------------------------------------------------------------------------------
def test_filters_by_day_let_through_at_least_what_is_between_the_bounds() -> None:
    bounds = Bounds(datetime(2026, 3, 11, 15, 30, tzinfo=UTC), datetime(2026, 3, 13, 7, tzinfo=UTC))
    assert date_filters(MOVING, bounds) == (("DateSent>", "2026-03-11"), ("DateSent<", "2026-03-14"))
    # "After" a time may leave that time out, unless the setting of that name means the same parameter.
    assert date_filters(PRECISE, bounds) == (
        ("StartDate", "2026-03-11T15:29:59Z"),
        ("EndDate", "2026-03-13T07:00:00Z"),
    )
    assert dict(date_filters(replace(PRECISE, filters={"start_date": "StartDate"}), bounds))["StartDate"] == (
        "2026-03-11T15:30:00Z"
    )
    midnight = Bounds(datetime(2026, 3, 11, tzinfo=UTC), datetime(2026, 3, 13, 7, tzinfo=UTC))
    assert date_filters(replace(PRECISE, seconds=False, midnights=True), midnight) == (
        ("StartDate", "2026-03-10T00:00:00Z"),
        ("EndDate", "2026-03-14T00:00:00Z"),
    )


def test_the_oldest_filter_is_the_first_whole_day_of_the_retention() -> None:
    now = datetime(2026, 3, 11, 15, 30, tzinfo=UTC)
    by_day = catch_up.earliest(replace(MOVING, retention=timedelta(days=400)), now)
    assert by_day == datetime(2025, 2, 5, tzinfo=UTC)
    by_second = catch_up.earliest(replace(PRECISE, retention=timedelta(days=400)), now)
    assert by_second == datetime(2025, 2, 4, 15, 31, tzinfo=UTC)


def test_a_start_beyond_the_retention_is_moved_up() -> None:
    watch = replace(MOVING, retention=timedelta(days=400))
    begun = catch_up.begin(live(since=NOW - timedelta(days=1000)), watch, now=NOW, overlap=LONG)
    assert begun.since == catch_up.earliest(watch, NOW)


def test_a_list_without_date_filters_cannot_catch_up() -> None:
    cursor = live(since=NOW - 90 * DAY)
    assert catch_up.begin(cursor, MOVING, now=NOW, overlap=LONG).catch_up is not None
    assert catch_up.begin(cursor, PLAIN, now=NOW, overlap=LONG) is cursor


def test_windows_grow_over_empty_time_and_end_at_midnight() -> None:
    cursor = catch_up.begin(live(since=NOW - 100 * DAY + LONG), MOVING, now=NOW, overlap=LONG)
    ends = []
    while cursor.catch_up is not None and cursor.catch_up.phase == "windows":
        ends.append(cursor.catch_up.high)
        cursor = advance(cursor, Gathered(found=[], now=NOW), watch=MOVING, overlap=LONG, limit=10).cursor
    assert len(ends) < 10
    assert all((end.hour, end.minute, end.second) == (0, 0, 0) for end in ends[:-1])
    assert ends[-1] == NOW - LONG


def test_a_window_with_too_many_rows_is_halved_down_to_what_filters_can_tell_apart() -> None:
    cursor = catch_up.begin(live(since=NOW - 100 * DAY), MOVING, now=NOW, overlap=LONG)
    assert cursor.catch_up is not None
    large = replace(cursor.catch_up, size=8 * DAY, high=cursor.since + 8 * DAY)
    sizes = []
    smaller = catch_up.narrower(large, MOVING)
    while smaller is not None:
        sizes.append((smaller.high - smaller.low) / DAY)
        smaller = catch_up.narrower(smaller, MOVING)
    assert sizes == [4, 2, 1]


def test_a_window_that_is_published_in_part_keeps_its_end() -> None:
    cursor = catch_up.begin(live(since=NOW - 100 * DAY), MOVING, now=NOW, overlap=LONG)
    assert cursor.catch_up is not None
    assert catch_up.narrower(replace(cursor.catch_up, size=8 * DAY, position=(NOW, "TY1")), MOVING) is None


# --- rows that may still change -----------------------------------------------------------------------------------
def test_a_row_that_is_open_when_it_leaves_the_window_is_followed() -> None:
    old, young = NOW - timedelta(minutes=9), NOW - timedelta(minutes=1)
    seen = {"OPEN": Seen(old, "a", is_open=True), "DONE": Seen(old, "b"), "NEW": Seen(young, "c", is_open=True)}
    later = NOW + timedelta(minutes=5)
    step = advance(live(seen=seen), Gathered(found=[], now=later), watch=MOVING, overlap=LONG, limit=10)
    assert set(step.cursor.followed) == {"OPEN"}
    assert set(step.cursor.seen) == {"NEW"}


def test_only_so_many_rows_are_followed_the_newest_and_only_for_so_long() -> None:
    followed = {f"TY{number}": Seen(NOW - timedelta(minutes=20 + number), "a", is_open=True) for number in range(1500)}
    followed["ANCIENT"] = Seen(NOW - 15 * DAY, "a", is_open=True)
    step = advance(live(followed=followed), Gathered(found=[], now=NOW), watch=MOVING, overlap=LONG, limit=10)
    assert set(step.cursor.followed) == {f"TY{number}" for number in range(FOLLOWED_LIMIT)}
    assert step.unfollowed == 500


def test_a_followed_row_is_fetched_ever_less_often() -> None:
    cursor = live(followed={"TY1": Seen(NOW - timedelta(hours=4), "a", is_open=True)})
    interval = timedelta(seconds=15)
    assert following.due(cursor, {}, now=NOW, interval=interval) == ["TY1"]
    for minutes, expected in ((30, []), (59, []), (60, ["TY1"])):
        checked = {"TY1": NOW - timedelta(minutes=minutes)}
        assert following.due(cursor, checked, now=NOW, interval=interval) == expected
    young = live(followed={"TY1": Seen(NOW - timedelta(minutes=2), "a", is_open=True)})
    assert following.due(young, {"TY1": NOW - timedelta(seconds=59)}, now=NOW, interval=interval) == []


def test_a_followed_row_is_let_go_when_it_is_final_and_priced_or_gone() -> None:
    created = NOW - timedelta(hours=1)
    unpriced = row("TY1", created, status="done", price=None)
    priced = row("TY2", created, status="done", price="-0.1")
    fingerprints = {"TY1": publication(MOVING).fingerprint(unpriced), "TY2": "old", "TY3": "old", "TY4": "old"}
    followed = {sid: Seen(created, fingerprint, is_open=True) for sid, fingerprint in fingerprints.items()}
    step = following.settle(
        live(followed=followed), {"TY1": unpriced, "TY2": priced, "TY3": None}, publication(MOVING, changes=True)
    )
    assert [(item.sid, item.kind) for item in step.fresh] == [("TY2", "updated")]
    assert set(step.cursor.followed) == {"TY1", "TY4"}


def test_a_followed_row_that_moves_to_the_top_of_the_list_is_updated_from_there() -> None:
    cursor = live(followed={"TY1": Seen(NOW - DAY, "old", is_open=True)})
    moved = row("TY1", NOW - DAY, date_sent="Fri, 20 Mar 2026 00:00:00 +0000", status="done", price="-0.1")
    gathered = sweep_of(cursor, [moved], changes=True).gathered()
    assert [(item.sid, item.kind) for item in gathered.found] == [("TY1", "updated")]
    step = advance(cursor, gathered, watch=MOVING, overlap=LONG, limit=10)
    assert step.cursor.followed == {}
    assert step.cursor.since == cursor.since


def test_a_walk_ends_within_a_page_whose_last_rows_are_old() -> None:
    known = {f"TY{number}": Seen(NOW - timedelta(seconds=number), "") for number in range(100)}
    window = [row(sid, seen.created) for sid, seen in known.items()]
    old = [row(f"TY{number}", NOW - DAY - timedelta(seconds=number)) for number in range(100, 200)]
    late = row("TY999", NOW)
    assert not goes_on(live(seen=known), [*window, *old[:BELOW_FLOOR]])
    # A few old rows among those of the window do not end it, nor does a young one among the old.
    assert goes_on(live(seen=known), [*window, *old[: BELOW_FLOOR - 1]])
    assert goes_on(live(seen=known), [*window, *old, late])


def goes_on(cursor: Cursor, rows: list[dict[str, Any]]) -> bool:
    return Sweep(cursor, publication(MOVING)).read(rows, Present(NOW, NOW))


def test_a_row_published_before_changes_were_asked_for_is_updated_when_it_changes() -> None:
    waiting, done = row("TY1", NOW, status="waiting"), row("TY1", NOW, status="done")
    published = Seen(NOW, publication(MOVING).fingerprint(waiting))
    assert sids(sweep_of(live(seen={"TY1": published}), [waiting], changes=True).gathered()) == []
    (found,) = sweep_of(live(seen={"TY1": published}), [done], changes=True).gathered().found
    assert (found.sid, found.kind, found.fingerprint) == ("TY1", "updated", publication(MOVING).fingerprint(done))


def test_of_a_row_in_an_unknown_version_the_present_one_is_remembered_and_a_later_one_published() -> None:
    cursor = live(seen={"TY1": Seen(NOW)})
    gathered = sweep_of(cursor, [row("TY1", NOW, status="waiting")], changes=True).gathered()
    step = advance(cursor, gathered, watch=MOVING, overlap=LONG, limit=10)
    assert (sids(gathered), step.must_write) == ([], True)
    written = Cursor.from_json(step.cursor.to_json())
    assert written.seen["TY1"].is_open
    assert sids(sweep_of(written, [row("TY1", NOW, status="done")], changes=True).gathered()) == ["TY1"]


def test_a_row_that_was_there_before_the_watch_is_never_updated() -> None:
    cursor = Cursor.from_json(first(NOW, present=[("TY1", NOW)]).to_json())
    assert sids(sweep_of(cursor, [row("TY1", NOW, status="done")], changes=True).gathered()) == []


@EXAMPLES
@given(histories(watches=st.just(MOVING)), st.integers(1, 20))
def test_when_changes_are_asked_for_what_is_within_the_overlap_is_published_up_to_its_last_version(
    history: History, switched_at: int
) -> None:
    process, actions = history
    for crash, pause, write_idle in actions[:switched_at]:
        process.poll(crash=crash, write_idle=write_idle)
        process.listing.now += pause
    process.crash()
    cursor = process.open()
    assume(cursor.catch_up is None)
    remembered = {sid for sid, seen in cursor.seen.items() if seen.fingerprint != NOT_PUBLISHED}
    process.changes = True
    live_through(process, actions[switched_at:])
    end = max([process.listing.now, *(item.sent or 0 for item in process.listing.items)])
    while process.listing.now < end + 6 * DAY_SECONDS:
        process.drain()
        process.listing.now += DAY_SECONDS / 2
    published = versions(process)
    for item in process.listing.items:
        if item.sid in remembered and item.deleted is None:
            final = publication(MOVING).fingerprint(process.listing.row(item))
            assert published[item.sid][-1].endswith(final), item
