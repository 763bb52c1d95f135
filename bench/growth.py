"""What an event costs as load, keys and watches grow: flat, or a curve that says where it is not."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine, plot, traffic
from bench.machine import Program
from bench.targets import Connector
from connector.dev.broker import free_port

RATES = (10, 100, 1_000, 4_000, 10_000)
KEYS = (10, 1_000, 10_000, 100_000, 250_000, 500_000, 750_000, 1_000_000)
WATCHES = (1, 10, 30, 100)
PARTS = ("rates", "keys", "watches")
RATE_SECONDS = 8.0
SLICE_SECONDS = 30.0
CALLBACKS_PER_SECOND = 5_000  # expected, to choose how long a slice of keys takes
# Polls come at the same rate however many watches share them, so that only the number of watches grows.
POLLS_PER_SECOND = 50
WATCH_SECONDS = 20.0
IDLE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Point:
    """At `at`: CPU-s per 1,000 events with what the process needs when idle, without it, and resident MiB."""

    at: float
    cost: float
    marginal: float
    memory: float
    note: str = ""


async def measure(servers: str, folder: Path, only: frozenset[str] = frozenset()) -> dict[str, list[Point]]:
    """Rates and keys through the callback path, watches through the watch path; `only` some of `PARTS`."""
    wanted = only or frozenset(PARTS)
    found: dict[str, list[Point]] = {}
    if wanted & {"rates", "keys"}:
        found |= await _callbacks(servers, folder, wanted)
    if "watches" in wanted:
        idle = await _idle_watching(servers, folder)
        found["watches"] = [await _with_watches(servers, folder, count, idle) for count in WATCHES]
    return found


async def _callbacks(servers: str, folder: Path, wanted: frozenset[str]) -> dict[str, list[Point]]:
    found: dict[str, list[Point]] = {}
    run = os.urandom(3).hex()
    connector = Connector.of(f"growth-{run}", servers, folder, prefix=f"growth-{run}", roles=["callbacks"])
    await connector.apply_topics()
    program = connector.start()
    try:
        await program.listens(connector.ports["admin"])
        await _send(connector, first=1, seconds=3)
        if "rates" in wanted:
            idle = await _idle(program)
            found["events per second"] = [await _at_rate(connector, program, rate, idle) for rate in RATES]
        if "keys" in wanted:
            found["distinct keys"] = await _over_keys(connector, program)
    finally:
        program.stop()
    return found


async def _idle(program: Program) -> float:
    """CPU seconds in a second without any work."""
    before = machine.usage(program.pid).cpu
    await asyncio.sleep(IDLE_SECONDS)
    return (machine.usage(program.pid).cpu - before) / IDLE_SECONDS


async def _send(connector: Connector, *, first: int, seconds: float, rate: float = 0) -> int:
    """Send callbacks about new messages; how many were stored."""
    options = ["--port", connector.ports["callbacks"], "--path", traffic.PATH, "--fresh", first]
    options += ["--seconds", seconds, "--rate", rate]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", *map(str, options), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    statuses: Mapping[str, int] = json.loads(output)["statuses"]
    if set(statuses) != {"204"}:
        raise RuntimeError(f"Not everything was stored: {statuses}.")
    return statuses["204"]


async def _at_rate(connector: Connector, program: Program, rate: float, idle: float) -> Point:
    before = machine.usage(program.pid)
    began = asyncio.get_running_loop().time()
    stored = await _send(connector, first=10_000_000 + int(rate) * 1_000, seconds=RATE_SECONDS, rate=rate)
    seconds = asyncio.get_running_loop().time() - began
    after = machine.usage(program.pid)
    cpu = after.cpu - before.cpu
    point = Point(rate, cpu / stored * 1000, (cpu - idle * seconds) / stored * 1000, after.memory)
    print(f"  {rate}/s: {point}", flush=True)
    return point


async def _over_keys(connector: Connector, program: Program) -> list[Point]:
    """New keys without end, in slices; each point is the slice that ends there."""
    found: list[Point] = []
    sent = 0
    for keys in KEYS:
        before, of_slice = machine.usage(program.pid), 0
        while sent < keys:
            seconds = min(SLICE_SECONDS, max(0.3, (keys - sent) / CALLBACKS_PER_SECOND))
            stored = await _send(connector, first=100_000_000 + sent, seconds=seconds)
            sent += stored
            of_slice += stored
        after = machine.usage(program.pid)
        if of_slice:
            cost = (after.cpu - before.cpu) / of_slice * 1000
            found.append(Point(sent, cost, cost, after.memory))
            print(f"  {sent} keys: {found[-1]}", flush=True)
    return found


def _watching(servers: str, folder: Path, count: int, port: int) -> Connector:
    run = f"watches-{count}-{os.urandom(3).hex()}"
    interval = f"{1000 * max(count, 1) // POLLS_PER_SECOND}ms"
    watches = [{"name": f"w{number}", "resource": "messages", "interval": interval} for number in range(count)]
    return Connector.of(
        run, servers, folder, prefix=run, roles=["watch"], watches=watches, callbacks={"public_url": None}
    ).connection(api_url=f"http://127.0.0.1:{port}", monitor_url=f"http://127.0.0.1:{port}")


async def _idle_watching(servers: str, folder: Path) -> float:
    """What a process costs in a second that holds all partitions and has nothing to poll."""
    connector = _watching(servers, folder, 0, free_port())
    await connector.apply_topics()
    program = connector.start()
    try:
        await program.listens(connector.ports["admin"])
        await asyncio.sleep(IDLE_SECONDS / 2)
        return await _idle(program)
    finally:
        program.stop()


async def _with_watches(servers: str, folder: Path, count: int, idle: float) -> Point:
    """So many watches of one list, which together poll at the same rate; an event is a poll."""
    port = free_port()
    environment = {"PORT": str(port), "ROWS": "500", "STEP": "60"}
    command = [sys.executable, "-m", "bench.simulated"]
    simulator = Program(f"sim-{count}", command, folder=folder, environment=environment)
    connector = _watching(servers, folder, count, port)
    try:
        await simulator.listens(port)
        await connector.apply_topics()
        program = connector.start()
        try:
            await program.listens(connector.ports["admin"])
            while await connector.total("watch_polls") < 2 * count + POLLS_PER_SECOND:
                await asyncio.sleep(0.2)
            return await _polling(connector, program, count, idle)
        finally:
            program.stop()
    finally:
        simulator.stop()


async def _polling(connector: Connector, program: Program, count: int, idle: float) -> Point:
    before, polls = machine.usage(program.pid), await connector.total("watch_polls")
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(WATCH_SECONDS)
    after, polled = machine.usage(program.pid), await connector.total("watch_polls") - polls
    seconds = asyncio.get_running_loop().time() - began
    cpu = after.cpu - before.cpu
    cost, marginal = cpu / polled * 1000, (cpu - idle * seconds) / polled * 1000
    point = Point(count, cost, marginal, after.memory, note=f"{polled / seconds:.1f} polls/s")
    print(f"  {count} watches: {point}", flush=True)
    return point


def table(found: Mapping[str, Sequence[Point]]) -> str:
    """The measurements as Markdown."""
    lines = ["| growing | at | CPU-s per 1,000 events | without idling | MiB | |", "|---|---|---|---|---|---|"]
    for name, points in found.items():
        lines += [
            f"| {name} | {point.at:,.0f} | {point.cost:.3f} | {point.marginal:.3f} | {point.memory:.0f} "
            f"| {point.note} |"
            for point in points
        ]
    return "\n".join(lines)


def plots(found: Mapping[str, Sequence[Point]], folder: Path) -> None:
    """One SVG for each thing that grows."""
    for name, points in found.items():
        file = folder / f"growth-{name.replace(' ', '-')}.svg"
        costs = [(point.at, point.marginal) for point in points]
        plot.write(file, f"Cost over {name}", x=name, y="CPU-s per 1,000", series={"cost": costs})
        memory = [(point.at, point.memory) for point in points]
        plot.write(
            folder / f"memory-{name.replace(' ', '-')}.svg",
            f"Memory over {name}",
            x=name,
            y="MiB",
            series={"resident": memory},
        )
