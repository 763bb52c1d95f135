"""Three brokers: leaders that die in turn, and a cluster that must not take a record."""

import asyncio
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]  # not in its __all__

from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from connector.twilio.signature import compute
from tests.guarantees import cluster
from tests.guarantees.stage import Stage, stage
from tests.running import Connector, headers_of, values, wait_for_records

ROLES = ["callbacks", "commands"]


@pytest.mark.timeout(240)
async def test_leaders_die_in_turn_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    async with stage(
        tmp_path, seed=3, nodes=cluster.NODES, count=2, simulated=cluster.SIMULATED, **cluster.SECTIONS
    ) as (playing):
        account, done = await cluster.run(playing, seed=3, seconds=0, topics=3)
    assert done["leader"] == done["topic"] == 3
    assert account.kept, account.table()


@pytest.mark.timeout(240)
async def test_while_too_few_replicas_are_in_sync_callbacks_get_503_and_commands_wait(tmp_path: Path) -> None:
    sections = {**cluster.SECTIONS, "roles": ROLES}
    async with stage(tmp_path, seed=1, nodes=cluster.NODES, count=1, **sections) as playing:
        (process,) = playing.processes
        await _all_must_be_in_sync(playing)
        assert await _call_back(playing, process, "before") == 204
        await playing.broker.nodes[2].kill()
        assert await _call_back(playing, process, "meanwhile") == 503
        # The one who sends the command asks less of the cluster than the connector does.
        producer = AIOKafkaProducer(bootstrap_servers=playing.kafka, acks=1)
        await producer.start()
        value = orjson.dumps({"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": "waits"})
        await producer.send_and_wait(f"{playing.prefix}.commands.send-message", value, key=b"key")
        await producer.stop()
        assert not [entry for entry in playing.simulator.journal.of("CreateMessage") if entry.executed]
        await playing.broker.nodes[2].start()
        await playing.broker.nodes[2].ready()
        (result,) = values(
            await wait_for_records(playing.kafka, f"{playing.prefix}.results.send-message", 1, within=60)
        )
        assert await _call_back(playing, process, "after") == 204
        stored = await wait_for_records(playing.kafka, f"{playing.prefix}.message-status", 2)
        executed = [entry for entry in playing.simulator.journal.of("CreateMessage") if entry.executed]
        assert await process.stop() == 0
    assert (result["outcome"], len(executed)) == ("succeeded", 1)
    assert {"before", "after"} <= {headers_of(record)["ce_id"] for record in stored}


async def _all_must_be_in_sync(playing: Stage) -> None:
    """From now on every replica of our topics must have a record before it is acknowledged."""

    def alter() -> None:
        admin = AdminClient({"bootstrap.servers": playing.kafka})
        entry = ConfigEntry("min.insync.replicas", "3", incremental_operation=AlterConfigOpType.SET)
        names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(f"{playing.prefix}.")]
        resources = [ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry]) for name in names]
        for future in admin.incremental_alter_configs(resources).values():
            future.result()

    await asyncio.to_thread(alter)


async def _call_back(playing: Stage, process: Connector, token: str) -> int:
    url = f"{process.callbacks}/callbacks/message-status"
    form = {"AccountSid": playing.simulator.account_sid, "MessageSid": f"SM{1:032}", "MessageStatus": "sent"}
    signature = compute(url, list(form.items()), playing.simulator.auth_token)
    headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": token}
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as answer:
        return answer.status
