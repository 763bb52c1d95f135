"""Trouble for three brokers under a load of commands: the leader of every topic is killed in turn."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka.admin import AdminClient

from connector.dev.broker import Node
from tests.guarantees import commands
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.commands import of_commands
from tests.guarantees.stage import RECOVERY_SECONDS, Stage, seeded
from tests.guarantees.traffic import Traffic

NODES = 3
SECTIONS: Mapping[str, Any] = {**commands.SECTIONS, "kafka": {"replication_factor": 3}}
SIMULATED = commands.SIMULATED
METADATA_SECONDS = 10
SYNC_SECONDS = 120


class Leaders:
    """Who leads which topic, asked of the cluster as a client does."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._admin = AdminClient({"bootstrap.servers": stage.kafka, "log_level": 0})

    async def topics(self) -> list[str]:
        """Ours, and those in which Kafka keeps offsets and transactions."""
        found = await asyncio.to_thread(self._admin.list_topics, timeout=METADATA_SECONDS)
        return sorted(name for name in found.topics if name.startswith((f"{self._stage.prefix}.", "__")))

    async def of(self, topic: str) -> Node | None:
        """The leader of the topic's first partition that has one."""
        found = await asyncio.to_thread(self._admin.list_topics, topic, timeout=METADATA_SECONDS)
        leaders = [partition.leader for partition in found.topics[topic].partitions.values() if partition.leader > 0]
        return next((node for node in self._stage.broker.nodes if leaders and node.node_id == leaders[0]), None)

    async def all_in_sync(self) -> None:
        """Wait until every replica has everything: the next kill must not be the second."""
        async with asyncio.timeout(SYNC_SECONDS):
            while True:
                found = await asyncio.to_thread(self._admin.list_topics, timeout=METADATA_SECONDS)
                places = [place for topic in found.topics.values() for place in topic.partitions.values()]
                if all(len(place.isrs) == NODES and place.leader > 0 for place in places):
                    return
                await asyncio.sleep(0.2)


async def run(
    stage: Stage, *, seed: int, seconds: float, per_second: float = 30.0, dimensions: Collection[str] = ()
) -> tuple[Account, Counter[str]]:
    """Traffic, and for so long one leader after the other, each topic's once at least."""
    await commands.prepare(stage)
    commands.faults(stage)
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second, dimensions)
    leaders, random, stop, done = Leaders(stage), seeded(seed, "trouble"), asyncio.Event(), Counter[str]()
    loop = asyncio.get_running_loop()
    interruptions: list[tuple[float, float]] = []
    end = loop.time() + seconds
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        names = await leaders.topics()
        random.shuffle(names)
        for name in itertools.cycle(names):
            if loop.time() > end and len(done) >= len(names):
                break
            node = await leaders.of(name)
            if node is not None:
                begun = time.time()
                await node.kill()
                await asyncio.sleep(random.uniform(0.5, 3))
                await started(node)
                await leaders.all_in_sync()
                interruptions.append((begun, time.time() + RECOVERY_SECONDS))
                done[name] += 1
        stop.set()
    settled = await commands.has_settled(stage, traffic, within=120)
    codes = await stage.stop()
    account = of_commands(await commands.trace(stage, traffic, interruptions))
    account.promise("not settled after two minutes", [] if settled else ["see the logs"])
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, Counter({"leader": done.total(), "topic": len(done)})


async def started(node: Node) -> None:
    """Start a broker again."""
    await node.start()
    await node.ready()
