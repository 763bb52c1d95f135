"""Many records at once, inside a transaction and outside: where they are is told right, whatever their sizes."""

import pytest
from aiokafka import TopicPartition

from connector.errors import Unwritable
from connector.events import Record
from connector.kafka import topics
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from tests.running import read_all


async def transactions(kafka: str, prefix: str) -> tuple[Transactions, str]:
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=prefix, replication_factor=1)
    topic = f"{prefix}.produce"
    await topics.apply(settings, [Topic(topic, 3, 1)])
    opened = Transactions(settings, f"{prefix}-1")
    await opened.open()
    return opened, topic


async def test_offsets_are_those_of_the_records_over_partitions_and_batches(kafka: str, prefix: str) -> None:
    opened, topic = await transactions(kafka, prefix)
    sizes = [10, 50_000, 120_000, 600_000, 10, 90_000]
    records = [
        Record(topic, b"k%d" % number, b"%d" % number + b" " * sizes[number % 6], [], partition=number % 2 or None)
        for number in range(24)
    ]
    try:
        offsets = await opened.write(records)
        more = await opened.write([Record(topic, b"k", None, []), Record(topic, None, None, [], partition=0)])
    finally:
        await opened.close()
    found = {(TopicPartition(item.topic, item.partition), item.offset): item for item in await read_all(kafka, topic)}
    assert len(found) == 26
    for record, offset in zip(records, offsets, strict=True):
        (item,) = (item for (_, at), item in found.items() if at == offset and item.key == record.key)
        assert item.value == record.value
        assert record.partition in (None, item.partition)
    assert len(more) == 2


async def test_of_a_record_that_kafka_refuses_none_of_the_others_becomes_visible(kafka: str, prefix: str) -> None:
    opened, topic = await transactions(kafka, prefix)
    try:
        with pytest.raises(Unwritable):
            await opened.write([Record(topic, b"a", b"1", []), Record(topic, b"b", b" " * 2_000_000, [])])
        assert not opened.usable
        await opened.open()
        await opened.write([Record(topic, b"a", b"2", [])])
    finally:
        await opened.close()
    assert [item.value for item in await read_all(kafka, topic)] == [b"2"]
