"""The command journal: what an owner was about to do, and what came of it.

An entry is written and awaited before every create, and another together with the result, or when it is certain that
nothing was done. A successor finds in it which commands are in doubt and which are finished. Now and then a digest
lists the ids that were finished, so that a successor knows days of ids from a few records. Each owner begins with a
fence: after it no predecessor's attempt comes.
"""

import base64
import struct
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import orjson
from aiokafka import ConsumerRecord

from connector.events import Headers, Record, timestamp
from connector.kafka import reading
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

CHUNK = 1024
FULL = (1 << CHUNK) - 1


class OffsetSet:
    """Offsets in any order; those that lie together are cheap."""

    def __init__(self) -> None:
        self.end = 0
        self._chunks: dict[int, int] = {}

    def add(self, offset: int) -> None:
        """Take an offset in; once more is no harm."""
        chunk, bit = divmod(offset, CHUNK)
        self._chunks[chunk] = self._chunks.get(chunk, 0) | 1 << bit
        self.end = max(self.end, offset + 1)

    def __contains__(self, offset: object) -> bool:
        if not isinstance(offset, int) or offset < 0:
            return False
        chunk, bit = divmod(offset, CHUNK)
        return bool(self._chunks.get(chunk, 0) >> bit & 1)

    def missing(self, start: int) -> Iterator[int]:
        """The offsets from `start` below `end` that are not in it, in their order."""
        for chunk in range(start // CHUNK, -(-self.end // CHUNK)):
            if self._chunks.get(chunk) != FULL:
                span = range(max(start, chunk * CHUNK), min(self.end, (chunk + 1) * CHUNK))
                yield from (offset for offset in span if offset not in self)


log = logger(__name__)

TOPIC = "journal"
HEADERS: Headers = [("content-type", b"application/json")]
DIGEST_KEY = b"ids"
FENCE_KEY = b"fence"
PAIR = struct.Struct("<QQ")

StateName = Literal["attempting", "withdrawn", "done"]
STATES = frozenset(get_args(StateName))
# Outcomes of what was perhaps sent to Twilio: its id is not to be executed again.
EXECUTED = frozenset({"succeeded", "failed", "unknown"})

TopicOffset = tuple[str, int]
"""Topic and offset of a command's record."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of one command. `topic` and `offset` are the command record's; `at` is the time of the attempt.

    `alike` is a fingerprint of what the create looks like at Twilio, equal for equal ones; `sid` is what a finished
    command made or adopted. `explicit` tells whether the id is the caller's own. `sent_to` says where the caller wrote
    a command that was sent on (topic/partition/offset/milliseconds); None when the record is the caller's own.

    An attempt holds what an answer needs if its record is gone: `key_text`, and those `headers` that a result depends
    on, each byte as one character. `is_gone`: the record was gone; its offset may be another command's by now. `ahead`
    is by how many seconds Twilio's clock was ahead of the writer's, which wrote `at`; None when it did not know.
    """

    state: StateName
    topic: str
    offset: int
    id: str
    at: datetime
    alike: str | None = None
    outcome: str | None = None
    sid: str | None = None
    explicit: bool = False
    sent_to: str | None = None
    key_text: str | None = None
    headers: Sequence[tuple[str, str]] | None = None
    is_gone: bool = False
    ahead: float | None = None

    @property
    def moment(self) -> datetime:
        """When it was, by Twilio's clock as far as the writer knew it."""
        return self.moment_by(None)

    def moment_by(self, ahead: float | None) -> datetime:
        """The same; where the writer did not know Twilio's time, its clock was about ours, `ahead` of which that is."""
        known = self.ahead if self.ahead is not None else ahead
        with suppress(OverflowError):
            return self.at + timedelta(seconds=known or 0.0)
        return self.at

    @property
    def latest(self) -> datetime:
        """When it was at the latest, by either clock: answers with a wrong `Date` make no id look old."""
        return max(self.at, self.moment)

    @property
    def command_topic(self) -> str:
        """The topic whose commands it is one of: an id means one command of these."""
        return self.sent_to.partition("/")[0] if self.sent_to else self.topic

    @property
    def key(self) -> str:
        """Topic and command id, the record's key."""
        return f"{self.command_topic}/{self.id}"

    @property
    def topic_offset(self) -> TopicOffset:
        """Which command it is."""
        return (self.topic, self.offset)

    @property
    def names_id(self) -> bool:
        """Whether a later command with the same id repeats this one."""
        return self.state == "done" and self.explicit and self.outcome in EXECUTED


TEXT = (str, type(None))
KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("topic", "id"), str),
    **dict.fromkeys(("alike", "outcome", "sid", "sent_to", "key_text"), TEXT),
    **dict.fromkeys(("explicit", "is_gone"), bool),
    "offset": int,
    "ahead": (float, int, type(None)),
    "headers": (list, tuple, type(None)),
}

