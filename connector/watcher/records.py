"""What a watch publishes: a row of Twilio's as an event, or as a dead letter when it is none. Pure.

A row is written as JSON when it is found, since that takes a quarter of the memory of the row itself, and becomes a
record when it is published.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeGuard

import orjson
from pydantic import ValidationError

from connector import events
from connector.dead_letters.record import dead_letter
from connector.errors import InvalidRecord
from connector.resources.fields import Writer, parse_time
from connector.resources.rows import Watch
from connector.telemetry import tracing
from connector.watcher.advance import LONGEST_SID, Found, Kind, Written

LARGEST_ROW_BYTES = 1_000_000
"""With its headers, such a row still fits into a record of the largest size that Kafka takes by default."""
KEPT_BYTES = 64 * 1024
"""What a dead letter keeps of a larger row."""
SHORT_BYTES = 1024
SID = ("sid",)
KEY_SEPARATOR = ":"
# Of a key of several fields; what may stand in a URL and leads nowhere else. No number: those have a plus. The longest
# categories of usage have 54 characters.
_PART = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What the records of a watch have in common: its name, its list, where they go and how they are written.

    `changes`: later versions of a row are published as well.
    """

    name: str
    watch: Watch
    account_sid: str
    prefix: str
    envelope: events.Envelope = "binary"
    changes: bool = False
    topic: str = field(init=False)
    dataschema: str = field(init=False)
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "topic", f"{self.prefix}.{self.watch.topic}")
        object.__setattr__(self, "dataschema", self.watch.dataschema)
        object.__setattr__(self, "writer", Writer.of(self.watch.bundle))

    def found(self, row: Any, sid: str, created: datetime, kind: Kind, *, versioned: bool = True) -> Found:
        """The row as something to publish, with its version where that is asked for; `sid` is its `identity`.

        Whatever is odd about the row concerns this row alone: it becomes a dead letter.
        """
        fingerprint = self.fingerprint(row) if versioned else ""
        try:
            written = self._written(row, sid, kind)
        except InvalidRecord as problem:
            written = unfit(row, problem)
        except Exception as error:  # noqa: BLE001 - a row that breaks our code must not break its neighbours
            written = unfit(
                row, InvalidRecord(f"Twilio's {self.watch.noun} cannot be written ({type(error).__name__}).")
            )
        return Found(created, sid, kind, fingerprint, self.changes and self.is_open(row), written)

    def check_first(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Of a list whose rows need their time: raises InvalidRecord when none of these has what names and dates it.

        Otherwise each of them would become a dead letter.
        """
        watch = self.watch
        if not watch.needs_time or not rows:
            return
        if all(identity(row, watch.key).startswith("?") for row in rows):
            named = " and ".join(watch.key)
            raise InvalidRecord(f"None of the {len(rows)} rows on Twilio's first page has {named}: correct `key`.")
        if all(dated(row, watch) is None for row in rows):
            found = (
                f"None of the {len(rows)} rows on Twilio's first page has a time in {watch.created} that can be read"
            )
            raise InvalidRecord(f"{found}: correct `created` or `created_format`.")

    def fingerprint(self, row: Any) -> str:
        """Eight hexadecimal digits that change when the row's version changes; of an odd row, with its content."""
        try:
            version = orjson.dumps([row.get(name) for name in self.watch.version])
        except (AttributeError, TypeError):
            version = as_json(row)
        return hashlib.blake2s(version, digest_size=4).hexdigest()

    def is_open(self, row: Any) -> bool:
        """Whether the row may still change: it is not final, or its price has not arrived."""
        if not isinstance(row, dict):
            return False
        if self.watch.fetch is None:
            return False
        return not self.watch.is_final(row) or ("price" in self.watch.version and row.get("price") is None)

    def _written(self, row: Any, sid: str, kind: Kind) -> Written:
        """The row as it is kept until it is published. Raises InvalidRecord when it cannot become an event."""
        if not isinstance(row, dict):
            raise InvalidRecord(f"Twilio's list shows something that is not a {self.watch.noun}: it is not an object.")
        if sid.startswith("?"):
            named = "SID" if self.watch.key == SID else " and ".join(self.watch.key)
            raise InvalidRecord(f"Twilio's {self.watch.noun} has no {named} that could name it.")
        self._check(row)
        try:
            # A copy of its own size: the encoder's output keeps eight kilobytes.
            data = bytes(memoryview(self.writer.write(row)))
        except ValidationError as error:
            raise _invalid(self.watch, error) from error
        if len(data) > LARGEST_ROW_BYTES:
            raise InvalidRecord(f"Twilio's {self.watch.noun} is larger than a record may be: fetch it by its SID.")
        account = row.get("account_sid") or ""
        foreign = "" if account == self.account_sid else account
        if foreign and not is_sid(foreign):
            raise InvalidRecord(f"Twilio's {self.watch.noun} has an account_sid that names no account.")
        return Written(data, foreign, _updated_at(row) if kind == "updated" else None)

    def _check(self, row: Mapping[str, Any]) -> None:
        """What the list's own row demands. Raises InvalidRecord."""
        watch = self.watch
        if watch.needs_time and dated(row, watch) is None:
            raise InvalidRecord(f"Twilio's {watch.noun} has no time in {watch.created} that can be read.")
        problem = watch.check(row) if watch.check is not None else None
        if problem is not None:
            raise InvalidRecord(f"Twilio's {watch.noun} does not fit the schema: {problem}.")

    def records(self, fresh: Sequence[Found]) -> tuple[list[events.Record], int]:
        """The records of these rows, and how many of them are dead letters."""
        records: list[events.Record] = []
        series: dict[tuple[str, Kind], events.Series] = {}
        dead_letters = 0
        for found in fresh:
            data, account, updated, problem = found.row
            if problem is not None:
                records += [self._dead_letter(found.sid, data, problem)] if data else []
                dead_letters += 1
                continue
            same = series.get((account, found.kind))
            if same is None:
                same = series[account, found.kind] = self._series(account or self.account_sid, found.kind)
            name = found.sid if found.kind == "created" else f"{found.sid}@{found.fingerprint}"
            records.append(same.record(name, found.sid, updated or found.created, data))
        return records, dead_letters

    def _dead_letter(self, sid: str, data: bytes, problem: InvalidRecord) -> events.Record:
        group = f"{self.prefix}-watch"
        return dead_letter(
            self.prefix, key=sid.encode(), value=data, headers=(), error=problem, stage="watch", group=group
        )

    def _series(self, account: str, kind: Kind) -> events.Series:
        """Events of one account and kind, recorded now."""
        extensions = {
            "recordedtime": events.timestamp(events.now()),
            "watch": self.name,
            "traceparent": tracing.traceparent() if tracing.enabled else None,
        }
        return events.Series(
            self.topic,
            source=f"/twilio/{account}/{self.watch.resource}",
            type=f"twilio.{self.watch.noun}.{kind}.v1",
            dataschema=self.dataschema,
            extensions=extensions,
            envelope=self.envelope,
        )


def identity(row: Any, key: tuple[str, ...] = SID) -> str:
    """What names the row: its SID, or the fields of the key; a row without them is known by its content."""
    if key != SID:
        return _composed(row, key) or "?" + _digest(row)
    sid = row.get("sid") if isinstance(row, dict) else None
    return sid if is_sid(sid) else "?" + _digest(row)


def dated(row: Any, watch: Watch) -> datetime | None:
    """When the row says that it was created, in whole seconds; None when it does not, whatever it is."""
    try:
        return watch.time(row[watch.created]).replace(microsecond=0)
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError):
        return None


