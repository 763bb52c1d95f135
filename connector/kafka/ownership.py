"""One fenced owner per assigned partition number: the code that watcher and executor share.

A consumer group hands out the partitions of its topics; the range assignor gives partition p of every topic to one
member. For each p that this process holds, `serve(assignment)` runs with a transactional producer of p's own id, which
fences the former owner of p. When the group takes p away, `assignment.leaving` is set and `serve` drains: it finishes
what is in flight, commits and returns. A `serve` that raises is opened anew, state and all, as long as p is assigned.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connector.errors import ConnectorError, Superseded, Unavailable
from connector.kafka import aiokafka_internals, clients, failures, reading, topics
from connector.kafka.clients import Offsets
from connector.kafka.transactions import Transactions
from connector.kafka.watchdog import NEVER, Watchdog
from connector.process.rhythm import pause, until_next
from connector.settings import KafkaSettings
from connector.telemetry import metrics
from connector.telemetry.logs import logger

log = logger(__name__)

REOPEN_SECONDS = 0.15
LONGEST_REOPEN_SECONDS = 5.0
# An owner that has served this long has recovered.
STEADY_SECONDS = 10.0
POLL_SECONDS = 1.0
# Joining a group waits for the other members at the longest for a rebalance timeout.
JOIN_MARGIN_SECONDS = 10.0
# How often it is asked whether the topics have the partitions that the settings say.
MISFIT_SECONDS = 2.0
# Of the time to drain, what an owner has for its work; the rest is for a commit and the end of its clients.
WORKING_SHARE = 0.75

RawRecord: TypeAlias = ConsumerRecord
Deliver = Callable[[str, Sequence[RawRecord]], None]


class Assignment:
    """What an owner of partition number `partition` may do while it holds it."""

    def __init__(self, membership: "Membership", partition: int) -> None:
        self.partition = partition
        self.transactions = Transactions(membership.kafka, f"{membership.group}-{partition}")
        self.leaving = asyncio.Event()
        self.work_until = float("inf")
        self.deliver: Deliver | None = None
        self.offsets: Offsets = {}
        self._membership = membership
        # A confirmation beside a commit could take it back.
        self._committing = asyncio.Lock()

    @property
    def held(self) -> bool:
        """Whether the group still gives this partition to this process, as far as it knows."""
        return self._membership.assignments.get(self.partition) is self and not self.leaving.is_set()

    @property
    def known_until(self) -> float:
        """Until when there is no successor, by the clock never set."""
        member = self._membership
        return member.watchdog.known_until if member.assignments.get(self.partition) is self else NEVER

    @property
    def drain_seconds(self) -> float:
        """How long an owner that is leaving may go on finishing what is in flight."""
        return max(0.0, self.work_until - time.monotonic())

    async def committed(self) -> Offsets:
        """For each topic the committed offset and its metadata; topics without a commit are left out.

        Read it after the fencing producer has been opened. Raises Unavailable.
        """
        member = self._membership
        wanted = [TopicPartition(topic, self.partition) for topic in member.topics]
        self.offsets = await clients.committed(member.kafka, member.group, wanted)
        return self.offsets

    def start_reading(self, offsets: Mapping[str, int], deliver: Deliver) -> None:
        """Deliver records from these offsets on; `deliver` must not raise."""
        if self.held:
            self.deliver = deliver
            self._membership.watchdog.begins_to_read(self.partition, time.monotonic())
            for where in self._assigned(offsets):
                self._membership.consumer.seek(where, offsets[where.topic])
            self.resume(offsets)

    def pause(self, topics: Iterable[str]) -> None:
        """Fetch nothing more of these topics for now."""
        # An assignment that is left may have a successor in this process.
        if self._membership.assignments.get(self.partition) is self and (assigned := self._assigned(topics)):
            self._membership.consumer.pause(*assigned)

    def resume(self, topics: Iterable[str]) -> None:
        """Fetch again."""
        if self.held and (assigned := self._assigned(topics)):
            self._membership.consumer.resume(*assigned)

    def unread(self, topic: str, end: int) -> int:
        """How many records of the topic were not read at the last fetch, when those before `end` were delivered."""
        assigned = self._assigned([topic]) if self.held else ()
        return reading.behind(self._membership.consumer, assigned[0], end) if assigned else 0

    def _assigned(self, topics: Iterable[str]) -> list[TopicPartition]:
        """What of these topics the client reads at present."""
        consumer = self._membership.consumer
        assigned = consumer.assignment() if consumer else frozenset()
        return [where for topic in topics if (where := TopicPartition(topic, self.partition)) in assigned]

    async def commit(self, offsets: Offsets) -> bool:
        """Commit; False when it was refused or not answered in time."""
        async with self._committing:
            if self._membership.assignments.get(self.partition) is not self:
                return False
            if accepted := await self._membership.commit({self.partition: offsets}):
                self.offsets = {**self.offsets, **offsets}
            return accepted

    async def confirm(self) -> bool:
        """Commit one offset once more, which proves that the group still knows us; False as for `commit`."""
        async with self._committing:
            if not self.offsets or self._membership.assignments.get(self.partition) is not self:
                return False
            one = dict([next(iter(self.offsets.items()))])
            return await self._membership.confirmations.confirm(self.partition, one)


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]  # untyped in the library
    """Membership in a group and the owners of the partitions that it assigns.

    `lock_only`: the topics are only a lock: they are not read, and their committed offsets are not used. `stop_seconds`
    bounds the drain of an orderly stop; without it, it may take as long as a drain in a rebalance.

    While one of the topics that are read, or of `sized`, does not have `kafka.partitions` partitions, this process is
    not a member: it would look for keys and watches in other partitions than the processes that know better.
    `problem` says so.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        role: str,
        group: str,
        topics: Sequence[str],
        serve: Callable[[Assignment], Awaitable[None]],
        lock_only: bool = False,
        sized: Sequence[str] = (),
        stop_seconds: float | None = None,
    ) -> None:
        self.problem: str | None = None
        self.kafka = kafka
        self.role = role
        self.group = group
        self.topics = tuple(topics)
        self.assignments: dict[int, Assignment] = {}
        self.assigned_at = time.monotonic()
        # The group goes on without a member that has not come back by the rebalance timeout.
        self.drain_seconds = clients.rebalance_seconds(kafka) / 2
        self._stop_seconds = min(stop_seconds or self.drain_seconds, self.drain_seconds)
        self.watchdog = Watchdog(
            session=clients.session_seconds(kafka),
            joining=clients.rebalance_seconds(kafka) + JOIN_MARGIN_SECONDS,
            is_lock=lock_only,
            started=time.monotonic(),
        )
        self.confirmations = clients.Confirmations(self.commit)
        self._serve = serve
        self._lock_only = lock_only
        self._sized = tuple(sized) if lock_only else (*topics, *sized)
        self._is_misfit = False
        self._counts: Mapping[str, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        # The client, while there is one.
        self.consumer: Any = None

    # --- life -----------------------------------------------------------------------------------------------------
    async def run(self, stop: asyncio.Event) -> None:
        """Be a member until `stop` is set; then drain, leave the group and return."""
        failing = False
        while not stop.is_set():
            try:
                await self._join(stop)
                failing = False
            except (KafkaError, ConnectorError, OSError, TimeoutError) as error:
                if not failing:
                    log.warning("membership lost", role=self.role, reason=f"{error!r:.200}")
                failing = True
            except asyncio.CancelledError:
                # The client raises it by itself when it ends tasks in its inside.
                if failures.is_cancelled():
                    raise
                log.warning("membership lost", role=self.role, reason="The client has ended.")
            except Exception:
                log.exception("membership failed", role=self.role)
            await pause(stop, 0.5)

    async def _until_fit(self, stop: asyncio.Event) -> None:
        """Wait, loudly, until the topics have the partitions that the settings say. Raises Unavailable."""
        while self._sized and not stop.is_set():
            # While Kafka is away, or its topics do not fit, a restart would do no more.
            self.watchdog.turns(time.monotonic())
            self.watchdog.finds_no_broker(time.monotonic())
            problem = await topics.misfit(self.kafka, self._sized)
            if problem is not None and problem != self.problem:
                log.error("topics do not fit", role=self.role, reason=problem)
            self.problem = problem
            if problem is None:
                return
            await pause(stop, MISFIT_SECONDS)

    async def _join(self, stop: asyncio.Event) -> None:
        await self._until_fit(stop)
        if stop.is_set():
            return
        self._is_misfit, self._counts = False, {}
        consumer = clients.member(self.kafka, group=self.group, topics=self.topics, listener=self)
        self.consumer = consumer
        aiokafka_internals.note_known(consumer, self.watchdog.is_known)
        try:
            self.watchdog.turns(time.monotonic())
            try:
                await clients.start(consumer, timeout=self.watchdog.joining)
            except Unavailable:
                self.watchdog.finds_no_broker(time.monotonic())
                raise
            self.watchdog.joins(time.monotonic())
            tasks = [
                asyncio.create_task(self._poll(consumer), name=f"{self.role}-poll"),
                asyncio.create_task(self._prove_regularly(), name=f"{self.role}-prover"),
                asyncio.create_task(stop.wait(), name=f"{self.role}-stop"),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        finally:
            await self._leave(self.assignments, self._stop_seconds)
            self.consumer = None
            await clients.end(consumer, timeout=3)

    async def _poll(self, consumer: AIOKafkaConsumer) -> None:
        patience = reading.Patience(consumer)
        while True:
            batches = await reading.fetch(consumer, wait_ms=int(until_next(POLL_SECONDS) * 1000))
            patience.adapt(came=bool(batches))
            self.watchdog.turns(time.monotonic())
            for (topic, partition), records in batches.items():
                assignment = self.assignments.get(partition)
                if assignment is not None and assignment.deliver is not None and not assignment.leaving.is_set():
                    assignment.deliver(topic, records)
            await self._check_progress()

    # --- whether the group knows us -------------------------------------------------------------------------------
    async def _check_progress(self) -> None:
        """Raise Unavailable when the client seems to be stuck: it is rebuilt then.

        While Kafka is away there is nothing better than to wait: no other process can take over, and what the owners
        hold in memory is written when Kafka is back.
        """
        if self._is_misfit:
            raise Unavailable("The topics are not what they were.")
        now, watchdog = time.monotonic(), self.watchdog
        if watchdog.is_rejoining_too_long(now):
            raise Unavailable(f"Joining the group again has taken more than {watchdog.joining:.0f} s.")
        if not self.assignments and watchdog.rejoining is None:
            watchdog.waits_for_owners(now)
        elif watchdog.is_doubtful(now):
            if await reading.is_answered(self.kafka, self.topics[0]):
                raise Unavailable(f"No commit of some partition was accepted for {watchdog.patience:.0f} s.")
            watchdog.finds_no_broker(time.monotonic())

    async def _prove_regularly(self) -> None:
        """Only the coordinator's answer to a commit tells whether we are still in the group.

        Owners that read commit by themselves; for a lock anything may be committed, since no consumer reads it.
        """
        while True:
            await asyncio.sleep(clients.session_seconds(self.kafka) / 3)
            if self._lock_only and self.assignments:
                await self.commit({next(iter(self.assignments)): dict.fromkeys(self.topics, (0, ""))})
            elif not self.watchdog.readers:
                self.watchdog.waits_for_owners(time.monotonic())

    async def _prove(self, assignment: Assignment) -> None:
        """Return when the group has confirmed that it gives us this partition, or when it is left.

        Who opens without it fences the owner that has taken over from us.
        """
        while not assignment.leaving.is_set():
            offsets = dict.fromkeys(self.topics, (0, "")) if self._lock_only else assignment.offsets
            if offsets and await self.commit({assignment.partition: offsets}):
                return
            # Without anything to commit, a heartbeat must have been answered meanwhile.
            await pause(assignment.leaving, clients.session_seconds(self.kafka) / 3)
            if not offsets:
                return

    @property
    def alive(self) -> bool:
        """False when the loop does not turn, or when rebuilt clients get no commit accepted though Kafka answers."""
        return self.watchdog.is_alive(time.monotonic())

    # --- what the group says --------------------------------------------------------------------------------------
    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Open an owner for each partition number. Runs between heartbeats, so it only starts tasks."""
        self.watchdog.gains_partitions(time.monotonic())
        if (consumer := self.consumer) is None:
            return
        self.assigned_at = time.monotonic()
        # Records would be delivered before the owner has read its state.
        consumer.pause(*assigned)
        for partition in self._whole(assigned):
            assignment = self.assignments[partition] = Assignment(self, partition)
            self._tasks[partition] = asyncio.create_task(self._hold(assignment), name=f"{self.role}-owner-{partition}")
        metrics.OWNERS.labels(self.role).set(len(self.assignments))

    def _whole(self, assigned: Sequence[TopicPartition]) -> list[int]:
        """The partition numbers of which this process has every topic.

        Of a number that is shared with a member that reads fewer topics (an older version, while both run) an owner
        here would fence the one there, and be fenced by it, again and again: the topics that are left wait meanwhile.
        """
        self._is_misfit = self._has_changed()
        if self._is_misfit:
            return []
        counts = sorted(Counter(where.partition for where in assigned).items())
        shared = [number for number, count in counts if count != len(self.topics)]
        if shared:
            reason = "It reads other topics than this process does: another version, while both run."
            log.warning("partitions shared with another member", role=self.role, partitions=shared, reason=reason)
        return [number for number, count in counts if count == len(self.topics)]

    def _has_changed(self) -> bool:
        """Whether a topic has other partitions than when this process joined: then it joins anew, if that is fit."""
        if self.consumer is None:
            return False
        counts = {topic: len(self.consumer.partitions_for_topic(topic) or ()) for topic in self.topics}
        if not self._lock_only:
            return any(count != self.kafka.partitions for count in counts.values())
        self._counts = self._counts or counts
        return counts != self._counts

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Drain the owners, bounded: the group waits for this, and goes on without us when it takes too long."""
        self.watchdog.loses_partitions(time.monotonic())
        gone = {where.partition for where in revoked}
        await self._leave(
            {number: assignment for number, assignment in self.assignments.items() if number in gone},
            self.drain_seconds,
        )

    async def _leave(self, assignments: Mapping[int, Assignment], seconds: float) -> None:
        leaving = dict(assignments)
        tasks = {self._tasks[partition] for partition in leaving if partition in self._tasks}
        for assignment in leaving.values():
            assignment.work_until = time.monotonic() + WORKING_SHARE * seconds
            assignment.leaving.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                log.warning("owners did not drain in time", role=self.role, owners=len(late))
                await asyncio.wait(late, timeout=clients.STOP_SECONDS)
        for partition in leaving:
            self.assignments.pop(partition, None)
            self._tasks.pop(partition, None)
            self.watchdog.ends_reading(partition)
        metrics.OWNERS.labels(self.role).set(len(self.assignments))

    async def _hold(self, assignment: Assignment) -> None:
        """Open, serve, close; again after a failure, as long as the partition is assigned."""
        failures = 0
        while not assignment.leaving.is_set():
            opened = time.monotonic()
            try:
                # Fence first: only afterwards is the state that the owner reads trustworthy.
                await assignment.transactions.open()
                await self._serve(assignment)
            except Superseded as error:
                log.warning(
                    "owner superseded", role=self.role, partition=assignment.partition, reason=f"{error!r:.200}"
                )
                await self._close(assignment)
                await self._prove(assignment)
            except (ConnectorError, KafkaError, TimeoutError) as error:
                log.warning("owner reopens", role=self.role, partition=assignment.partition, reason=f"{error!r:.200}")
            except Exception:
                log.exception("owner failed", role=self.role, partition=assignment.partition)
            finally:
                await self._close(assignment)
            failures = 0 if time.monotonic() - opened > STEADY_SECONDS else failures + 1
            await pause(assignment.leaving, min(REOPEN_SECONDS * 2**failures, LONGEST_REOPEN_SECONDS))

    async def _close(self, assignment: Assignment) -> None:
        assignment.deliver = None
        # One that was left may have a successor in this process.
        if self.assignments.get(assignment.partition) is assignment:
            self.watchdog.ends_reading(assignment.partition)
        assignment.pause(self.topics)
        await assignment.transactions.close()

    async def commit(self, offsets: Mapping[int, Offsets]) -> bool:
        """Commit offsets of these partition numbers; False when that was refused or not answered in time."""
        accepted = self.consumer is not None and await clients.commit(self.consumer, offsets)
        for partition in offsets if accepted else ():
            self.watchdog.is_accepted(partition, time.monotonic())
        return accepted