LONGEST_AHEAD = 1e9

EntryAndOffset = tuple[Entry, int]
"""An entry and its journal offset."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The ids that were finished: pairs of an id's number and the journal offset of its end.

    Every id that ended before `through` is in this digest or in those before it; `previous` is the journal offset of
    the one before. `until` is the time of its youngest id.
    """

    through: int
    previous: int | None
    until: datetime
    pairs: Sequence[tuple[int, int]]


def topic_of(kafka: KafkaSettings) -> str:
    """The topic's whole name."""
    return f"{kafka.topic_prefix}.{TOPIC}"


def encode(prefix: str, entry: Entry, *, partition: int) -> Record:
    """The journal record of an entry."""
    members = ((name, getattr(entry, name)) for name in Entry.__slots__)
    value = {name: item for name, item in members if item is not None and item is not False}
    if entry.at.tzinfo is not UTC:
        value["at"] = timestamp(entry.at)
    return Record(
        f"{prefix}.{TOPIC}",
        entry.key.encode(),
        orjson.dumps(value, option=orjson.OPT_UTC_Z),
        HEADERS,
        partition=partition,
    )


def decode(value: bytes | None) -> Entry:
    """The entry of a journal record; members that a later version adds are ignored. Raises ValueError."""
    members = orjson.loads(value or b"")
    try:
        known = {name: members[name] for name in Entry.__slots__ if name in members}
        entry = Entry(**{**known, "at": datetime.fromisoformat(known["at"])})
    except (KeyError, TypeError) as error:
        raise ValueError(f"It is not an entry ({type(error).__name__}).") from error
    wrong = next((name for name, kinds in KINDS.items() if not isinstance(getattr(entry, name), kinds)), None)
    if wrong is None and (
        entry.state not in STATES
        or entry.offset < 0
        or entry.at.tzinfo is None
        or abs(entry.ahead or 0) > LONGEST_AHEAD
    ):
        wrong = "state, offset, at or ahead"
    if wrong is not None:
        raise ValueError(f"It is not an entry: {wrong} has another kind of value.")
    return entry


def encode_digest(prefix: str, digest: Digest, *, partition: int) -> Record:
    """The journal record of a digest."""
    packed = b"".join(PAIR.pack(*pair) for pair in digest.pairs)
    value = {
        "state": "ids",
        "through": digest.through,
        "previous": digest.previous,
        "until": timestamp(digest.until),
        "ids": base64.b64encode(packed).decode(),
    }
    return Record(f"{prefix}.{TOPIC}", DIGEST_KEY, orjson.dumps(value), HEADERS, partition=partition)


def encode_fence(prefix: str, owner: str, *, partition: int) -> Record:
    """The journal record of a fence; `owner` tells it apart from those of others."""
    value = orjson.dumps({"state": "fence", "owner": owner})
    return Record(f"{prefix}.{TOPIC}", FENCE_KEY, value, HEADERS, partition=partition)


def is_fence(record: ConsumerRecord) -> bool:
    """Whether a journal record is some owner's fence. It says nothing of commands."""
    return bool(record.key == FENCE_KEY)


def is_attempt(record: ConsumerRecord) -> bool:
    """Whether a journal record is an attempt, as far as it can be read."""
    try:
        return decode(record.value).state == "attempting"
    except ValueError:
        return False


def decode_digest(value: bytes | None) -> Digest:
    """The digest of a journal record. Raises ValueError."""
    try:
        members = orjson.loads(value or b"")
        previous = members["previous"]
        digest = Digest(
            through=int(members["through"]),
            previous=None if previous is None else int(previous),
            until=datetime.fromisoformat(members["until"]),
            pairs=list(PAIR.iter_unpack(base64.b64decode(members["ids"]))),
        )
    except (KeyError, TypeError, struct.error) as error:
        raise ValueError(f"It is not a digest ({type(error).__name__}).") from error
    if digest.until.tzinfo is None:
        raise ValueError("It is not a digest: its time has no time zone.")
    return digest


