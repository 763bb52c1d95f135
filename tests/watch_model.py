"""A model of Twilio's lists for the tests of the watcher: sort keys that move, late rows, deletions, coarse filters."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import cache
from math import inf
from operator import itemgetter
from typing import Any

from connector.resources.rows import Bundle, Watch
from connector.twilio.paging import Page
from connector.watcher import catch_up, following
from connector.watcher.advance import Advance, Found, Gathered, advance
from connector.watcher.cursor import Cursor, first
from connector.watcher.reading import date_filters
from connector.watcher.records import Publication, created_times
from connector.watcher.walk import Bounds, Capacity, Present, Sweep

EPOCH = datetime(2026, 3, 10, tzinfo=UTC)
DAY_SECONDS = 86_400


class Toy(Bundle):
    sid: str


MOVING = Watch(
    resource="toys",
    noun="toy",
    path="/toys",
    items="toys",
    bundle=Toy,
    sorted_by=("date_sent", "date_created"),
    since="DateSent>",
    before="DateSent<",
    version=("status", "price"),
    final=frozenset({"done"}),
    fetch="/toys/{sid}",
    operation="ListToy",
)
FIXED = Watch(
    resource="toys", noun="toy", path="/toys", items="toys", bundle=Toy, since="DateCreated>", before="DateCreated<"
)
PLAIN = Watch(resource="toys", noun="toy", path="/toys", items="toys", bundle=Toy)
PRECISE = Watch(
    resource="toys",
    noun="toy",
    path="/toys",
    items="toys",
    bundle=Toy,
    sorted_by=("date_generated", "date_created"),
    since="StartDate",
    before="EndDate",
    seconds=True,
)
CAPPED = replace(PRECISE, cap=7)


def publication(watch: Watch, *, changes: bool = False) -> Publication:
    """What a watch of toys publishes."""
    return Publication(name="toys", watch=watch, account_sid="AC1", prefix="t", changes=changes)


def at(seconds: float) -> datetime:
    """A moment of the model: seconds after its epoch."""
    return EPOCH + timedelta(seconds=seconds)


@cache
def _sid(number: int) -> str:
    return f"TY{number * 7919 % 1000:03d}"


@cache
def _reversed(sid: str) -> str:
    """What sorts the other way round."""
    return "".join(chr(255 - ord(char)) for char in sid)


@dataclass(frozen=True, slots=True)
class Item:
    """A row's life, in seconds after the epoch; None: never."""

    number: int
    created: float
    visible: float
    sent: float | None = None
    deleted: float | None = None

    @property
    def sid(self) -> str:
        return _sid(self.number)

    def is_shown(self, now: float) -> bool:
        return self.visible <= now and (self.deleted is None or now < self.deleted)

    def is_sent(self, now: float) -> bool:
        return self.sent is not None and self.sent <= now

    def sort_second(self, now: float) -> int:
        return int(self.sent) if self.sent is not None and self.is_sent(now) else int(self.created)


@dataclass(slots=True, kw_only=True)
class Listing:
    """The list, its clock and its whims. Each page costs `latency` seconds."""

    watch: Watch
    items: Sequence[Item]
    now: float
    latency: float = 0.25
    by_second: bool = False
    before_includes_day: bool = False
    undated_match_filters: bool = False
    ties_reversed: bool = False
    tokens_follow_moves: bool = True
    requests: int = 0
    queries: list[Mapping[str, str]] = field(default_factory=list)

    def pages(self, bounds: Bounds, page_size: int) -> Iterator[Page]:
        """Walk the list with keyset tokens: a page starts below the last row of the one before."""
        query = dict(date_filters(self.watch, bounds))
        self.queries.append(query)
        below: tuple[int, str] | None = None
        last: Item | None = None
        shown = 0
        while True:
            self.requests += 1
            if last is not None and self.tokens_follow_moves:
                below = self._rank(last)
            rows = [item for item in self._matching(query) if below is None or self._rank(item) < below]
            size = page_size if self.watch.cap is None else min(page_size, self.watch.cap - shown)
            page = rows[:size]
            shown += len(page)
            yield Page([self.row(item) for item in page], at(int(self.now)))
            self.now += self.latency
            if len(rows) <= size or shown == self.watch.cap:
                return
            last = page[-1]
            below = self._rank(last)

    def row(self, item: Item) -> dict[str, Any]:
        """The row as the list shows it now."""
        sent = item.sent if item.is_sent(self.now) else None
        written = {
            "sid": item.sid,
            "date_created": format_datetime(at(int(item.created))),
            "status": "done" if sent is not None else "waiting",
            "price": "-0.1" if sent is not None and self.now > sent + 30 else None,
        }
        if self.watch.sorted_by[0] == "date_generated":
            return written | {"date_generated": written["date_created"]}
        return written | {"date_sent": None if sent is None else format_datetime(at(int(sent)))}

    def _rank(self, item: Item) -> tuple[int, str]:
        sid = _reversed(item.sid) if self.ties_reversed else item.sid
        return item.sort_second(self.now) if self._moves else int(item.created), sid

    @property
    def _moves(self) -> bool:
        return self.watch.sorted_by[0] == "date_sent"

    def _matching(self, query: Mapping[str, str]) -> list[Item]:
        low, high = self._low(query.get(self.watch.since or "")), self._high(query.get(self.watch.before or ""))
        shown = [item for item in self.items if item.is_shown(self.now)]
        if query and self._moves and not self.undated_match_filters:
            shown = [item for item in shown if item.is_sent(self.now)]
        ranked = sorted(((self._rank(item), item) for item in shown), key=itemgetter(0), reverse=True)
        return [item for (second, _), item in ranked if low <= second < high]

    def _low(self, text: str | None) -> float:
        return -inf if text is None else self._bound(text)

    def _high(self, text: str | None) -> float:
        """The first second that the filter leaves out."""
        if text is None:
            return inf
        bound = self._bound(text)
        if not self.before_includes_day:
            return bound
        return bound + (1 if self.watch.seconds else DAY_SECONDS)

    def _bound(self, text: str) -> float:
        moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
        bound = moment if self.by_second or self.watch.seconds else catch_up.day_before(moment)
        return (bound - EPOCH).total_seconds()


