"""A command: all that is read from its record, once; where it belongs, and what stands for a record that is gone. Pure.

Commands that lie in another partition than the one of their key or id are sent on, in their order, through a topic that
only owners of partitions write. So what tells that a command was sent on, and from where, is nothing that a caller can
write: on a command topic the same header means nothing.

Records go when their retention is over, or with their topic. Whether such a command was executed, its value cannot tell
any more; but what its attempt left in the journal answers it, its key goes on, and its id stays known.
"""

import hashlib
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from connector.dead_letters.record import REPLAY_COUNT
from connector.errors import Rejected
from connector.events import Headers, Position, Record, by_name, moment_of, now, shown, text_of, texts
from connector.kafka.ownership import RawRecord
from connector.kafka.sending.batches import partition_of
from connector.kafka.topics import FORWARDED_COMMANDS
from connector.state.journal import Entry, StateName, TopicOffset

if TYPE_CHECKING:
    from connector.executor.outcome import Outcome

RawHeaders = Sequence[tuple[str, bytes | None]]

# Spring's names for a reply; they are echoed as they came.
SPRING_CORRELATION = "kafka_correlationId"
SPRING_REPLY = "kafka_replyTopic"
SPRING_PARTITION = "kafka_replyPartition"
SPRING = (SPRING_CORRELATION, SPRING_REPLY, SPRING_PARTITION)
# Those that a result depends on.
RESULT_HEADERS = frozenset(
    {
        *("id", "ce_id", "correlation-id", "ce_correlationid", "connection", "expires-at", "reply-to", "traceparent"),
        *(*SPRING, REPLAY_COUNT),
    }
)
# An id travels in the URLs that we hand to Twilio and in several headers of the result.
LONGEST_ID = 256
# Characters of an id take up to four bytes.
LONGEST_ECHO = 4 * LONGEST_ID
# Spring writes the partition as an integer of Java's, others its digits.
INT_BYTES = 4
LONGEST_PARTITION = 10
REPLY = ("reply-to", SPRING_REPLY)
# Names of things that have one, and a time: they are text, or nothing that there is.
TEXTS = ("connection", *REPLY, "expires-at")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,100}")


