"""Transactions: all or nothing, and a predecessor is refused by the broker."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from connector.errors import Superseded, Unavailable, Unwritable
from connector.events import Record
from connector.kafka import topics
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from tests.executing import kafka_settings
from tests.running import read_all


@pytest.fixture
async def settings(kafka: str, prefix: str) -> KafkaSettings:
    found = kafka_settings(kafka, prefix)
    await topics.apply(found, [Topic(f"{prefix}.one", 2, 1), Topic(f"{prefix}.two", 1, 1)])
    return found


@pytest.fixture
async def transactions(settings: KafkaSettings) -> AsyncIterator[Transactions]:
    opened = Transactions(settings, f"{settings.topic_prefix}-0")
    await opened.open()
    yield opened
    await opened.close()


def record(settings: KafkaSettings, value: bytes, *, topic: str = "one", partition: int | None = 0) -> Record:
    return Record(f"{settings.topic_prefix}.{topic}", b"key", value, [("header", b"text")], partition=partition)


async def _values(settings: KafkaSettings, topic: str = "one") -> list[bytes]:
    found = await read_all(settings.bootstrap_servers, f"{settings.topic_prefix}.{topic}")
    return [one.value for one in found]


async def test_records_of_one_write_become_visible_together(
    settings: KafkaSettings, transactions: Transactions
) -> None:
    three = record(settings, b"3", topic="two")
    offsets = await transactions.write([record(settings, b"1"), record(settings, b"2"), three])
    assert offsets == [0, 1, 0]
    assert await _values(settings) == [b"1", b"2"]
    assert await _values(settings, "two") == [b"3"]
    assert transactions.usable


async def test_many_records_keep_their_order_and_know_their_offsets(
    settings: KafkaSettings, transactions: Transactions
) -> None:
    values = [str(number).encode() * 500 for number in range(400)]
    offsets = await transactions.write([record(settings, value) for value in values])
    assert offsets == list(range(400))
    assert await _values(settings) == values


async def test_a_predecessor_is_refused(settings: KafkaSettings, transactions: Transactions) -> None:
    await transactions.write([record(settings, b"before")])
    successor = Transactions(settings, transactions.transactional_id)
    await successor.open()
    with pytest.raises(Superseded):
        await transactions.write([record(settings, b"late")])
    assert not transactions.usable
    await successor.write([record(settings, b"after")])
    await successor.close()
    assert await _values(settings) == [b"before", b"after"]


async def test_opening_ends_what_a_predecessor_left_open(settings: KafkaSettings, transactions: Transactions) -> None:
    assert transactions._sender is not None
    await transactions._sender.write([record(settings, b"orphan")])
    successor = Transactions(settings, transactions.transactional_id)
    await successor.open()
    await successor.write([record(settings, b"after")])
    await successor.close()
    async with asyncio.timeout(5):
        assert await _values(settings) == [b"after"]


async def test_after_a_failure_it_must_be_opened_again(settings: KafkaSettings, transactions: Transactions) -> None:
    with pytest.raises(Unwritable):
        await transactions.write([record(settings, b"good"), record(settings, b"x" * 1_500_000)])
    with pytest.raises(Unavailable):
        await transactions.write([record(settings, b"good")])
    await transactions.open()
    await transactions.write([record(settings, b"again")])
    assert await _values(settings) == [b"again"]


async def test_a_topic_that_does_not_exist_is_the_record_s_fault(
    settings: KafkaSettings, transactions: Transactions
) -> None:
    assert await transactions.partitions_of(f"{settings.topic_prefix}.missing") == 0
    assert await transactions.partitions_of(f"{settings.topic_prefix}.one") == 2
    with pytest.raises(Unwritable):
        await transactions.write([record(settings, b"1", topic="missing")])


async def test_nothing_of_a_large_file_is_visible_when_its_end_does_not_come(
    settings: KafkaSettings, transactions: Transactions
) -> None:
    async def chunks(count: int, *, broken: bool) -> AsyncIterator[Record]:
        for number in range(count):
            yield record(settings, bytes([number]) * 500_000)
        if broken:
            raise ValueError("the download ended")

    with pytest.raises(ValueError, match="ended"):
        await transactions.write_all(chunks(5, broken=True), seconds=30)
    await transactions.open()
    assert await transactions.write_all(chunks(7, broken=False), seconds=30) == 7
    assert [value[0] for value in await _values(settings)] == list(range(7))


async def test_a_writer_that_is_cancelled_stays_so_and_another_cancellation_is_a_failure(
    settings: KafkaSettings, transactions: Transactions
) -> None:
    waits = asyncio.Event()

    async def endless(*, is_cancelled_within: bool) -> AsyncIterator[Record]:
        yield record(settings, b"1")
        waits.set()
        if is_cancelled_within:
            raise asyncio.CancelledError
        await asyncio.Event().wait()

    with pytest.raises(Unavailable):
        await transactions.write_all(endless(is_cancelled_within=True), seconds=10)
    assert not transactions.usable
    await transactions.open()
    waits.clear()
    writing = asyncio.create_task(transactions.write_all(endless(is_cancelled_within=False), seconds=10))
    await waits.wait()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert not transactions.usable
    assert await _values(settings) == []


async def test_a_record_without_key_and_value_is_written(settings: KafkaSettings, transactions: Transactions) -> None:
    await transactions.write([Record(f"{settings.topic_prefix}.one", None, None, [], partition=1)])
    assert await _values(settings) == [b""]


async def test_an_owner_that_cannot_reach_kafka_hears_of_it(prefix: str) -> None:
    nobody = kafka_settings("127.0.0.1:1", prefix)
    with pytest.raises(Unavailable, match="No broker"):
        await Transactions(nobody, "id").open()
