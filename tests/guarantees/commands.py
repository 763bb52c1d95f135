"""Commands under trouble, and what has become of each."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from aiokafka import ConsumerRecord
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # not in its __all__

from connector.dead_letters.record import PREFIX as LETTER
from connector.dead_letters.record import TOPIC as LETTERS
from connector.state import journal
from tests.guarantees import rest
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.commands import Answer, Execution, Letter, Position, Trace, of_commands
from tests.guarantees.stage import AHEAD_SECONDS, REQUEST_SECONDS, SETTLE_SECONDS, Disturbances, Stage, seeded
from tests.guarantees.traffic import COMMANDS, REPLIES, URL, Traffic
from tests.running import Connector, read_all

DIMENSIONS = ("odd", "clocks", "rest", "journal", "partitioners", "transactions")
SIMULATED: Mapping[str, Any] = {"alert_on_failed_message": False}
SECTIONS: Mapping[str, Any] = {"roles": ["commands"], "commands": {"reply_topics": [f"{REPLIES}.*"]}}
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 3, "terminate": 1.5, "broker": 1, "storm": 1}
# What a dimension adds to the trouble.
ADDED: Mapping[str, tuple[str, float]] = {"clocks": ("clock", 1), "rest": ("rest", 1), "journal": ("cut", 0.7)}
# What may stay unanswered is not waited for any more when nothing was answered for so long.
QUIET_SECONDS = 20.0
CREATES = frozenset({"CreateMessage", "CreateCall"})

Attempts: TypeAlias = Mapping[str | Position, Sequence[float]]


def faults(stage: Stage) -> None:
    """Answers that get lost after the work was done, refusals, slowness, rows that show up late."""
    add = stage.simulator.fault
    add("latency", "*", seconds=0.03, jitter=0.03)
    add("slow-answer", "Create*", probability=0.03, seconds=1.0, jitter=0.5)
    add("lose-answer", "Create*", probability=0.02)
    add("lose-answer", "Delete*", probability=0.1)
    add("cut-answer", "Create*", probability=0.01)
    add("error-after", "Create*", probability=0.01, status=500)
    add("throttle", "Create*", probability=0.02)
    add("drop", "List*", probability=0.05)
    add("late-visibility", "Create*", probability=0.1, seconds=0.7, jitter=0.5)


@dataclass
class Trouble(Disturbances):
    """Trouble that takes Kafka's memory away, or the clock.

    `steps` are the moments at which Twilio's clock jumped, with how far it is ahead of ours from then on. A journal
    that `is_short` does not know any more what was finished long ago; `attempts` are those that it knew.
    """

    traffic: Traffic | None = None
    steps: list[tuple[float, float]] = field(default_factory=list)
    attempts: Attempts = field(default_factory=dict)
    is_short: bool = False

    async def _clock(self, _process: Connector) -> None:
        """Twilio's clock and ours differ by something else from now on."""
        ahead = self.random.choice(AHEAD_SECONDS)
        self.stage.simulator.configure(clock_ahead=ahead)
        self.steps.append((time.time(), ahead))

    async def _cut(self, _process: Connector) -> None:
        """The journal is as short as the commits allow. It does not know the ids any more that it held."""
        if await self._without_repeats():
            await self._cut_journal(await rest.low_marks(self.stage))
        self._traffic.forget()

    async def _rest(self, _process: Connector) -> None:
        """All processes end in order, and the group's offsets expire before they start again."""
        stage = self.stage
        cut = "journal" in self._traffic.dimensions and self.random.random() < 0.5 and await self._without_repeats()
        stage.rests = True
        await stage.stop()
        await rest.forget_offsets(stage)
        if cut and await rest.has_ended_in_order(stage):
            await self._cut_journal(None)
        await asyncio.sleep(self.random.uniform(0.5, 2))
        stage.rests = False
        await asyncio.gather(*(stage.start(process, ready=True) for process in stage.processes))
        if self.is_short:
            self._traffic.pass_over(await answered(stage))
        self._traffic.forget()

    async def _cut_journal(self, marks: Mapping[int, int] | None) -> None:
        self.is_short = True
        self.attempts = {**self.attempts, **await attempts(self.stage)}
        await rest.cut_journal(self.stage, marks)

    @property
    def _traffic(self) -> Traffic:
        assert self.traffic is not None
        return self.traffic

    async def _without_repeats(self) -> bool:
        """Wait until no repeat is under way; False when that takes too long."""
        for _ in range(60):
            if await self._traffic.without_repeats(await answered(self.stage)):
                return True
            await asyncio.sleep(0.5)
        return False


def _asked_for(parameters: list[tuple[str, str]], traffic: Traffic) -> str:
    """The id of the command that made a request."""
    named = dict(parameters)
    body = named.get("Body", "")
    return traffic.bodies.get(body, body) if "Body" in named else named.get("Url", "").removeprefix(URL)


def executed(stage: Stage, traffic: Traffic) -> list[Execution]:
    """What the simulator executed, in its order."""
    store = stage.simulator.state.stores[stage.simulator.account_sid]
    ahead = stage.simulator.state.settings.clock_ahead
    found = []
    for entry in stage.simulator.journal:
        if entry.executed and entry.operation in CREATES:
            row = store.messages.rows.get(entry.sid) or store.calls.rows[entry.sid]
            hidden = max(0.0, row.visible_at - ahead - entry.time)
            name = _asked_for(entry.parameters, traffic)
            found.append(Execution(id=name, sid=entry.sid, at=entry.time, hidden=hidden))
        elif entry.executed and entry.operation == "DeleteMessage":
            found.append(Execution(id=traffic.deleted[entry.sid], sid=entry.sid, at=entry.time))
    return found