@dataclass(frozen=True, slots=True)
class Command:
    """A command that waits for its turn. `command` is its name, `id` its own or `topic/partition/offset`.

    `echoed` are the headers that its result repeats. `origin` is where its caller wrote it, `milliseconds` when; it
    differs from where it lies (`position`, and `topic_offset` within its partition) when it was sent on. `problem` says
    why it is rejected without looking at its value. `is_gone`: its record does not exist any more.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    milliseconds: int
    command: str
    id: str
    explicit: bool
    correlation_id: str
    connection: str
    reply_to: str | None
    reply_partition: int | None
    echoed: Sequence[tuple[str, bytes]]
    expires_text: str | None
    traceparent: str | None
    origin: Position
    position: Position
    topic_offset: TopicOffset
    problem: str | None = None
    is_gone: bool = False

    @property
    def received(self) -> datetime:
        """When its caller wrote it, as far as the record tells."""
        return moment_of(self.milliseconds)

    @property
    def expires_at(self) -> datetime | None:
        """When the command is not to be executed any more.

        Raises Rejected when the header cannot be read.
        """
        if not self.expires_text:
            return None
        try:
            moment = datetime.fromisoformat(self.expires_text)
        except ValueError as error:
            raise Rejected(
                f"header expires-at: {self.expires_text[:40]!r} must be an RFC 3339 time such as 2026-01-31T12:00:00Z."
            ) from error
        if moment.tzinfo is None:
            raise Rejected(f"header expires-at: {self.expires_text[:40]!r} has no time zone; append Z for UTC.")
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise Rejected(f"header expires-at: {self.expires_text[:40]!r} is out of range.") from error


def command_of(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: RawHeaders,
    milliseconds: int,
    command: str,
    origin: Position | None = None,
) -> Command:
    """Read a record. The last header of a name counts. Never raises.

    `milliseconds` is its timestamp; `origin` is where its caller wrote it, if it was sent on.
    """
    known = [header for header in headers if header[0] in RESULT_HEADERS]
    named, told = by_name(known), texts(known)
    given = _first(told, "id", "ce_id")
    # A replay has another id, since what was rejected counts as seen and would not run under the same.
    own = f"{given}#replay-{told[REPLAY_COUNT]}" if given and told.get(REPLAY_COUNT) else given
    correlation_id = _first(told, "correlation-id", "ce_correlationid", SPRING_CORRELATION)
    correlation_id = correlation_id or (given if own != given else None)
    position = Position(topic, partition, offset)
    origin = origin or position
    command_id = own if own and len(own) <= LONGEST_ID else "/".join(map(str, origin))
    problem = _too_long(id=own, correlation_id=correlation_id) or _problem(named)
    traceparent = told.get("traceparent", "")
    return Command(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        headers=headers,
        milliseconds=milliseconds,
        command=command,
        id=command_id,
        explicit=command_id == own,
        correlation_id=correlation_id if correlation_id and len(correlation_id) <= LONGEST_ID else command_id,
        connection=_first(told, "connection") or "default",
        reply_to=_first(told, *REPLY) if problem is None else None,
        reply_partition=_partition(named.get(SPRING_PARTITION, b"")),
        echoed=[(name, named[name]) for name in SPRING if name in named and len(named[name]) <= LONGEST_ECHO],
        expires_text=_first(told, "expires-at"),
        traceparent=traceparent if TRACEPARENT.fullmatch(traceparent) else None,
        origin=origin,
        position=position,
        topic_offset=(topic, offset),
        problem=problem,
    )


def read(record: "RawRecord | LostRecord", name: str, topics: Mapping[str, str]) -> Command:
    """The command of a record; `name` is that of its topic. One that was sent on names its origin, one of `topics`."""
    origin = origin_of(record.headers, topics) if name == FORWARDED else None
    command = command_of(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=origin.headers if origin else record.headers,
        milliseconds=origin.milliseconds if origin else record.timestamp,
        command=topics[origin.position.topic] if origin else name,
        origin=origin.position if origin else None,
    )
    if isinstance(record, LostRecord):
        return replace(command, id=record.entry.id, explicit=record.entry.explicit, is_gone=True)
    return command


def _first(told: Mapping[str, str], *names: str) -> str | None:
    """The first of these headers that says something."""
    return next((told[name] for name in names if told.get(name)), None)


def _too_long(**texts: str | None) -> str | None:
    for name, text in texts.items():
        if text is not None and len(text) > LONGEST_ID:
            return f"header {name.replace('_', '-')}: has {len(text)} characters, {LONGEST_ID} are the most."
    return None


def _problem(named: Mapping[str, bytes]) -> str | None:
    """What is wrong with headers that must be text of some length."""
    for name in TEXTS:
        raw = named.get(name)
        if not raw:
            continue
        if len(raw) > LONGEST_ID:
            return f"header {name}: has {len(raw)} bytes, {LONGEST_ID} are the most."
        if text_of(raw) is None:
            return f"header {name}: {shown(raw)} is not text."
    raw = named.get(SPRING_PARTITION, b"")
    if raw and _partition(raw) is None:
        return f"header {SPRING_PARTITION}: {shown(raw)} is not the number of a partition."
    return None


def _partition(raw: bytes) -> int | None:
    """The number of a partition: its digits, or four bytes of Java's."""
    if raw.isdigit() and len(raw) <= LONGEST_PARTITION:
        return int(raw)
    number = int.from_bytes(raw, "big", signed=True) if len(raw) == INT_BYTES else -1
    return number if number >= 0 else None


FORWARDED = FORWARDED_COMMANDS
"""The topic without its prefix, and what its commands are counted as until it is read which they are."""
FORWARDED_FROM = "forwarded-from"
_ORIGIN = re.compile(rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})/(-?[0-9]{1,18})")


def partition_of_id(command_id: str, partitions: int) -> int:
    """The partition where commands without a key and with this id meet, so that a repeat is recognised."""
    return int.from_bytes(hashlib.blake2b(command_id.encode(), digest_size=8).digest(), "big") % partitions


@dataclass(frozen=True, slots=True)
class Origin:
    """The record as its caller wrote it: its position, its timestamp in milliseconds, and its headers."""

    position: Position
    milliseconds: int
    headers: RawHeaders


def partition_of_command(command: Command, count: int) -> int:
    """The partition, of `count`, where this command belongs.

    Commands of one key meet in the partition that Kafka's default partitioner (murmur2) gives it, whatever partitioner
    their producers have; those of one id and without a key in that of the id. Any other stays where it is.
    """
    if command.key is not None:
        return partition_of(command.key, count)
    return partition_of_id(command.id, count) if command.explicit else command.partition


