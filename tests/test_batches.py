"""Records of many callers in shared batches, on a real broker: stored once, in order, and nobody waits for ever."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from connector.errors import ConnectorError, Unavailable, Unwritable
from connector.events import Record
from connector.kafka import publisher as publishers
from connector.kafka import topics
from connector.kafka.publisher import Publisher
from connector.kafka.sending.batches import partition_of
from connector.kafka.topics import Topic
from connector.settings import KafkaSettings
from tests.brokers import QuickBroker
from tests.running import freeze, read_all

PARTITIONS = 3


@asynccontextmanager
async def publishing(kafka: str, prefix: str, **options: str) -> AsyncIterator[tuple[Publisher, str]]:
    """A publisher, and a topic that is there."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix, replication_factor=1)
    topic = f"{prefix}.events"
    await topics.apply(settings, [Topic(topic, PARTITIONS, 1, options)])
    publisher = Publisher(settings)
    await publisher.open()
    try:
        yield publisher, topic
    finally:
        await publisher.close()


def record(topic: str, number: int, *, key: str | None = None, size: int = 10) -> Record:
    value = f"{number}".encode().ljust(size)
    return Record(topic, key.encode() if key else None, value, [("n", str(number).encode())])


def numbers(records: list[object]) -> list[int]:
    return [int(record.value) for record in records]  # type: ignore[attr-defined]  # the client's own type


async def test_records_of_many_callers_are_stored_once_in_the_order_of_their_key(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        await asyncio.gather(*(publisher.publish([record(topic, n, key=f"k{n % 7}")]) for n in range(700)))
        found = await read_all(kafka, topic)
    assert sorted(numbers(found)) == list(range(700))
    for key in {item.key for item in found}:
        mine = [item for item in found if item.key == key]
        assert numbers(mine) == sorted(numbers(mine))
        assert {item.partition for item in mine} == {partition_of(key, PARTITIONS)}
    assert {item.headers for item in found} == {(("n", str(n).encode()),) for n in range(700)}


async def test_a_record_that_cannot_be_encoded_spoils_only_itself(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        await publisher.publish([record(topic, 0, key="k")])
        odd = Record(topic, b"k", b"1", [("n", 1)])  # type: ignore[list-item]  # not bytes, as by a fault of ours
        with pytest.raises(Unwritable):
            await publisher.publish([odd])
        assert publisher._sender is not None
        assert all(lane.is_empty for lane in publisher._sender._lanes.values())
        await publisher.publish([record(topic, 1, key="k")])
        assert numbers(await read_all(kafka, topic)) == [0, 1]


async def test_a_record_is_in_a_batch_at_once_without_a_task_of_its_own(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        await publisher.publish([record(topic, 0, key="k")])
        before = asyncio.all_tasks()
        stored = publisher.publish([record(topic, 1, key="k")])
        assert asyncio.all_tasks() == before
        assert publisher._sender is not None
        assert [lane.filling.count for lane in publisher._sender._lanes.values() if lane.filling] == [1]
        assert await stored == [1]


async def test_more_than_a_batch_holds_goes_in_several(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        big = [record(topic, n, key="k", size=60_000) for n in range(8)]
        await asyncio.gather(*(publisher.publish([item]) for item in big), publisher.publish(big[:2]))
        assert len(await read_all(kafka, topic)) == 10


async def test_a_record_without_a_key_goes_to_any_partition_and_one_with_a_partition_there(
    kafka: str, prefix: str
) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        await publisher.publish([record(topic, 1), Record(topic, b"k", b"2", [], partition=2)])
        found = {item.value.strip(): item.partition for item in await read_all(kafka, topic)}
    assert found[b"2"] == 2
    assert b"1" in found


async def test_a_record_that_is_too_large_is_refused_before_it_disturbs_others(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        with pytest.raises(ConnectorError, match="too large"):
            await publisher.publish([record(topic, 1, size=1_100_000)])
        await publisher.publish([record(topic, 2)])
        assert numbers(await read_all(kafka, topic)) == [2]


async def test_a_caller_that_goes_away_disturbs_nobody_who_shares_its_batch(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix) as (publisher, topic):
        await publisher.publish([record(topic, 0, key="k")])
        calls = [asyncio.ensure_future(publisher.publish([record(topic, n, key="k")])) for n in (1, 2, 3)]
        await asyncio.sleep(0)
        calls[1].cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(item) for item in done] == [list, asyncio.CancelledError, list]
        assert {0, 1, 3} <= set(numbers(await read_all(kafka, topic)))


async def test_after_a_refusal_by_the_broker_another_producer_goes_on(kafka: str, prefix: str) -> None:
    async with publishing(kafka, prefix, **{"cleanup.policy": "compact"}) as (publisher, topic):
        with pytest.raises(Unavailable):
            await publisher.publish([Record(topic, None, b"a compacted topic takes no record without a key", [])])
        async with asyncio.timeout(20):
            while True:
                try:
                    await publisher.publish([record(topic, 7, key="k")])
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)
        assert numbers(await read_all(kafka, topic)) == [7]


async def test_what_is_not_acknowledged_in_time_is_unavailable_and_what_has_not_left_never_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert publishers.ACK_SECONDS == 5
    monkeypatch.setattr(publishers, "ACK_SECONDS", 0.5)
    broker = await QuickBroker().start()
    process = broker.nodes[0].process
    assert process is not None
    try:
        async with publishing(broker.bootstrap_servers, "late") as (publisher, topic):
            await publisher.publish([record(topic, 0, key="k")])
            await freeze(process)
            first = asyncio.ensure_future(publisher.publish([record(topic, 1, key="k")]))
            await asyncio.wait({first}, timeout=0.2)
            others = [publisher.publish([record(topic, n, key="k")]) for n in (2, 3)]
            outcomes = await asyncio.gather(first, *others, return_exceptions=True)
            assert [str(outcome) for outcome in outcomes] == [
                f"Kafka has not acknowledged records of {topic} within 0.5 s."
            ] * 3
            process.send_signal(signal.SIGCONT)
            async with asyncio.timeout(20):
                while True:
                    try:
                        await publisher.publish([record(topic, 4, key="k")])
                        break
                    except Unavailable:
                        continue
            assert numbers(await read_all(broker.bootstrap_servers, topic)) == [0, 1, 4]
    finally:
        process.send_signal(signal.SIGCONT)
        await broker.stop(gracefully=False)
