"""One process, one simulated account, and what comes out of them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import Connector, configuration, running, values, wait_for_records
from tests.simulator.simulator_world import Hooks
from tests.specification.example import Example
from tests.specification.furnished import Furnished, furnish, present
from tests.specification.watches import watches

# Everything that the account does by itself is quick, and nothing but the walk makes alerts.
SIMULATED = {"alert_on_failed_message": False, "alert_on_failed_callback": False, "price_delay": 0.1}


@dataclass
class World:
    """One process, one account, and what has come out of it."""

    kafka: str
    prefix: str
    simulator: Simulator
    rows: Furnished
    process: Connector
    results: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    served: set[tuple[str, str]] = field(default_factory=set)

    def topic(self, name: str) -> str:
        return f"{self.prefix}.{name}"

    async def execute(self, chosen: Sequence[Example]) -> None:
        """Send the commands, and wait for the last result of each."""
        await asyncio.to_thread(produce, self.kafka, [self._message(example) for example in chosen])
        expected = Counter(example.command for example in chosen)
        for command, count in expected.items():
            done = sum(1 for found in self.results.values() if found[0]["command"]["name"] == command)
            records = await wait_for_records(self.kafka, self.topic(f"results.{command}"), done + count, within=60)
            self.results |= _by_id(values(records))

    def _message(self, example: Example) -> Message:
        topic = self.topic(f"commands.{example.command}")
        return Message(topic, example.value, example.lane or example.id, {"id": example.id})


def _by_id(results: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["command"]["id"], []).append(result)
    return found


@asynccontextmanager
async def world(kafka: str, prefix: str, folder: Path) -> AsyncIterator[World]:
    async with Simulator(seed=1, settings=SIMULATED) as simulator, Hooks() as hooks:
        rows = furnish(simulator, hooks=hooks.url, now=present())
        sections = [watched.section(rows) for watched in watches(rows)]
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=sections)
        async with running(document, folder) as (process,):
            yield World(kafka, prefix, simulator, rows, process)