def created_times(rows: Iterable[Mapping[str, Any]], watch: Watch) -> Iterable[tuple[str, datetime]]:
    """SID and creation time of the rows that tell both."""
    return [(identity(row, watch.key), created) for row in rows if (created := dated(row, watch)) is not None]


def _composed(row: Any, key: tuple[str, ...]) -> str | None:
    """The fields of the key, one after the other; None unless each of them can name something."""
    values = [row.get(name) for name in key] if isinstance(row, dict) else [None]
    names = [str(value) if isinstance(value, str | int) and not isinstance(value, bool) else "" for value in values]
    return KEY_SEPARATOR.join(names) if all(map(_PART.fullmatch, names)) else None


def fields_of(name: str, key: tuple[str, ...]) -> dict[str, str]:
    """The fields that `identity` has made a name of."""
    return dict(zip(key, name.split(KEY_SEPARATOR), strict=False))


def is_sid(sid: object) -> TypeGuard[str]:
    """Whether this can name a row: in the cursor, in a URL, in a key."""
    return isinstance(sid, str) and sid.isalnum() and sid.isascii() and len(sid) <= LONGEST_SID


def _digest(row: Any) -> str:
    """What tells a row's content from another's, in hexadecimal."""
    return hashlib.blake2s(as_json(row), digest_size=16).hexdigest()


def unfit(row: Any, problem: InvalidRecord) -> Written:
    """The row as a dead letter that fits into a record."""
    data = as_json(row)
    if len(data) <= LARGEST_ROW_BYTES:
        return Written(data, problem=problem)
    sentence = f"{problem} Of its {len(data):,} bytes the first {KEPT_BYTES:,} are kept."
    return Written(data[:KEPT_BYTES], problem=InvalidRecord(sentence))


def refused(row: Written, reason: str) -> Written:
    """What to try for a row whose record Kafka has refused: a dead letter, a short one, and at last nothing."""
    if row.problem is None:
        problem = InvalidRecord(f"Kafka refuses the record of {len(row.data):,} bytes ({reason}).")
        return Written(row.data[:KEPT_BYTES], problem=problem)
    return row._replace(data=row.data[:SHORT_BYTES] if len(row.data) > SHORT_BYTES else b"")


def as_json(row: Any) -> bytes:
    """The row as JSON; of one that nests too deeply for that, what does not nest."""
    try:
        return orjson.dumps(row)
    except TypeError:
        fields = row.items() if isinstance(row, dict) else ()
        return orjson.dumps({name: value for name, value in fields if not isinstance(value, dict | list)})


def _updated_at(row: Mapping[str, Any]) -> datetime | None:
    try:
        return parse_time(row["date_updated"])
    except (LookupError, TypeError, ValueError):
        return None


def _invalid(watch: Watch, error: ValidationError) -> InvalidRecord:
    """What is wrong, without the content: fields and kinds of error only."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    fields = ", ".join(f"{'.'.join(str(part)[:40] for part in item['loc'])} ({item['type']})" for item in problems[:5])
    return InvalidRecord(f"Twilio's {watch.noun} does not fit its bundle: {fields}. Update the connector, then replay.")
