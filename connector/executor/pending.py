"""A command record, read: its headers understood, its value left as it is. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from connector.errors import Rejected

RawHeaders = Sequence[tuple[str, bytes | None]]

# Spring's names for a reply; they are echoed as they came.
SPRING_CORRELATION = "kafka_correlationId"
SPRING_REPLY = "kafka_replyTopic"


@dataclass(frozen=True, slots=True)
class Pending:
    """A command that waits for its turn. `command` is its name, `id` its own or `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: RawHeaders
    received: datetime
    command: str
    id: str
    explicit: bool
    correlation_id: str
    connection: str
    reply_to: str | None
    expires_text: str | None
    traceparent: str | None

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
        return moment.astimezone(UTC)


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
) -> Pending:
    """Read a record; `milliseconds` is its timestamp. The first header of a name counts."""
    named: dict[str, str] = {}
    for name, raw in headers:
        named.setdefault(name, (raw or b"").decode(errors="replace"))
    own = named.get("id") or named.get("ce_id")
    command_id = own or f"{topic}/{partition}/{offset}"
    return Pending(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        value=value,
        headers=headers,
        received=datetime.fromtimestamp(milliseconds / 1000, UTC),
        command=command,
        id=command_id,
        explicit=own is not None,
        correlation_id=_correlation(named) or command_id,
        connection=named.get("connection") or "default",
        reply_to=named.get("reply-to") or named.get(SPRING_REPLY) or None,
        expires_text=named.get("expires-at") or None,
        traceparent=named.get("traceparent") or None,
    )


def _correlation(named: Mapping[str, str]) -> str | None:
    return named.get("correlation-id") or named.get("ce_correlationid") or named.get(SPRING_CORRELATION) or None