def forwarded_record(command: Command, *, prefix: str, partition: int) -> Record:
    """The command byte for byte, for the owner of that partition; the last header says where it came from."""
    origin = origin_text(command.position, command.milliseconds).encode()
    # Kafka knows headers without a value, and they are kept as they are.
    headers: list[tuple[str, bytes]] = [*command.headers, (FORWARDED_FROM, origin)]  # type: ignore[list-item]
    return Record(f"{prefix}.{FORWARDED}", command.key, command.value, headers, partition=partition)


def origin_text(position: Position, milliseconds: int) -> str:
    """Where and when a caller wrote a record, as `origin_of` reads it."""
    return "/".join(map(str, (*position, milliseconds)))


def origin_of(headers: RawHeaders, topics: Container[str]) -> Origin | None:
    """Where a record of the forwarded commands came from; None when no owner can have written it."""
    name, value = headers[-1] if headers else ("", None)
    found = _ORIGIN.fullmatch(value or b"") if name == FORWARDED_FROM else None
    if found is None or (topic := found[1].decode()) not in topics:
        return None
    position = Position(topic, int(found[2]), int(found[3]))
    return Origin(position, int(found[4]), headers[:-1])


# Of key and headers together, so that an entry stays small.
LARGEST_TRACES = 2048
PAIR_LENGTH = 2


@dataclass(frozen=True, slots=True)
class LostRecord:
    """Stands for the record of an attempt: without its value."""

    entry: Entry
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    headers: Headers
    value: bytes | None = None


def traces(command: Command) -> Mapping[str, Any]:
    """What an attempt keeps of a command beside its id: members of a journal entry. What is too large is left out."""
    left = LARGEST_TRACES
    headers: list[tuple[str, str]] = []
    for name, raw in command.headers:
        if name in RESULT_HEADERS and raw is not None and len(raw) <= left:
            left -= len(raw)
            headers.append((name, raw.decode("latin-1")))
    has_key = command.key is not None and len(command.key) <= left
    return {
        "headers": headers or None,
        "key_text": command.key.decode("latin-1") if command.key is not None and has_key else None,
    }


def entry_of(command: Command, *, state: StateName, **more: Any) -> Entry:
    """A step of the command, now, as the journal keeps it."""
    was_sent_on = command.origin != command.position
    return Entry(
        state=state,
        topic=command.topic,
        offset=command.offset,
        id=command.id,
        at=now(),
        explicit=command.explicit,
        is_gone=command.is_gone,
        sent_to=origin_text(command.origin, command.milliseconds) if was_sent_on else None,
        **more,
    )


def attempting(command: Command, *, alike: str, ahead: float | None = None) -> Entry:
    """The journal entry that precedes a create; `ahead` is what is known of Twilio's clock."""
    return entry_of(command, state="attempting", alike=alike, ahead=ahead, **traces(command))


def done(command: Command, outcome: "Outcome", *, ahead: float | None = None) -> Entry:
    """The journal entry that goes with the final result; `ahead` is what is known of Twilio's clock."""
    return entry_of(command, state="done", outcome=outcome.outcome, sid=outcome.sid, ahead=ahead)


def forwarded(command: Command) -> Entry:
    """The journal entry of a command that is executed elsewhere."""
    return entry_of(command, state="done", outcome="forwarded")


def lost_record(entry: Entry, partition: int) -> LostRecord:
    """What stands for the record of an attempt."""
    pairs = [tuple(pair) for pair in entry.headers or () if len(pair) == PAIR_LENGTH]
    headers = [(str(name), str(text).encode("latin-1", "replace")) for name, text in pairs]
    if entry.sent_to is not None:
        headers.append((FORWARDED_FROM, entry.sent_to.encode()))
    key = entry.key_text.encode("latin-1", "replace") if entry.key_text is not None else None
    return LostRecord(entry, entry.topic, partition, entry.offset, int(entry.at.timestamp() * 1000), key, headers)


class Waiting(NamedTuple):
    """A command that was read from Kafka, at `clock` (monotonic seconds), and not yet looked at.

    `attempt` is a predecessor's, whose answer is not known. `is_doubtful`: it may have been executed, though nothing
    that is left says so.
    """

    name: str
    record: RawRecord | LostRecord
    weight: int
    clock: float
    attempt: Entry | None
    is_doubtful: bool
