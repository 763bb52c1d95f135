"""One step of a watch: which of the found rows are published now, and the cursor that says so. Pure.

The cursor never advances over a row that was found and is not published, nor over the time in which Twilio may still
show rows that it hides at present.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Literal, NamedTuple

from connector.errors import InvalidRecord
from connector.resources.rows import Watch
from connector.watcher import catch_up
from connector.watcher.cursor import DAY, SECOND, CatchUp, Cursor, Position, Seen

SEEN_LIMIT = 10_000
"""Rows that a cursor remembers, where SIDs name them: they must fit into one record."""
LARGEST_WRITE_BYTES = 8 * 1024 * 1024
"""Of the rows of one transaction, which must end within its time; one row always goes."""
LONGEST_SID = 40
SHORTEST_OVERLAP = timedelta(seconds=5)
FOLLOWED_LIMIT = 1_000
FOLLOWED_FOR = 14 * DAY

Kind = Literal["created", "updated"]


class Written(NamedTuple):
    """A row as JSON: its bundle, or as Twilio wrote it where it is none, with the `problem`.

    `account` is empty where it is the watch's own; `updated` is set for an update that tells when it was.
    """

    data: bytes
    account: str = ""
    updated: datetime | None = None
    problem: InvalidRecord | None = None


class Found(NamedTuple):
    """A row to publish; in order of their creation, and by SID within a second."""

    created: datetime
    sid: str
    kind: Kind
    fingerprint: str
    is_open: bool
    row: Written


position: Callable[[Found], Position] = attrgetter("created", "sid")
"""Where the row stands in the order of publishing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What a walk found, oldest first. `now`: Twilio's time when it began; `is_cut`: newer rows were left out.

    `known`: published rows of which the cursor is to remember something else; `has_kept`: that should not be lost.
    """

    found: Sequence[Found]
    now: datetime
    is_cut: bool = False
    known: Mapping[str, Seen] = field(default_factory=dict)
    has_kept: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """What to publish and the cursor to write with it.

    `rest` is to be published next, without another walk; `is_waiting`: there is more to do at once. `is_shrunk`: the
    re-read window is shorter than the overlap, since the cursor is full; `unfollowed`: open rows that are given up
    because too many are followed; `must_write`: the cursor is to be written even if nothing is published.
    """

    fresh: Sequence[Found]
    cursor: Cursor
    rest: Gathered | None = None
    is_waiting: bool = False
    is_shrunk: bool = False
    unfollowed: int = 0
    must_write: bool = False


def advance(cursor: Cursor, gathered: Gathered, *, watch: Watch, overlap: timedelta, limit: int) -> Advance:
    """Publish the oldest rows of what a walk with this cursor found, or of the rest of it: `limit` at the most."""
    count = _fitting_rows(gathered.found[:limit])
    part = _Part(gathered, fresh=gathered.found[:count], later=gathered.found[count:])
    noted = note(replace(cursor, seen={**cursor.seen, **gathered.known}) if gathered.known else cursor, part.fresh)
    step = _live(noted, part, overlap) if cursor.catch_up is None else _catching_up(noted, cursor.catch_up, part, watch)
    rest = replace(gathered, found=part.later) if part.later else None
    is_waiting = part.is_partial or cursor.catch_up is not None
    return replace(step, rest=rest, is_waiting=is_waiting, must_write=gathered.has_kept)


def _fitting_rows(found: Sequence[Found]) -> int:
    """How many of the first rows fit into one transaction."""
    size = 0
    for count, item in enumerate(found):
        size += len(item.row.data)
        if count and size > LARGEST_WRITE_BYTES:
            return count
    return len(found)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is published now of what was found, and what is left for later."""

    gathered: Gathered
    fresh: Sequence[Found]
    later: Sequence[Found]

    @property
    def now(self) -> datetime:
        return self.gathered.now

    @property
    def is_partial(self) -> bool:
        return bool(self.later) or self.gathered.is_cut

    @property
    def oldest_unpublished(self) -> datetime | None:
        """The earliest creation time of what stays unpublished; what was cut off is not older than what was kept."""
        if self.later:
            return self.later[0].created
        return self.fresh[-1].created if self.gathered.is_cut and self.fresh else None


