"""Watches under trouble: rows that are made all the time, some late, and which of them became events."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.watches import Event, Row, of_events
from tests.guarantees.stage import Disturbances, Stage, seeded
from tests.running import headers_of, read_all, until

WATCHES = [
    {"name": "sent", "resource": "messages", "interval": "1s", "overlap": "20s"},
    {"name": "dialled", "resource": "calls", "interval": "1s", "overlap": "20s"},
    {"name": "recorded", "resource": "recordings", "interval": "1s", "overlap": "20s"},
]
SECTIONS: Mapping[str, Any] = {"roles": ["watch"], "watches": WATCHES}
SIMULATED: Mapping[str, Any] = {"alert_on_failed_message": False, "ties": "sid"}
TROUBLE: Mapping[str, float] = {"kill": 4, "freeze": 3, "terminate": 1.5, "broker": 1, "storm": 1}


def faults(stage: Stage) -> None:
    """Slow lists, lists that fail, short pages, page tokens that are not known any more."""
    add = stage.simulator.fault
    add("latency", "*", seconds=0.03, jitter=0.03)
    add("slow-answer", "List*", probability=0.03, seconds=1.0, jitter=0.5)
    add("error", "List*", probability=0.02, status=503)
    add("drop", "List*", probability=0.02)
    add("short-page", "List*", probability=0.05, rows=3)
    add("bad-token", "List*", probability=0.01)


@dataclass
class Traffic:
    """Makes rows as long as it runs; `made` are the rows by resource and SID."""

    stage: Stage
    random: random.Random
    per_second: float = 40.0
    made: dict[str, dict[str, Row]] = field(default_factory=lambda: {str(watch["resource"]): {} for watch in WATCHES})

    async def run(self, stop: asyncio.Event) -> None:
        """Make rows until stopped, in bursts, so that many share a second."""
        while not stop.is_set():
            resource = self.random.choice(list(self.made))
            count = self.random.randint(1, 8)
            hidden = self.random.uniform(0.5, 4) if self.random.random() < 0.1 else 0.0
            now = int(self.stage.simulator.state.now())
            sids = self.stage.simulator.fill(resource, count=count, first=now, step=0, visible_after=hidden)
            self.made[resource] |= {sid: Row(sid=sid, created=now, is_late=hidden > 0) for sid in sids}
            await asyncio.sleep(count * self.random.expovariate(self.per_second))


async def events(stage: Stage, resource: str, name: str) -> list[Event]:
    """Every event of a watch."""
    found = await read_all(stage.kafka, f"{stage.prefix}.{resource}")
    named = [(record.partition, headers_of(record)) for record in found]
    return [_event(partition, headers) for partition, headers in named if headers["ce_watch"] == name]


def _event(partition: int, headers: Mapping[str, str]) -> Event:
    kind: Any = headers["ce_type"].split(".")[-2]
    sid, time, name = headers["ce_subject"], headers["ce_time"], headers["ce_id"]
    return Event(partition=partition, sid=sid, time=time, id=name, kind=kind)


async def run(
    stage: Stage, *, seed: int, seconds: float, trouble: Mapping[str, float] = TROUBLE, per_second: float = 40.0
) -> tuple[Account, Counter[str]]:
    """Traffic and trouble for so long, then quiet, then an orderly stop; what came of it, and what was done."""
    # What exists when a watch starts for the first time is not new to it.
    await asyncio.gather(*(_started(stage, str(watch["name"])) for watch in WATCHES))
    faults(stage)
    traffic = Traffic(stage, seeded(seed, "traffic"), per_second)
    disturbances = Disturbances(stage, seeded(seed, "trouble"), trouble)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.run(stop))
        await disturbances.run(seconds)
        stop.set()
    await _settled(stage, traffic, within=120)
    codes = await stage.stop()
    account = Account()
    for watch in WATCHES:
        resource, name = str(watch["resource"]), str(watch["name"])
        found = await events(stage, resource, name)
        account.add(resource, of_events(traffic.made[resource], found))
    account.promise("not ended in order", [str(code) for code in codes if code])
    return account, disturbances.done


async def _started(stage: Stage, name: str) -> None:
    def has_started() -> bool:
        lines = [line for process in stage.processes for line in process.log.splitlines()]
        return any("watch starts" in line and f'"{name}"' in line for line in lines)

    await until(has_started)


async def _settled(stage: Stage, traffic: Traffic, *, within: float) -> None:
    """Wait until every row has become an event, or the time is over: the account tells then."""
    end = asyncio.get_running_loop().time() + within
    while asyncio.get_running_loop().time() < end:
        missing = 0
        for watch in WATCHES:
            resource, name = str(watch["resource"]), str(watch["name"])
            missing += len(traffic.made[resource].keys() - {event.sid for event in await events(stage, resource, name)})
        if not missing:
            # What would come twice comes now.
            await asyncio.sleep(3)
            return
        await asyncio.sleep(1)
