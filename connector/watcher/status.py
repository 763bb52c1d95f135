"""Where each watch stands, as its cursor tells: for command line and console. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from connector.errors import InvalidRecord
from connector.events import timestamp
from connector.resources import WATCHES
from connector.settings import WatchSettings
from connector.watcher.cursor import Cursor

BACKFILL = "backfill-"
"""Cursors under a name with this beginning belong to back-fills."""
# A cursor is written at least once a minute while its watch polls.
WRITTEN_WITHIN = timedelta(seconds=90)
# A step of a back-fill may wait for Twilio's rate limit.
STEP_WITHIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a back-fill publishes: what was created in [since, until)."""

    resource: str
    connection: str
    since: datetime
    until: datetime

    @property
    def name(self) -> str:
        """The name of its cursor."""
        times = (f"{moment:%Y%m%dT%H%M%S}" for moment in (self.since, self.until))
        return BACKFILL + "-".join((self.resource, self.connection, *times))

    @property
    def title(self) -> str:
        """What people call it."""
        times = (f"{moment:%Y-%m-%d %H:%M}" for moment in (self.since, self.until))
        return f"{self.resource} of {' to '.join(times)}"

    @property
    def command(self) -> str:
        """What begins it, and goes on with it where it was interrupted."""
        connection = "" if self.connection == "default" else f" --connection {self.connection}"
        times = f"--from {timestamp(self.since)} --to {timestamp(self.until)}"
        return f"twilio-kafka backfill {self.resource} {times}{connection}"

    @classmethod
    def of(cls, name: str) -> "Stretch | None":
        """The stretch of a cursor's name, None for that of a watch."""
        resources = "|".join(sorted(WATCHES, key=len, reverse=True))
        found = re.fullmatch(rf"{BACKFILL}({resources})-(.+)-([0-9]{{8}}T[0-9]{{6}})-([0-9]{{8}}T[0-9]{{6}})", name)
        if found is None:
            return None
        since, until = (datetime.strptime(f"{text}+0000", "%Y%m%dT%H%M%S%z") for text in found.groups()[2:])
        return cls(found[1], found[2], since, until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One watch. `lag`: the time between now and what it still has to publish; None where it is unknown.

    `state` is watching, catching up, paused, failing (it stands still), silent (no process has polled lately), not
    started, unreadable; not configured for a cursor without a watch; backfilling, interrupted or complete for a
    back-fill, which has a `title` and a `command` that goes on with it. `failing` says why, where that is known, and
    `failing_since` since when.
    """

    name: str
    resource: str
    connection: str
    state: str
    since: datetime | None = None
    complete_until: datetime | None = None
    lag: timedelta | None = None
    polled_at: datetime | None = None
    paused_at: datetime | None = None
    until: datetime | None = None
    remembered: int = 0
    followed: int = 0
    failing: str | None = None
    failing_since: datetime | None = None
    title: str | None = None
    command: str | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON members; times in RFC 3339, `lag_seconds` a number."""
        moments = {
            name: (moment := getattr(self, name)) and timestamp(moment)
            for name in ("since", "complete_until", "polled_at", "paused_at", "until", "failing_since")
        }
        return {
            **{name: getattr(self, name) for name in ("name", "resource", "connection", "state")},
            **moments,
            "lag_seconds": None if self.lag is None else self.lag.total_seconds(),
            "remembered": self.remembered,
            "followed": self.followed,
            "failing": self.failing,
            "title": self.title,
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class Brief:
    """A cursor without the rows that it remembers, only with their numbers; None for one that cannot be read.

    `unreadable` says why.
    """

    cursor: Cursor | None
    remembered: int = 0
    followed: int = 0
    unreadable: str | None = None


def brief(raw: bytes) -> Brief:
    """What a cursor's record tells of a watch."""
    try:
        cursor = Cursor.from_json(raw)
    except InvalidRecord as error:
        return Brief(None, unreadable=str(error))
    return of_cursor(cursor)


def of_cursor(cursor: Cursor) -> Brief:
    """The same of a cursor in memory."""
    return Brief(replace(cursor, seen={}, followed={}), len(cursor.seen), len(cursor.followed))


def statuses(watches: Iterable[WatchSettings], cursors: Mapping[str, Brief], *, now: datetime) -> list[Status]:
    """Every configured watch, in the order of the configuration, and then whatever else has a cursor.

    Without any watch, as on a machine that only knows the broker, each cursor is taken for that of a watch.
    """
    configured = {watch.name: watch for watch in watches} or _assumed(cursors)
    names = [*configured, *sorted(name for name in cursors if name not in configured)]
    return [_status(name, configured.get(name), cursors.get(name), now) for name in names]


def _status(name: str, watch: WatchSettings | None, found: Brief | None, now: datetime) -> Status:
    resource, connection = (watch.resource, watch.connection) if watch else _of_backfill(name)
    bare: dict[str, Any] = {"name": name, "resource": resource, "connection": connection}
    if stretch := Stretch.of(name):
        bare |= {"title": stretch.title, "command": stretch.command}
    if found is None:
        return Status(**bare, state="not started")
    if found.cursor is None:
        return Status(**bare, state="unreadable", failing=found.unreadable)
    cursor = found.cursor
    return Status(
        **bare,
        state=_state(name, watch, cursor, now),
        since=cursor.catch_up.low if cursor.catch_up else cursor.since,
        complete_until=cursor.complete_until,
        lag=_lag(cursor, watch, now),
        polled_at=cursor.polled_at,
        paused_at=cursor.paused_at,
        until=cursor.catch_up.until if cursor.catch_up else None,
        remembered=found.remembered,
        followed=found.followed,
        failing=cursor.failing and cursor.failing.why,
        failing_since=cursor.failing and cursor.failing.since,
    )


def _assumed(names: Iterable[str]) -> dict[str, WatchSettings]:
    """Watches by their cursors' names, which are those of their resources unless the configuration names another."""
    resources = {name: next((resource for resource in WATCHES if resource in name), None) for name in sorted(names)}
    return {
        name: WatchSettings(name=name, resource=resource, connection="default" if name == resource else "?")
        for name, resource in resources.items()
        if resource and not name.startswith(BACKFILL)
    }


def _of_backfill(name: str) -> tuple[str, str]:
    """Resource and connection out of the name of a back-fill."""
    found = Stretch.of(name)
    return (found.resource, found.connection) if found else ("", "")


def _state(name: str, watch: WatchSettings | None, cursor: Cursor, now: datetime) -> str:
    if name.startswith(BACKFILL):
        return _backfill_state(cursor, now)
    if watch is None:
        return "not configured"
    if cursor.paused_at is not None:
        return "paused"
    if cursor.failing is not None:
        return "failing"
    if _is_silent(cursor, watch, now):
        return "silent"
    return "watching" if cursor.catch_up is None else "catching up"


def _backfill_state(cursor: Cursor, now: datetime) -> str:
    if cursor.catch_up is None:
        return "complete"
    return "interrupted" if now - cursor.polled_at > STEP_WITHIN else "backfilling"


def _is_silent(cursor: Cursor, watch: WatchSettings, now: datetime) -> bool:
    return now - cursor.polled_at > WRITTEN_WITHIN + 3 * watch.interval


def _lag(cursor: Cursor, watch: WatchSettings | None, now: datetime) -> timedelta | None:
    """From the oldest that is not published; nothing for a watch that has polled as often as it should."""
    if cursor.catch_up is not None:
        return now - cursor.catch_up.low
    if watch is None:
        return None
    stands_still = cursor.paused_at or cursor.failing or _is_silent(cursor, watch, now)
    return now - cursor.polled_at if stands_still else timedelta(0)
