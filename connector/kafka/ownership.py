"""One fenced owner per assigned partition number: the code that watcher and executor share.

A consumer group hands out the partitions of its topics; the range assignor gives partition p of every topic to one
member. For each p that this process holds, `serve(seat)` runs with a transactional producer of p's own id, which
fences whoever held p before. When the group takes p away, `seat.leaving` is set and `serve` drains: finishes what is
in flight, commits, returns. A `serve` that raises is opened anew, state and all, as long as p is assigned.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from connector import telemetry
from connector.errors import ConnectorError, Unavailable
from connector.kafka import clients
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

# Half of the rebalance timeout: the group goes on without a member that has not come back by then.
DRAIN_SECONDS = clients.REBALANCE_TIMEOUT_MS / 2000
POLL_MS = 200
REOPEN_SECONDS = 0.15
LONGEST_REOPEN_SECONDS = 5.0
# An owner that has served this long has recovered.
STEADY_SECONDS = 10.0
COMMIT_SECONDS = 5.0
STUCK_SECONDS = 3 * clients.SESSION_TIMEOUT_MS / 1000

RawRecord: TypeAlias = ConsumerRecord
Deliver = Callable[[str, Sequence[RawRecord]], None]


class Seat:
    """What an owner of partition number `partition` may do while it holds it."""

    def __init__(self, membership: "Membership", partition: int) -> None:
        self.partition = partition
        self.transactions = Transactions(membership.kafka, f"{membership.group}-{partition}")
        self.leaving = asyncio.Event()
        self.deliver: Deliver | None = None
        self._membership = membership

    @property
    def held(self) -> bool:
        """Whether the group still gives this partition to this process, as far as it knows."""
        return self._membership.seats.get(self.partition) is self and not self.leaving.is_set()

    async def committed(self) -> Mapping[str, tuple[int, str]]:
        """For each topic the committed offset and its metadata; topics without a commit are left out.

        Read it after the fencing producer has been opened. Raises Unavailable.
        """
        return await self._membership.committed(self.partition)

    def start_reading(self, offsets: Mapping[str, int | None], deliver: Deliver) -> None:
        """Deliver records from these offsets on (None: from the beginning, or the committed offset)."""
        self.deliver = deliver
        self._membership.start_reading(self.partition, offsets)

    def pause(self, topics: Iterable[str]) -> None:
        """Fetch nothing more of these topics for now."""
        self._membership.pause(self.partition, topics)

    def resume(self, topics: Iterable[str]) -> None:
        """Fetch again."""
        self._membership.resume(self.partition, topics)

    async def commit(self, offsets: Mapping[str, tuple[int, str]]) -> bool:
        """Commit offsets with metadata (at most 4,096 characters) as a member of the group; whether it was accepted."""
        return await self._membership.commit(self.partition, offsets)


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped in the library
    """This process's place in a group. `group` also prefixes the transactional ids: `{group}-{partition}`."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        role: str,
        group: str,
        topics: Sequence[str],
        serve: Callable[[Seat], Awaitable[None]],
    ) -> None:
        self.kafka = kafka
        self.role = role
        self.group = group
        self.topics = list(topics)
        self.seats: dict[int, Seat] = {}
        self._serve = serve
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._confirmed = time.monotonic()
        self._turned = time.monotonic()

    # --- life -----------------------------------------------------------------------------------------------------
    async def run(self, stop: asyncio.Event) -> None:
        """Be a member until `stop` is set; then drain, leave the group and return."""
        failing = False
        while not stop.is_set():
            try:
                await self._join(stop)
                failing = False
            except (KafkaError, Unavailable, TimeoutError) as error:
                if not failing:
                    log.warning("membership lost", role=self.role, reason=f"{error!r:.200}")
                failing = True
                await _pause(stop, 0.5)

    async def _join(self, stop: asyncio.Event) -> None:
        consumer = clients.member(self.kafka, group=self.group, topics=self.topics, listener=self)
        self._consumer = consumer
        try:
            await clients.start(consumer)
            self._confirmed = time.monotonic()
            watchdog = asyncio.create_task(self._confirm(), name=f"{self.role}-watchdog")
            try:
                await self._poll(consumer, stop)
            finally:
                watchdog.cancel()
        finally:
            await self._leave(self.seats)
            self._consumer = None
            await clients.end(consumer, timeout=3)

    async def _poll(self, consumer: AIOKafkaConsumer, stop: asyncio.Event) -> None:
        while not stop.is_set():
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            self._turned = time.monotonic()
            for where, records in batches.items():
                seat = self.seats.get(where.partition)
                if seat is not None and seat.deliver is not None and not seat.leaving.is_set():
                    seat.deliver(where.topic, records)
            if time.monotonic() - self._confirmed > STUCK_SECONDS:
                raise Unavailable(f"No commit was accepted for {STUCK_SECONDS:.0f} s.")

    async def _confirm(self) -> None:
        """Prove the membership: only the coordinator's answer to a commit tells whether we are still in the group.

        A client can be stuck without any error. An owner that reads commits by itself; for the others the committed
        offset is committed again.
        """
        while True:
            await asyncio.sleep(clients.SESSION_TIMEOUT_MS / 3000)
            partition = next((number for number, seat in self.seats.items() if seat.deliver is None), None)
            if not self.seats:
                self._confirmed = time.monotonic()
            elif partition is not None:
                try:
                    held = await self.committed(partition)
                except Unavailable:
                    continue
                topic = self.topics[0]
                await self.commit(partition, {topic: held.get(topic, (0, ""))})

    @property
    def alive(self) -> bool:
        """Whether the loop turns and, where partitions are held, the group has confirmed them lately."""
        now = time.monotonic()
        return now - self._turned < STUCK_SECONDS + clients.START_SECONDS and now - self._confirmed < 3 * STUCK_SECONDS

    # --- what the group says --------------------------------------------------------------------------------------
    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Open an owner for each partition number. Runs between heartbeats, so it only starts tasks."""
        consumer = self._consumer
        if consumer is None:
            return
        # Records would be delivered before the owner has read its state.
        consumer.pause(*assigned)
        for partition in sorted({where.partition for where in assigned}):
            seat = self.seats[partition] = Seat(self, partition)
            self._tasks[partition] = asyncio.create_task(self._hold(seat), name=f"{self.role}-owner-{partition}")
        telemetry.OWNERS.labels(self.role).set(len(self.seats))

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Drain the owners, bounded: the group waits for this, and goes on without us when it takes too long."""
        gone = {where.partition for where in revoked}
        await self._leave({partition: seat for partition, seat in self.seats.items() if partition in gone})

    async def _leave(self, seats: Mapping[int, Seat]) -> None:
        leaving = dict(seats)
        tasks = {self._tasks[partition] for partition in leaving if partition in self._tasks}
        for seat in leaving.values():
            seat.leaving.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            if late:
                log.warning("owners did not drain in time", role=self.role, owners=len(late))
                await asyncio.wait(late, timeout=clients.STOP_SECONDS)
        for partition in leaving:
            self.seats.pop(partition, None)
            self._tasks.pop(partition, None)
        telemetry.OWNERS.labels(self.role).set(len(self.seats))

    async def _hold(self, seat: Seat) -> None:
        """Open, serve, close; again after a failure, as long as the partition is assigned."""
        failures = 0
        while not seat.leaving.is_set():
            opened = time.monotonic()
            try:
                # Fence first: only afterwards is the state that the owner reads trustworthy.
                await seat.transactions.open()
                await self._serve(seat)
            except (ConnectorError, KafkaError, TimeoutError) as error:
                log.warning("owner reopens", role=self.role, partition=seat.partition, reason=f"{error!r:.200}")
            except Exception:
                log.exception("owner failed", role=self.role, partition=seat.partition)
            finally:
                seat.deliver = None
                self.pause(seat.partition, self.topics)
                await seat.transactions.close()
            failures = 0 if time.monotonic() - opened > STEADY_SECONDS else failures + 1
            await _pause(seat.leaving, min(REOPEN_SECONDS * 2**failures, LONGEST_REOPEN_SECONDS))

    # --- what a seat may do ---------------------------------------------------------------------------------------
    def _assigned(self, partition: int, topics: Iterable[str]) -> list[TopicPartition]:
        assigned = self._consumer.assignment() if self._consumer else frozenset()
        return [where for topic in topics if (where := TopicPartition(topic, partition)) in assigned]

    def start_reading(self, partition: int, offsets: Mapping[str, int | None]) -> None:
        """Seek and resume."""
        for where in self._assigned(partition, offsets):
            offset = offsets[where.topic]
            if offset is not None and self._consumer is not None:
                self._consumer.seek(where, offset)
        self.resume(partition, offsets)

    def pause(self, partition: int, topics: Iterable[str]) -> None:
        """Pause what of these topics is assigned."""
        if self._consumer is not None:
            self._consumer.pause(*self._assigned(partition, topics))

    def resume(self, partition: int, topics: Iterable[str]) -> None:
        """Resume what of these topics is assigned."""
        if self._consumer is not None:
            self._consumer.resume(*self._assigned(partition, topics))

    async def committed(self, partition: int) -> dict[str, tuple[int, str]]:
        """Committed offsets and metadata of one partition number. Raises Unavailable."""
        wanted = [TopicPartition(topic, partition) for topic in self.topics]
        async with clients.administration(self.kafka) as admin:
            try:
                found = await admin.list_consumer_group_offsets(self.group, partitions=wanted)
            except KafkaError as error:
                raise Unavailable(f"Committed offsets cannot be read: {error!r:.200}") from error
        return {where.topic: (held.offset, held.metadata or "") for where, held in found.items() if held.offset >= 0}

    async def commit(self, partition: int, offsets: Mapping[str, tuple[int, str]]) -> bool:
        """Commit; False when it was refused or not answered in time."""
        consumer = self._consumer
        if consumer is None:
            return False
        values = {TopicPartition(topic, partition): OffsetAndMetadata(*value) for topic, value in offsets.items()}
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit(values)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            log.debug("commit refused", role=self.role, partition=partition, reason=f"{error!r:.120}")
            return False
        self._confirmed = time.monotonic()
        return True


async def _pause(event: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake as soon as the event is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
