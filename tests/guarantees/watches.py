"""Watches under trouble: rows that are made and changed all the time, some late, and which of them became events."""

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from connector.dead_letters.record import TOPIC as LETTERS
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.watches import Event, Row, of_events
from tests.guarantees.stage import Disturbances, Stage, seeded
from tests.running import Connector, headers_of, read_all, until

DIMENSIONS = ("changes", "clocks", "odd")
NAMES = {"sent": "messages", "changed": "messages", "dialled": "calls", "recorded": "recordings"}
CHANGING = "changed"
WATCHES = [
    {"name": name, "resource": resource, "interval": "1s", "overlap": "20s"}
    | ({"emit": "changes"} if name == CHANGING else {})
    for name, resource in NAMES.items()
]
SECTIONS: Mapping[str, Any] = {"roles": ["watch"], "watches": WATCHES}
# A price that comes late would be one more version.
SIMULATED: Mapping[str, Any] = {"alert_on_failed_message": False, "ties": "sid", "price_delay": 3600.0}
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 3, "terminate": 1.5, "broker": 1, "storm": 1}
# What a dimension adds to the trouble.
ADDED: Mapping[str, tuple[str, float]] = {"clocks": ("clock", 1)}
LIFE = ("queued", "sent", "delivered")
STEP_SECONDS = (0.3, 15.0)
# Twilio's clock jumps forward only: what was made before it jumped back could not be in order.
JUMP_SECONDS = (0.5, 3.0)
LATE, CHANGED, UNFIT = 0.1, 0.3, 0.02


def faults(stage: Stage, dimensions: Collection[str]) -> None:
    """Slow lists, lists that fail, short pages, page tokens that are not known any more, and odd answers."""
    add = stage.simulator.fault
    add("latency", "*", seconds=0.03, jitter=0.03)
    add("slow-answer", "List*", probability=0.03, seconds=1.0, jitter=0.5)
    add("error", "List*", probability=0.02, status=503)
    add("drop", "List*", probability=0.02)
    add("short-page", "List*", probability=0.05, rows=3)
    add("bad-token", "List*", probability=0.01)
    if "clocks" in dimensions:
        add("wrong-date", "List*", probability=0.01, seconds=3600)
        add("wrong-date", "List*", probability=0.01, seconds=-3600)
    if "odd" in dimensions:
        for body in ("", "{", "<html>", "null", '{"messages":{}}'):
            add("odd-answer", "List*", probability=0.005, status=200, body=body)
        add("odd-answer", "ListCall", probability=0.01, status=200, swap={"[{": "[null,{"})
        # A body that is shown otherwise for once would be a version.
        add("odd-answer", "ListMessage", probability=0.01, status=200, swap={'"uri":"': r'"uri":"\ud83d'})


@dataclass
class Traffic:
    """Makes rows as long as it runs, and moves some on; `made` are the rows by resource and SID.

    `common` are attributes of all rows of a resource.
    """

    stage: Stage
    random: random.Random
    per_second: float = 40.0
    dimensions: Collection[str] = ()
    common: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    made: dict[str, dict[str, Row]] = field(default_factory=lambda: {resource: {} for resource in NAMES.values()})
    _moving: list[tuple[float, str]] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Make rows until stopped, in bursts, so that many share a second; in the end all are final."""
        while not stop.is_set():
            count = self.random.randint(1, 8)
            self._make(self.random.choice(list(self.made)), count)
            self._move(asyncio.get_running_loop().time())
            await asyncio.sleep(count * self.random.expovariate(self.per_second))
        while self._moving:
            self._move(float("inf"))
            await asyncio.sleep(0.5)

    def _make(self, resource: str, count: int) -> None:
        hidden = self.random.uniform(0.5, 4) if self.random.random() < LATE else 0.0
        changing = resource == "messages" and "changes" in self.dimensions and self.random.random() < CHANGED
        unfit = resource == "recordings" and "odd" in self.dimensions and self.random.random() < UNFIT
        more: dict[str, Any] = {**self.common.get(resource, {}), **({"status": LIFE[0]} if changing else {})}
        more |= {"extra": {"duration": {}}} if unfit else {}
        now = int(self.stage.simulator.state.now())
        sids = self.stage.simulator.fill(resource, count=count, first=now, step=0, visible_after=hidden, **more)
        row = Row(sid="", created=now, is_late=hidden > 0, is_unfit=unfit)
        versions = LIFE if changing else LIFE[-1:] if resource == "messages" else ()
        self.made[resource] |= {sid: replace(row, sid=sid, versions=versions) for sid in sids}
        if changing:
            self._moving += [(self._due(), sid) for sid in sids]

    def _due(self) -> float:
        return asyncio.get_running_loop().time() + self.random.uniform(*STEP_SECONDS)

    def _move(self, until_: float) -> None:
        """Move on what is due."""
        messages = self.stage.simulator.state.stores[self.stage.simulator.account_sid].messages.rows
        due = [sid for at, sid in self._moving if at <= until_]
        self._moving = [(at, sid) for at, sid in self._moving if at > until_]
        for sid in due:
            following = LIFE[LIFE.index(messages[sid].status) + 1]
            self.stage.simulator.set_status(sid, following)
            if following != LIFE[-1]:
                self._moving.append((self._due(), sid))


@dataclass
class Trouble(Disturbances):
    """Trouble, and a clock of Twilio's that drifts away."""

    async def _clock(self, _process: Connector) -> None:
        simulator = self.stage.simulator
        ahead = simulator.state.settings.clock_ahead + self.random.uniform(*JUMP_SECONDS)
        simulator.configure(clock_ahead=ahead)


