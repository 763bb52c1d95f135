"""The publisher: a return means stored, anything else means perhaps; it outlives its broker and its client."""

import asyncio
import os
import signal
import time

import pytest

from connector.errors import ConnectorError, Unavailable, Unwritable
from connector.events import Record
from connector.kafka import topics
from connector.kafka.publisher import Publisher
from connector.kafka.topics import Topic
from tests.brokers import QuickBroker
from tests.executing import kafka_settings
from tests.running import freeze, read_all

TOPIC = "t.events"


async def _stored(publisher: Publisher, number: int, *, within: float = 30.0) -> None:
    """Publish until it is acknowledged."""
    async with asyncio.timeout(within):
        while True:
            try:
                await publisher.publish([Record(TOPIC, b"key", str(number).encode())])
            except ConnectorError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_what_was_acknowledged_is_there_though_the_broker_rests_and_the_client_is_rebuilt() -> None:
    broker = await QuickBroker().start()
    settings = kafka_settings(broker.bootstrap_servers, "t")
    await topics.apply(settings, [Topic(TOPIC, 1, 1)])
    publisher = Publisher(settings)
    await publisher.open()
    try:
        await _stored(publisher, 0)
        # The broker does not answer.
        (node,) = broker.nodes
        assert node.process is not None
        await freeze(node.process)
        began = time.monotonic()
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable):
                await publisher.publish([Record(TOPIC, b"key", b"perhaps")])
        assert time.monotonic() - began > 4
        node.process.send_signal(signal.SIGCONT)
        await _stored(publisher, 1)
        # The client is of no more use.
        assert publisher._sender is not None
        publisher._rebuild(publisher._sender)
        with pytest.raises(Unavailable):
            await publisher.publish([Record(TOPIC, b"key", b"never")])
        await _stored(publisher, 2)
        found = [record.value for record in await read_all(broker.bootstrap_servers, TOPIC)]
        assert [value for value in found if value != b"perhaps"] == [b"0", b"1", b"2"]
        assert found.count(b"perhaps") <= 1
    finally:
        await publisher.close()
        await broker.stop(gracefully=False)


async def test_a_record_that_is_too_large_disturbs_nobody(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    topic = f"{prefix}.events"
    await topics.apply(settings, [Topic(topic, 1, 1)])
    publisher = Publisher(settings)
    await publisher.open()
    before = publisher._sender
    with pytest.raises(Unwritable):
        await publisher.publish([Record(topic, None, b"x" * 3_000_000)])
    await publisher.publish([Record(topic, None, b"next")])
    assert publisher._sender is before
    await publisher.close()
    assert [record.value for record in await read_all(kafka, topic)] == [b"next"]


async def test_a_topic_that_takes_less_than_a_batch_gets_its_records_after_some_refusals(
    kafka: str, prefix: str
) -> None:
    settings, topic = kafka_settings(kafka, prefix), f"{prefix}.events"
    await topics.apply(settings, [Topic(topic, 1, 1, {"max.message.bytes": "20000"})])
    publisher = Publisher(settings)
    await publisher.open()
    left = [Record(topic, b"key", os.urandom(1000)) for _ in range(60)]
    try:
        async with asyncio.timeout(30):
            while left:
                answers = await asyncio.gather(
                    *(publisher.publish([record]) for record in left), return_exceptions=True
                )
                left = [record for record, answer in zip(left, answers, strict=True) if isinstance(answer, Exception)]
                await asyncio.sleep(0.1)
    finally:
        await publisher.close()


async def test_closing_waits_for_what_was_sent(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    topic = f"{prefix}.events"
    await topics.apply(settings, [Topic(topic, 3, 1)])
    publisher = Publisher(settings)
    await publisher.open()
    sending = [asyncio.ensure_future(publisher.publish([Record(topic, None, b"x")])) for _ in range(100)]
    await asyncio.gather(*sending)
    await publisher.close()
    assert len(await read_all(kafka, topic)) == 100
    with pytest.raises(Unavailable):
        await publisher.publish([Record(topic, None, b"x")])
