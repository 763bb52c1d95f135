"""The newest records of many topics without a group: a bounded number of the past, and never far behind.

For people who look: when records come faster than they are taken, the older ones are skipped.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connector.errors import Unavailable
from connector.kafka import clients, failures, partitions, reading
from connector.settings import KafkaSettings

# Small fetches: a reader of two hundred partitions holds one of each in memory.
FETCH_BYTES = 64 * 1024
CHECK_SECONDS = 1.0
FIND_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of a topic's past is read: at most so many records of each partition, and none older than `back`."""

    records: int
    back: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in the order of their partitions, and how many were skipped before them, by topic.

    `is_live`: the past has been read.
    """

    records: Sequence[ConsumerRecord]
    skipped: Mapping[str, int]
    is_live: bool


async def batches(
    kafka: KafkaSettings, topics: Mapping[str, Depth], *, behind: int = 2_000
) -> AsyncGenerator[Batch, None]:
    """Batches for ever, empty ones included. A partition that is further behind than that goes on at its newest.

    Raises Unavailable when no broker answers at the start, or a topic does not exist.
    """
    async with clients.reading(kafka, max_partition_fetch_bytes=FETCH_BYTES) as consumer:
        ends = await _assign_and_seek(consumer, topics)
        clock = asyncio.get_running_loop().time
        checked, is_live = clock(), False
        while True:
            with failures.reading("Topics cannot be read"):
                fetched = await reading.fetch(consumer)
            skipped: Mapping[str, int] = {}
            if clock() - checked >= CHECK_SECONDS:
                checked = clock()
                skipped = await _skip(consumer, topics, behind)
            is_live = is_live or all([await consumer.position(place) >= end for place, end in ends.items()])
            yield Batch([record for records in fetched.values() for record in records], skipped, is_live)


async def _assign_and_seek(consumer: AIOKafkaConsumer, topics: Mapping[str, Depth]) -> Mapping[TopicPartition, int]:
    """Assign every partition and seek; returns where they end."""
    ends = await partitions.assign(consumer, topics)
    with failures.reading("Topics cannot be read"):
        starts = await _starts(consumer, topics, ends)
    for place, start in starts.items():
        consumer.seek(place, start)
    return ends


async def _starts(
    consumer: AIOKafkaConsumer, topics: Mapping[str, Depth], ends: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    beginnings = await consumer.beginning_offsets(list(ends))
    now = datetime.now(UTC)
    asked = {place: int((now - back).timestamp() * 1000) for place in ends if (back := topics[place.topic].back)}
    dated = await consumer.offsets_for_times(asked) if asked else {}
    starts = {}
    for place, end in ends.items():
        start = max(beginnings[place], end - topics[place.topic].records)
        if place in asked:
            start = max(start, dated[place].offset if dated.get(place) else end)
        starts[place] = start
    return starts


async def _skip(consumer: AIOKafkaConsumer, topics: Mapping[str, Depth], behind: int) -> Mapping[str, int]:
    skipped: dict[str, int] = {}
    for place in consumer.assignment():
        newest = consumer.highwater(place)
        if newest is None:
            continue
        position = await consumer.position(place)
        if newest - position > behind:
            target = newest - min(topics[place.topic].records, behind)
            consumer.seek(place, target)
            skipped[place.topic] = skipped.get(place.topic, 0) + target - position
    return skipped


async def records_at(
    kafka: KafkaSettings, places: Sequence[tuple[str, int, int]]
) -> dict[tuple[str, int, int], ConsumerRecord]:
    """The committed records at these topics, partitions and offsets; what is gone is left out. Raises Unavailable."""
    found: dict[tuple[str, int, int], ConsumerRecord] = {}
    queues: dict[TopicPartition, list[int]] = {}
    for topic, partition, offset in places:
        queues.setdefault(TopicPartition(topic, partition), []).append(offset)
    async with clients.reading(kafka) as consumer:
        try:
            async with asyncio.timeout(FIND_SECONDS):
                for place, offsets in queues.items():
                    await _find(consumer, place, sorted(offsets), found)
        except TimeoutError:
            pass
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return found


async def _find(
    consumer: AIOKafkaConsumer,
    place: TopicPartition,
    offsets: Sequence[int],
    found: dict[tuple[str, int, int], ConsumerRecord],
) -> None:
    topic, partition = place
    # Of a partition that does not exist the client would ask in vain until the time is over.
    await consumer._client._wait_on_metadata(topic)  # noqa: SLF001 - the public way knows only subscribed topics
    if partition not in (consumer.partitions_for_topic(topic) or ()):
        return
    consumer.assign([place])
    for offset in offsets:
        consumer.seek(place, offset)
        end = (await consumer.end_offsets([place]))[place]
        if offset >= end:
            return
        while await consumer.position(place) <= offset:
            fetched = await reading.fetch(consumer, place, at_most=1)
            for record in fetched.get(place, ()):
                if record.offset == offset:
                    found[place.topic, place.partition, offset] = record