async def events(stage: Stage, name: str) -> list[Event]:
    """Every event of a watch."""
    records = await read_all(stage.kafka, f"{stage.prefix}.{NAMES[name]}")
    return [_event(record) for record in records if headers_of(record)["ce_watch"] == name]


def _event(record: ConsumerRecord) -> Event:
    headers, data = headers_of(record), orjson.loads(record.value)
    kind: Any = headers["ce_type"].split(".")[-2]
    return Event(
        partition=record.partition,
        sid=headers["ce_subject"],
        time=headers["ce_time"],
        id=headers["ce_id"],
        version=data.get("status") or "",
        kind=kind,
    )


async def letters(stage: Stage) -> list[str]:
    """The SIDs of the rows that are dead letters; what has none is no row that was made."""
    rows = [orjson.loads(record.value) for record in await read_all(stage.kafka, f"{stage.prefix}.{LETTERS}")]
    return [row["sid"] for row in rows if isinstance(row, dict) and "sid" in row]


async def run(
    stage: Stage,
    *,
    seed: int,
    seconds: float,
    trouble: Mapping[str, float] = TROUBLE,
    per_second: float = 40.0,
    dimensions: Collection[str] = DIMENSIONS,
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then quiet, then an orderly stop; what came of it, and what was done."""
    # What exists when a watch starts for the first time is not new to it.
    await started(stage)
    faults(stage, dimensions)
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second, dimensions)
    weights = {**trouble, **dict(ADDED[name] for name in sorted(dimensions) if name in ADDED)}
    disturbances = Trouble(stage, seeded(seed, "trouble"), weights)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    await settled(stage, traffic, within=120)
    codes = await stage.stop()
    account, dead = Account(), await letters(stage)
    for name, resource in NAMES.items():
        rows = traffic.made[resource]
        found = await events(stage, name)
        own = [sid for sid in dead if sid in rows]
        account.add(name, of_events(rows, found, has_changes=name == CHANGING, letters=own))
    account.promise("not ended in order", [code for code in codes if code])
    return account, disturbances.done


async def started(stage: Stage) -> None:
    """Wait until every watch has begun."""

    def have_started() -> bool:
        lines = [line for process in stage.processes for line in process.log.splitlines() if "watch starts" in line]
        return all(any(f'"{name}"' in line for line in lines) for name in NAMES)

    await until(have_started)


async def settled(stage: Stage, traffic: Traffic, *, within: float) -> None:
    """Wait until every row has become an event, or the time is over: the account tells then."""
    end = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < end:
        if not any([await _missing(stage, traffic.made[resource], name) for name, resource in NAMES.items()]):
            # What would come twice comes now.
            await asyncio.sleep(3)
            return
        await asyncio.sleep(1)


async def _missing(stage: Stage, rows: Mapping[str, Row], name: str) -> int:
    """How many rows have no event yet, or none of their last version where changes are asked for."""
    seen = {(event.sid, event.version if name == CHANGING else "") for event in await events(stage, name)}
    wanted = {(row.sid, row.versions[-1] if name == CHANGING else "") for row in rows.values() if not row.is_unfit}
    return len(wanted - seen)
