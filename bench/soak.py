"""An hour of everything at once: commands, their callbacks and watches; memory and cost by the minute."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import kafka, machine, plot
from bench.machine import Program
from bench.targets import Connector
from connector.dev.broker import free_port

MINUTES = 60
# Each message gives a result, two callbacks and its row: four records.
MESSAGES_PER_SECOND = 20
# Not one of Twilio's magic senders, whose messages are in no list.
VALUE = b'{"to":"+15557654321","from":"+15551234567","body":"Hello, this is one message of an hour"}'
WATCHES = ("messages", "calls", "recordings", "alerts")
COUNTERS = ("commands", "callbacks", "watch_published")


@dataclass(frozen=True, slots=True)
class Minute:
    """Resident MiB at its end, CPU seconds in it, and what was written in it by the process's own counters."""

    at: int
    memory: float
    cpu: float
    written: int


async def measure(servers: str, folder: Path, minutes: int = MINUTES) -> list[Minute]:
    """One process with every role beside the simulator, under the same load all the time."""
    port, run = free_port(), f"soak-{os.urandom(3).hex()}"
    connector = Connector.of(
        run, servers, folder, prefix=run, watches=[{"resource": name, "interval": "2s"} for name in WATCHES]
    ).connection(api_url=f"http://127.0.0.1:{port}", monitor_url=f"http://127.0.0.1:{port}")
    # The simulator calls back where we listen.
    connector.document["callbacks"]["public_url"] = f"http://127.0.0.1:{connector.ports['callbacks']}"
    environment = {"PORT": str(port), "ROWS": "1000", "STEP": "60"}
    simulator = Program("sim-soak", [sys.executable, "-m", "bench.simulated"], folder=folder, environment=environment)
    try:
        await simulator.listens(port)
        await connector.apply_topics()
        program = connector.start()
        sending = asyncio.create_task(_send(servers, f"{run}.commands.send-message"))
        try:
            await program.listens(connector.ports["admin"])
            return await _watch(connector, program, minutes)
        finally:
            sending.cancel()
            program.stop()
    finally:
        simulator.stop()


async def _send(servers: str, topic: str) -> None:
    started, number = time.monotonic(), 0
    async with kafka.writer(servers) as producer:
        while True:
            key = f"k{number % 5000}".encode()
            await producer.send(topic, VALUE, key=key, headers=[("id", f"s{number}".encode())])
            number += 1
            await asyncio.sleep(max(0.0, started + number / MESSAGES_PER_SECOND - time.monotonic()))


async def _watch(connector: Connector, program: Program, minutes: int) -> list[Minute]:
    found: list[Minute] = []
    before, written = machine.usage(program.pid), await connector.total(*COUNTERS)
    for number in range(1, minutes + 1):
        await asyncio.sleep(60)
        used, now_written = machine.usage(program.pid), await connector.total(*COUNTERS)
        found.append(Minute(number, used.memory, used.cpu - before.cpu, now_written - written))
        before, written = used, now_written
        print(f"  {found[-1]}", flush=True)
    return found


def table(found: Sequence[Minute]) -> str:
    """Some of the minutes as Markdown."""
    rows = [f"| {row.at} | {row.memory:.1f} | {row.cpu:.1f} | {row.written:,} |" for row in _shown(found)]
    return "\n".join(["| minute | MiB | CPU-s in it | written in it |", "|---|---|---|---|", *rows])


def draw(found: Sequence[Minute], folder: Path) -> None:
    """The memory over the hour as SVG."""
    series = {"resident": [(row.at, row.memory) for row in _shown(found)]}
    plot.write(folder / "memory-soak.svg", "Memory over an hour", x="minute", y="MiB", series=series, logarithmic=False)


def _shown(found: Sequence[Minute]) -> list[Minute]:
    return [row for row in found if row.at % 10 == 0 or row in (found[0], found[-1])]
