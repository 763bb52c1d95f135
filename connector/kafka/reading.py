"""Reading topics without a group: their bounds, between two offsets, at an offset, from a moment on, the newest.

What is read is committed. Functions that take settings raise Unavailable when Kafka does not answer, or not in time.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from heapq import heappop, heappush
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError, OffsetOutOfRangeError

from connector.errors import Unavailable
from connector.events import Position, now
from connector.kafka import aiokafka_internals, clients, failures
from connector.process.rhythm import until_next
from connector.settings import KafkaSettings

POLL_MS = 200
# Of readers that nothing else waits for. What comes is read at once in any case.
QUIET_MS = 2_000
BUSY_FETCH_MS = 500
BUSY_SECONDS = 10.0
# A fetch may hold thousands of small records. What readers do with one takes some tenths of a millisecond.
RECORDS_IN_A_TURN = 100
ANSWER_SECONDS = 10.0
BRIEF_SECONDS = 5.0
# Without any progress: an open transaction holds readers back.
PROGRESS_SECONDS = 30.0
# For people who look at records.
FIND_SECONDS = 5.0
# Records of one partition that wait for older ones of others.
AHEAD = 2_000
# Small fetches: a reader of two hundred partitions holds one of each in memory.
NEWEST_FETCH_BYTES = 64 * 1024
CHECK_SECONDS = 1.0

Ends = Mapping[TopicPartition, int]
RecordAt = Callable[[int], Awaitable[ConsumerRecord | None]]


@dataclass(frozen=True, slots=True)
class Start:
    """Where reading begins in each partition of a topic: at its first record, unless one of these is later.

    `records` before the end; the first one of `since` on, a moment or so long ago; `offset`.
    """

    records: int | None = None
    since: datetime | timedelta | None = None
    offset: int = 0


END = Start(records=0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of their partitions, and how many were skipped before them, by topic.

    `is_live`: the past has been read.
    """

    records: Sequence[ConsumerRecord]
    skipped: Mapping[str, int]
    is_live: bool


# --- a consumer without a group ---------------------------------------------------------------------------------------
async def assign(consumer: AIOKafkaConsumer, starts: Mapping[str, Start]) -> Ends:
    """Assign every partition of these topics and seek; where each partition ends.

    Raises Unavailable, also when a topic does not exist.
    """
    with failures.reading("Topics cannot be read"):
        async with asyncio.timeout(PROGRESS_SECONDS):
            partitions = await aiokafka_internals.partitions_of(consumer, list(starts))
            for topic in starts:
                if topic not in partitions:
                    raise Unavailable(f"Topic {topic} does not exist; create it with `twilio-kafka topics apply`.")
            assigned = [TopicPartition(topic, number) for topic in starts for number in partitions[topic]]
            consumer.assign(assigned)
            ends = await patiently(consumer.end_offsets, assigned)
            for partition, offset in (await offsets_of(consumer, starts, ends)).items():
                consumer.seek(partition, offset)
    return ends


async def offsets_of(consumer: AIOKafkaConsumer, starts: Mapping[str, Start], ends: Ends) -> Ends:
    """The offset that reading begins at in each of these partitions."""
    firsts = await patiently(consumer.beginning_offsets, list(ends))
    moments = {partition: milliseconds(since) for partition in ends if (since := starts[partition.topic].since)}
    dated = await patiently(consumer.offsets_for_times, moments) if moments else {}
    offsets = {}
    for partition, end in ends.items():
        start = starts[partition.topic]
        offset = max(firsts[partition], start.offset, 0 if start.records is None else end - start.records)
        if partition in moments:
            # None: every record is older.
            offset = max(offset, dated[partition].offset if dated.get(partition) else end)
        offsets[partition] = offset
    return offsets


async def patiently(
    ask: Callable[[Any], Awaitable[dict[TopicPartition, Any]]], wanted: Any
) -> dict[TopicPartition, Any]:
    """What the broker says of these partitions, asked again while it is too busy: the caller's own timeout ends it."""
    while True:
        with suppress(KafkaTimeoutError):
            return await ask(wanted)


