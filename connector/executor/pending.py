"""A command record, read: its headers understood, its value left as it is. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.errors import Rejected
from connector.events import Position, now
from connector.kafka.journal import TopicOffset

RawHeaders = Sequence[tuple[str, bytes | None]]

# Spring's names for a reply; they are echoed as they came.
SPRING_CORRELATION = "kafka_correlationId"
SPRING_REPLY = "kafka_replyTopic"
# How often a dead letter has been replayed; a replay keeps the headers of the original.
REPLAY_COUNT = "dlq.replay.count"
# An id travels in the URLs that we hand to Twilio and in several headers of the result.
LONGEST_ID = 256
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,100}")


@dataclass(frozen=True, slots=True)
class Pending:
    """A command that waits for its turn. `command` is its name, `id` its own or `topic/partition/offset`.

    `origin` is where its caller wrote it, which differs from where it lies when it was sent on; `milliseconds` is when.
    `problem` says why it is rejected without looking at its value.
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
    expires_text: str | None
    traceparent: str | None
    origin: Position
    problem: str | None = None

    @property
    def topic_offset(self) -> TopicOffset:
        """Which record it is, within its partition."""
        return (self.topic, self.offset)

    @property
    def position(self) -> Position:
        """Which record it is, in all of Kafka."""
        return Position(self.topic, self.partition, self.offset)

    @property
    def received(self) -> datetime:
        """When its caller wrote it, as far as the record tells."""
        return _moment(self.milliseconds)

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
                f"header expires-at: {self.expires_text[:40]!r} is no RFC 3339 time such as 2026-01-31T12:00:00Z."
            ) from error
        if moment.tzinfo is None:
            raise Rejected(f"header expires-at: {self.expires_text[:40]!r} has no time zone; append Z for UTC.")
        try:
            return moment.astimezone(UTC)
        except OverflowError as error:
            raise Rejected(f"header expires-at: {self.expires_text[:40]!r} is out of range.") from error


def pending(
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
) -> Pending:
    """Read a record. The first header of a name counts. Never raises.

    `milliseconds` is its timestamp; `origin` is where its caller wrote it, if it was sent on.
    """
    named: dict[str, str] = {}
    for name, raw in headers:
        named.setdefault(name, (raw or b"").decode(errors="replace"))
    given = named.get("id") or named.get("ce_id")
    own = _replayed(given, named.get(REPLAY_COUNT))
    correlation_id = _correlation(named) or (given if own != given else None)
    problem = _too_long(id=own, correlation_id=correlation_id, reply_to=_reply(named))
    origin = origin or Position(topic, partition, offset)
    command_id = own if own and len(own) <= LONGEST_ID else "/".join(map(str, origin))
    traceparent = named.get("traceparent", "")
    return Pending(
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
        connection=named.get("connection") or "default",
        reply_to=_reply(named) if problem is None else None,
        expires_text=named.get("expires-at") or None,
        traceparent=traceparent if TRACEPARENT.fullmatch(traceparent) else None,
        origin=origin,
        problem=problem,
    )


def _replayed(given: str | None, count: str | None) -> str | None:
    """The id of a replay: another one, since what was rejected counts as seen and would not run under the same."""
    return f"{given}#replay-{count}" if given and count else given


def _correlation(named: Mapping[str, str]) -> str | None:
    return named.get("correlation-id") or named.get("ce_correlationid") or named.get(SPRING_CORRELATION) or None


def _reply(named: Mapping[str, str]) -> str | None:
    return named.get("reply-to") or named.get(SPRING_REPLY) or None


def _too_long(**texts: str | None) -> str | None:
    for name, text in texts.items():
        if text is not None and len(text) > LONGEST_ID:
            return f"header {name.replace('_', '-')}: has {len(text)} characters, {LONGEST_ID} are the most."
    return None


def _moment(milliseconds: int) -> datetime:
    """The time of a record; whoever writes it may give any number."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now()
