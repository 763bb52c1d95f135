"""Run-time control: requests to the owner of a watch, its answers, and what was decided about dead letters.

One topic with one partition, so that everything has one order. A request stays until the watch's owner carries it out,
wherever that runs; the owner notes it in the cursor, so it happens once, and answers in the same transaction.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from connector.errors import InvalidRecord, Unavailable
from connector.events import Record, now, timestamp
from connector.kafka import aiokafka_internals, clients, produce, reading
from connector.kafka.reading import Start
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

log = logger(__name__)

TOPIC = "control"
PARTITION = 0
LONGEST = 250
"""Characters of a name, an id or an action: an answer repeats them, and must fit into a record."""
LONGEST_NOTE = 2_000
ANSWER_SECONDS = 15.0

Action = Literal["pause", "resume", "rewind", "rescan"]
ACTIONS: tuple[str, ...] = get_args(Action)
Decision = Literal["discarded", "replayed"]


def topic_of(kafka: KafkaSettings) -> str:
    """The topic's whole name."""
    return f"{kafka.topic_prefix}.{TOPIC}"


def new_id() -> str:
    """An id that nothing else has."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the owner of a watch is asked to do; `to` is where a rewind goes. This version may not know `action`."""

    action: str
    watch: str
    to: datetime | None = None
    by: str = ""
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The notification that a request was carried out, or why not (`done` false)."""

    id: str
    action: str
    watch: str
    done: bool
    message: str
    at: datetime = field(default_factory=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided about the dead letter at `partition` and `offset`."""

    partition: int
    offset: int
    decision: Decision
    note: str = ""
    by: str = ""
    at: datetime = field(default_factory=now)


Entry = Request | Answer | Verdict


def encode(prefix: str, entry: Entry) -> Record:
    """The record of an entry, keyed by the watch or by the dead letter's place."""
    match entry:
        case Request():
            to = entry.to and timestamp(entry.to)
            value = {"action": entry.action, "watch": entry.watch, "to": to, "id": entry.id, "by": entry.by}
            key = entry.watch
        case Answer():
            outcome = "done" if entry.done else "refused"
            value = {"action": entry.action, "watch": entry.watch, "id": entry.id, "outcome": outcome}
            value |= {"message": entry.message}
            key = entry.watch
        case Verdict():
            key = f"{entry.partition}/{entry.offset}"
            value = {"letter": key, "decision": entry.decision, "note": entry.note, "by": entry.by}
    document = orjson.dumps(value | {"at": timestamp(entry.at)})
    return Record(f"{prefix}.{TOPIC}", key.encode(), document, [("content-type", b"application/json")], PARTITION)


def decode(value: bytes | None, *, at: datetime, offset: int = 0) -> Entry:
    """The entry of a record written at a moment; a request without an id is named by its offset.

    Raises InvalidRecord when it is none.
    """
    try:
        document = orjson.loads(value or b"null")
        return _entry(document, at=at, offset=offset)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidRecord(
            f"Offset {offset} of the control topic holds nothing to carry out ({error!r:.80}): write "
            '{"action": "pause", "watch": "messages"}, say.'
        ) from error


def _entry(document: dict[str, Any], *, at: datetime, offset: int) -> Entry:
    by = _text(document.get("by") or "")
    if "letter" in document:
        partition, _, letter_offset = document["letter"].partition("/")
        decision: Decision = "replayed" if document["decision"] == "replayed" else "discarded"
        note = str(document.get("note") or "")[:LONGEST_NOTE]
        position = {"partition": int(partition), "offset": int(letter_offset)}
        return Verdict(**position, decision=decision, note=note, by=by, at=at)
    named: dict[str, Any] = {name: _text(document[name]) for name in ("action", "watch")}
    named |= {"id": _text(document.get("id") or f"{TOPIC}/{PARTITION}/{offset}"), "at": at}
    if "outcome" in document:
        return Answer(done=document["outcome"] == "done", message=str(document.get("message") or ""), **named)
    return Request(to=_moment(document["to"]) if document.get("to") else None, by=by, **named)


def _text(value: Any) -> str:
    text = str(value)
    if len(text) > LONGEST:
        raise ValueError("a text that is too long")
    return text


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without its offset from UTC")
    return moment.astimezone(UTC)


