"""Commands under trouble: traffic with ids and keys, answers that are lost, and what has become of each command."""

import asyncio
import random
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from tests.guarantees.accounting import Account, Asked, of_commands
from tests.guarantees.stage import Disturbances, Stage, seeded
from tests.running import read_all, values

KEYS = 40
SEND, CALL = "send-message", "place-call"
SIMULATED: Mapping[str, Any] = {"alert_on_failed_message": False}
SECTIONS: Mapping[str, Any] = {"roles": ["commands"]}
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 3, "terminate": 1.5, "broker": 1, "storm": 1}


def faults(stage: Stage) -> None:
    """Answers that get lost after the work was done, refusals, slowness, rows that show up late."""
    add = stage.simulator.fault
    add("latency", "*", seconds=0.03, jitter=0.03)
    add("slow-answer", "Create*", probability=0.03, seconds=1.0, jitter=0.5)
    add("lose-answer", "Create*", probability=0.02)
    add("cut-answer", "Create*", probability=0.01)
    add("error-after", "Create*", probability=0.01, status=500)
    add("throttle", "Create*", probability=0.02)
    add("drop", "List*", probability=0.05)
    add("late-visibility", "Create*", probability=0.1, seconds=0.7, jitter=0.5)


@dataclass
class Traffic:
    """Sends commands as long as it runs, each under a key or none, some of them twice."""

    stage: Stage
    random: random.Random
    per_second: float = 30.0
    asked: dict[str, Asked] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped; every command that is counted was acknowledged."""
        producer = AIOKafkaProducer(bootstrap_servers=self.stage.kafka, enable_idempotence=True)
        await producer.start()
        try:
            while not stop.is_set():
                await self._send(producer, *self._next())
                await asyncio.sleep(self.random.expovariate(self.per_second))
        finally:
            await producer.stop()

    def _next(self) -> tuple[str, Asked]:
        again = self.random.random() < 0.03 and self.asked
        if again:
            one = self.random.choice(list(self.asked.values())[-50:])
            return _command_of(one.id), Asked(one.id, one.key, one.number, one.repeats + 1)
        key = f"key-{self.random.randrange(KEYS)}" if self.random.random() < 0.9 else None
        self._numbers[str(key)] += 1
        name = CALL if self.random.random() < 0.1 else SEND
        return name, Asked(f"{name}/{key}/{self._numbers[str(key)]}", key, self._numbers[str(key)])

    async def _send(self, producer: AIOKafkaProducer, name: str, one: Asked) -> None:
        # A list of calls does not show the URL: calls must differ in whom they call to be told apart.
        number = f"+1555{zlib.crc32(one.id.encode()) % 10**7:07}"
        base = {"to": number if name == CALL else OTHER_PHONE_NUMBER, "from": PHONE_NUMBER}
        more = {"url": f"https://example.com/{one.id}"} if name == CALL else {"body": one.id}
        await producer.send_and_wait(
            f"{self.stage.prefix}.commands.{name}",
            orjson.dumps(base | more),
            key=one.key.encode() if one.key else None,
            headers=[("id", one.id.encode())],
        )
        self.asked[one.id] = one


def _command_of(command_id: str) -> str:
    return command_id.partition("/")[0]


def executed(stage: Stage) -> list[str]:
    """The ids of the commands in the order in which the simulator executed them."""
    found = []
    for entry in stage.simulator.journal:
        if entry.executed and entry.operation in {"CreateMessage", "CreateCall"}:
            named = dict(entry.parameters)
            found.append(named["Body"] if "Body" in named else named["Url"].removeprefix("https://example.com/"))
    return found


async def results(stage: Stage) -> list[Mapping[str, Any]]:
    """Every result, as a consumer reads it."""
    return [
        value
        for name in (SEND, CALL)
        for value in values(await read_all(stage.kafka, f"{stage.prefix}.results.{name}"))
    ]


async def has_settled(stage: Stage, traffic: Traffic, *, within: float) -> bool:
    """Wait until every command has its result; False when that takes too long."""
    end = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < end:
        found = await results(stage)
        finals = {one["command"]["id"] for one in found if one["outcome"] != "duplicate" and one["last"]}
        repeats = sum(one["outcome"] == "duplicate" for one in found)
        if finals >= traffic.asked.keys() and repeats >= sum(one.repeats - 1 for one in traffic.asked.values()):
            return True
        await asyncio.sleep(1)
    return False


async def run(
    stage: Stage, *, seed: int, seconds: float, trouble: Mapping[str, float] = TROUBLE, per_second: float = 30.0
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then quiet, then an orderly stop; what came of it, and what was done."""
    faults(stage)
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second)
    disturbances = Disturbances(stage, seeded(seed, "trouble"), trouble)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    settled = await has_settled(stage, traffic, within=120)
    codes = await stage.stop()
    account = of_commands(list(traffic.asked.values()), executed(stage), await results(stage))
    account.promise("not settled after two minutes", [] if settled else ["see the logs"])
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done
