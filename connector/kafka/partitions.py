"""Reading a partition: to its end for restoring a state, or single records."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from connector.errors import Unavailable
from connector.kafka import clients, failures, reading
from connector.settings import KafkaSettings

# Without any progress.
RESTORE_SECONDS = 30.0
ANSWER_SECONDS = 10.0

RecordAt = Callable[[int], Awaitable[ConsumerRecord | None]]


async def high_watermark(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """The partition's end, records of open transactions included. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka, committed=False) as consumer:
        with failures.reading(f"{topic} partition {partition} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                ends: Mapping[TopicPartition, int] = await consumer.end_offsets([where])
    return ends[where]


async def assign(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Mapping[TopicPartition, int]:
    """Assign every partition of these topics to a reader; where each ends. Raises Unavailable, also without a topic."""
    places: list[TopicPartition] = []
    try:
        await consumer._client.force_metadata_update()  # noqa: SLF001 - the public way knows only subscribed topics
        for topic in topics:
            found = await consumer._client._wait_on_metadata(topic) and consumer.partitions_for_topic(topic)  # noqa: SLF001
            if not found:
                raise Unavailable(f"Topic {topic} does not exist; create it with `twilio-kafka topics apply`.")
            places += [TopicPartition(topic, partition) for partition in sorted(found)]
        consumer.assign(places)
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
    except KafkaError as error:
        raise Unavailable(clients.reason(error)) from error
    return ends


async def bounds(kafka: KafkaSettings, topics: Iterable[str], partition: int) -> Mapping[str, tuple[int, int]]:
    """For each topic the partition's first offset and its end, open transactions included. Raises Unavailable."""
    places = [TopicPartition(topic, partition) for topic in topics]
    async with clients.reading(kafka, committed=False) as consumer:
        with failures.reading(f"Offsets of partition {partition} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                starts: Mapping[TopicPartition, int] = await consumer.beginning_offsets(places)
                ends: Mapping[TopicPartition, int] = await consumer.end_offsets(places)
    return {place.topic: (starts[place], ends[place]) for place in places}


async def read(
    kafka: KafkaSettings, topic: str, partition: int, *, start: int = 0, end: int
) -> AsyncGenerator[list[ConsumerRecord], None]:
    """The committed records of [start, end), in batches; call it after the fencing producer has been opened.

    The end is a high watermark: an open transaction below it is waited for, bounded by half a minute without progress.
    Raises Unavailable.
    """
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        consumer.assign([where])
        consumer.seek(where, start)
        with failures.reading(f"{topic} partition {partition} cannot be read"):
            position = start
            while position < end:
                async with asyncio.timeout(RESTORE_SECONDS):
                    batch, position = await _next(consumer, where, position, end)
                if batch:
                    yield batch


async def _next(
    consumer: AIOKafkaConsumer, where: TopicPartition, position: int, end: int
) -> tuple[list[ConsumerRecord], int]:
    """The next records below `end`, none when there are no more, and the position behind them."""
    batch: list[ConsumerRecord] = []
    while not batch and position < end:
        fetched = await reading.fetch(consumer, where)
        batch = [record for record in fetched.get(where, ()) if record.offset < end]
        position = await consumer.position(where)
    return batch, position


@asynccontextmanager
async def seeking(kafka: KafkaSettings, topic: str, partition: int) -> AsyncIterator[RecordAt]:
    """A function that gives the committed record at an offset, None when it is gone. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka, auto_offset_reset="none") as consumer:
        consumer.assign([where])

        async def record_at(offset: int) -> ConsumerRecord | None:
            consumer.seek(where, offset)
            with failures.reading(f"{topic} partition {partition} cannot be read"), suppress(OffsetOutOfRangeError):
                async with asyncio.timeout(RESTORE_SECONDS):
                    while await consumer.position(where) <= offset:
                        fetched = await reading.fetch(consumer, where, at_most=1)
                        for record in fetched.get(where, ()):
                            return record if record.offset == offset else None
            return None

        yield record_at


async def offset_at(kafka: KafkaSettings, topic: str, partition: int, moment: datetime) -> int | None:
    """The first offset whose record is not older than the moment; None when there is none. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        with failures.reading(f"{topic} partition {partition} cannot be read"):
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await consumer.offsets_for_times({where: int(moment.timestamp() * 1000)})
    return found[where].offset if found.get(where) else None
