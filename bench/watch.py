"""Watches: a back-fill of many rows from the simulator, beside reading the same pages and beside Singer's source.

TAP_TWILIO_PYTHON names an interpreter that has tap-twilio, which takes part then.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from bench import kafka, machine, tap, targets, traffic
from bench.machine import Program
from connector.dev.broker import free_port

DAYS = 7
# Of the list, the tap reads the end only: it takes minutes for what the others read in seconds.
TAP_DAYS = 2
DEADLINE_SECONDS = 300.0
TAP = os.environ.get("TAP_TWILIO_PYTHON")
NAMES = ("reading", "baseline", *(["tap-twilio"] if TAP else []), "ours")


@dataclass(frozen=True, slots=True)
class Options:
    """How many rows the list has, spread over a week, how long it takes for a page, and how often it is read."""

    rounds: int = 3
    rows: int = 100_000
    page_ms: float = 15.0
    only: frozenset[str] = frozenset()


@dataclass
class Target:
    """A target and what was measured of it."""

    name: str
    rounds: list[dict[str, float]] = field(default_factory=list)


async def measure(servers: str, folder: Path, options: Options) -> list[Target]:
    """Alternate over reading alone, a plain poller, and the connector; the first round is a warm-up, not counted."""
    found = [Target(name) for name in NAMES if not options.only or name in options.only]
    port = free_port()
    environment = {"PORT": str(port), "ROWS": str(options.rows), "STEP": str(DAYS * 86_400 / options.rows)}
    environment["PAGE_MS"] = str(options.page_ms)
    simulator = Program("simulator", [sys.executable, "-m", "bench.simulated"], folder=folder, environment=environment)
    try:
        await simulator.listens(port, within=120)
        for number in range(options.rounds + 1):
            for target in found if number % 2 == 0 else found[::-1]:
                run = f"{target.name}-{os.urandom(3).hex()}"
                api = f"http://127.0.0.1:{port}"
                if target.name == "ours":
                    row = await _ours(servers, folder, run, api, options.rows)
                elif target.name == "tap-twilio":
                    row = await tap.measure(folder, str(TAP), api, days=TAP_DAYS, rows=options.rows * TAP_DAYS // DAYS)
                else:
                    row = await _plain(servers, run, api, options.rows, publishes=target.name == "baseline")
                if number:
                    target.rounds.append(row)
                shown = " ".join(f"{name} {value:.3f}" for name, value in row.items())
                print(f"  round {number} {target.name:10} {shown}", flush=True)
    finally:
        simulator.stop()
    return found


async def _plain(servers: str, run: str, api: str, rows: int, *, publishes: bool) -> dict[str, float]:
    environment = {
        **os.environ,
        "KAFKA": servers,
        "API_URL": api,
        "ACCOUNT_SID": traffic.ACCOUNT_SID,
        "TOKEN": traffic.TOKEN,
        "DAYS": str(DAYS),
    }
    if publishes:
        await kafka.create(servers, [run])
        environment["TOPIC"] = run
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.baseline.watch", stdout=asyncio.subprocess.PIPE, env=environment
    )
    memory = asyncio.create_task(machine.highest(process.pid))
    output, _ = await process.communicate()
    highest = await memory
    count, seconds = output.split()
    # A bound inside a day is moved outwards by both: rows at its edge may be read twice.
    if int(count) < rows:
        raise RuntimeError(f"{count.decode()} of {rows} rows were read.")
    return {"rate": rows / float(seconds), "cost": highest.cpu / rows * 1000, "memory": highest.memory}


async def _ours(servers: str, folder: Path, run: str, api: str, rows: int) -> dict[str, float]:
    start = (datetime.now(UTC) - timedelta(days=DAYS, minutes=30)).isoformat()
    watch = {"resource": "messages", "start": start, "interval": "5s", "limit": 5000}
    connector = targets.Connector.of(
        run, servers, folder, prefix=run, roles=["watch"], watches=[watch], callbacks={"public_url": None}
    ).connection(api_url=api, monitor_url=api)
    await connector.apply_topics()
    program = connector.start()
    try:
        await program.listens(connector.ports["admin"])
        ready = machine.usage(program.pid).cpu
        async with kafka.reader(servers) as consumer:
            first, before = await _reaches(consumer, connector, 1, within=60)
            last, _ = await _reaches(consumer, connector, rows, within=DEADLINE_SECONDS)
        spent = machine.usage(program.pid)
        await _check(servers, f"{run}.messages", rows)
        # CPU ends here with the last row: the list is read once more afterwards, for rows without a sort time.
        # The first transaction's reading lies before its arrival: its rows are left out on both sides.
        rate = (rows - before) / (last - first)
        return {"rate": rate, "cost": (spent.cpu - ready) / rows * 1000, "memory": spent.memory}
    finally:
        program.stop()


async def _reaches(
    consumer: AIOKafkaConsumer, connector: targets.Connector, number: int, *, within: float
) -> tuple[float, int]:
    """When the topic has so many committed offsets, and how many it has then.

    Nobody reads the records meanwhile, as nobody does beside the baseline. The markers of transactions are offsets as
    well: one in a thousand at the most.
    """
    deadline = time.monotonic() + within
    while (found := await kafka.count(consumer, f"{connector.prefix}.messages")) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {number} records are in {connector.prefix}.messages.")
        await asyncio.sleep(0.02)
    return time.monotonic(), found


async def _check(servers: str, topic: str, rows: int) -> None:
    """Every row is there, once."""
    async with kafka.Arrivals(servers, topic, _identify) as arrivals:
        await arrivals.wait(rows, within=DEADLINE_SECONDS)
        if arrivals.repeated:
            raise RuntimeError(f"{arrivals.repeated} rows were published twice.")


def _identify(record: ConsumerRecord) -> str:
    return str(record.key.decode())


def table(found: Sequence[Target]) -> str:
    """The measurements as Markdown; ratios to the first target, round by round."""
    return "\n".join(_lines(found))


def _lines(found: Sequence[Target]) -> Iterator[str]:
    anchor = found[0]
    yield f"| target | rows/s | x {anchor.name} | CPU-s per 1,000 | MiB |"
    yield "|---|---|---|---|---|"
    for target in found:
        pairs = zip(target.rounds, anchor.rounds, strict=True)
        cells = [
            machine.spread(row["rate"] for row in target.rounds),
            machine.spread((mine["rate"] / its["rate"] for mine, its in pairs), ".2f"),
            machine.spread((row["cost"] for row in target.rounds), ".3f"),
            f"{max(row['memory'] for row in target.rounds):.0f}",
        ]
        yield f"| {target.name} | {' | '.join(cells)} |"
