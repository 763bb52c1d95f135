"""A walk over Twilio's list: what to ask for, when to stop, and which rows are to be published. No I/O of its own.

sweep = Sweep(cursor, publication)
for bounds in sweep.queries():          # ask the list for what lies within them
    for page in …:
        if not sweep.read(page.rows, present, page.odd): break
gathered = sweep.gathered()
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from connector.resources.rows import Watch
from connector.watcher import catch_up
from connector.watcher.advance import Found, Gathered, position
from connector.watcher.cursor import DAY, NOT_PUBLISHED, SECOND, CatchUp, Cursor, Position, Seen
from connector.watcher.records import Publication, dated, identity

Row = Mapping[str, Any]

SURPLUS = 1.25
"""How far beyond the capacity rows pile up before the newest are dropped, so that sorting is seldom."""
BELOW_FLOOR = 50  # rows at the end of a page, or the whole page
SLACK = timedelta(minutes=1)
"""A row may sort a little before the time of its creation; and how far a second look at the top goes back."""
_UNREADABLE = (LookupError, ValueError, TypeError, AttributeError, OverflowError, StopIteration)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many new rows, and how many bytes of them, a walk keeps in memory; one row always is."""

    rows: int = 20_000
    bytes: int = 24 * 1024 * 1024


class Oldest:
    """The oldest of the rows that are added, as many as fit, each SID once, in its latest version.

    `is_cut`: newer rows have been dropped.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.is_cut = False
        self._capacity = capacity
        self._bytes = 0
        self._rows: dict[str, Found] = {}
        self._ceiling: Position | None = None

    def takes(self, created: datetime, sid: str) -> bool:
        """Whether there is room for such a row: not where older ones fill the capacity."""
        return self._ceiling is None or (created, sid) <= self._ceiling

    def add(self, row: Found) -> None:
        """Keep a row that is taken."""
        known = self._rows.get(row.sid)
        self._bytes += len(row.row.data) - (len(known.row.data) if known else 0)
        self._rows[row.sid] = row
        if self._is_beyond(SURPLUS):
            self._cut()

    def ordered(self) -> list[Found]:
        """What has been kept, oldest first."""
        if self._is_beyond(1.0):
            self._cut()
        return sorted(self._rows.values(), key=position)

    @property
    def is_over(self) -> bool:
        """Whether there are more rows than are kept."""
        return self.is_cut or self._is_beyond(1.0)

    def _is_beyond(self, factor: float) -> bool:
        too_many = len(self._rows) > factor * self._capacity.rows
        return len(self._rows) > 1 and (too_many or self._bytes > factor * self._capacity.bytes)

    def _cut(self) -> None:
        kept: list[Found] = []
        size = 0
        for row in sorted(self._rows.values(), key=position)[: self._capacity.rows]:
            size += len(row.row.data)
            if kept and size > self._capacity.bytes:
                size -= len(row.row.data)
                break
            kept.append(row)
        self._rows = {row.sid: row for row in kept}
        self._bytes = size
        self._ceiling = position(kept[-1])
        self.is_cut = True


CAPACITY = Capacity()


class Present(NamedTuple):
    """The present by the clocks that tell it, which may be apart; in whole seconds."""

    earliest: datetime
    latest: datetime

    def at_least(self, shown: datetime | None) -> datetime:
        """The earlier one, unless a row that is shown proves that it is later.

        A time that is too early costs a longer walk; one that is too late would skip what is created until then.
        """
        return max(self.earliest, min(shown, self.latest)) if shown is not None else self.earliest


class Bounds(NamedTuple):
    """A query's bounds on the sort time, half-open; None is open."""

    since: datetime | None = None
    before: datetime | None = None


class Listed(NamedTuple):
    """A row as a page shows it, its SID (or what stands for it), and when it says that it was created."""

    row: Any
    sid: str
    dated: datetime | None


@dataclass(frozen=True, slots=True)
class Walk:
    """Which part of the list is read, and which rows of it are wanted.

    The walk ends where the last rows of a page are older than `floor`, enough of them that a row out of order does not
    end it (`BELOW_FLOOR`). `wants(created, sid, order)` decides
    membership, whatever the server's filters let through; `order` is the sort time, None for a row without one of its
    own and where `is_ordered` says that it does not matter.
    """

    floor: datetime
    bounds: Bounds
    wants: Callable[[datetime, str, datetime | None], bool]
    is_ordered: bool = True


