"""Commands under trouble: traffic with ids and keys, answers that are lost, and what has become of each command."""

import asyncio
import random
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer

from connector.kafka import journal
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.commands import Answer, Execution, Sent, Trace, of_commands
from tests.guarantees.stage import REQUEST_SECONDS, SETTLE_SECONDS, Disturbances, Stage, seeded
from tests.running import read_all

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
    sent: list[Sent] = field(default_factory=list)
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

    def _next(self) -> tuple[str, str | None]:
        """Id and key of the next command: a new one, or one of the last once more."""
        if self.sent and self.random.random() < 0.03:
            again = self.random.choice(self.sent[-50:])
            return again.id, again.key.decode() if again.key else None
        key = f"key-{self.random.randrange(KEYS)}" if self.random.random() < 0.9 else None
        self._numbers[str(key)] += 1
        name = CALL if self.random.random() < 0.1 else SEND
        return f"{name}/{key}/{self._numbers[str(key)]}", key

    async def _send(self, producer: AIOKafkaProducer, command_id: str, key: str | None) -> None:
        # A list of calls does not show the URL: calls must differ in whom they call to be told apart.
        name, raw = command_id.partition("/")[0], key.encode() if key else None
        number = f"+1555{zlib.crc32(command_id.encode()) % 10**7:07}"
        base = {"to": number if name == CALL else OTHER_PHONE_NUMBER, "from": PHONE_NUMBER}
        more = {"url": f"https://example.com/{command_id}"} if name == CALL else {"body": command_id}
        topic, value = f"{self.stage.prefix}.commands.{name}", orjson.dumps(base | more)
        written = await producer.send_and_wait(topic, value, key=raw, headers=[("id", command_id.encode())])
        position = (topic, written.partition, written.offset)
        self.sent.append(Sent(position=position, id=command_id, key=raw, value=value))


def _asked_for(parameters: list[tuple[str, str]]) -> str:
    """The id of the command that made a request."""
    named = dict(parameters)
    return named["Body"] if "Body" in named else named.get("Url", "").removeprefix("https://example.com/")


def executed(stage: Stage) -> list[Execution]:
    """What the simulator executed, in its order."""
    store = stage.simulator.state.stores[stage.simulator.account_sid]
    found = []
    for entry in stage.simulator.journal:
        if entry.executed and entry.operation in {"CreateMessage", "CreateCall"}:
            row = store.messages.rows.get(entry.sid) or store.calls.rows[entry.sid]
            hidden = max(0.0, row.visible_at - entry.time)
            found.append(Execution(id=_asked_for(entry.parameters), sid=entry.sid, at=entry.time, hidden=hidden))
    return found


def unsettled(stage: Stage) -> set[str]:
    """The ids of commands of which a request was neither executed nor refused for certain."""
    return {
        _asked_for(entry.parameters)
        for entry in stage.simulator.journal
        if not entry.executed and (not entry.status or entry.status >= 500)
    }


async def attempts(stage: Stage) -> Mapping[str, Sequence[float]]:
    """When the journal says that each id was attempted."""
    found = defaultdict[str, list[float]](list)
    for entry, _ in journal.decoded(await read_all(stage.kafka, f"{stage.prefix}.{journal.TOPIC}")):
        if entry.state == "attempting":
            found[entry.id].append(entry.at.timestamp())
    return found


async def results(stage: Stage) -> list[Answer]:
    """Every result, as a consumer reads it."""
    topics = [f"{stage.prefix}.results.{name}" for name in (SEND, CALL)]
    read = [record for topic in topics for record in await read_all(stage.kafka, topic)]
    return [Answer(record.partition, record.key, record.value) for record in read]


async def has_settled(stage: Stage, traffic: Traffic, *, within: float) -> bool:
    """Wait until every record has its final result; False when that takes too long."""
    end = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < end:
        finals = {answer.position for answer in await results(stage) if answer.document["last"]}
        if finals.issuperset(one.position for one in traffic.sent):
            return True
        await asyncio.sleep(1)
    return False


async def trace(stage: Stage, traffic: Traffic, interruptions: Sequence[tuple[float, float]]) -> Trace:
    """All that is known of a run."""
    return Trace(
        sent=traffic.sent,
        executed=executed(stage),
        results=await results(stage),
        unsettled=unsettled(stage),
        attempts=await attempts(stage),
        interruptions=interruptions,
        settle_seconds=SETTLE_SECONDS,
        request_seconds=REQUEST_SECONDS,
    )


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
    account = of_commands(await trace(stage, traffic, disturbances.interruptions))
    account.promise("not settled after two minutes", [] if settled else ["see the logs"])
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done