async def end(kafka: KafkaSettings) -> int:
    """Where the next record goes. Raises Unavailable."""
    return await reading.end_of(kafka, topic_of(kafka), PARTITION)


async def decided(kafka: KafkaSettings, *, fenced: bool = False) -> tuple[dict[tuple[int, int], list[Verdict]], int]:
    """The verdicts about each dead letter, oldest first, and since when (ms) none is missing; 0 is from the beginning.

    `fenced` waits for what is being written: for a caller that has ended other writers of verdicts before. Raises
    Unavailable.
    """
    topic, verdicts, oldest = topic_of(kafka), dict[tuple[int, int], list[Verdict]](), 0
    start, end = (await reading.bounds(kafka, [topic], PARTITION, committed=not fenced))[topic]
    async with aclosing(reading.between(kafka, topic, PARTITION, start=start, end=end)) as batches:
        async for batch in batches:
            oldest = oldest or batch[0].timestamp
            for _, entry in _readable(batch):
                if isinstance(entry, Verdict):
                    verdicts.setdefault((entry.partition, entry.offset), []).append(entry)
    return verdicts, (oldest or int(time.time() * 1000)) if start else 0


async def after_answers(kafka: KafkaSettings, watch: str) -> int:
    """The offset after the last request to this watch that has been answered. Raises Unavailable."""
    topic, asked, after = topic_of(kafka), dict[str, int](), 0
    start, end = (await reading.bounds(kafka, [topic], PARTITION, committed=True))[topic]
    async with aclosing(reading.between(kafka, topic, PARTITION, start=start, end=end)) as batches:
        async for batch in batches:
            for offset, entry in _readable(batch):
                if isinstance(entry, Request) and entry.watch == watch:
                    asked[entry.id] = offset
                elif isinstance(entry, Answer) and entry.watch == watch:
                    after = max(after, asked.get(entry.id, -1) + 1)
    return after


def _readable(records: Iterable[ConsumerRecord]) -> Iterator[tuple[int, Entry]]:
    for record in records:
        with suppress(InvalidRecord, ValueError, OverflowError, OSError):
            yield record.offset, _entry_of(record)


async def follow(kafka: KafkaSettings, start: int) -> AsyncGenerator[tuple[int, Entry], None]:
    """Committed entries from this offset on, with their offsets; for ever. What is not an entry is logged and left out.

    Raises Unavailable when no broker answers at the start.
    """
    async with _reading(kafka, Start(offset=start)) as entries:
        async for entry in entries:
            yield entry


@asynccontextmanager
async def _reading(kafka: KafkaSettings, start: Start) -> AsyncIterator[AsyncIterator[tuple[int, Entry]]]:
    """Entries from there on, which is fixed on entering."""
    async with clients.reading(kafka) as consumer:
        await reading.assign(consumer, {topic_of(kafka): start})
        # Requests are rare, and come at once in any case.
        aiokafka_internals.wait_for_records(consumer, reading.QUIET_MS)
        async with aclosing(_entries(consumer)) as entries:
            yield entries


async def _entries(consumer: AIOKafkaConsumer) -> AsyncGenerator[tuple[int, Entry], None]:
    async with aclosing(reading.records(consumer)) as records:
        async for record in records:
            try:
                yield record.offset, _entry_of(record)
            except (InvalidRecord, ValueError, OverflowError, OSError) as error:
                log.warning("control record left out", reason=str(error))


def _entry_of(record: ConsumerRecord) -> Entry:
    at = datetime.fromtimestamp(record.timestamp / 1000, UTC)
    return decode(record.value, at=at, offset=record.offset)


async def ask(kafka: KafkaSettings, request: Request, *, seconds: float = ANSWER_SECONDS) -> Answer:
    """Write a request and wait for its answer.

    Raises Unavailable when none came in time; the request stays and is carried out when an owner reads it.
    """
    try:
        async with asyncio.timeout(seconds), _reading(kafka, reading.END) as entries:
            await produce.send(kafka, encode(kafka.topic_prefix, request))
            async for _, entry in entries:
                if isinstance(entry, Answer) and entry.id == request.id:
                    return entry
    except TimeoutError:
        pass
    raise Unavailable(
        f"No process that runs the watch {request.watch!r} answered within {seconds:g} s. The request stays on "
        f"{kafka.topic_prefix}.{TOPIC} and is carried out when one does."
    )
