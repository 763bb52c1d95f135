"""The cursor of a watch: what has been published, as a value that survives in Kafka, in a compacted topic.

Live, a poll re-reads everything created since `since` and publishes what is not in `seen`. Before that, a watch that
starts in the past, or was away for long, catches up in bounded steps (`CatchUp`).
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import orjson

from connector.errors import InvalidRecord
from connector.events import BEGINNING as ANY_TIME
from connector.events import Headers, Record, timestamp
from connector.kafka import reading
from connector.settings import KafkaSettings

TOPIC = "cursors"
HEADERS: Headers = [("content-type", b"application/json")]
VERSION = 1
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
BEGINNING = datetime(2008, 1, 1, tzinfo=UTC)
"""Twilio's first year: nothing in its lists is older."""

NOT_PUBLISHED = "-"
LONGEST_REASON = 300

Position = tuple[datetime, str]
"""When a row was created, and its SID: the order in which rows are published."""


class Seen(NamedTuple):
    """A published row. `fingerprint` tells its version, empty where that is not known; `is_open`: it may still change.

    With the fingerprint `NOT_PUBLISHED` it is a row that was there before the watch: it is never published.
    """

    created: datetime
    fingerprint: str = ""
    is_open: bool = False


class Failing(NamedTuple):
    """Since when a watch stands still by our clock, and why: a sentence without content of rows."""

    since: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """Publishing what was created in [since, until), which Twilio can no longer show late.

    Each such row belongs to exactly one phase. `windows`: sorted before `until`; window after window [low, high) of the
    sort time. `undated`: without a sort time of its own or sorted at `until` or later, as a message that waits to
    be sent. Both sets are fixed once `until` has become old enough, so `position` alone says what is published of the
    present window or phase. `size` is the length of windows, adapted to what they hold.
    """

    phase: Literal["windows", "undated"]
    until: datetime
    low: datetime
    high: datetime
    size: timedelta = DAY
    position: Position | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a watch stands; times are UTC by Twilio's clock, in whole seconds.

    `since`: what was created before it has been published or is not wanted; a poll reads from there. `seen`: the
    published rows created at or after it, by SID. `complete_until`: everything created between the start of the
    watch and this time has been published (a watermark for consumers). `followed`: published rows that left the
    window before they were final. `paused_at`: since when the watch has been paused by an operator; `control`: the
    requests before this offset of the control topic have been carried out. `failing` is set while it stands still.
    """

    since: datetime
    complete_until: datetime
    started_at: datetime
    polled_at: datetime
    seen: Mapping[str, Seen] = field(default_factory=dict)
    followed: Mapping[str, Seen] = field(default_factory=dict)
    catch_up: CatchUp | None = None
    paused_at: datetime | None = None
    control: int = 0
    failing: Failing | None = None

    def to_json(self) -> bytes:
        """Compact JSON; times inside the maps are seconds relative to `since`, so that 10,000 rows stay under 1 MiB."""
        seen = {sid: _written(version, self.since) for sid, version in self.seen.items()}
        followed = {sid: _written(version, self.since) for sid, version in self.followed.items()}
        document = {
            "v": VERSION,
            "since": timestamp(self.since),
            "complete_until": timestamp(self.complete_until),
            "started_at": timestamp(self.started_at),
            "polled_at": timestamp(self.polled_at),
            "seen": seen,
            "followed": followed,
            "catch_up": None if self.catch_up is None else _written_catch_up(self.catch_up),
            "paused_at": self.paused_at and timestamp(self.paused_at),
            "control": self.control,
            "failing": self.failing and (timestamp(self.failing.since), self.failing.why),
        }
        return orjson.dumps(document)

    @classmethod
    def from_json(cls, raw: bytes) -> "Cursor":
        """The cursor that `to_json` wrote; unknown keys are ignored.

        Raises InvalidRecord, which says why.
        """
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise InvalidRecord("The cursor cannot be read: it is not JSON.") from error
        if not isinstance(document, dict) or document.get("v") != VERSION:
            version = document.get("v") if isinstance(document, dict) else None
            raise InvalidRecord(
                f"The cursor cannot be read: its version is {version!r:.20}, this connector's is {VERSION}."
            )
        try:
            return _read(document)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidRecord(f"The cursor cannot be read: {error!r:.100}.") from error


Commit = Callable[[Sequence[Record], Cursor | None], Awaitable[None]]
"""Write all of this in one fenced transaction, or nothing: Unwritable. Raises Superseded and Unavailable, too."""


def first(now: datetime, *, since: datetime | None = None, present: Iterable[tuple[str, datetime]] = ()) -> Cursor:
    """The cursor of a watch that starts: from `since`, or from now on without the rows that are `present` already.

    `present` holds SIDs and creation times; those created within the current second would pass for new.
    """
    start = now if since is None else max(since, BEGINNING)
    seen = {sid: Seen(created, NOT_PUBLISHED) for sid, created in present if created >= start}
    return Cursor(since=start, complete_until=start, started_at=now, polled_at=now, seen=seen)


def _written(seen: Seen, since: datetime) -> int | tuple[int, str] | tuple[int, str, int]:
    offset = (seen.created - since) // SECOND
    if seen.is_open:
        return offset, seen.fingerprint, 1
    return (offset, seen.fingerprint) if seen.fingerprint else offset


def _written_catch_up(catch_up: CatchUp) -> dict[str, Any]:
    return {
        "phase": catch_up.phase,
        "until": timestamp(catch_up.until),
        "low": timestamp(catch_up.low),
        "high": timestamp(catch_up.high),
        "size": catch_up.size // SECOND,
        "position": catch_up.position and (timestamp(catch_up.position[0]), catch_up.position[1]),
    }


def _read(document: Any) -> Cursor:
    since, failing = _moment(document["since"]), document.get("failing")
    return Cursor(
        since=since,
        complete_until=_moment(document["complete_until"]),
        started_at=_moment(document["started_at"]),
        polled_at=_moment(document["polled_at"]),
        seen={sid: _read_seen(item, since) for sid, item in document["seen"].items()},
        followed={sid: _read_seen(item, since) for sid, item in document.get("followed", {}).items()},
        catch_up=_read_catch_up(document["catch_up"]) if document.get("catch_up") else None,
        paused_at=_moment(document["paused_at"]) if document.get("paused_at") else None,
        control=max(0, int(document.get("control") or 0)),
        failing=Failing(_moment(failing[0]), str(failing[1])[:LONGEST_REASON]) if failing else None,
    )


def _read_seen(item: Any, since: datetime) -> Seen:
    offset, *rest = item if isinstance(item, list) else (item,)
    return Seen(
        since + timedelta(seconds=offset), str(rest[0]) if rest else "", is_open=len(rest) > 1 and bool(rest[1])
    )


def _read_catch_up(document: Any) -> CatchUp:
    if document["phase"] not in ("windows", "undated"):
        raise ValueError(document["phase"])
    position = document["position"]
    catch_up = CatchUp(
        phase=document["phase"],
        until=_moment(document["until"]),
        low=_moment(document["low"]),
        high=_moment(document["high"]),
        size=timedelta(seconds=document["size"]),
        position=position and (_moment(position[0]), str(position[1])),
    )
    # Windows of no length would never reach the end.
    if catch_up.size < SECOND or not catch_up.low <= catch_up.high <= catch_up.until:
        raise ValueError("catch_up")
    return catch_up


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return moment.astimezone(UTC)


# --- in Kafka --------------------------------------------------------------------------------------------------------
def partition_of(watch: str, count: int) -> int:
    """The partition of a watch's cursor; the same in every process and for ever (FNV-1a, 32 bits)."""
    value = 0x811C9DC5
    for byte in watch.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value % count