@dataclass
class State:
    """What the journal says of the commands that were not finished at the last commit.

    `open` holds the attempts that are still open with their journal offsets, `finished` by topic the offsets of
    commands that have ended. A journal of days fits in: only what is open takes more than a bit.
    `lows` says for a topic where its part of the journal begins; the attempts that are open before it are in `former`.
    """

    lows: Mapping[str, int] = field(default_factory=dict)
    open: dict[TopicOffset, EntryAndOffset] = field(default_factory=dict)
    former: dict[TopicOffset, EntryAndOffset] = field(default_factory=dict)
    finished: defaultdict[str, OffsetSet] = field(default_factory=lambda: defaultdict(OffsetSet))
    records: int = 0

    def note(self, entry: Entry, journal_offset: int) -> None:
        """Take one entry in, in the order of the journal."""
        self.records += 1
        is_former = journal_offset < self.lows.get(entry.topic, 0)
        attempts = self.former if is_former else self.open
        if entry.state == "attempting":
            # Earlier attempts were certainly not executed, or there would be no later one.
            attempts[entry.topic_offset] = entry, journal_offset
            return
        attempts.pop(entry.topic_offset, None)
        if entry.is_gone:
            self.former.pop(entry.topic_offset, None)
        if entry.state == "done" and not is_former and not entry.is_gone:
            self.finished[entry.topic].add(entry.offset)


async def restore(
    kafka: KafkaSettings, partition: int, *, low: int, end: int, lows: Mapping[str, int] | None = None
) -> State:
    """Read from `low` to `end`, the high watermark; `lows` are those of the topics, which their commits name.

    The fencing producer must have been open before the watermark was read. Raises Unavailable, also when entries are
    deleted meanwhile: whoever looks again sees that they are gone.
    """
    state = State(lows or {})
    batches = reading.between(kafka, topic_of(kafka), partition, start=low, end=end, is_whole=True)
    async for batch in batches:
        for entry, offset in decoded(batch):
            state.note(entry, offset)
    return state


async def since(kafka: KafkaSettings, partition: int, start: int) -> list[ConsumerRecord]:
    """Every committed record from `start` on. The fencing producer must be open.

    Raises Unavailable, also when records are deleted meanwhile: what is missing would seem not to have been written.
    """
    end = await reading.end_of(kafka, topic_of(kafka), partition)
    batches = reading.between(kafka, topic_of(kafka), partition, start=start, end=end, is_whole=True)
    return [record async for batch in batches for record in batch]


async def holds_only_fences(kafka: KafkaSettings, partition: int, *, start: int, end: int) -> bool:
    """Whether no owner has written more than its fence between these offsets. Raises Unavailable."""
    async with aclosing(reading.between(kafka, topic_of(kafka), partition, start=start, end=end)) as batches:
        async for batch in batches:
            if not all(map(is_fence, batch)):
                return False
    return True


async def entries(
    kafka: KafkaSettings, partition: int, *, start: int, end: int
) -> AsyncGenerator[EntryAndOffset, None]:
    """The entries of [start, end) and their journal offsets. Raises Unavailable."""
    async for batch in reading.between(kafka, topic_of(kafka), partition, start=start, end=end):
        for entry, offset in decoded(batch):
            yield entry, offset


def decoded(batch: Iterable[ConsumerRecord]) -> Iterator[EntryAndOffset]:
    """The entries among these journal records, and their offsets. What no owner can have written is passed over."""
    for item in batch:
        entry = _entry(item)
        if entry is not None:
            yield entry, item.offset


def _entry(record: ConsumerRecord) -> Entry | None:
    """The entry that a journal record is; None for another record of an owner's, and for what cannot be read."""
    if record.key in (DIGEST_KEY, FENCE_KEY):
        return None
    try:
        return decode(record.value)
    except ValueError as error:
        log.error("journal entry unreadable", partition=record.partition, offset=record.offset, reason=str(error))  # noqa: TRY400
        return None


async def digests(kafka: KafkaSettings, partition: int, *, newest: int) -> AsyncGenerator[Digest, None]:
    """The digest at this offset and those before it, as long as they exist. Raises Unavailable."""
    offset: int | None = newest
    async with reading.seeking(kafka, topic_of(kafka), partition) as record_at:
        while offset is not None:
            record = await record_at(offset)
            if record is None or record.key != DIGEST_KEY:
                return
            try:
                digest = decode_digest(record.value)
            except ValueError as error:
                log.error("digest unreadable", partition=partition, offset=offset, reason=str(error))  # noqa: TRY400
                return
            yield digest
            offset = digest.previous


async def entry_at(kafka: KafkaSettings, partition: int, offset: int) -> Entry | None:
    """The entry at an offset, None when it is gone. Raises Unavailable."""
    async with reading.seeking(kafka, topic_of(kafka), partition) as record_at:
        record = await record_at(offset)
    return _entry(record) if record is not None else None


async def offset_of(kafka: KafkaSettings, partition: int, moment: datetime) -> int | None:
    """The offset of the first entry that is not older than the moment; None when there is none. Raises Unavailable."""
    return await reading.offset_at(kafka, topic_of(kafka), partition, moment)