@dataclass(slots=True, kw_only=True)
class Process:
    """The engine without its I/O: what `Watcher` does between two transactions, and what Kafka would hold."""

    listing: Listing
    overlap: float
    limit: int
    page_size: int = 2
    capacity: Capacity = field(default_factory=lambda: Capacity(rows=50))
    changes: bool = False
    present: Callable[[datetime], Present] = lambda date: Present(date, date)
    start: datetime | None = None
    written: bytes | None = None
    published: list[tuple[Found, ...]] = field(default_factory=list)
    checked: dict[str, datetime] = field(default_factory=dict)
    cursor: Cursor | None = None
    rest: Gathered | None = None

    def crash(self) -> None:
        """Lose everything but what was written."""
        self.checked = {}
        self.cursor = None if self.written is None else Cursor.from_json(self.written)
        self.rest = None

    def open(self) -> Cursor:
        if self.cursor is None:
            page = next(self.listing.pages(Bounds(), 1000))
            now = self.present(page.date or EPOCH).earliest
            present = () if self.start else created_times(page.rows, self.listing.watch)
            self.cursor = first(now, since=self.start, present=present)
            self.written = self.cursor.to_json()
        return self.cursor

    def gather(self, cursor: Cursor) -> tuple[Cursor, Gathered]:
        watch = self.listing.watch
        overlap = timedelta(seconds=self.overlap)
        now = self.present(at(int(self.listing.now))).earliest
        if cursor.catch_up is None and now - overlap - cursor.since > catch_up.AFTER:
            cursor = catch_up.begin(cursor, watch, now=now, overlap=overlap)
            self.cursor, self.written = cursor, cursor.to_json()
        while True:
            sweep = Sweep(cursor, publication(watch, changes=self.changes), capacity=self.capacity)
            for bounds in sweep.queries():
                for page in self.listing.pages(bounds, self.page_size):
                    if not sweep.read(page.rows, self.present(page.date or EPOCH)):
                        break
            if sweep.is_behind:
                cursor = catch_up.turned_back(cursor, now=sweep.now, overlap=overlap)
                self.cursor, self.written = cursor, cursor.to_json()
                continue
            gathered = sweep.gathered()
            smaller = cursor.catch_up and gathered.is_cut and catch_up.narrower(cursor.catch_up, watch)
            if not smaller:
                return cursor, gathered
            cursor = replace(cursor, catch_up=smaller)

    def poll(self, *, crash: str = "", write_idle: bool = True) -> Advance:
        """One cycle; `crash` `before` or `after` the transaction, or `""`."""
        cursor = self.open()
        cursor, gathered = (cursor, self.rest) if self.rest is not None else self.gather(cursor)
        overlap = timedelta(seconds=self.overlap)
        step = advance(cursor, gathered, watch=self.listing.watch, overlap=overlap, limit=self.limit)
        if crash == "before":
            self.crash()
            return step
        if step.fresh or write_idle:
            self.published.append(tuple(step.fresh))
            self.written = step.cursor.to_json()
        self.cursor, self.rest = step.cursor, step.rest
        if self.changes and not step.is_waiting:
            self.follow(step.cursor)
        if crash == "after":
            self.crash()
        return step

    def follow(self, cursor: Cursor) -> None:
        """Fetch what is due by SID."""
        now = at(int(self.listing.now))
        due = following.due(cursor, self.checked, now=now, interval=timedelta(seconds=15))[: self.limit]
        self.checked |= dict.fromkeys(due, now)
        by_sid = {item.sid: item for item in self.listing.items}
        rows = {sid: self.listing.row(by_sid[sid]) if by_sid[sid].is_shown(self.listing.now) else None for sid in due}
        step = following.settle(cursor, rows, publication(self.listing.watch, changes=True))
        if step.fresh:
            self.published.append(tuple(step.fresh))
            self.written = step.cursor.to_json()
        self.cursor = step.cursor

    def drain(self) -> None:
        """Poll until nothing waits."""
        for _ in range(1000):
            if not self.poll().is_waiting:
                return
        raise AssertionError("The watch is never done.")
