"""Send many records of one producer at once, in one batch for each partition: cheaper by far than single sends."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import randrange

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from connector.errors import Unacknowledged
from connector.events import Record
from connector.kafka import clients, failures
from connector.kafka.partitioner import partition_of
from connector.settings import KafkaSettings

# Brokers answer in milliseconds; a partition that has no leader, or too few replicas, does not.
ACK_SECONDS = 8.0


@dataclass(slots=True)
class _Batch:
    """Records of one partition; `indexes` tell which of the given ones they are."""

    target: TopicPartition
    builder: BatchBuilder
    indexes: list[int] = field(default_factory=list)

    def add(self, record: Record, index: int) -> bool:
        # The client insists on a key or a value.
        value = b"" if record.key is None and record.value is None else record.value
        if self.builder.append(timestamp=None, key=record.key, value=value, headers=record.headers) is None:
            return False
        self.indexes.append(index)
        return True


async def send_batches(producer: AIOKafkaProducer, records: Sequence[Record]) -> list[int]:
    """Return the offsets of these records when all are acknowledged; those of a partition keep their order.

    In a transaction they are visible when it is committed. Raises Superseded, Unwritable with the topic that refuses a
    record, and Unavailable; Unacknowledged when Kafka is silent for some seconds.
    """
    sent: list[tuple[_Batch, asyncio.Future[RecordMetadata]]] = []
    filling: dict[TopicPartition, _Batch] = {}
    for index, (record, target) in enumerate(zip(records, await _targets(producer, records), strict=True)):
        with failures.of_topic(record.topic):
            batch = filling.get(target)
            if batch is None or not batch.add(record, index):
                if batch is not None:
                    sent.append((batch, await _send(producer, batch)))
                    # It travels while the next ones fill.
                    await asyncio.sleep(0)
                batch = filling[target] = _Batch(target, producer.create_batch())
                batch.add(record, index)
    for batch in filling.values():
        with failures.of_topic(batch.target.topic):
            sent.append((batch, await _send(producer, batch)))
    offsets = [0] * len(records)
    for batch, metadata in await _acknowledged(sent):
        for position, index in enumerate(batch.indexes):
            offsets[index] = metadata.offset + position
    return offsets


async def _acknowledged(
    sent: Sequence[tuple[_Batch, "asyncio.Future[RecordMetadata]"]],
) -> list[tuple[_Batch, RecordMetadata]]:
    if not sent:
        return []
    futures = [future for _, future in sent]
    done, _ = await asyncio.wait(futures, timeout=ACK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
    found: list[tuple[_Batch, RecordMetadata]] = []
    for batch, future in sent:
        if future in done:
            with failures.of_topic(batch.target.topic):
                found.append((batch, future.result()))
    silent = {batch.target.topic for batch, future in sent if future not in done}
    if silent:
        names = ", ".join(sorted(silent))
        raise Unacknowledged(
            f"Kafka has not acknowledged records of {names} within {ACK_SECONDS:.0f} s.",
            topic=next(iter(silent)) if len(silent) == 1 else None,
        )
    return found


async def _send(producer: AIOKafkaProducer, batch: _Batch) -> "asyncio.Future[RecordMetadata]":
    topic, partition = batch.target
    future: asyncio.Future[RecordMetadata] = await producer.send_batch(batch.builder, topic, partition=partition)
    # Another batch may fail first; then nothing awaits this one.
    future.add_done_callback(clients.mark_retrieved)
    return future


async def _targets(producer: AIOKafkaProducer, records: Sequence[Record]) -> list[TopicPartition]:
    """The partition of each record: the one that it names, else that of its key."""
    counts: dict[str, int] = {}
    for topic in {record.topic for record in records if record.partition is None}:
        with failures.of_topic(topic):
            counts[topic] = len(await producer.partitions_for(topic))
    return [TopicPartition(record.topic, _partition(record, counts)) for record in records]


def _partition(record: Record, counts: dict[str, int]) -> int:
    if record.partition is not None:
        return record.partition
    count = counts[record.topic]
    return partition_of(record.key, count) if record.key is not None else randrange(count)  # noqa: S311 - spreading


async def send(kafka: KafkaSettings, record: Record) -> None:
    """Write one record with a producer of its own and wait for its acknowledgement. Raises Unavailable, Unwritable."""
    producer = await clients.start(clients.producer(kafka))
    try:
        with failures.writing(f"A record for {record.topic} was not acknowledged"):
            async with asyncio.timeout(clients.START_SECONDS):
                await send_batches(producer, [record])
    finally:
        await clients.end(producer)
