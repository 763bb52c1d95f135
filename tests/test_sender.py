"""Our own producer on a wire that breaks, before a broker that refuses: stored once, in order, or told why not."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    CorruptRecordException,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    KafkaError,
    KafkaStorageError,
    LeaderNotAvailableError,
    MessageSizeTooLargeError,
    NotCoordinatorError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.metadata import MetadataResponse_v5

from connector.errors import ConnectorError, Superseded, Unavailable, Unwritable
from connector.events import Record
from connector.kafka import clients, topics
from connector.kafka.failures import NewerProducerError
from connector.kafka.publisher import Publisher
from connector.kafka.sending.batches import Lane
from connector.kafka.sending.sender import Sender
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from tests import kafka_proxy
from tests.brokers import QuickBroker
from tests.executing import kafka_settings
from tests.kafka_proxy import END, IDENTITY, JOIN, METADATA, PRODUCE, VERSIONS, Proxy, proxied, refused
from tests.running import read_all

PARTITIONS = 3
PASSING = [
    NotLeaderForPartitionError,
    LeaderNotAvailableError,
    UnknownTopicOrPartitionError,
    RequestTimedOutError,
    NotEnoughReplicasError,
    NotEnoughReplicasAfterAppendError,
    KafkaStorageError,
]
LOST = [NotLeaderForPartitionError, LeaderNotAvailableError, UnknownTopicOrPartitionError, KafkaStorageError]


@pytest.fixture
async def topic(kafka: str, prefix: str) -> str:
    name = f"{prefix}.sent"
    await topics.apply(kafka_settings(kafka, prefix), [Topic(name, PARTITIONS, 1)])
    return name


@pytest.fixture(params=[False, True], ids=["epochs", "joining"])
async def proxy(kafka: str, request: pytest.FixtureRequest) -> AsyncIterator[Proxy]:
    """Before a broker with an epoch for each transaction (KIP-890), or before one whose partitions join first."""
    async with proxied(kafka, hides_epochs=request.param) as found:
        yield found


@pytest.fixture
async def plain(kafka: str) -> AsyncIterator[Proxy]:
    async with proxied(kafka) as found:
        yield found


@asynccontextmanager
async def sending(proxy: Proxy, prefix: str) -> AsyncIterator[Sender]:
    sender = await clients.start(Sender(kafka_settings(proxy.address, prefix)))
    try:
        yield sender
    finally:
        await clients.end(sender)


@asynccontextmanager
async def publishing(proxy: Proxy, prefix: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(kafka_settings(proxy.address, prefix))
    await publisher.open()
    try:
        yield publisher
    finally:
        await publisher.close()


@asynccontextmanager
async def transacting(proxy: Proxy, prefix: str) -> AsyncIterator[Transactions]:
    transactions = Transactions(kafka_settings(proxy.address, prefix), f"{prefix}-0")
    await transactions.open()
    try:
        yield transactions
    finally:
        await transactions.close()


def record(topic: str, number: int, *, partition: int = 0) -> Record:
    return Record(topic, b"k", b"%d" % number, [], partition=partition)


async def stored(kafka: str, topic: str) -> list[int]:
    return [int(found.value) for found in await read_all(kafka, topic)]


# --- records without a transaction ------------------------------------------------------------------------------------
@pytest.mark.parametrize("plan", [kafka_proxy.cut_before, kafka_proxy.cut_after], ids=["before", "after"])
async def test_a_batch_whose_connection_breaks_is_stored_once(
    kafka: str, plain: Proxy, prefix: str, topic: str, plan: kafka_proxy.Plan
) -> None:
    async with sending(plain, prefix) as sender:
        assert await sender.write([record(topic, 0)]) == [0]
        plain.plan(PRODUCE, plan, plan)
        writes = [sender.write([record(topic, number)]) for number in (1, 2, 3)]
        assert await asyncio.gather(*writes) == [[1], [2], [3]]
        assert len(plain.asked(PRODUCE)) >= 4
    assert await stored(kafka, topic) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.__name__)
async def test_a_refusal_that_passes_is_followed_by_the_same_batch(
    kafka: str, plain: Proxy, prefix: str, topic: str, error: type[KafkaError]
) -> None:
    async with sending(plain, prefix) as sender:
        await sender.write([record(topic, 0)])
        looks = len(plain.asked(METADATA))
        plain.plan(PRODUCE, refused(error.errno), refused(error.errno))
        assert await sender.write([record(topic, 1)]) == [1]
        assert (len(plain.asked(METADATA)) > looks) == (error in LOST)
    assert await stored(kafka, topic) == [0, 1]


async def test_what_was_stored_though_it_was_refused_is_stored_once(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    async with sending(plain, prefix) as sender:
        await sender.write([record(topic, 0)])
        plain.plan(PRODUCE, kafka_proxy.done_and_refused(NotEnoughReplicasAfterAppendError.errno))
        assert await sender.write([record(topic, 1), record(topic, 2)]) == [1, 2]
        assert await sender.write([record(topic, 3)]) == [3]
    assert await stored(kafka, topic) == [0, 1, 2, 3]


async def test_a_batch_that_the_broker_has_already_is_stored(kafka: str, plain: Proxy, prefix: str, topic: str) -> None:
    async with sending(plain, prefix) as sender:
        await sender.write([record(topic, 0)])
        plain.plan(PRODUCE, kafka_proxy.done_and_refused(DuplicateSequenceNumber.errno))
        assert await sender.write([record(topic, 1), record(topic, 2)]) == [-1, -1]
        assert await sender.write([record(topic, 3)]) == [3]
    assert await stored(kafka, topic) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [OutOfOrderSequenceNumber, UnknownProducerId], ids=lambda error: error.__name__)
async def test_a_producer_that_the_broker_does_not_know_is_replaced_by_another(
    kafka: str, plain: Proxy, prefix: str, topic: str, error: type[KafkaError]
) -> None:
    async with publishing(plain, prefix) as publisher:
        await publisher.publish([record(topic, 0)])
        plain.plan(PRODUCE, refused(error.errno))
        with pytest.raises(Unavailable):
            await publisher.publish([record(topic, 1)])
        async with asyncio.timeout(20):
            while True:
                try:
                    await publisher.publish([record(topic, 2)])
                    break
                except Unavailable:
                    await asyncio.sleep(0.01)
        assert len(plain.asked(IDENTITY)) == 2
    assert await stored(kafka, topic) == [0, 2]


async def test_a_broker_that_asks_for_a_pause_gets_it(kafka: str, plain: Proxy, prefix: str, topic: str) -> None:
    async with sending(plain, prefix) as sender:
        await sender.write([record(topic, 0)])
        plain.plan(PRODUCE, kafka_proxy.throttled(600))
        begun = time.monotonic()
        await sender.write([record(topic, 1)])
        assert time.monotonic() - begun < 0.5
        await sender.write([record(topic, 2)])
        assert time.monotonic() - begun >= 0.6
    assert await stored(kafka, topic) == [0, 1, 2]


async def test_a_leader_has_one_request_with_a_batch_of_each_partition_on_its_way(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    sizes: list[list[int]] = []
    arrived = asyncio.Event()

    async def noted(exchange: kafka_proxy.Exchange) -> None:
        sizes.append([len(partitions) for _, partitions in exchange.request.topics])
        arrived.set()
        await asyncio.sleep(0.1)
        await kafka_proxy.passed(exchange)

    async with sending(plain, prefix) as sender:
        await sender.write([record(topic, 0, partition=n) for n in range(PARTITIONS)])
        plain.plan(PRODUCE, *[noted] * 10)
        first = asyncio.create_task(sender.write([record(topic, 0)]))
        await arrived.wait()
        await asyncio.gather(first, *(sender.write([record(topic, n, partition=n % PARTITIONS)]) for n in range(99)))
        assert sizes == [[1], [PARTITIONS]]
    assert len(await stored(kafka, topic)) == 99 + 1 + PARTITIONS


async def test_a_full_request_leaves_the_rest_to_the_next(
    kafka: str, plain: Proxy, prefix: str, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connector.kafka.sending.sender.REQUEST_BYTES", 10)
    async with sending(plain, prefix) as sender:
        await asyncio.gather(*(sender.write([record(topic, n, partition=n)]) for n in range(PARTITIONS)))
        assert len(plain.asked(PRODUCE)) >= PARTITIONS
    assert sorted(await stored(kafka, topic)) == [*range(PARTITIONS)]


async def test_many_breaks_neither_lose_nor_double_nor_turn_round(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    async with sending(plain, prefix) as sender:
        breaks = [kafka_proxy.cut_before, kafka_proxy.cut_after, refused(6), kafka_proxy.passed] * 6
        plain.plan(PRODUCE, *breaks)
        writes: list[asyncio.Task[list[int]]] = []
        while plain.plans[PRODUCE] or len(writes) < 300:
            number = len(writes)
            writes.append(asyncio.create_task(sender.write([record(topic, number, partition=number % PARTITIONS)])))
            if number % 5 == 0:
                await asyncio.sleep(0.01)
        await asyncio.gather(*writes)
    found = await read_all(kafka, topic)
    for partition in range(PARTITIONS):
        numbers = [int(one.value) for one in found if one.partition == partition]
        assert numbers == [*range(partition, len(writes), PARTITIONS)]


async def test_after_the_largest_sequence_number_comes_the_first(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    """A broker takes any number from a producer that it does not know yet."""
    async with sending(plain, prefix) as sender:
        sender._lanes[topic, 0] = lane = Lane(topic, 0, sender._builder)
        lane.sequence = 2**31 - 2
        for number in (0, 2, 4):
            await sender.write([record(topic, number), record(topic, number + 1)])
        assert lane.sequence == 4
    assert await stored(kafka, topic) == [*range(6)]


async def test_a_key_that_is_not_bytes_fails_its_own_call_alone(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    odd: Any = "text"
    async with sending(plain, prefix) as sender:
        with pytest.raises(Unwritable, match=topic):
            await sender.write([Record(topic, odd, b"1", [])])
        await sender.write([record(topic, 2)])
    assert await stored(kafka, topic) == [2]


async def test_a_partition_that_does_not_exist_is_the_record_s_fault(plain: Proxy, prefix: str, topic: str) -> None:
    async with sending(plain, prefix) as sender:
        with pytest.raises(Unwritable, match="no partition 9"):
            await sender.write([record(topic, 0, partition=9)])
        assert await sender.write([record(topic, 0)]) == [0]


async def test_nothing_is_put_anywhere_when_a_later_record_has_no_partition(
    kafka: str, plain: Proxy, prefix: str, topic: str
) -> None:
    async with sending(plain, prefix) as sender, asyncio.timeout(20):
        for known in (False, True):
            assert (topic in sender._counts) is known
            with pytest.raises(Unwritable, match="no partition 9"):
                await sender.write([record(topic, 7), record(topic, 8, partition=9), record(topic, 9)])
            await sender.write([record(topic, 0)])
    assert await stored(kafka, topic) == [0, 0]


async def test_a_broker_that_knows_of_no_broker_yet_is_asked_again(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    """As one does that has just started: an answer without brokers, to the first questions."""

    async def nobody(exchange: kafka_proxy.Exchange) -> None:
        answer = MetadataResponse_v5.decode(BytesIO((await exchange.ask())[4:]))
        empty = MetadataResponse_v5(answer.throttle_time_ms, [], answer.cluster_id, -1, [])
        exchange.answer = struct.pack(">i", exchange.number) + empty.encode()

    proxy.plan(METADATA, nobody, nobody)
    async with sending(proxy, prefix) as sender:
        assert await sender.write([record(topic, 0)]) == [0]
    proxy.plan(METADATA, nobody, nobody)
    async with transacting(proxy, prefix) as transactions:
        await transactions.write([record(topic, 1)])
    assert await stored(kafka, topic) == [0, 1]


async def test_what_comes_after_the_end_is_told_so(plain: Proxy, prefix: str, topic: str) -> None:
    async with sending(plain, prefix) as sender:
        sender.end(Unavailable("It is over."))
        with pytest.raises(Unavailable, match=r"It is over\."):
            await sender.write([record(topic, 0)])


# --- transactions -----------------------------------------------------------------------------------------------------
async def test_the_transactions_of_a_broker_are_the_best_that_it_has(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    async with transacting(proxy, prefix) as transactions:
        for number in range(3):
            pair = [record(topic, number), record(topic, number, partition=1)]
            assert [offset // 2 for offset in await transactions.write(pair)] == [number] * 2
    versions = {key: {*proxy.asked(key)} for key in (PRODUCE, JOIN, END)}
    assert versions == (
        {PRODUCE: {7}, JOIN: {0}, END: {0}} if proxy.hides_epochs else {PRODUCE: {12}, JOIN: set(), END: {5}}
    )
    assert len(proxy.asked(END)) == 3
    assert sorted(await stored(kafka, topic)) == [0, 0, 1, 1, 2, 2]


async def test_brokers_as_of_kafka_3_9_have_the_former_transactions() -> None:
    broker = QuickBroker(format_arguments=["--release-version", "3.9-IV0"])
    await broker.start()
    topic = "old.sent"
    try:
        await topics.apply(kafka_settings(broker.bootstrap_servers, "old"), [Topic(topic, PARTITIONS, 1)])
        async with proxied(broker.bootstrap_servers) as proxy, transacting(proxy, "old") as transactions:
            for number in range(3):
                await transactions.write([record(topic, number)])
            async with transacting(proxy, "old"):
                with pytest.raises(Superseded):
                    await transactions.write([record(topic, 3)])
            assert {version for key, version in proxy.seen if key == PRODUCE} == {7}
            assert proxy.asked(JOIN)[:3] == proxy.asked(END)[:3] == [0, 0, 0]
        assert await stored(broker.bootstrap_servers, topic) == [0, 1, 2]
    finally:
        await broker.stop(gracefully=False)


@pytest.mark.parametrize("plan", [kafka_proxy.cut_before, kafka_proxy.cut_after], ids=["before", "after"])
async def test_a_transaction_whose_connection_breaks_is_written_once(
    kafka: str, proxy: Proxy, prefix: str, topic: str, plan: kafka_proxy.Plan
) -> None:
    async with transacting(proxy, prefix) as transactions:
        await transactions.write([record(topic, 0)])
        proxy.plan(PRODUCE, plan)
        proxy.plan(JOIN, plan)
        await transactions.write([record(topic, 1), record(topic, 1, partition=1)])
        await transactions.write([record(topic, 2)])
    assert sorted(await stored(kafka, topic)) == [0, 1, 1, 2]


@pytest.mark.parametrize(
    "error",
    [CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError, ConcurrentTransactions],
    ids=lambda error: error.__name__,
)
async def test_a_coordinator_that_moves_or_is_busy_is_waited_for(
    kafka: str, proxy: Proxy, prefix: str, topic: str, error: type[KafkaError]
) -> None:
    proxy.plan(IDENTITY, refused(error.errno))
    async with transacting(proxy, prefix) as transactions:
        for key in (END, JOIN) if proxy.hides_epochs else (END, PRODUCE):
            proxy.plan(key, refused(error.errno), refused(error.errno))
        await transactions.write([record(topic, 0)])
        await transactions.write([record(topic, 1)])
        assert transactions.usable
    assert await stored(kafka, topic) == [0, 1]


async def test_a_commit_whose_answer_is_lost_is_repeated_where_a_late_copy_can_do_no_harm(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    async with transacting(proxy, prefix) as transactions:
        await transactions.write([record(topic, 0)])
        proxy.plan(END, kafka_proxy.cut_after)
        if proxy.hides_epochs:
            with pytest.raises(Unavailable):
                await transactions.write([record(topic, 1)])
            assert not transactions.usable
            await transactions.open()
        else:
            await transactions.write([record(topic, 1)])
        await transactions.write([record(topic, 2)])
    assert await stored(kafka, topic) == [0, 1, 2]


async def test_a_late_copy_of_a_commit_ends_no_other_transaction_where_each_has_its_epoch(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    """Without epochs it does, which is why such a producer is given up whenever there may be a copy."""
    copies: list[kafka_proxy.Exchange] = []

    async def copied(exchange: kafka_proxy.Exchange) -> None:
        copies.append(exchange)
        await kafka_proxy.passed(exchange)

    async with transacting(proxy, prefix) as transactions:
        proxy.plan(END, copied)
        await transactions.write([record(topic, 0)])
        sender = transactions._sender
        assert sender is not None
        await sender.write([record(topic, 1)])
        (copy,) = copies
        reader, writer = await asyncio.open_connection(proxy.host, proxy.broker_port)
        writer.write(struct.pack(">i", len(copy.frame)) + copy.frame)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = copy.response(await reader.readexactly(size))
        writer.close()
        assert (answer.error_code == 0) == proxy.hides_epochs
    await transactions.open()
    await transactions.close()
    assert await stored(kafka, topic) == ([0, 1] if proxy.hides_epochs else [0])


async def test_a_batch_whose_place_is_forgotten_ends_the_producer_before_the_commit(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    async with transacting(proxy, prefix) as transactions:
        proxy.plan(PRODUCE, kafka_proxy.done_and_refused(DuplicateSequenceNumber.errno))
        with pytest.raises(Unavailable, match="does not tell where"):
            await transactions.write([record(topic, 0)])
        assert not transactions.usable
        await transactions.open()
        await transactions.write([record(topic, 1)])
    assert await stored(kafka, topic) == [1]


@pytest.mark.parametrize("error", [InvalidProducerEpoch, NewerProducerError], ids=lambda error: error.__name__)
@pytest.mark.parametrize("key", [PRODUCE, JOIN, END], ids=["produce", "join", "end"])
async def test_whoever_is_told_of_a_newer_producer_is_superseded(
    kafka: str, proxy: Proxy, prefix: str, topic: str, *, key: int, error: type[KafkaError]
) -> None:
    if key == JOIN and not proxy.hides_epochs:
        key = PRODUCE
    async with transacting(proxy, prefix) as transactions:
        proxy.plan(key, refused(error.errno))
        with pytest.raises(Superseded):
            await transactions.write([record(topic, 0)])
        assert not transactions.usable
    await transactions.open()
    await transactions.close()
    assert await stored(kafka, topic) == []


async def test_a_predecessor_is_refused_at_each_step(kafka: str, proxy: Proxy, prefix: str, topic: str) -> None:
    """Opened after its records are written, or before: none of them is ever visible."""
    for between in (True, False):
        async with transacting(proxy, prefix) as former:
            sender = former._sender
            assert sender is not None
            if between:
                await sender.write([record(topic, 1)])
            async with transacting(proxy, prefix) as successor:
                step = sender.commit() if between else sender.write([record(topic, 2)])
                with pytest.raises((Superseded, InvalidProducerEpoch, NewerProducerError)):
                    await step
                await successor.write([record(topic, 3)])
    assert await stored(kafka, topic) == [3, 3]


@pytest.mark.parametrize(
    ("error", "meaning", "is_of_topic"),
    [
        (MessageSizeTooLargeError, Unwritable, False),
        (RecordListTooLargeError, Unwritable, False),
        (CorruptRecordException, Unwritable, False),
        (TopicAuthorizationFailedError, Unwritable, True),
        (TransactionalIdAuthorizationFailed, Unavailable, None),
        (OutOfOrderSequenceNumber, Unavailable, None),
    ],
    ids=lambda given: getattr(given, "__name__", None),
)
async def test_a_refusal_that_does_not_pass_names_the_topic(
    proxy: Proxy, prefix: str, topic: str, *, error: type[KafkaError], meaning: type[ConnectorError], is_of_topic: bool
) -> None:
    async with transacting(proxy, prefix) as transactions:
        for key in (PRODUCE, JOIN) if proxy.hides_epochs else (PRODUCE,):
            proxy.plans.clear()
            proxy.plan(key, refused(error.errno))
            with pytest.raises(meaning) as refusal:
                await transactions.write([record(topic, 0)])
            if isinstance(refusal.value, Unwritable):
                assert (refusal.value.topic, refusal.value.is_of_topic) == (topic, is_of_topic)
            await transactions.open()


async def test_a_given_up_transaction_is_ended_after_what_is_on_its_way(
    kafka: str, proxy: Proxy, prefix: str, topic: str
) -> None:
    """Records that came to another broker after it would keep readers waiting for ever."""
    arrived, order = asyncio.Event(), list[str]()

    async def slow(exchange: kafka_proxy.Exchange) -> None:
        arrived.set()
        await asyncio.sleep(0.3)
        await kafka_proxy.passed(exchange)

    async def chunks() -> AsyncIterator[Record]:
        yield record(topic, 0)
        await arrived.wait()
        raise ValueError("the download ended")

    async with transacting(proxy, prefix) as transactions:
        sender = transactions._sender
        assert sender is not None
        send = sender.client.send

        async def noted(node: int, request: Any) -> Any:
            order.append(f"{type(request).__name__} is sent")
            answer = await send(node, request)
            order.append(f"{type(request).__name__} is answered")
            return answer

        sender.client.send = noted
        proxy.plan(PRODUCE, slow)
        with pytest.raises(ValueError, match="ended"):
            await transactions.write_all(chunks(), seconds=20)
        assert [line.partition(" ")[2] for line in order[-4:]] == ["is sent", "is answered"] * 2
        assert order[-2].startswith("End")
        await transactions.open()
        await transactions.write([record(topic, 1)])
    assert await stored(kafka, topic) == [1]


async def test_nothing_is_committed_where_nothing_is_written(proxy: Proxy, prefix: str) -> None:
    async with transacting(proxy, prefix) as transactions:
        assert await transactions.write([]) == []
        assert transactions.usable
    assert proxy.asked(END) == []


async def test_the_epochs_of_thousands_of_transactions_are_followed(plain: Proxy, prefix: str, topic: str) -> None:
    """The broker gives another producer id when the epochs of one are used up."""
    async with transacting(plain, prefix) as transactions:
        sender = transactions._sender
        assert sender is not None
        first = sender._identity
        for number in range(5):
            await transactions.write([record(topic, number)])
        assert sender._identity == (first[0], first[1] + 5)
    assert len(plain.asked(VERSIONS)) >= 1


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_records_are_compressed_as_the_settings_say(
    kafka: str, proxy: Proxy, prefix: str, topic: str, compression: str
) -> None:
    settings = kafka_settings(proxy.address, prefix).model_copy(update={"compression": compression})
    sizes: list[int] = []

    async def noted(exchange: kafka_proxy.Exchange) -> None:
        sizes.append(len(exchange.frame))
        await kafka_proxy.passed(exchange)

    proxy.plan(PRODUCE, noted)
    transactions = Transactions(settings, f"{prefix}-0")
    await transactions.open()
    try:
        await transactions.write([Record(topic, b"k", b"7" * 10_000, [], partition=0)])
    finally:
        await transactions.close()
    assert (sizes[0] > 10_000) == (compression == "none")
    assert [len(found.value) for found in await read_all(kafka, topic)] == [10_000]


async def test_a_client_outlives_its_connections(kafka: str, proxy: Proxy, prefix: str, topic: str) -> None:
    async with transacting(proxy, prefix) as transactions, publishing(proxy, prefix) as publisher:
        for number in range(3):
            await transactions.write([record(topic, number)])
            await publisher.publish([record(topic, 10 + number, partition=1)])
            proxy.cut()
    assert sorted(await stored(kafka, topic)) == [0, 1, 2, 10, 11, 12]


# --- a cluster --------------------------------------------------------------------------------------------------------
@pytest.mark.timeout(180)
async def test_when_a_leader_dies_the_others_take_what_was_for_it() -> None:
    broker = await QuickBroker(nodes=3).start()
    settings = kafka_settings(broker.bootstrap_servers, "c").model_copy(update={"replication_factor": 3})
    topic = "c.sent"
    try:
        await topics.apply(settings, [Topic(topic, PARTITIONS, 3)])
        sender = await clients.start(Sender(settings))
        transactions = Transactions(settings, "c-0")
        await transactions.open()
        await sender.write([record(topic, 0)])
        leader = sender.client.cluster.leader_for_partition(TopicPartition(topic, 0))
        dying = asyncio.create_task(broker.nodes[leader - 1].kill())
        for number in range(1, 200):
            await sender.write([record(topic, number, partition=number % PARTITIONS)], seconds=60)
        await dying
        after = sender.client.cluster.leader_for_partition(TopicPartition(topic, 0))
        assert after != leader
        async with asyncio.timeout(60):
            while True:
                try:
                    if not transactions.usable:
                        await transactions.open()
                    await transactions.write([record(topic, 1000 + n, partition=n) for n in range(PARTITIONS)])
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        await transactions.close()
        await clients.end(sender)
        alive = ",".join(f"127.0.0.1:{node.port}" for node in broker.nodes if node.node_id != leader)
        # A commit is answered before its markers are written.
        async with asyncio.timeout(60):
            while len(found := await stored(alive, topic)) < 200 + PARTITIONS:  # noqa: ASYNC110 - the broker does it
                await asyncio.sleep(0.1)
        assert sorted(found) == [*range(200), 1000, 1001, 1002]
    finally:
        await broker.stop(gracefully=False)
