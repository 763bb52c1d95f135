"""The command journal: what an owner was about to do, and what came of it.

An entry is written and awaited before every create, and another together with the result. A successor finds in it which
commands are in doubt, which are finished, and which ids were seen within the dedupe window.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

import orjson

from connector.events import Record, timestamp
from connector.kafka import partitions
from connector.settings import KafkaSettings

TOPIC = "journal"
# Ids are remembered for `dedupe_window`, at most this many for each partition: about 100 bytes each.
MAX_IDS = 500_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of one command. `topic` and `offset` are the command record's; `at` is the time of the attempt.

    `alike` is a fingerprint of what the create looks like at Twilio, equal for equal messages; `sid` is what a finished
    command made or adopted.
    """

    state: Literal["attempting", "done"]
    topic: str
    offset: int
    id: str
    at: datetime
    alike: str | None = None
    outcome: str | None = None
    sid: str | None = None
    explicit: bool = False

    @property
    def key(self) -> str:
        """Topic and command id, the record's key."""
        return f"{self.topic}/{self.id}"


def encode(prefix: str, entry: Entry, *, partition: int) -> Record:
    """The journal record of an entry."""
    value = {name: item for name, item in asdict(entry).items() if item is not None} | {"at": timestamp(entry.at)}
    headers = [("content-type", b"application/json")]
    return Record(f"{prefix}.{TOPIC}", entry.key.encode(), orjson.dumps(value), headers, partition=partition)


def decode(value: bytes) -> Entry:
    """The entry of a journal record; members that a later version adds are ignored."""
    members: dict[str, Any] = orjson.loads(value)
    known = {name: members[name] for name in Entry.__slots__ if name in members}
    return Entry(**{**known, "at": datetime.fromisoformat(known["at"])})


def id_hash(topic: str, command_id: str) -> bytes:
    """Sixteen bytes that stand for a command id in memory."""
    return hashlib.blake2b(f"{topic}/{command_id}".encode(), digest_size=16).digest()


@dataclass
class State:
    """What the journal says of the commands that were not finished at the last commit.

    `latest` by (topic, offset); `first_read` is the journal offset of an attempt that is still open.
    """

    end: int = 0
    latest: dict[tuple[str, int], Entry] = field(default_factory=dict)
    open_at: dict[tuple[str, int], int] = field(default_factory=dict)
    records: int = 0

    def note(self, entry: Entry, journal_offset: int) -> None:
        """Take one entry in, in the order of the journal."""
        where = (entry.topic, entry.offset)
        self.latest[where] = entry
        self.records += 1
        if entry.state == "done":
            self.open_at.pop(where, None)
        else:
            self.open_at.setdefault(where, journal_offset)


async def restore(kafka: KafkaSettings, partition: int, *, low: int) -> State:
    """Read from `low`, the offset that the last commit names, to the end. The fencing producer must be open.

    Raises Unavailable.
    """
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    end = await partitions.high_watermark(kafka, topic, partition)
    state = State(end=end)
    if low < end:
        async for entry, offset in _entries(kafka, partition, start=low, end=end):
            state.note(entry, offset)
    return state


Seen = tuple[int, str, int, datetime]


async def seen_ids(kafka: KafkaSettings, partition: int, *, since: datetime, end: int) -> Mapping[bytes, Seen]:
    """The explicit ids that were finished since then, hashed.

    Each with the command record's offset and topic, the journal offset of its end, and when that was. Raises
    Unavailable.
    """
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    start = await partitions.offset_at(kafka, topic, partition, since)
    found: dict[bytes, Seen] = {}
    if start is None:
        return found
    async for entry, offset in _entries(kafka, partition, start=max(start, end - 4 * MAX_IDS), end=end):
        if entry.state == "done" and entry.explicit and entry.outcome != "duplicate" and len(found) < MAX_IDS:
            found.setdefault(id_hash(entry.topic, entry.id), (entry.offset, entry.topic, offset, entry.at))
    return found


async def claimed_sids(kafka: KafkaSettings, *, since: datetime) -> set[str]:
    """The SIDs that finished commands of every partition have claimed since then. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    found: set[str] = set()
    for partition in range(kafka.partitions):
        start = await partitions.offset_at(kafka, topic, partition, since)
        if start is None:
            continue
        # The end of the committed records: waiting for other owners' open transactions would wait for their commands.
        end = await partitions.last_stable_offset(kafka, topic, partition)
        async for entry, _ in _entries(kafka, partition, start=start, end=end):
            if entry.sid:
                found.add(entry.sid)
    return found


async def entry_at(kafka: KafkaSettings, partition: int, offset: int) -> Entry | None:
    """The entry at an offset, None when it is gone. Raises Unavailable."""
    async for entry, _ in _entries(kafka, partition, start=offset, end=offset + 1):
        return entry
    return None


async def _entries(kafka: KafkaSettings, partition: int, *, start: int, end: int) -> AsyncIterator[tuple[Entry, int]]:
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    async for batch in partitions.read(kafka, topic, partition, start=start, end=end):
        for item in batch:
            if item.value is not None:
                yield decode(item.value), item.offset
