import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import TopicPartition

from connector.dev.broker import Broker
from connector.kafka import clients, topics
from connector.kafka.topics import Topic
from connector.simulator import Simulator
from connector.twilio.signature import compute
from tests.brokers import QuickBroker
from tests.executing import kafka_settings
from tests.producing import Message, produce
from tests.running import Connector, configuration, headers_of, read_all, running, until, values, wait_for_records

PHONE = "+15551234567"
SID = "SM" + "0" * 31
AWAY_SECONDS = 2.0


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A broker that may be killed."""
    broker = await QuickBroker().start()
    yield broker
    await broker.stop(gracefully=False)


async def call_back(session: aiohttp.ClientSession, process: Connector, token: str, number: int) -> int:
    """Deliver a signed status callback as Twilio would; returns the HTTP status."""
    url = f"{process.callbacks}/callbacks/message-status"
    form = {
        "MessageSid": f"{SID}{number:x}",
        "MessageStatus": "delivered",
        "AccountSid": process.document["connections"]["default"]["account_sid"],
    }
    headers = {"X-Twilio-Signature": compute(url, form.items(), token)}
    async with session.post(url, data=form, headers=headers) as answer:
        return answer.status


async def test_a_broker_that_is_away_is_asked_for_some_times_a_second(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    settings = kafka_settings(broker.bootstrap_servers, "t")
    await topics.apply(settings, [Topic("there", 1, 1)])
    async with clients.reading(settings) as consumer:
        consumer.assign([TopicPartition("there", 0)])
        await consumer.getmany(timeout_ms=100)
        # Where nobody leads a partition the client asks for news at once, again and again.
        async with clients.administration(settings) as admin:
            await admin.delete_topics(["there"])
        await until(lambda: not consumer.partitions_for_topic("there"))
        await broker.nodes[0].kill()
        with caplog.at_level(logging.ERROR, "aiokafka"):
            await asyncio.sleep(AWAY_SECONDS)
    tries = sum("Unable to update metadata" in record.getMessage() for record in caplog.records)
    assert 1 < tries < 20 * AWAY_SECONDS


async def test_everything_waits_for_the_broker_and_goes_on_without_a_restart(
    broker: Broker, simulator: Simulator, tmp_path: Path
) -> None:
    kafka, prefix = broker.bootstrap_servers, "away"
    watches: list[dict[str, Any]] = [{"resource": "messages", "interval": "300ms"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    async with running(document, tmp_path) as (process,), aiohttp.ClientSession() as session:
        stored = [
            number for number in range(3) if await call_back(session, process, simulator.auth_token, number) == 204
        ]
        assert stored == [0, 1, 2]

        await process.wait_for_log("watch starts anew")
        await broker.nodes[0].kill()
        refused = [await call_back(session, process, simulator.auth_token, 8 + number) for number in range(2)]
        async with session.get(f"{process.admin}/livez") as answer:
            alive = answer.status
        before = simulator.receive(from_="+15550100001", to=PHONE, body="while it is away")
        await broker.nodes[0].start()
        await broker.nodes[0].ready()

        # Twilio delivers again what was answered with 503.
        async with asyncio.timeout(60):
            while await call_back(session, process, simulator.auth_token, 8) != 204:
                pass
        after = simulator.receive(from_="+15550100001", to=PHONE, body="when it is back")
        command = {"to": "+15557654321", "from": PHONE, "body": "Hello"}
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", command, "k")])
        (result,) = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 1, within=60))
        watched = await wait_for_records(kafka, f"{prefix}.messages", 3, within=60)
        statuses = await read_all(kafka, f"{prefix}.message-status")

    assert refused == [503, 503]
    assert alive == 200
    assert result["outcome"] == "succeeded"
    sids = [record.key.decode() for record in watched]
    assert sorted(sids) == sorted({*sids})
    assert {before.sid, after.sid, result["bundles"][0]["sid"]} == set(sids)
    seen = {headers_of(status)["ce_subject"] for status in statuses}
    assert {f"{SID}{number}" for number in (0, 1, 2, 8)} <= seen
