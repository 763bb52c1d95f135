"""Catching up in windows of the sort time: when to, which window is next, and how large. Pure.

A live poll walks the list from its top, so its cost grows with the time since the last one; a window costs what it
holds. `now` and `overlap` are in whole seconds, as the cursor's times are.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from connector.resources.rows import Watch
from connector.watcher.cursor import BEGINNING, DAY, SECOND, CatchUp, Cursor, first

AFTER = DAY
"""How far back, beyond the overlap, a watch must be for windows to be worth while."""
LARGEST = 32 * DAY
SMALLEST_BY_SECONDS = timedelta(minutes=1)
FEW_ROWS = 500
"""A window with fewer rows is followed by a larger one."""


def begin(cursor: Cursor, watch: Watch, *, now: datetime, overlap: timedelta) -> Cursor:
    """The cursor that catches up to the overlap before `now`, from where Twilio's retention begins at the earliest.

    A list without date filters cannot: its cursor stays as it is.
    """
    until = now - overlap
    since = max(cursor.since, earliest(watch, now))
    if not _has_filters(watch) or until <= since:
        return cursor
    seen = {sid: seen for sid, seen in cursor.seen.items() if seen.created >= since}
    high = _end(since, DAY, until, watch)
    catch_up = CatchUp(phase="windows", until=until, low=since, high=high)
    return replace(cursor, since=since, seen=seen, catch_up=catch_up)


def turned_back(cursor: Cursor, *, now: datetime, overlap: timedelta) -> Cursor:
    """The cursor that reads from the overlap before `now` where it was ahead of that, so that no more is skipped."""
    bound = now - overlap
    since, catch_up = min(cursor.since, bound), cursor.catch_up
    if catch_up is not None and catch_up.until > bound:
        is_over = catch_up.low >= bound
        catch_up = None if is_over else replace(catch_up, until=bound, high=min(catch_up.high, bound))
        since = bound if is_over else since
    complete_until = min(cursor.complete_until, catch_up.low if catch_up else since)
    return replace(cursor, since=since, catch_up=catch_up, complete_until=complete_until, polled_at=now)


def backfill(watch: Watch, *, since: datetime, until: datetime, now: datetime) -> Cursor:
    """A first cursor that only catches up with [since, until), all of which Twilio can no longer show late.

    A list without date filters is one window, since each window would walk it from its top.
    """
    since = max(since.replace(microsecond=0), earliest(watch, now))
    size = DAY if _has_filters(watch) else until - since
    high = _end(since, size, until, watch) if _has_filters(watch) else until
    catch_up = CatchUp(phase="windows", until=until, low=since, high=high, size=size)
    return replace(first(now, since=since), catch_up=catch_up)


def earliest(watch: Watch, now: datetime, *, margin: timedelta = timedelta(0)) -> datetime:
    """The oldest time that Twilio accepts in a filter of this list: whole days, where only these are trusted."""
    if watch.retention is None:
        return BEGINNING
    moment = now - watch.retention + margin
    return moment + timedelta(minutes=1) if watch.seconds else day_after(moment)


def next_window(catch_up: CatchUp, watch: Watch, *, rows: int) -> CatchUp:
    """The window after this one, which held `rows` rows."""
    size = min(catch_up.size * 2, LARGEST) if rows < FEW_ROWS else catch_up.size
    high = _end(catch_up.high, size, catch_up.until, watch)
    return replace(catch_up, low=catch_up.high, high=high, size=size, position=None)


def narrower(catch_up: CatchUp, watch: Watch) -> CatchUp | None:
    """The first half of a window that holds too many rows; None when it cannot be halved or is published in part."""
    smallest = SMALLEST_BY_SECONDS if watch.seconds else DAY
    if catch_up.phase != "windows" or catch_up.position is not None or catch_up.size <= smallest:
        return None
    size = max(catch_up.size / 2 // SECOND * SECOND, smallest)
    return replace(catch_up, size=size, high=_end(catch_up.low, size, catch_up.until, watch))


def day_before(moment: datetime) -> datetime:
    """The midnight at or before the moment."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def day_after(moment: datetime) -> datetime:
    """The midnight at or after the moment."""
    return day_before(moment + DAY - SECOND)


def _has_filters(watch: Watch) -> bool:
    return watch.since is not None and watch.before is not None


def _end(low: datetime, size: timedelta, until: datetime, watch: Watch) -> datetime:
    """The end of a window: at midnight where filters are trusted by day only, so that nothing is read twice."""
    high = low + size if watch.seconds else day_before(low + size)
    return min(high, until)
