"""What an event costs as load, keys and watches grow: flat, or a curve that says where it is not."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import machine, plot, traffic
from bench.machine import Program
from bench.targets import Connector
from connector.dev.broker import free_port

RATES = (10, 100, 1_000, 4_000, 10_000)
KEYS = (10, 1_000, 10_000, 100_000, 250_000, 500_000, 750_000, 1_000_000)
WATCHES = (1, 10, 30, 100)
RATE_SECONDS = 8.0
WATCH_SECONDS = 12.0


@dataclass(frozen=True, slots=True)
class Point:
    """At `at`: CPU-s per 1,000 events with what the process needs when idle, without it, and resident MiB."""

    at: float
    cost: float
    marginal: float
    memory: float
    note: str = ""


async def measure(servers: str, folder: Path) -> dict[str, list[Point]]:
    """Rates and keys through the callback path, watches through the watch path."""
    found: dict[str, list[Point]] = {}
    run = os.urandom(3).hex()
    connector = Connector.of(f"growth-{run}", servers, folder, prefix=f"growth-{run}", roles=["callbacks"])
    await connector.apply_topics()
    program = connector.start()
    try:
        await program.listens(connector.ports["admin"])
        await _send(connector, first=1, seconds=3)
        idle = await _idle(program)
        found["events per second"] = [await _at_rate(connector, program, rate, idle) for rate in RATES]
        found["distinct keys"] = await _over_keys(connector, program)
    finally:
        program.stop()
    found["watches"] = [await _with_watches(servers, folder, count) for count in WATCHES]
    return found


async def _idle(program: Program) -> float:
    """CPU seconds in a second without any work."""
    before = machine.usage(program.pid).cpu
    await asyncio.sleep(8)
    return (machine.usage(program.pid).cpu - before) / 8


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
            stored = await _send(connector, first=100_000_000 + sent, seconds=max(0.3, min(10, (keys - sent) / 5_000)))
            sent += stored
            of_slice += stored
        after = machine.usage(program.pid)
        if of_slice:
            cost = (after.cpu - before.cpu) / of_slice * 1000
            found.append(Point(sent, cost, cost, after.memory))
            print(f"  {sent} keys: {found[-1]}", flush=True)
    return found


async def _with_watches(servers: str, folder: Path, count: int) -> Point:
    """So many watches of one list, each polled every second; an event is a poll."""
    run = f"watches-{count}-{os.urandom(3).hex()}"
    port = free_port()
    environment = {"PORT": str(port), "ROWS": "500", "STEP": "60"}
    simulator = Program(f"sim-{run}", [sys.executable, "-m", "bench.simulated"], folder=folder, environment=environment)
    watches = [{"name": f"w{number}", "resource": "messages", "interval": "1s"} for number in range(count)]
    connector = Connector.of(
        run, servers, folder, prefix=run, roles=["watch"], watches=watches, callbacks={"public_url": None}
    ).connection(api_url=f"http://127.0.0.1:{port}", monitor_url=f"http://127.0.0.1:{port}")
    try:
        await simulator.listens(port)
        await connector.apply_topics()
        program = connector.start()
        try:
            await program.listens(connector.ports["admin"])
            while await _polls(connector) < 2 * count:
                await asyncio.sleep(0.2)
            before, polls = machine.usage(program.pid), await _polls(connector)
            await asyncio.sleep(WATCH_SECONDS)
            after, polled = machine.usage(program.pid), await _polls(connector) - polls
            cost = (after.cpu - before.cpu) / polled * 1000
            point = Point(count, cost, cost, after.memory, note=f"{polled / WATCH_SECONDS:.1f} polls/s")
            print(f"  {count} watches: {point}", flush=True)
            return point
        finally:
            program.stop()
    finally:
        simulator.stop()


async def _polls(connector: Connector) -> float:
    url = f"http://127.0.0.1:{connector.ports['admin']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    found = re.findall(r"^twilio_kafka_watch_polls_total{[^}]*} (\S+)", text, re.MULTILINE)
    return sum(float(value) for value in found)


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
