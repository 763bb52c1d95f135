"""At rest: what processes cost that have nothing to do, and what memory they hold; the connector after 100 commands."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import callbacks, commands, kafka, machine, targets
from bench.machine import Program
from connector.dev.broker import free_port

# After its start a process still settles: groups, topics' metadata, collections.
SETTLE_SECONDS = 15.0
COMMANDS = 100
COMMAND_SECONDS = 60.0
WATCHES = ("messages", "calls", "recordings", "transcriptions", "alerts")


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often."""

    rounds: int = 3
    seconds: float = 20.0
    only: frozenset[str] = frozenset()


@dataclass
class Target:
    """A running program, and what was measured of it."""

    name: str
    program: Program
    rounds: list[dict[str, float]] = field(default_factory=list)


async def measure(servers: str, folder: Path, options: Options) -> list[Target]:
    """Start every target, let it settle, then look at each alone in turn: what the others do costs nothing here."""
    port = free_port()
    environment = {"PORT": str(port), "ROWS": "1000", "STEP": "60"}
    simulator = Program("sim-idle", [sys.executable, "-m", "bench.simulated"], folder=folder, environment=environment)
    found: list[Target] = []
    try:
        await simulator.listens(port)
        for start in _starters(servers, folder, f"http://127.0.0.1:{port}", options.only):
            found.append(await start())
        await asyncio.sleep(SETTLE_SECONDS)
        for number in range(options.rounds):
            for target in found if number % 2 == 0 else found[::-1]:
                before = machine.usage(target.program.pid)
                await asyncio.sleep(options.seconds)
                after = machine.usage(target.program.pid)
                row = {"cpu": (after.cpu - before.cpu) / options.seconds * 1000, "memory": after.memory}
                target.rounds.append(row)
                print(f"  round {number} {target.name:16} {row['cpu']:.2f} ms/s {row['memory']:.1f} MiB", flush=True)
    finally:
        for target in found:
            target.program.stop()
        simulator.stop()
    return found


def _starters(servers: str, folder: Path, api: str, only: frozenset[str]) -> list[Callable[[], Awaitable[Target]]]:
    """The targets of the callback path, and the connector with all its roles; the first is the anchor."""

    async def of_callbacks(start: Callable[[], Awaitable[callbacks.Target]]) -> Target:
        target = await start()
        return Target(target.name, target.program)

    async def all_roles(workers: int) -> Target:
        name = f"all-roles-{workers}"
        connector = targets.Connector.of(
            name,
            servers,
            folder,
            prefix=f"{name}-{os.urandom(3).hex()}",
            workers=workers,
            watches=[{"resource": resource} for resource in WATCHES],
        ).connection(api_url=api, monitor_url=api)
        await connector.apply_topics()
        program = connector.start()
        await program.listens(connector.ports["admin"])
        await _work(servers, connector)
        return Target(name, program)

    rows = [partial(of_callbacks, start) for start in callbacks.starters(servers, folder, only)]
    return [*rows, *(partial(all_roles, workers) for workers in (1, 2) if not only or "ours" in only)]


async def _work(servers: str, connector: targets.Connector) -> None:
    """Let it execute some commands: it then holds what a process holds that has worked."""
    sent = [commands.command(number, 0) for number in range(COMMANDS)]
    async with (
        kafka.Arrivals(servers, f"{connector.prefix}.results.send-message", commands.identify) as arrivals,
        kafka.writer(servers) as producer,
    ):
        await commands.send(producer, f"{connector.prefix}.commands.send-message", sent)
        await arrivals.wait(COMMANDS, within=COMMAND_SECONDS)


def table(found: Sequence[Target]) -> str:
    """The measurements as Markdown."""
    lines = ["| target | CPU ms a second | MiB (Pss) |", "|---|---|---|"]
    for target in found:
        cpu = machine.spread((row["cpu"] for row in target.rounds), ".1f")
        memory = machine.spread((row["memory"] for row in target.rounds), ".0f")
        lines.append(f"| {target.name} | {cpu} | {memory} |")
    return "\n".join(lines)