def milliseconds(since: datetime | timedelta) -> int:
    """Kafka's number for a moment, or for one so long ago."""
    moment = since if isinstance(since, datetime) else now() - since
    return int(moment.timestamp() * 1000)


async def fetch(
    consumer: AIOKafkaConsumer,
    *partitions: TopicPartition,
    at_most: int = RECORDS_IN_A_TURN,
    wait_ms: int = POLL_MS,
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    """The next records of these partitions, or of all that are assigned; none when none come soon.

    The event loop turns before each portion: a large fetch does not hold up heartbeats, callbacks and deadlines.
    Raises what the client raises.
    """
    await asyncio.sleep(0)
    records: Mapping[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
        *partitions, timeout_ms=wait_ms, max_records=at_most
    )
    return records


class Patience:
    """How long the broker waits for records before it answers a consumer that there are none.

    A partition that is resumed is fetched once the others' fetch is answered: while records come, or some are paused,
    that is soon.
    """

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self._busy_until = 0.0

    def adapt(self, *, came: bool) -> None:
        """Records have come just now, or none."""
        moment = time.monotonic()
        if came or (moment >= self._busy_until and self._consumer.paused()):
            self._busy_until = moment + BUSY_SECONDS
        wait_ms = BUSY_FETCH_MS if moment < self._busy_until else QUIET_MS
        aiokafka_internals.wait_for_records(self._consumer, wait_ms)


async def records(consumer: AIOKafkaConsumer) -> AsyncGenerator[ConsumerRecord, None]:
    """The records of what is assigned, in the order of time as far as they come together; for ever."""
    while True:
        with failures.reading("Topics cannot be read"):
            fetched = await fetch(consumer, wait_ms=int(until_next(QUIET_MS / 1000) * 1000))
        for record in sorted(chain.from_iterable(fetched.values()), key=_timestamp):
            yield record


async def unread(consumer: AIOKafkaConsumer, ends: Ends) -> list[TopicPartition]:
    """The partitions that have not been read up to these ends."""
    return [partition for partition, end in ends.items() if await consumer.position(partition) < end]


def behind(consumer: AIOKafkaConsumer, where: TopicPartition, end: int) -> int:
    """How many records were not read at the last fetch, when those before `end` were delivered.

    Markers of transactions at the end are read, though nothing of them is delivered.
    """
    read = max(end, aiokafka_internals.position(consumer, where) or 0)
    return max(0, (consumer.highwater(where) or 0) - read)


async def is_answered(kafka: KafkaSettings, topic: str) -> bool:
    """Whether a new client finds a broker that knows the leader of the topic's first partition."""
    with suppress(KafkaError, Unavailable, OSError, TimeoutError):
        async with asyncio.timeout(BRIEF_SECONDS), clients.reading(kafka) as consumer:
            await consumer.end_offsets([TopicPartition(topic, 0)])
            return True
    return False


# --- one partition of topics ------------------------------------------------------------------------------------------
async def bounds(
    kafka: KafkaSettings, topics: Iterable[str], partition: int, *, committed: bool = False
) -> Mapping[str, tuple[int, int]]:
    """For each topic the partition's first offset and its end, open transactions included unless `committed`."""
    wanted = [TopicPartition(topic, partition) for topic in topics]
    async with clients.reading(kafka, committed=committed) as consumer:
        with failures.reading(f"Offsets of partition {partition} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                starts = await patiently(consumer.beginning_offsets, wanted)
                ends = await patiently(consumer.end_offsets, wanted)
    return {found.topic: (starts[found], ends[found]) for found in wanted}


async def end_of(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """The partition's high watermark: records of open transactions are included."""
    return (await bounds(kafka, [topic], partition))[topic][1]


async def between(
    kafka: KafkaSettings, topic: str, partition: int, *, start: int = 0, end: int, is_whole: bool = False
) -> AsyncGenerator[list[ConsumerRecord], None]:
    """The committed records of [start, end), in batches.

    The end is a high watermark, taken after the fencing producer has been opened: an open transaction below it is
    waited for, as long as there is progress. Raises Unavailable; where it must be `is_whole`, also when records from
    the start on are gone, as after their retention.
    """
    if start >= end:
        return
    wanted = TopicPartition(topic, partition)
    async with clients.reading(kafka, auto_offset_reset="none" if is_whole else "earliest") as consumer:
        consumer.assign([wanted])
        consumer.seek(wanted, start)
        position = start
        while position < end:
            with failures.reading(f"{topic} partition {partition} cannot be read"):
                async with asyncio.timeout(PROGRESS_SECONDS):
                    batch, position = await _next(consumer, wanted, position, end)
            if batch:
                yield batch


async def _next(
    consumer: AIOKafkaConsumer, partition: TopicPartition, position: int, end: int
) -> tuple[list[ConsumerRecord], int]:
    """The next records below `end`, none when there are no more, and the position behind them."""
    batch: list[ConsumerRecord] = []
    while not batch and position < end:
        fetched = await fetch(consumer, partition)
        batch = [record for record in fetched.get(partition, ()) if record.offset < end]
        position = await consumer.position(partition)
    return batch, position


async def holds_back(kafka: KafkaSettings, topic: str) -> bool:
    """Whether an open transaction keeps readers of committed records from the end of some partition.

    Raises Unavailable.
    """
    async with clients.reading(kafka) as committed, clients.reading(kafka, committed=False) as uncommitted:
        ends = await assign(uncommitted, {topic: END})
        with failures.reading(f"Offsets of {topic} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                visible = await patiently(committed.end_offsets, list(ends))
    return any(visible[partition] < end for partition, end in ends.items())


async def offset_at(kafka: KafkaSettings, topic: str, partition: int, moment: datetime) -> int | None:
    """The offset of the first record that is not older than the moment; None when there is none."""
    wanted = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        with failures.reading(f"{topic} partition {partition} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                offsets = await patiently(consumer.offsets_for_times, {wanted: milliseconds(moment)})
    return offsets[wanted].offset if offsets.get(wanted) else None


# --- single records ---------------------------------------------------------------------------------------------------
@asynccontextmanager
async def seeking(kafka: KafkaSettings, topic: str, partition: int) -> AsyncIterator[RecordAt]:
    """A function that gives the committed record at an offset, None when there is none.

    One whose transaction is still open is waited for.
    """
    async with clients.reading(kafka, auto_offset_reset="none") as consumer:
        yield partial(_record_at, consumer, TopicPartition(topic, partition))


async def _record_at(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> ConsumerRecord | None:
    # Assigned anew, it knows no end until the next fetch tells it.
    consumer.assign([partition])
    consumer.seek(partition, offset)
    with failures.reading(f"{partition.topic} partition {partition.partition} cannot be read"):
        async with asyncio.timeout(PROGRESS_SECONDS):
            with suppress(OffsetOutOfRangeError):
                while not await _is_past(consumer, partition, offset):
                    for record in (await fetch(consumer, partition, at_most=1)).get(partition, ()):
                        return record if record.offset == offset else None
    return None


async def _is_past(consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> bool:
    end = consumer.highwater(partition)
    return await consumer.position(partition) > offset or (end is not None and end <= offset)


async def records_at(kafka: KafkaSettings, positions: Sequence[Position]) -> dict[Position, ConsumerRecord]:
    """The committed records at these positions; what is gone, or not found within seconds, is left out."""
    found: dict[Position, ConsumerRecord] = {}
    async with clients.reading(kafka, auto_offset_reset="none") as consumer:
        with failures.reading("Records cannot be read"), suppress(TimeoutError):
            async with asyncio.timeout(FIND_SECONDS):
                # Of a partition that does not exist the client would ask in vain until the time is over.
                existing = await aiokafka_internals.partitions_of(consumer, [position.topic for position in positions])
                for position in positions:
                    topic, partition, offset = position
                    if partition in existing.get(topic, ()):
                        record = await _record_at(consumer, TopicPartition(topic, partition), offset)
                        if record is not None:
                            found[position] = record
    return found


# --- for people -------------------------------------------------------------------------------------------------------
async def follow(
    kafka: KafkaSettings, topics: Sequence[str], *, since: datetime | None = None, until_end: bool = False
) -> AsyncGenerator[ConsumerRecord, None]:
    """Committed records of these topics: from now on, or from a moment on; for ever, or to the present end.

    The past comes in the order of time over all partitions, the present as far as it arrives together.
    """
    async with clients.reading(kafka) as consumer:
        ends = await assign(consumer, dict.fromkeys(topics, Start(since=since) if since else END))
        async with aclosing(_past(consumer, ends)) as past:
            async for record in past:
                yield record
        if not until_end:
            async with aclosing(records(consumer)) as present:
                async for record in present:
                    yield record


async def _past(consumer: AIOKafkaConsumer, ends: Ends) -> AsyncGenerator[ConsumerRecord, None]:
    """The records up to these ends, merged by their time; a partition that is far ahead of the others waits."""
    queues: dict[TopicPartition, deque[ConsumerRecord]] = {partition: deque() for partition in ends}
    heads: list[tuple[int, TopicPartition]] = []
    released = 0
    while True:
        left = set(await unread(consumer, ends))
        empty = {partition for partition in left if not queues[partition]}
        while heads and not empty:
            _, partition = heappop(heads)
            yield queues[partition].popleft()
            released += 1
            if released % RECORDS_IN_A_TURN == 0:
                # Thousands may have waited for the oldest record of another partition.
                await asyncio.sleep(0)
            if queues[partition]:
                heappush(heads, (_timestamp(queues[partition][0]), partition))
            elif partition in left:
                empty.add(partition)
        if not left:
            return
        # Pausing the others would throw away what the client has of them.
        behind = [partition for partition in left if len(queues[partition]) < AHEAD]
        with failures.reading("Topics cannot be read"):
            fetched = await fetch(consumer, *behind)
        for partition, batch in fetched.items():
            if not queues[partition]:
                heappush(heads, (_timestamp(batch[0]), partition))
            queues[partition].extend(batch)


def _timestamp(record: ConsumerRecord) -> int:
    return int(record.timestamp)


async def newest(
    kafka: KafkaSettings, starts: Mapping[str, Start], *, behind: int = 2_000
) -> AsyncGenerator[Batch, None]:
    """Batches for ever, empty ones included, never far behind.

    When records come faster than they are taken, the older ones are skipped: a partition that is more than `behind`
    records late goes on at its newest.
    """
    async with clients.reading(kafka, max_partition_fetch_bytes=NEWEST_FETCH_BYTES) as consumer:
        ends = await assign(consumer, starts)
        clock = asyncio.get_running_loop().time
        checked, is_live = clock(), False
        while True:
            with failures.reading("Topics cannot be read"):
                fetched = await fetch(consumer)
            skipped: Mapping[str, int] = {}
            if clock() - checked >= CHECK_SECONDS:
                checked = clock()
                skipped = await _skip(consumer, starts, behind)
            is_live = is_live or not await unread(consumer, ends)
            yield Batch([record for batch in fetched.values() for record in batch], skipped, is_live)


async def _skip(consumer: AIOKafkaConsumer, starts: Mapping[str, Start], behind: int) -> Mapping[str, int]:
    skipped: dict[str, int] = {}
    for partition in consumer.assignment():
        end = consumer.highwater(partition)
        position = await consumer.position(partition)
        if end is not None and end - position > behind:
            depth = starts[partition.topic].records
            target = end - (behind if depth is None else min(depth, behind))
            consumer.seek(partition, target)
            skipped[partition.topic] = skipped.get(partition.topic, 0) + target - position
    return skipped
