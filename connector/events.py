"""Records: CloudEvents 1.0 in Kafka's binding, there and back, and what identifies as text without loss. Pure."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

import orjson

from connector.errors import InvalidRecord

Headers = list[tuple[str, bytes]]
Envelope = Literal["binary", "structured"]

JSON = b"application/json"
UTC_OFFSET_LENGTH = len("+00:00")
BEGINNING = datetime.fromtimestamp(0, UTC)
STRUCTURED = b"application/cloudevents+json; charset=UTF-8"
UUID_BYTES = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Record:
    """What goes to Kafka. `topic` is whole; `partition` None lets the key decide."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = field(default_factory=list)
    partition: int | None = None


class Position(NamedTuple):
    """Where a record lies in Kafka."""

    topic: str
    partition: int
    offset: int


class Received(Protocol):
    """A record as a consumer gets it; `timestamp` in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Event:
    """CloudEvents attributes and data.

    `time` is Twilio's time of the fact; `data` is JSON as a value or already encoded. `extensions` are
    lower-case names without `ce_` (CloudEvents 1.0, section "Naming conventions"). What has no value is left out.
    """

    id: str
    source: str
    type: str
    subject: str | None
    time: datetime | None
    data: Any
    dataschema: str | None = None
    extensions: Mapping[str, str | None] = field(default_factory=dict)
    content_type: bytes = JSON


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`; fractions only where there are any."""
    universal = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return universal.isoformat()[:-UTC_OFFSET_LENGTH] + "Z"


def now() -> datetime:
    """The present moment, UTC, in milliseconds."""
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)


def moment_of(milliseconds: int) -> datetime:
    """The time of a record, UTC; its producer may give any number: now for one that is not a time."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now()


boot_seconds = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""A clock that is never set, and counts while the machine is suspended: for how long something takes, in seconds."""


def attributes(event: Event) -> dict[str, str]:
    """The event's attributes and extensions by name, without those that have no value."""
    named = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": timestamp(event.time) if event.time else None,
        "dataschema": event.dataschema,
        **event.extensions,
    }
    return {name: value for name, value in named.items() if value is not None}


def encode(event: Event, topic: str, key: str | None, *, envelope: Envelope = "binary") -> Record:
    """The record of an event: headers `ce_…` and the bare data, or one JSON document in structured mode."""
    raw = event.data if isinstance(event.data, bytes) else orjson.dumps(event.data)
    encoded_key = None if key is None else key.encode()
    # The distributed-tracing headers travel bare, as every tracer expects them (contract, section 3).
    named = attributes(event)
    traces: Headers = [("traceparent", named.pop("traceparent").encode())] if "traceparent" in named else []
    if envelope == "structured" and event.content_type == JSON:
        document = {**named, "datacontenttype": "application/json", "data": orjson.Fragment(raw)}
        return Record(topic, encoded_key, orjson.dumps(document), [("content-type", STRUCTURED), *traces])
    headers: Headers = [(f"ce_{name}", value.encode()) for name, value in named.items()]
    return Record(topic, encoded_key, raw, [*headers, ("content-type", event.content_type), *traces])


class Series:
    """Events of one topic that differ in id, subject, time and data only: what they share is encoded once."""

    def __init__(
        self,
        topic: str,
        *,
        source: str,
        type: str,  # noqa: A002 - CloudEvents' name
        dataschema: str | None,
        extensions: Mapping[str, str | None],
        envelope: Envelope = "binary",
    ) -> None:
        self._topic = topic
        self._envelope = envelope
        self._event = Event("-", source, type, "-", BEGINNING, b"", dataschema, extensions)
        self._headers = encode(self._event, topic, None).headers
        names = [name for name, _ in self._headers]
        self._places = tuple(names.index(name) for name in ("ce_id", "ce_subject", "ce_time"))

    def record(self, name: str, subject: str, time: datetime, data: bytes) -> Record:
        """The record that `encode` makes of such an event; `name` is its id, the subject its key."""
        if self._envelope == "structured":
            event = replace(self._event, id=name, subject=subject, time=time, data=data)
            return encode(event, self._topic, subject, envelope="structured")
        key = subject.encode()
        headers = self._headers.copy()
        at_id, at_subject, at_time = self._places
        headers[at_id] = ("ce_id", key if name == subject else name.encode())
        headers[at_subject] = ("ce_subject", key)
        headers[at_time] = ("ce_time", timestamp(time).encode())
        return Record(self._topic, key, data, headers)


def decode(value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> Event:
    """The event of a record in either mode.

    Raises InvalidRecord when it is no CloudEvent or its data is no JSON.
    """
    named = {name: (raw or b"").decode(errors="replace") for name, raw in headers}
    try:
        data = orjson.loads(value or b"null")
    except orjson.JSONDecodeError as error:
        raise InvalidRecord("The value is not JSON; consume topics of events only.") from error
    if named.get("content-type", "").startswith("application/cloudevents+json"):
        given = {name: item for name, item in data.items() if name != "data"}
        data = data.get("data")
    else:
        given = {name.removeprefix("ce_"): item for name, item in named.items() if name.startswith("ce_")}
    missing = [name for name in ("id", "source", "type") if name not in given]
    if missing:
        raise InvalidRecord(f"The record is no CloudEvent: attribute {missing[0]!r} is missing.")
    core = ("id", "source", "type", "subject", "time", "dataschema", "specversion", "datacontenttype")
    return Event(
        id=given["id"],
        source=given["source"],
        type=given["type"],
        subject=given.get("subject"),
        time=datetime.fromisoformat(given["time"]) if given.get("time") else None,
        data=data,
        dataschema=given.get("dataschema"),
        extensions={name: item for name, item in given.items() if name not in core},
    )


# --- ids, keys and headers are bytes, and become text without loss -------------------------------------------------
def text_of(raw: bytes) -> str | None:
    """The bytes as text; None when they are not UTF-8 or hold control characters."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def identity(raw: bytes) -> str:
    """Text that stands for these bytes and for no others that are not text themselves.

    Text stays as it is. Sixteen other bytes are written as a UUID, as Spring's correlation ids are; all others, such as
    the numbers of Java's LongSerializer, in hexadecimal.
    """
    text = text_of(raw)
    if text is not None:
        return text
    return str(UUID(bytes=raw)) if len(raw) == UUID_BYTES else raw.hex()


def shown(raw: bytes, longest: int = 60) -> str:
    """The beginning of these bytes for a sentence, quoted and escaped."""
    text = text_of(raw)
    beginning = repr(raw[:longest] if text is None else text[:longest])
    return beginning if len(raw if text is None else text) <= longest else f"{beginning}…"


def by_name(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """The headers by name: of one name the last counts, as in Kafka's own clients. Null is empty."""
    return {name: raw or b"" for name, raw in headers}


def texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The same as text."""
    return {name: identity(raw or b"") for name, raw in headers}