def plan(cursor: Cursor, watch: Watch) -> Walk:
    """The walk that a cursor asks for. A list that does not begin with the newest is narrowed by its filter."""
    present = cursor.catch_up
    if present is None:
        since = cursor.since
        bounds = Bounds() if watch.newest_first or watch.since is None else Bounds(since - SLACK)
        return Walk(since - SLACK, bounds, lambda created, _sid, _order: created >= since, is_ordered=False)
    return _window(cursor, present) if present.phase == "windows" else _undated(cursor, present)


def _window(cursor: Cursor, present: CatchUp) -> Walk:
    since, until, position = cursor.since, present.until, present.position
    low = present.low - SLACK if present.low == since else present.low
    high = present.high

    def wants(created: datetime, sid: str, order: datetime | None) -> bool:
        is_inside = order is not None and low <= order < high and since <= created < until
        return is_inside and (position is None or (created, sid) > position)

    return Walk(_floor(low, position), Bounds(low, high), wants)


def _undated(cursor: Cursor, present: CatchUp) -> Walk:
    since, until, position = cursor.since, present.until, present.position

    def wants(created: datetime, sid: str, order: datetime | None) -> bool:
        is_inside = (order is None or order >= until) and since <= created < until
        return is_inside and (position is None or (created, sid) > position)

    return Walk(_floor(since - SLACK, position), Bounds(), wants)


def _floor(low: datetime, position: Position | None) -> datetime:
    """Nothing sorts (much) before its creation, so what is still to come sorts after `position` as well."""
    return low if position is None else max(low, position[0] - SLACK)


