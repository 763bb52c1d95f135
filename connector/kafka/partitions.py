"""Reading a partition: to its end for restoring a state, or one record."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connector.errors import Unavailable
from connector.kafka import clients
from connector.settings import KafkaSettings

RESTORE_SECONDS = 30.0
POLL_MS = 200


async def high_watermark(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """The partition's end, records of open transactions included. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka, committed=False) as consumer:
        try:
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets([where])
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return ends[where]


async def read(
    kafka: KafkaSettings, topic: str, partition: int, *, start: int = 0, end: int
) -> AsyncIterator[list[ConsumerRecord]]:
    """The committed records of [start, end), in batches; call it after the fencing producer has been opened.

    The end is a high watermark: an open transaction below it is waited for, bounded by half a minute without progress.
    Raises Unavailable.
    """
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        consumer.assign([where])
        consumer.seek(where, start)
        try:
            position = await consumer.position(where)
            while position < end:
                async with asyncio.timeout(RESTORE_SECONDS):
                    batch: list[ConsumerRecord] = []
                    while not batch and position < end:
                        fetched = await consumer.getmany(where, timeout_ms=POLL_MS)
                        batch = [record for record in fetched.get(where, ()) if record.offset < end]
                        position = await consumer.position(where)
                if batch:
                    yield batch
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"{topic} partition {partition} cannot be read to its end: {error!r:.200}") from error


async def offset_at(kafka: KafkaSettings, topic: str, partition: int, moment: datetime) -> int | None:
    """The first offset whose record is not older than the moment; None when there is none. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        try:
            found = await consumer.offsets_for_times({where: int(moment.timestamp() * 1000)})
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return found[where].offset if found.get(where) else None


async def last_stable_offset(kafka: KafkaSettings, topic: str, partition: int) -> int:
    """The end of what read_committed readers can see now. Raises Unavailable."""
    where = TopicPartition(topic, partition)
    async with clients.reading(kafka) as consumer:
        try:
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets([where])
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return ends[where]
