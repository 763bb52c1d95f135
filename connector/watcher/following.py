"""Rows that were not final when they left the re-read window: which to fetch by SID, and what it tells. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.watcher.advance import Advance, note, position
from connector.watcher.cursor import Cursor
from connector.watcher.records import Publication

BATCH = 50
PACE = 4
"""A row is fetched every four intervals at the most, and ever less often: the next time when it is a quarter older."""
_NEVER = datetime.min.replace(tzinfo=UTC)


def due(cursor: Cursor, checked: Mapping[str, datetime], *, now: datetime, interval: timedelta) -> list[str]:
    """The SIDs to fetch now, longest unchecked first, at most `BATCH`. `checked`: when each was last fetched."""
    waiting = [
        (checked.get(sid, _NEVER), sid)
        for sid, seen in cursor.followed.items()
        if sid not in checked or now - checked[sid] >= max(PACE * interval, (now - seen.created) / PACE)
    ]
    return [sid for _, sid in sorted(waiting)[:BATCH]]


def settle(cursor: Cursor, answers: Mapping[str, Mapping[str, Any] | None], publication: Publication) -> Advance:
    """The updates that fetched rows are, oldest first; a row is followed no more once it is final or gone (None)."""
    fetched = [
        publication.found(row, sid, cursor.followed[sid].created, "updated")
        for sid, row in answers.items()
        if row is not None
    ]
    changed = [item for item in fetched if item.fingerprint != cursor.followed[item.sid].fingerprint]
    fresh = sorted(changed, key=position)
    closed = {item.sid for item in fetched if not item.is_open} | {sid for sid, row in answers.items() if row is None}
    noted = note(cursor, fresh)
    followed = {sid: seen for sid, seen in noted.followed.items() if sid not in closed}
    return Advance(fresh=fresh, cursor=replace(noted, followed=followed))
