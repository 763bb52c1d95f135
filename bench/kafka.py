"""The broker under the measurements: embedded, or the one that KAFKA_BOOTSTRAP_SERVERS names; topics and offsets."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from connector.dev.broker import Broker
from connector.kafka.sending import batches

# A topic that is new has no leaders for a moment, of which the client complains loudly.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

PARTITIONS = 6
SETTLE_SECONDS = 6.0

# As Kafka's own start script has it; the small heap of `make dev` is often full under load.
JVM = (
    "-XX:-UseSerialGC",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-Xms1g",
    "-Xmx1g",
)


@contextlib.asynccontextmanager
async def broker() -> AsyncIterator[str]:
    """host:port of a broker that may be loaded."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    embedded = await Broker(jvm=JVM).start()
    try:
        yield embedded.bootstrap_servers
    finally:
        await embedded.stop(gracefully=False)


async def create(servers: str, names: Sequence[str], *, partitions: int = PARTITIONS) -> None:
    """Create topics that a baseline or a peer writes to."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    finally:
        await admin.close()
    await asyncio.sleep(0.3)


async def delete(servers: str, prefix: str) -> None:
    """Delete the topics of a prefix: a given broker outlives the measurement."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(f"{prefix}.")])
    finally:
        await admin.close()


@contextlib.asynccontextmanager
async def reader(servers: str, *, committed: bool = True) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def places(topic: str, partitions: int = PARTITIONS) -> list[TopicPartition]:
    """Every partition of a topic."""
    return [TopicPartition(topic, number) for number in range(partitions)]


async def count(consumer: AIOKafkaConsumer, topic: str) -> int:
    """How many offsets the topic has: its records, where nobody writes transactions."""
    return sum((await consumer.end_offsets(places(topic))).values())


async def settled(consumer: AIOKafkaConsumer, topic: str, *, least: int) -> int:
    """The count as soon as it has reached `least` and does not grow any more; after some seconds in any case."""
    deadline, last = time.monotonic() + SETTLE_SECONDS, -1
    while time.monotonic() < deadline:
        found = await count(consumer, topic)
        if found >= least and found == last:
            break
        last = found
        await asyncio.sleep(0.2)
    return last


class Arrivals:
    """Reads a topic as it grows: `times[id]` is when the record with this id was first seen, on the monotonic clock."""

    def __init__(self, servers: str, topic: str, identify: Callable[[ConsumerRecord], str | None]) -> None:
        self.times: dict[str, float] = {}
        self.order: list[str] = []
        self.repeated = 0
        self.grown = asyncio.Event()
        self._servers = servers
        self._topic = topic
        self._identify = identify
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read(), name=f"arrivals-{self._topic}")
        return self

    async def __aexit__(self, *_reason: object) -> None:
        assert self._task is not None  # noqa: S101 - entered before
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _read(self) -> None:
        async with reader(self._servers) as consumer:
            consumer.assign(places(self._topic))
            while True:
                for records in (await consumer.getmany(timeout_ms=100, max_records=5000)).values():
                    moment = time.monotonic()
                    for record in records:
                        self._note(record, moment)
                self.grown.set()

    def _note(self, record: ConsumerRecord, moment: float) -> None:
        name = self._identify(record)
        if name is None:
            return
        if name in self.times:
            self.repeated += 1
            return
        self.times[name] = moment
        self.order.append(name)

    async def wait(self, number: int, *, within: float) -> None:
        """Wait until so many have arrived; raises TimeoutError with how many did."""
        deadline = time.monotonic() + within
        while len(self.times) < number:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.times)} of {number} records arrived in {self._topic}.")
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def writer(servers: str) -> AsyncIterator[AIOKafkaProducer]:
    """A producer for what is prepared."""
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", max_batch_size=262_144)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def partition_of(key: bytes, partitions: int = PARTITIONS) -> int:
    """Where the preparation puts a key: as Kafka's default partitioner does."""
    return batches.partition_of(key, partitions)


async def preload(producer: AIOKafkaProducer, topic: str, records: Sequence[tuple[bytes, bytes]]) -> None:
    """Write (key, value) records in full batches."""
    by_partition: list[list[tuple[bytes, bytes]]] = [[] for _ in range(PARTITIONS)]
    for key, value in records:
        by_partition[partition_of(key)].append((key, value))
    for partition, rows in enumerate(by_partition):
        position = 0
        while position < len(rows):
            batch = producer.create_batch()
            while position < len(rows) and batch.append(key=rows[position][0], value=rows[position][1], timestamp=None):
                position += 1
            await (await producer.send_batch(batch, topic, partition=partition))
