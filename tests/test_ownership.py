"""Ownership: one fenced owner for each partition number, drained before the next one begins."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from connector.errors import Superseded, Unavailable
from connector.events import Record, boot_seconds
from connector.kafka import clients, produce, topics
from connector.kafka.clients import Offsets, offsets_in
from connector.kafka.ownership import Assignment, Membership, RawRecord
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from tests.executing import kafka_settings
from tests.running import until

PARTITIONS = 4


@dataclass
class Owners:
    """Serves assignments and notes what happens: opened, left and closed, by partition and member."""

    name: str
    events: list[tuple[str, str, int]]
    held: dict[int, Assignment] = field(default_factory=dict)
    received: list[RawRecord] = field(default_factory=list)
    drain_seconds: float = 0.0
    failures: list[Exception] = field(default_factory=list)
    broken: dict[int, Exception] = field(default_factory=dict)

    async def serve(self, assignment: Assignment) -> None:
        self.events.append((self.name, "opened", assignment.partition))
        if self.failures:
            raise self.failures.pop()
        self.held[assignment.partition] = assignment
        assignment.start_reading(
            dict.fromkeys(assignment._membership.topics, 0), lambda _topic, found: self.received.extend(found)
        )
        await until(lambda: assignment.leaving.is_set() or assignment.partition in self.broken, within=60)
        if assignment.partition in self.broken:
            raise self.broken.pop(assignment.partition)
        await asyncio.sleep(self.drain_seconds)
        self.held.pop(assignment.partition, None)
        self.events.append((self.name, "closed", assignment.partition))


@pytest.fixture
async def settings(kafka: str, prefix: str) -> KafkaSettings:
    found = kafka_settings(kafka, prefix, partitions=PARTITIONS)
    await topics.apply(found, [Topic(f"{prefix}.{name}", PARTITIONS, 1) for name in ("one", "two")])
    return found


@asynccontextmanager
async def member(settings: KafkaSettings, owners: Owners, *, lock_only: bool = False) -> AsyncIterator[Membership]:
    """A running membership, left in order."""
    prefix, stop = settings.topic_prefix, asyncio.Event()
    names = [f"{prefix}.one", f"{prefix}.two"]
    membership = Membership(
        settings, role="test", group=f"{prefix}-test", topics=names, serve=owners.serve, lock_only=lock_only
    )
    task = asyncio.create_task(membership.run(stop))
    try:
        yield membership
    finally:
        stop.set()
        await task


async def test_a_member_of_fewer_topics_keeps_its_partitions_while_both_versions_run(settings: KafkaSettings) -> None:
    """As in a rolling update to a version that reads one topic more: they must not fence each other again and again."""
    prefix = settings.topic_prefix
    old, new = Owners("old", []), Owners("new", [])
    stop = asyncio.Event()
    former = Membership(settings, role="test", group=f"{prefix}-test", topics=[f"{prefix}.one"], serve=old.serve)
    task = asyncio.create_task(former.run(stop))
    await until(_holds(old, PARTITIONS))
    async with member(settings, new):
        await until(lambda: 0 < len(new.held) < PARTITIONS and len(old.held) + len(new.held) == PARTITIONS)
        opened = len(old.events) + len(new.events)
        producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
        await producer.start()
        for partition in range(PARTITIONS):
            await producer.send_and_wait(f"{prefix}.one", b"v", partition=partition)
        await until(lambda: len(old.received) + len(new.received) == PARTITIONS)
        await producer.stop()
        assert len(old.events) + len(new.events) == opened
        stop.set()
        await task
        await until(_holds(new, PARTITIONS))


async def test_a_process_with_another_number_of_partitions_is_no_member_and_says_so(settings: KafkaSettings) -> None:
    """Topics that grow while processes run: those with the former number leave, and come back when it is theirs."""
    prefix = settings.topic_prefix
    owners = Owners("a", [])
    wrong = settings.model_copy(update={"partitions": PARTITIONS + 2})
    async with member(wrong, owners) as membership:
        await until(lambda: membership.problem is not None)
        assert membership.problem is not None
        assert f"{prefix}.one has {PARTITIONS} partitions and kafka.partitions is" in membership.problem
        assert (owners.events, membership.alive) == ([], True)
        await topics.apply(wrong, [Topic(f"{prefix}.{name}", PARTITIONS + 2, 1, exact=True) for name in ("one", "two")])
        await until(_holds(owners, PARTITIONS + 2))
        assert membership.problem is None


def _holds(owners: Owners, count: int) -> Callable[[], bool]:
    return lambda: len(owners.held) == count


async def test_each_partition_number_has_one_owner_for_all_topics(settings: KafkaSettings) -> None:
    a, b = Owners("a", []), Owners("b", [])
    async with member(settings, a) as first, member(settings, b) as second:
        await until(lambda: len(a.held) == len(b.held) == 2)
        assert set(a.held) | set(b.held) == set(range(PARTITIONS))
        for membership, owners in ((first, a), (second, b)):
            assert membership.consumer is not None
            assigned = membership.consumer.assignment()
            assert {(where.topic, where.partition) for where in assigned} == {
                (topic, partition) for topic in membership.topics for partition in owners.held
            }


async def test_an_owner_is_drained_before_its_successor_opens(settings: KafkaSettings) -> None:
    events: list[tuple[str, str, int]] = []
    a, b = Owners("a", events, drain_seconds=0.5), Owners("b", events)
    async with member(settings, a):
        await until(_holds(a, PARTITIONS))
        async with member(settings, b):
            await until(_holds(b, 2))
            for partition in b.held:
                assert events.index(("a", "closed", partition)) < events.index(("b", "opened", partition))


async def test_an_owner_that_does_not_drain_is_ended(settings: KafkaSettings) -> None:
    a, b = Owners("a", [], drain_seconds=60), Owners("b", [])
    async with member(settings, a) as first:
        await until(_holds(a, PARTITIONS))
        first.drain_seconds = first._stop_seconds = 0.5
        async with member(settings, b):
            await until(_holds(b, 2))


async def test_whoever_held_the_partition_before_is_refused(settings: KafkaSettings) -> None:
    a, b = Owners("a", []), Owners("b", [])
    async with member(settings, a):
        await until(_holds(a, PARTITIONS))
        former = a.held[3].transactions
        a.held[3].transactions = Transactions(settings, former.transactional_id)
        async with member(settings, b):
            await until(lambda: 3 in b.held)
            with pytest.raises(Superseded):
                await former.write([Record(f"{settings.topic_prefix}.one", b"k", b"late", [], 3)])
            await former.close()


async def test_records_come_when_the_owner_is_ready_and_not_before(settings: KafkaSettings) -> None:
    for number in range(20):
        await produce.send(settings, Record(f"{settings.topic_prefix}.one", b"key", str(number).encode()))
    owners = Owners("a", [])
    async with member(settings, owners):
        await until(lambda: len(owners.received) == 20)
    assert [int(record.value) for record in owners.received] == list(range(20))


async def test_an_owner_that_fails_is_opened_again(settings: KafkaSettings) -> None:
    owners = Owners("a", [], failures=[ValueError("broken"), Unavailable("away"), Superseded("taken")])
    async with member(settings, owners):
        await until(_holds(owners, PARTITIONS))
    assert sum(event == "opened" for _, event, _ in owners.events) == PARTITIONS + 3


async def test_an_owner_that_was_fenced_by_a_stranger_opens_again_once_the_group_confirms_it(
    settings: KafkaSettings,
) -> None:
    owners = Owners("a", [])
    record = Record(f"{settings.topic_prefix}.one", b"k", b"v", [], 0)
    async with member(settings, owners, lock_only=True):
        await until(_holds(owners, PARTITIONS))
        assignment = owners.held.pop(0)
        stranger = Transactions(settings, assignment.transactions.transactional_id)
        await stranger.open()
        with pytest.raises(Superseded):
            await assignment.transactions.write([record])
        owners.broken[0] = Superseded("fenced")
        await until(_holds(owners, PARTITIONS))
        await assignment.transactions.write([record])
        with pytest.raises(Superseded):
            await stranger.write([record])
        await stranger.close()


async def test_committed_offsets_come_back_with_their_metadata(settings: KafkaSettings) -> None:
    owners = Owners("a", [])
    async with member(settings, owners) as membership:
        await until(_holds(owners, PARTITIONS))
        assignment, topic = owners.held[1], f"{settings.topic_prefix}.one"
        assert await assignment.committed() == {}
        assert await assignment.commit({topic: (7, "what a successor must know")})
        assert await assignment.committed() == {topic: (7, "what a successor must know")}
        assert await membership.assignments[2].committed() == {}


async def test_owners_that_have_nothing_new_are_confirmed_by_one_request(settings: KafkaSettings) -> None:
    owners = Owners("a", [])
    asked: list[Mapping[int, Offsets]] = []
    async with member(settings, owners) as membership:
        await until(_holds(owners, PARTITIONS))
        topics_of_one = (f"{settings.topic_prefix}.one", f"{settings.topic_prefix}.two")
        for assignment in owners.held.values():
            assert not await assignment.confirm()
            assert await assignment.commit(dict.fromkeys(topics_of_one, (0, "")))
        commit = membership.confirmations._commit

        async def noted(offsets: Mapping[int, Offsets]) -> bool:
            asked.append(offsets)
            return await commit(offsets)

        membership.confirmations._commit = noted
        held = list(owners.held.values())
        proofs = dict(membership.watchdog.readers)
        assert all(await asyncio.gather(*(assignment.confirm() for assignment in held)))
        assert asked == [{assignment.partition: {topics_of_one[0]: (0, "")} for assignment in held}]
        assert all(membership.watchdog.readers[number] > proof for number, proof in proofs.items())
        # A confirmation that has begun takes back no commit that comes after it.
        confirming = asyncio.create_task(held[0].confirm())
        await asyncio.sleep(0)
        assert await held[0].commit({topics_of_one[0]: (5, "later")})
        assert await confirming
        assert (await held[0].committed())[topics_of_one[0]] == (5, "later")
    assert not await held[0].confirm()


async def test_an_assignment_that_was_left_does_nothing_to_its_successor_in_the_same_process(
    settings: KafkaSettings,
) -> None:
    owners = Owners("a", [])
    async with member(settings, owners) as membership:
        await until(_holds(owners, PARTITIONS))
        former, topic = Assignment(membership, 0), f"{settings.topic_prefix}.one"
        former.pause([topic])
        assert not await former.commit({topic: (99, "")})
        former.start_reading({topic: 99}, lambda _topic, _found: None)
        assert membership.consumer is not None
        assert membership.consumer.paused() == set()
        assert await owners.held[0].committed() == {}


async def test_a_lock_proves_its_membership_without_anything_to_read(settings: KafkaSettings) -> None:
    owners = Owners("a", [])
    async with member(settings, owners, lock_only=True) as membership:
        await until(_holds(owners, PARTITIONS))
        before = membership.watchdog.known
        await until(lambda: membership.watchdog.known > before)
        assert membership.alive


async def test_a_member_that_the_group_does_not_know_any_more_joins_again(settings: KafkaSettings) -> None:
    owners = Owners("a", [])
    async with member(settings, owners, lock_only=True) as membership:
        await until(_holds(owners, PARTITIONS))
        assert membership.consumer is not None
        await membership.consumer._coordinator._maybe_leave_group()
        opened = len(owners.events)
        await until(lambda: len(owners.events) >= opened + 2 * PARTITIONS)
        await until(_holds(owners, PARTITIONS))


async def test_a_client_that_ends_by_itself_is_replaced(settings: KafkaSettings) -> None:
    owners = Owners("a", [])
    async with member(settings, owners) as membership:
        await until(_holds(owners, PARTITIONS))
        assert membership.consumer is not None
        membership.consumer._coordinator._coordination_task.cancel()
        await until(lambda: sum(event == "opened" for _, event, _ in owners.events) == 2 * PARTITIONS)
        await until(_holds(owners, PARTITIONS))


async def test_one_owner_that_is_stuck_among_others_that_work_is_opened_again(settings: KafkaSettings) -> None:
    """It commits nothing any more, and raises nothing either."""
    fast = settings.model_copy(update={"session_timeout": timedelta(seconds=1)})
    opened: list[int] = []

    async def serve(assignment: Assignment) -> None:
        opened.append(assignment.partition)
        assignment.start_reading({f"{settings.topic_prefix}.one": 0}, lambda _topic, _found: None)
        while not assignment.leaving.is_set():
            await asyncio.sleep(0.1)
            if assignment.partition or opened.count(0) > 1:
                await assignment.commit({f"{settings.topic_prefix}.one": (0, "")})

    owners = Owners("a", [])
    owners.serve = serve  # type: ignore[method-assign]  # a stuck one
    async with member(fast, owners) as membership:
        await until(lambda: opened.count(0) == 2)
        steady = len(opened)
        assert membership.alive
        await asyncio.sleep(1.5 * membership.watchdog.patience)
        assert len(opened) <= steady + PARTITIONS


def test_a_coordinator_that_tells_no_offsets_is_not_taken_for_one_that_has_none() -> None:
    """While it loads its group after a restart, it answers with no partitions at all."""
    wanted = [TopicPartition("t", 0), TopicPartition("u", 0)]
    nothing = OffsetAndMetadata(-1, "")
    assert offsets_in({wanted[0]: OffsetAndMetadata(5, "x"), wanted[1]: nothing}, wanted) == {"t": (5, "x")}
    with pytest.raises(Unavailable):
        offsets_in({}, wanted)
    with pytest.raises(Unavailable):
        offsets_in({wanted[0]: nothing}, wanted)


async def test_without_kafka_a_member_waits_and_is_no_reason_for_a_restart(prefix: str) -> None:
    nobody = kafka_settings("127.0.0.1:1", prefix)
    owners = Owners("a", [])
    async with member(nobody, owners) as membership:
        await asyncio.sleep(1)
        assert membership.alive
    assert owners.events == []


async def test_what_others_write_to_the_topics_is_read_by_the_owner_of_the_partition(settings: KafkaSettings) -> None:
    a, b = Owners("a", []), Owners("b", [])
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers)
    await producer.start()
    async with member(settings, a), member(settings, b):
        await until(lambda: len(a.held) == len(b.held) == 2)
        for partition in range(PARTITIONS):
            await producer.send_and_wait(f"{settings.topic_prefix}.two", b"v", partition=partition)
        await until(lambda: len(a.received) == len(b.received) == 2)
        assert {record.partition for record in a.received} == set(a.held)
    await producer.stop()


async def test_there_is_no_successor_as_long_as_the_group_answers_and_a_session_more(settings: KafkaSettings) -> None:
    owners, session = Owners("a", []), clients.session_seconds(settings)
    async with member(settings, owners) as membership:
        await until(_holds(owners, PARTITIONS))
        assignment = owners.held[0]
        # At once: that the group has assigned it shows it, before the first heartbeat.
        assert boot_seconds() < assignment.known_until <= boot_seconds() + session
        before = assignment.known_until
        await until(lambda: assignment.known_until > before)
        assert assignment.known_until <= boot_seconds() + session
        assert Assignment(membership, 0).known_until == float("-inf")
    assert assignment.known_until == float("-inf")


async def test_a_member_that_the_group_asks_to_join_again_is_not_shown_to_be_known(settings: KafkaSettings) -> None:
    """While it drains, its commits are accepted; the group goes on without it when that takes too long."""
    first, second = Owners("a", [], drain_seconds=2.5), Owners("b", [])
    async with member(settings, first):
        await until(_holds(first, PARTITIONS))
        assignment = first.held[0]
        async with member(settings, second):
            await until(assignment.leaving.is_set)
            before = assignment.known_until
            assert await assignment.commit({f"{settings.topic_prefix}.one": (0, "")})
            await asyncio.sleep(1.5)
            assert assignment.known_until == before
            await until(lambda: len(first.held) == len(second.held) == PARTITIONS // 2)
