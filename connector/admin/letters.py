"""Dead letters for people: what is wrong with each, what it holds, and the record that replays it. Pure."""

import base64
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from connector.admin import privacy
from connector.errors import InvalidRecord
from connector.events import Headers, Received, Record, timestamp
from connector.kafka.control import Verdict

REASON = "dlq.errors."
COUNT = "dlq.replay.count"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter without its content."""

    partition: int
    offset: int
    milliseconds: int
    reasons: Mapping[str, str]
    key: str
    size: int
    replays: int

    @property
    def topic(self) -> str:
        """Where the original came from, empty for what came from Twilio."""
        return self.reasons.get("topic", "")


def letter(record: Received) -> Letter:
    """Read a record of the dead letters."""
    named = _named(record)
    reasons = {name.removeprefix(REASON): text for name, text in named.items() if name.startswith(REASON)}
    key = privacy.key((record.key or b"").decode(errors="replace"))
    count = named.get(COUNT, "")
    replays = int(count) if count.isdecimal() else 0
    size = len(record.value or b"")
    return Letter(record.partition, record.offset, record.timestamp, reasons, key, size, replays)


def as_json(found: Letter, verdict: Verdict | None, *, replayable: bool) -> dict[str, Any]:
    """What is shown of a dead letter without being asked for."""
    reasons = found.reasons
    return {
        "partition": found.partition,
        "offset": found.offset,
        "at": found.milliseconds,
        "stage": reasons.get("stage", ""),
        "class": reasons.get("class", ""),
        "message": privacy.sentence(reasons.get("message", "")),
        "topic": reasons.get("topic", ""),
        "origin": {name: reasons.get(name, "") for name in ("topic", "partition", "offset", "timestamp", "group")},
        "twilio": {name: reasons[name] for name in ("twilio-code", "http-status", "request-id") if name in reasons},
        "key": found.key,
        "size": found.size,
        "replays": found.replays,
        "replayable": replayable,
        "verdict": None if verdict is None else _verdict(verdict),
    }


def content(record: Received) -> dict[str, Any]:
    """What a dead letter holds, for somebody who asked for it: text where it is text, else base64."""
    raw = record.value or b""
    try:
        text, encoding = raw.decode(), "text"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(raw).decode(), "base64"
    headers = [[name, (value or b"").decode(errors="replace")] for name, value in record.headers]
    kept = [header for header in headers if not header[0].startswith(REASON)]
    return {"value": text, "encoding": encoding, "key": (record.key or b"").decode(errors="replace"), "headers": kept}


def replay(record: Received, topics: Container[str], *, value: bytes | None = None) -> Record:
    """The record that tries a dead letter again: the original or an edited value, original key and headers, counted.

    Without an id of its own it gets one that is equal for every replay of this letter. Raises InvalidRecord for what
    did not come from one of these topics.
    """
    found = letter(record)
    if found.topic not in topics:
        raise InvalidRecord(
            "It did not come from a command topic: rewind the watch that found it, once the connector can read it. "
            "A callback cannot be run again."
        )
    kept: Headers = [
        (name, raw or b"") for name, raw in record.headers if not name.startswith(REASON) and name != COUNT
    ]
    if not {"id", "ce_id"} & {name for name, _ in kept}:
        kept.append(("id", f"dead-letter/{record.partition}/{record.offset}".encode()))
    kept.append((COUNT, str(found.replays + 1).encode()))
    return Record(found.topic, record.key, record.value if value is None else value, kept)


def story_of(again: Record) -> str:
    """The command id that a replay runs under."""
    named = {name: raw.decode(errors="replace") for name, raw in again.headers}
    return f"{named.get('id') or named.get('ce_id')}#replay-{named[COUNT]}"


def _named(record: Received) -> dict[str, str]:
    return {name: (raw or b"").decode(errors="replace") for name, raw in record.headers}


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {"decision": verdict.decision, "note": verdict.note, "by": verdict.by, "at": timestamp(verdict.at)}