def record(prefix: str, watch: str, cursor: Cursor, *, partition: int) -> Record:
    """The record that becomes a watch's cursor when its transaction commits."""
    return Record(f"{prefix}.{TOPIC}", watch.encode(), cursor.to_json(), HEADERS, partition=partition)


async def restore(kafka: KafkaSettings, partition: int) -> dict[str, bytes]:
    """The cursor of each watch of a partition, as JSON bytes. The fencing producer must be open. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    end = await reading.end_of(kafka, topic, partition)
    held: dict[bytes, bytes | None] = {}
    async for batch in reading.between(kafka, topic, partition, end=end):
        held |= {item.key: item.value for item in batch if item.key is not None}
    return _by_name(held)


async def latest(kafka: KafkaSettings) -> dict[str, bytes]:
    """The present cursor of every watch, as JSON bytes, without being its owner. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    held: dict[bytes, bytes | None] = {}
    async for item in reading.follow(kafka, [topic], since=ANY_TIME, until_end=True):
        if item.key is not None:
            held[item.key] = item.value
    return _by_name(held)


def _by_name(held: Mapping[bytes, bytes | None]) -> dict[str, bytes]:
    """Each cursor by the name of its watch; a key that is not text belongs to none."""
    named: dict[str, bytes] = {}
    for key, value in held.items():
        with suppress(UnicodeDecodeError):
            if value is not None:
                named[key.decode()] = value
    return named