def note(cursor: Cursor, fresh: Sequence[Found]) -> Cursor:
    """The cursor that knows these rows as published in this version."""
    if not fresh:
        return cursor
    seen, followed = dict(cursor.seen), dict(cursor.followed)
    for found in fresh:
        version = Seen(found.created, found.fingerprint, found.is_open)
        if found.sid in followed:
            followed[found.sid] = version
        elif cursor.catch_up is None or found.sid in seen:
            seen[found.sid] = version
        elif found.is_open:
            followed[found.sid] = version
    return replace(cursor, seen=seen, followed={sid: version for sid, version in followed.items() if version.is_open})


def _live(cursor: Cursor, part: _Part, overlap: timedelta) -> Advance:
    settled = part.now - overlap
    target = max(cursor.since, settled)
    bound = part.oldest_unpublished or target
    since = max(cursor.since, min(target, bound))
    ceiling = min(part.now - SHORTEST_OVERLAP, part.oldest_unpublished or part.now)
    fitting = max(since, min(_fitting(cursor.seen, since), ceiling))
    moved = replace(
        cursor,
        complete_until=max(cursor.complete_until, min(since, settled)),
        polled_at=max(cursor.polled_at, part.now),
    )
    return replace(_leave(moved, fitting, part), is_shrunk=fitting > target)


def _fitting(seen: Mapping[str, Seen], since: datetime) -> datetime:
    """The earliest start of the window with which the cursor is not overfull: of longer names there are fewer."""
    if len(seen) <= SEEN_LIMIT // 4:
        return since
    limit = SEEN_LIMIT * LONGEST_SID // max(LONGEST_SID, *map(len, seen))
    if len(seen) <= limit:
        return since
    times = sorted(item.created for item in seen.values())
    return max(since, times[-limit - 1] + SECOND)


def _leave(cursor: Cursor, since: datetime, part: _Part) -> Advance:
    """Move `since` up: rows that leave the window are forgotten, or followed when they may still change."""
    if since == cursor.since and not cursor.followed:
        return Advance(fresh=part.fresh, cursor=cursor)
    staying = {sid: seen for sid, seen in cursor.seen.items() if seen.created >= since}
    leaving = {sid: seen for sid, seen in cursor.seen.items() if seen.is_open and seen.created < since}
    followed, unfollowed = _followed({**cursor.followed, **leaving}, part.now)
    moved = replace(cursor, since=since, seen=staying, followed=followed)
    return Advance(fresh=part.fresh, cursor=moved, unfollowed=unfollowed)


def _followed(candidates: Mapping[str, Seen], now: datetime) -> tuple[dict[str, Seen], int]:
    """The newest of those that are young enough, and how many more there would have been."""
    young = {sid: seen for sid, seen in candidates.items() if seen.created >= now - FOLLOWED_FOR}
    if len(young) <= FOLLOWED_LIMIT:
        return young, 0
    newest = sorted(young.items(), key=_created, reverse=True)[:FOLLOWED_LIMIT]
    return dict(newest), len(young) - FOLLOWED_LIMIT


def _created(item: tuple[str, Seen]) -> datetime:
    return item[1].created


def _catching_up(cursor: Cursor, present: CatchUp, part: _Part, watch: Watch) -> Advance:
    following = _stage(present, part, watch)
    since = cursor.since if following else present.until
    complete = cursor.complete_until
    if following is None or (following.low > present.low and not watch.moves):
        complete = max(complete, present.high)
    moved = replace(cursor, catch_up=following, complete_until=complete, polled_at=max(cursor.polled_at, part.now))
    return _leave(moved, since, part)


def _stage(present: CatchUp, part: _Part, watch: Watch) -> CatchUp | None:
    """What is left to catch up with: of this window, the next window, the undated rows, or nothing."""
    if part.is_partial and part.fresh:
        return replace(present, position=(part.fresh[-1].created, part.fresh[-1].sid))
    if present.phase == "windows" and present.high < present.until:
        rows = len(part.fresh) if present.position is None else catch_up.FEW_ROWS
        return catch_up.next_window(present, watch, rows=rows)
    if present.phase == "windows" and watch.moves:
        return replace(present, phase="undated", low=present.until, high=present.until, position=None)
    return None