def unsettled(stage: Stage, traffic: Traffic) -> set[str]:
    """The ids of commands of which a request was neither executed nor refused for certain."""
    return {
        _asked_for(entry.parameters, traffic)
        for entry in stage.simulator.journal
        if not entry.executed and (not entry.status or entry.status >= 500)
    }


async def attempts(stage: Stage) -> Attempts:
    """When the journal says that each record and each id was attempted."""
    found = defaultdict[str | Position, list[float]](list)
    for record in await read_all(stage.kafka, f"{stage.prefix}.{journal.TOPIC}"):
        for entry, _ in journal.decoded([record]):
            if entry.state == "attempting":
                found[entry.id].append(entry.at.timestamp())
                found[entry.topic, record.partition, entry.offset].append(entry.at.timestamp())
    return found


async def results(stage: Stage) -> list[Answer]:
    """Every result, as a consumer reads it."""
    return [answer for name in COMMANDS for answer in await _answers(stage, f"{stage.prefix}.results.{name}")]


async def _answers(stage: Stage, topic: str) -> list[Answer]:
    return [Answer(record.partition, record.key, record.value) for record in await read_all(stage.kafka, topic)]


async def answered(stage: Stage) -> Collection[Position]:
    """The records that have their final result."""
    return {answer.position for answer in await results(stage) if answer.document["last"]}


async def letters(stage: Stage) -> list[Letter]:
    """Every dead letter of a command."""
    read = await read_all(stage.kafka, f"{stage.prefix}.{LETTERS}")
    # The last of a name is ours: the record's own come before. A watch has letters, too.
    found = [(record, dict(record.headers)) for record in read]
    return [_letter(record, raw) for record, raw in found if raw[f"{LETTER}stage"] == b"command"]


def _letter(record: ConsumerRecord, raw: Mapping[str, bytes]) -> Letter:
    topic, partition, offset = (raw[f"{LETTER}{name}"].decode() for name in ("topic", "partition", "offset"))
    return Letter((topic, int(partition), int(offset)), record.key, record.value)


async def has_settled(stage: Stage, traffic: Traffic, *, within: float) -> bool:
    """Wait until every record has its final result; False when that takes too long.

    What may stay unanswered is waited for as long as anything is answered.
    """
    clock = asyncio.get_running_loop().time
    end, changed, count = clock() + within, clock(), -1
    while clock() < end:
        found = await answered(stage)
        if len(found) != count:
            changed, count = clock(), len(found)
        left = [one for one in traffic.sent if one.position not in found]
        if not left or (all(one.may_be_passed_over for one in left) and clock() - changed > QUIET_SECONDS):
            return True
        await asyncio.sleep(1)
    return False


async def trace(
    stage: Stage,
    traffic: Traffic,
    interruptions: Sequence[tuple[float, float]],
    *,
    former: Attempts = MappingProxyType({}),
    steps: Sequence[tuple[float, float]] = (),
    ahead: float = 0.0,
    is_odd: bool = False,
) -> Trace:
    """All that is known of a run; `former` are attempts that the journal has told before it was cut."""
    present = await attempts(stage)
    return Trace(
        sent=traffic.sent,
        executed=executed(stage, traffic),
        results=await results(stage),
        replies=await _answers(stage, f"{REPLIES}.{stage.prefix}"),
        letters=await letters(stage),
        unsettled=unsettled(stage, traffic),
        attempts={name: [*former.get(name, ()), *present.get(name, ())] for name in {*former, *present}},
        interruptions=interruptions,
        steps=steps,
        ahead=ahead,
        is_odd=is_odd,
        settle_seconds=SETTLE_SECONDS,
        request_seconds=REQUEST_SECONDS,
    )


async def prepare(stage: Stage) -> None:
    """Make the callers' own topic for replies, on every broker: one may be killed."""
    admin = AdminClient({"bootstrap.servers": stage.kafka})
    made = admin.create_topics([NewTopic(f"{REPLIES}.{stage.prefix}", stage.partitions, len(stage.broker.nodes))])
    await asyncio.to_thread(lambda: [future.result() for future in made.values()])


async def run(
    stage: Stage,
    *,
    seed: int,
    seconds: float,
    trouble: Mapping[str, float] = TROUBLE,
    per_second: float = 30.0,
    dimensions: Collection[str] = DIMENSIONS,
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then quiet, then an orderly stop; what came of it, and what was done."""
    await prepare(stage)
    faults(stage)
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second, dimensions)
    weights = {**trouble, **dict(ADDED[name] for name in sorted(dimensions) if name in ADDED)}
    disturbances = Trouble(stage, seeded(seed, "trouble"), weights, traffic=traffic)
    ahead = stage.simulator.state.settings.clock_ahead
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    settled = await has_settled(stage, traffic, within=120)
    codes = await stage.stop()
    account = of_commands(
        await trace(
            stage,
            traffic,
            disturbances.interruptions,
            former=disturbances.attempts,
            steps=disturbances.steps,
            ahead=ahead,
        )
    )
    account.promise("not settled after two minutes", [] if settled else ["see the logs"])
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done
