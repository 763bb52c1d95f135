"""Records of many callers in shared batches: while one batch of a partition is on its way, the next one fills.

The client's own `send` costs a future, a wrapper and a look at the clock for each record; here a batch has one of each.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from random import randrange

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from connector import telemetry
from connector.errors import ConnectorError, Unavailable, Unwritable
from connector.events import Record
from connector.kafka.partitioner import partition_of

# How many partitions a topic has may change; the client, too, learns of it in minutes.
COUNTED_SECONDS = 60.0
# What brokers take by default, less the headers and a margin. A refused batch would fail all who share it.
LARGEST_VALUE = 1_000_000

Waiter = asyncio.Future[None]


class Batch:
    """Records of one partition that go together, and who waits for them."""

    __slots__ = ("_builder", "_waiters", "deadline", "opened")

    def __init__(self, builder: BatchBuilder) -> None:
        self.opened = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        self._builder = builder
        self._waiters: list[Waiter] = []

    def add(self, record: Record, waiter: Waiter) -> bool:
        """Take a record in, unless the batch is full. The first one fits, whatever its size."""
        key, value, headers = record.key, record.value, record.headers
        if self._builder.append(timestamp=None, key=key, value=value, headers=headers) is None:
            return False
        self._waiters.append(waiter)
        return True

    async def send(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        """Return when it is acknowledged. Raises what the client raises."""
        await (await producer.send_batch(self._builder, topic, partition=partition))

    def acknowledge(self) -> None:
        """Tell everybody that the records are stored."""
        for waiter in self._ended():
            waiter.set_result(None)

    def fail(self, error: ConnectorError) -> None:
        """Tell everybody that nobody knows."""
        for waiter in self._ended():
            waiter.set_exception(error)
            # A caller with several records may have heard of another one's failure, and listen no more.
            waiter.exception()

    def _ended(self) -> Iterator[Waiter]:
        """Who still waits; nobody does after the first call."""
        if self.deadline is not None:
            self.deadline.cancel()
        waiters, self._waiters = self._waiters, []
        return (waiter for waiter in waiters if not waiter.done())


class Lane:
    """One partition: `filling` takes records, `full` waits to be sent before it."""

    __slots__ = ("filling", "full", "task")

    def __init__(self) -> None:
        self.filling: Batch | None = None
        self.full: deque[Batch] = deque()
        self.task: asyncio.Task[None] | None = None

    def next(self) -> Batch | None:
        """The batch that goes next, taken out."""
        if self.full:
            return self.full.popleft()
        batch, self.filling = self.filling, None
        return batch

    def drop(self, batch: Batch) -> None:
        """A batch that has not left is not to leave any more."""
        if batch is self.filling:
            self.filling = None
        elif batch in self.full:
            self.full.remove(batch)


class Batches:
    """Shares the batches of one idempotent producer.

    A batch that is not acknowledged `seconds` after its first record came fails its callers and calls `late`; its
    records may still arrive. `failed` is called when the client raises: this producer is of no more use.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        *,
        seconds: float,
        acknowledged: Callable[[], None],
        late: Callable[[], None],
        failed: Callable[[], None],
    ) -> None:
        self._producer = producer
        self._seconds = seconds
        self._acknowledged = acknowledged
        self._late = late
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._counts: dict[str, tuple[int, float]] = {}

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when every record is acknowledged. Raises Unavailable, and Unwritable for a value over 1 MB."""
        waiters = [self._add(record, await self._partition(record)) for record in records]
        if len(waiters) == 1:
            await waiters[0]
        else:
            await asyncio.gather(*waiters)

    async def _partition(self, record: Record) -> int:
        if record.partition is not None:
            return record.partition
        count, until = self._counts.get(record.topic, (0, 0.0))
        if self._loop.time() > until:
            count = await self._count(record.topic)
        return randrange(count) if record.key is None else partition_of(record.key, count)  # noqa: S311 - spreading

    async def _count(self, topic: str) -> int:
        try:
            async with asyncio.timeout(self._seconds):
                count = len(await self._producer.partitions_for(topic))
        except (KafkaError, TimeoutError) as error:
            raise Unavailable(f"Topic {topic} is not there: {error!r:.200}") from error
        self._counts[topic] = count, self._loop.time() + COUNTED_SECONDS
        return count

    def _add(self, record: Record, partition: int) -> Waiter:
        if record.value is not None and len(record.value) > LARGEST_VALUE:
            raise Unwritable(f"A value of {len(record.value)} bytes is too large for a record of Kafka's.")
        place = record.topic, partition
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane()
        waiter: Waiter = self._loop.create_future()
        if lane.filling is None or not lane.filling.add(record, waiter):
            self._open(lane).add(record, waiter)
        if lane.task is None:
            lane.task = self._loop.create_task(self._drain(lane, *place), name=f"batches-{record.topic}-{partition}")
        return waiter

    def _open(self, lane: Lane) -> Batch:
        if lane.filling is not None:
            lane.full.append(lane.filling)
        batch = lane.filling = Batch(self._producer.create_batch())
        batch.deadline = self._loop.call_later(self._seconds, self._expire, lane, batch)
        return batch

    def _expire(self, lane: Lane, batch: Batch) -> None:
        lane.drop(batch)
        batch.fail(Unavailable(f"Kafka has not acknowledged within {self._seconds:.0f} s."))
        self._late()

    async def _drain(self, lane: Lane, topic: str, partition: int) -> None:
        """Send one batch after the other; who is ready in this turn of the loop is in the first one."""
        try:
            while (batch := lane.next()) is not None:
                await self._send(batch, topic, partition)
        finally:
            lane.task = None

    async def _send(self, batch: Batch, topic: str, partition: int) -> None:
        try:
            await batch.send(self._producer, topic, partition)
        except Exception as error:  # noqa: BLE001 - whatever it is, this producer is of no more use
            batch.fail(Unavailable(f"Kafka refused records: {error!r:.200}"))
            self._failed()
            return
        batch.acknowledge()
        telemetry.KAFKA_PRODUCE_SECONDS.observe(time.monotonic() - batch.opened)
        self._acknowledged()

    def end(self, error: ConnectorError) -> None:
        """Fail everything that waits, and send nothing more."""
        for lane in self._lanes.values():
            while (batch := lane.next()) is not None:
                batch.fail(error)
            if lane.task is not None:
                lane.task.cancel()
