"""What an owner knows of its partition, in a compacted topic: it outlives the group's offsets and the journal.

A checkpoint says of each topic what a commit says, without a commit's limit of length, and which topics these were.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from connector.events import Headers, Record
from connector.kafka import reading
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

log = logger(__name__)

TOPIC = "checkpoints"
KEY = b"commands"
HEADERS: Headers = [("content-type", b"application/json")]
# The newest one is among the last offsets; only a partition that was compacted in between is read as a whole.
TAIL = 200

Commits = Mapping[str, tuple[int, str]]
"""For each topic an offset and the text of a commit."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`ids` are Kafka's ids of the topics and of the journal, as far as it has any.

    `doubtful` says of a topic below which offset it is unknown which commands were executed. `outdated` are commits of
    the group that this checkpoint corrects: as long as the group still says so, it is not to be believed. `is_final`:
    an owner has stopped in order, and nothing was attempted afterwards. `has_lost_ids`: the journal has begun after ids
    were finished that it does not know.
    """

    commits: Commits
    ids: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, int] = field(default_factory=dict)
    outdated: Commits = field(default_factory=dict)
    is_final: bool = False
    has_lost_ids: bool = False


def topic_of(kafka: KafkaSettings) -> str:
    """The topic's whole name."""
    return f"{kafka.topic_prefix}.{TOPIC}"


def encode(prefix: str, checkpoint: Checkpoint, *, partition: int) -> Record:
    """The record of a checkpoint."""
    members = {name: getattr(checkpoint, name) for name in Checkpoint.__slots__}
    return Record(f"{prefix}.{TOPIC}", KEY, orjson.dumps(members), HEADERS, partition=partition)


def decode(value: bytes) -> Checkpoint:
    """The checkpoint of a record; members that a later version adds are ignored. Raises ValueError."""
    try:
        members = orjson.loads(value)
        return Checkpoint(
            commits=_commits(members["commits"]),
            ids={topic: str(found) for topic, found in members["ids"].items()},
            doubtful={topic: int(offset) for topic, offset in members["doubtful"].items()},
            outdated=_commits(members["outdated"]),
            is_final=members["is_final"] is True,
            has_lost_ids=members.get("has_lost_ids") is True,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"It is not a checkpoint ({type(error).__name__}).") from error


def _commits(members: Mapping[str, tuple[int, str]]) -> Commits:
    return {topic: (int(base), str(text)) for topic, (base, text) in members.items()}


async def restore(kafka: KafkaSettings, partition: int) -> Checkpoint | None:
    """The newest checkpoint of a partition. The fencing producer must be open. Raises Unavailable."""
    start, end = (await reading.bounds(kafka, [topic_of(kafka)], partition))[topic_of(kafka)]
    for begin in dict.fromkeys((max(start, end - TAIL), start)):
        found = await _newest(kafka, partition, start=begin, end=end)
        if found is not None:
            return found
    return None


async def _newest(kafka: KafkaSettings, partition: int, *, start: int, end: int) -> Checkpoint | None:
    newest: Checkpoint | None = None
    if start < end:
        async for batch in reading.between(kafka, topic_of(kafka), partition, start=start, end=end):
            for item in batch:
                if item.key == KEY and item.value is not None:
                    try:
                        newest = decode(item.value)
                    except ValueError as error:
                        log.error("checkpoint unreadable", partition=partition, offset=item.offset, reason=str(error))  # noqa: TRY400 - no traceback
    return newest