class Sweep:
    """What one walk has found so far. `present` is that of its first page, at `began_at` (monotonic seconds).

    `is_capped`: a query showed rows of a single second only, and no more of them, so that some may be missing.
    """

    def __init__(self, cursor: Cursor, publication: Publication, *, capacity: Capacity = CAPACITY) -> None:
        self.present: Present | None = None
        self.began_at = 0.0
        self.pages = 0
        self.is_capped = False
        self._cursor = cursor
        self._publication = publication
        self._watch = watch = publication.watch
        self._walk = plan(cursor, watch)
        self._floor = self._walk.floor
        self._oldest = Oldest(capacity)
        self._known: dict[str, Seen] = {}
        self._has_kept = False
        # A row that is only caught up with is not remembered, so its version matters only where changes are published.
        self._is_live = cursor.catch_up is None
        self._stops_when_cut = cursor.catch_up is not None and catch_up.narrower(cursor.catch_up, watch) is not None
        self._rows_of_query = 0
        self._has_ended = False
        self._top = self._last = Listed({}, "", None)
        self._neighbour: datetime | None = None
        self._newest: datetime | None = None
        self._shows_future = False

    @property
    def is_behind(self) -> bool:
        """Whether the cursor has been polled at a time that has not come yet, and no row tells that it has.

        So it is when all clocks were ahead together once.
        """
        is_ahead = self.present is not None and self._cursor.polled_at > self.present.latest + SLACK
        return is_ahead and not self._shows_future

    @property
    def now(self) -> datetime:
        """Twilio's time when the walk began, as far as clocks and rows tell."""
        return self.present.at_least(self._newest) if self.present else self._cursor.polled_at

    # --- which queries --------------------------------------------------------------------------------------------
    def queries(self) -> Iterator[Bounds]:
        """The queries to make, each after the one before has been read.

        Further ones follow where Twilio cuts a query off, and a second look at the top: a row may have moved there
        while the walk was below.
        """
        bounds: Bounds | None = self._walk.bounds
        while bounds is not None:
            self._rows_of_query = 0
            yield bounds
            bounds = self._below_cap(bounds)
        if self._watch.moves and self.pages > 1 and self._walk.bounds.before is None:
            self._floor = max(self._walk.floor, self.now - SLACK)
            yield Bounds()

    def _below_cap(self, bounds: Bounds) -> Bounds | None:
        """Where to go on below a query that Twilio cut off.

        The last second is read again for the ties in it, as `before` may or may not include its own second; one second
        less where that leads no further.
        """
        if self._watch.cap is None or self._rows_of_query < self._watch.cap or self._has_ended:
            return None
        last = self._order(self._last)
        self.is_capped |= last == self._order(self._top)
        before = min(last, self.now + DAY) + SECOND
        return Bounds(bounds.since, before if bounds.before is None else min(before, bounds.before - SECOND))

    def _order(self, item: Listed) -> datetime:
        created = self._created(item)
        return self._sorted(item.row, created) or created

    # --- which rows -----------------------------------------------------------------------------------------------
    def read(self, rows: Sequence[Row], present: Present, odd: Sequence[Any] = ()) -> bool:
        """Take a page; whether the walk goes on to the next one.

        `odd` is what stands among the rows and is not an object.
        """
        if self.present is None:
            self.present, self.began_at = present, time.monotonic()
        self.pages += 1
        watch = self._watch
        listed = [Listed(row, identity(row, watch.key), dated(row, watch)) for row in (*rows, *odd)]
        self._neighbour = self._neighbour or next((item.dated for item in listed if item.dated), None)
        for item in listed:
            found = self._find(item)
            if found is not None:
                self._oldest.add(found)
        if rows:
            ordered = listed[: len(rows)]
            self._top = self._top if self._rows_of_query else ordered[0]
            self._last = ordered[-1]
            self._rows_of_query += len(rows)
            is_too_much = self._stops_when_cut and self._oldest.is_over
            is_below = watch.newest_first and all(map(self._is_below_floor, ordered[-BELOW_FLOOR:]))
            self._has_ended = is_too_much or is_below
        return not self._has_ended

    def gathered(self) -> Gathered:
        """What is to be published, oldest first."""
        found, is_cut = self._oldest.ordered(), self._oldest.is_cut
        return Gathered(found=found, now=self.now, is_cut=is_cut, known=self._known, has_kept=self._has_kept)

    def _find(self, item: Listed) -> Found | None:
        """The row as something to publish, None when it is not wanted or published already."""
        row, sid, _ = item
        seen = self._cursor.seen.get(sid)
        if seen is not None:
            return self._again(item, seen)
        if sid in self._cursor.followed:
            return self._change(row, sid, self._cursor.followed[sid]) if self._is_live else None
        created = self._created(item)
        order = self._sorted(row, created) if self._walk.is_ordered else None
        if not self._walk.wants(created, sid, order) or not self._oldest.takes(created, sid):
            return None
        versioned = self._is_live or self._publication.changes
        return self._publication.found(row, sid, created, "created", versioned=versioned)

    def _again(self, item: Listed, seen: Seen) -> Found | None:
        """A row that the cursor remembers, as an update where it is one."""
        row, sid, dated = item
        self._show(seen.created)
        if self._is_live and dated is None:
            # Where such a row stands in the list tells nothing: it is remembered for as long as it is shown.
            seen = self._known[sid] = seen._replace(created=self.now)
        order = self._sorted(row, seen.created) if self._walk.is_ordered else None
        is_wanted = self._publication.changes and seen.fingerprint != NOT_PUBLISHED
        if not is_wanted or not self._walk.wants(seen.created, sid, order):
            return None
        if not seen.fingerprint or self._publication.fingerprint(row) == seen.fingerprint:
            self._keep_version(row, sid, seen)
            return None
        return self._change(row, sid, seen)

    def _keep_version(self, row: Any, sid: str, seen: Seen) -> None:
        """Of a row that was published before changes were asked for: later versions are told from the present one."""
        version = seen._replace(fingerprint=self._publication.fingerprint(row), is_open=self._publication.is_open(row))
        if version != seen:
            self._known[sid] = version
            self._has_kept = True

    def _change(self, row: Any, sid: str, known: Seen) -> Found | None:
        """A published row as an update, when its version is another one."""
        is_same = not self._publication.changes or self._publication.fingerprint(row) == known.fingerprint
        if is_same or not self._oldest.takes(known.created, sid):
            return None
        return self._publication.found(row, sid, known.created, "updated")

    def _is_below_floor(self, item: Listed) -> bool:
        seen = self._cursor.seen.get(item.sid)
        if seen is not None and self._floor == self._walk.floor:
            return False
        created = self._created(item) if seen is None else seen.created
        return created < self._floor and (self._sorted(item.row, created) or created) < self._floor

    def _created(self, item: Listed) -> datetime:
        """When the row was created; one that does not say is dated by the row above it, or is new without an order."""
        self._show(item.dated)
        self._neighbour = (item.dated or self._neighbour) if self._watch.newest_first else item.dated
        return self._neighbour or self.now

    def _show(self, created: datetime | None) -> None:
        """Take note of a row's time, which has come; one that no clock knows yet is odd."""
        if created is None or self.present is None:
            return
        if created > self.present.latest:
            self._shows_future = True
        elif self._newest is None or created > self._newest:
            self._newest = created

    def _sorted(self, row: Any, created: datetime) -> datetime | None:
        """The row's own sort time, None without one."""
        if not self._watch.moves:
            return created
        written = row.get(self._watch.sorted_by[0]) if isinstance(row, dict) else None
        if not written:
            return None
        if written == row.get(self._watch.created):
            return created
        try:
            return self._watch.sorted_at(row)
        except _UNREADABLE:
            return created
