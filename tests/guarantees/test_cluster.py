"""Three brokers: leaders that die in turn, and a cluster that must not take a record."""

import asyncio
import time
from pathlib import Path

import aiohttp
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType  # type: ignore[attr-defined]  # not in its __all__

from connector.twilio.signature import compute
from tests.guarantees import cluster, commands
from tests.guarantees.accounting.commands import of_commands
from tests.guarantees.stage import RECOVERY_SECONDS, Stage, seeded, stage
from tests.guarantees.traffic import Traffic
from tests.running import Connector, headers_of, until, wait_for_records

ROLES = ["callbacks", "commands"]
# Three brokers have enough to do on a busy machine; what waits meanwhile is to be worked off in the end.
PER_SECOND = 8.0


@pytest.mark.timeout(480)
async def test_leaders_die_and_too_few_replicas_are_in_sync_and_nothing_is_lost_or_done_twice(tmp_path: Path) -> None:
    """First one broker of three dies, and everything goes on; then so does one that is needed, and everything waits."""
    kafka = {**cluster.SECTIONS["kafka"], "partitions": 2}
    sections = {**cluster.SECTIONS, "kafka": kafka, "roles": ROLES}
    async with stage(tmp_path, seed=3, nodes=cluster.NODES, count=1, **sections) as playing:
        (process,) = playing.processes
        await commands.prepare(playing)
        traffic, stop = Traffic(playing, seeded(3, "traffic"), PER_SECOND), asyncio.Event()
        sending = asyncio.create_task(traffic.run(stop))
        leader = await cluster.Leaders(playing).of(f"{playing.prefix}.journal")
        assert leader is not None
        begun = time.time()
        await leader.kill()
        before = len(traffic.sent)
        await until(lambda: len(traffic.sent) > before + 30)
        await cluster.started(leader)
        await cluster.Leaders(playing).all_in_sync()
        await _all_must_be_in_sync(playing)
        assert await _call_back(playing, process, "before") == 204
        await playing.broker.nodes[2].kill()
        assert await _call_back(playing, process, "meanwhile") == 503
        await cluster.started(playing.broker.nodes[2])
        down = (begun, time.time() + RECOVERY_SECONDS)
        stop.set()
        await sending
        assert await commands.has_settled(playing, traffic, within=120)
        assert await _call_back(playing, process, "after") == 204
        stored = await wait_for_records(playing.kafka, f"{playing.prefix}.message-status", 2)
        assert await process.stop() == 0
        account = of_commands(await commands.trace(playing, traffic, [down]))
    assert account.kept, account.table()
    assert {_message("before"), _message("after")} <= {headers_of(record)["ce_subject"] for record in stored}


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


def _message(token: str) -> str:
    return f"SM{token:0>32}"


async def _call_back(playing: Stage, process: Connector, token: str) -> int:
    url = f"{process.callbacks}/callbacks/message-status"
    form = {"AccountSid": playing.simulator.account_sid, "MessageSid": _message(token), "MessageStatus": "sent"}
    signature = compute(url, list(form.items()), playing.simulator.auth_token)
    headers = {"X-Twilio-Signature": signature, "I-Twilio-Idempotency-Token": token}
    async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as answer:
        return answer.status
