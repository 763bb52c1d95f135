"""Records of many callers in shared batches: while one batch of a partition is on its way, the next one fills.

The client's own `send` costs a future, a wrapper and a look at the clock for each record; here a batch has one of each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from random import randrange
from struct import Struct

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connector.errors import Unacknowledged, Unavailable
from connector.events import Record
from connector.kafka import clients, failures
from connector.kafka.aiokafka_internals import BatchBuilder
from connector.settings import KafkaSettings

# Brokers answer in milliseconds; a partition that has no leader, or too few replicas, does not.
ACK_SECONDS = 8.0
# The number of a topic's partitions may change; the client, too, learns of it within minutes.
COUNTED_SECONDS = 60.0

# murmur2, as org.apache.kafka.common.utils.Utils writes it.
SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
WORD = 0xFFFFFFFF
# A message has three or four callbacks within seconds; this is a few minutes of them.
REMEMBERED_KEYS = 8192

SCHEMA_HEADERS: dict[str, tuple[str, bytes]] = {}
"""For a topic the header that names the schema of its values, where a registry knows it: one for the process."""


class Write:
    """The records of one call: `done` has their offsets when all are acknowledged, or raises why they are not."""

    __slots__ = ("_left", "_offsets", "done")

    def __init__(self, count: int) -> None:
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._offsets = [0] * count
        self._left = count

    def acknowledge(self, index: int, offset: int) -> None:
        """Note the offset of one of the records."""
        self._offsets[index] = offset
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(self._offsets)

    def fail(self, error: Exception) -> None:
        """Let the call fail: one of its records was refused, or its fate is unknown."""
        if not self.done.done():
            self.done.set_exception(error)
            # The caller may no longer await it.
            self.done.exception()


class Batch:
    """Records of one partition that are sent together, and the calls that they belong to; `schema` is for each."""

    __slots__ = ("_records", "_schema", "builder", "deadline", "opened")

    def __init__(self, builder: BatchBuilder, schema: tuple[str, bytes] | None = None) -> None:
        self.opened = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        self.builder = builder
        self._schema = schema
        self._records: list[tuple[Write, int]] = []

    def add(self, record: Record, write: Write, index: int) -> bool:
        """Take a record in, unless the batch is full. The first one fits, whatever its size."""
        key, value = record.key, record.value
        headers = record.headers if self._schema is None else [*record.headers, self._schema]
        if key is None and value is None:
            # The client insists on a key or a value.
            value = b""
        if self.builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self._records.append((write, index))
        return True

    def acknowledge(self, offset: int) -> None:
        """Tell the calls that their records are stored, the first one at this offset."""
        for at, (write, index) in enumerate(self._ended(), offset):
            write.acknowledge(index, at)

    def fail(self, error: Exception) -> None:
        """Tell the calls that a record was refused or that the fate of theirs is unknown."""
        for write, _ in self._ended():
            write.fail(error)

    def _ended(self) -> Sequence[tuple[Write, int]]:
        """The records whose calls still wait; there are none after the first call."""
        if self.deadline is not None:
            self.deadline.cancel()
        records, self._records = self._records, []
        return records


class Lane:
    """One partition: `filling` takes records, `full` is sent before it, `sending` is on its way."""

    __slots__ = ("filling", "full", "partition", "sending", "task", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.filling: Batch | None = None
        self.full: deque[Batch] = deque()
        self.sending: Batch | None = None
        self.task: asyncio.Task[None] | None = None

    def has_waited(self, seconds: float) -> bool:
        """Whether its next acknowledgement is this late."""
        first = self.sending or (self.full[0] if self.full else self.filling)
        return first is not None and time.monotonic() - first.opened >= seconds

    def take(self) -> Iterator[Batch]:
        """The batches in their order, each taken out; also those that come meanwhile."""
        while True:
            if self.full:
                yield self.full.popleft()
            elif self.filling is not None:
                batch, self.filling = self.filling, None
                yield batch
            else:
                return

    def drop(self, batch: Batch) -> None:
        """Never send this batch, unless it has left."""
        if batch is self.filling:
            self.filling = None
        elif batch in self.full:
            self.full.remove(batch)


class Batcher:
    """Shares the batches of one idempotent producer, transactional or not. It is of no more use after a failure.

    `acknowledged` is called with the seconds that a batch took, `late` when one is not acknowledged in time, `failed`
    with what went wrong: it returns what the callers are told.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        acknowledged: Callable[[float], None] = lambda _seconds: None,
        late: Callable[[], None] = lambda: None,
        failed: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        self._producer = producer
        self._acknowledged = acknowledged
        self._late = late
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._counts: dict[str, tuple[int, float]] = {}

    async def write(self, records: Sequence[Record], *, seconds: float | None = None) -> list[int]:
        """Return the offsets of these records when all are acknowledged; those of a partition keep their order.

        In a transaction they are visible when it is committed. Raises Superseded, Unwritable with the topic that
        refuses a record, and Unavailable; Unacknowledged when a batch is not acknowledged so many seconds after its
        first record came: its records may still arrive.
        """
        return await (await self.enqueue(records, seconds=seconds))

    async def enqueue(self, records: Sequence[Record], *, seconds: float | None = None) -> "asyncio.Future[list[int]]":
        """Put the records into batches; what is returned has their offsets when all are acknowledged."""
        now = self._loop.time()
        for record in records:
            if record.partition is None and self._counts.get(record.topic, (0, 0.0))[1] < now:
                await self._count(record.topic, seconds)
        write = Write(len(records))
        if not records:
            write.done.set_result([])
        for index, record in enumerate(records):
            try:
                is_full = self._add(record, write, index, seconds)
            except failures.CHECKS as error:
                raise failures.of_record(record.topic, error) from error
            if is_full:
                # A full batch travels while the next one fills.
                await asyncio.sleep(0)
        return write.done

    async def _count(self, topic: str, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                count = len(await self._producer.partitions_for(topic))
        except (KafkaError, *failures.CHECKS) as error:
            raise failures.of_record(topic, error) from error
        self._counts[topic] = count, self._loop.time() + COUNTED_SECONDS

    def _partition(self, record: Record) -> int:
        if record.partition is not None:
            return record.partition
        count = self._counts[record.topic][0]
        return randrange(count) if record.key is None else partition_of(record.key, count)  # noqa: S311 - spreading

    def _add(self, record: Record, write: Write, index: int, seconds: float | None) -> bool:
        """Whether a batch has become full."""
        key = record.topic, self._partition(record)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(*key)
        is_full = lane.filling is not None and not lane.filling.add(record, write, index)
        if lane.filling is None or is_full:
            self._open(lane, seconds).add(record, write, index)
        if lane.task is None:
            lane.task = self._loop.create_task(self._drain(lane), name=f"batches-{lane.topic}-{lane.partition}")
        return is_full

    def _open(self, lane: Lane, seconds: float | None) -> Batch:
        if lane.filling is not None:
            lane.full.append(lane.filling)
        batch = lane.filling = Batch(self._producer.create_batch(), SCHEMA_HEADERS.get(lane.topic))
        if seconds is not None:
            batch.deadline = self._loop.call_later(seconds, self._expire, lane, batch, seconds)
        return batch

    def _expire(self, lane: Lane, batch: Batch, seconds: float) -> None:
        lane.drop(batch)
        # What was written at the same time expires at nearly the same time.
        silent = sorted({lane.topic, *(other.topic for other in self._lanes.values() if other.has_waited(seconds / 2))})
        told = f"Kafka has not acknowledged records of {', '.join(silent)} within {seconds:g} s."
        batch.fail(Unacknowledged(told, topic=lane.topic if len(silent) == 1 else None))
        self._late()

    async def _drain(self, lane: Lane) -> None:
        """Send one batch after the other; records that come in this turn of the loop are in the first one."""
        try:
            for batch in lane.take():
                lane.sending = batch
                await self._send(lane, batch)
        finally:
            lane.sending = lane.task = None

    async def _send(self, lane: Lane, batch: Batch) -> None:
        try:
            sent = await self._producer.send_batch(batch.builder, lane.topic, partition=lane.partition)
            metadata = await sent
        except asyncio.CancelledError:
            # By `end`, or by the client when it is stopped.
            self._give_up(batch, Unavailable("The Kafka client has ended before it acknowledged."))
        except Exception as error:  # noqa: BLE001 - whatever it is, this producer is of no more use
            self._give_up(batch, failures.of_record(lane.topic, error))
        else:
            batch.acknowledge(metadata.offset)
            self._acknowledged(time.monotonic() - batch.opened)

    def _give_up(self, batch: Batch, error: Exception) -> None:
        told = self._failed(error)
        batch.fail(told)
        self.end(told)

    def end(self, error: Exception) -> None:
        """Fail everything that waits, and send nothing more."""
        for lane in self._lanes.values():
            for batch in lane.take():
                batch.fail(error)
            if lane.task is not None:
                lane.task.cancel()


@lru_cache(maxsize=REMEMBERED_KEYS)
def partition_of(key: bytes, count: int) -> int:
    """The partition of a key among `count`: where Kafka's Java client and most others place it.

    The client's own function, pure Python as well, takes twice as long.
    """
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned."""
    length = len(data)
    value = SEED ^ length
    for word in _words(length // 4).unpack_from(data):
        mixed = word * MULTIPLIER & WORD
        value = (value * MULTIPLIER ^ (mixed ^ mixed >> 24) * MULTIPLIER) & WORD
    if rest := data[length & ~3 :]:
        value = (value ^ int.from_bytes(rest, "little")) * MULTIPLIER & WORD
    value = (value ^ value >> 13) * MULTIPLIER & WORD
    return value ^ value >> 15


@lru_cache(maxsize=64)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")


async def send(kafka: KafkaSettings, *records: Record) -> None:
    """Write a few records with a producer of their own and wait until all are acknowledged.

    Raises Unavailable, Unwritable.
    """
    topics = ", ".join(dict.fromkeys(record.topic for record in records))
    producer = await clients.start(clients.producer(kafka))
    try:
        with failures.writing(f"A record for {topics} was not acknowledged"):
            async with asyncio.timeout(clients.START_SECONDS):
                await Batcher(producer).write(records)
    finally:
        await clients.end(producer)
