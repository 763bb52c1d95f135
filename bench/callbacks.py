"""Callbacks: signed form → Kafka's acknowledgement → 2xx. Rate, latency, cost; at the ceiling and at a steady rate."""

import asyncio
import json
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer

from bench import kafka, machine, targets, traffic
from bench.machine import Program
from connector.dev.broker import free_port

CONNECTIONS = 64
GATE_CALLBACKS = 3000
# What most accounts have: there an event pays a whole request to Kafka.
QUIET_RATES = (10.0, 100.0)
# A broker that has just started compiles its code for half a minute, on the cores that are measured.
WARM_UP_SECONDS = 8.0
FORM = "application/x-www-form-urlencoded; charset=UTF-8"


@dataclass
class Target:
    """A running target of the callback path, and what was measured of it."""

    name: str
    program: Program
    port: int
    topic: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    steady: dict[float, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True, slots=True)
class Options:
    """How long and how often, at the ceiling and at quiet rates; half of the slowest ceiling is measured once."""

    rounds: int = 5
    seconds: float = 8.0
    quiet_rounds: int = 2
    quiet_seconds: float = 15.0
    only: frozenset[str] = frozenset()


async def measure(servers: str, folder: Path, options: Options) -> list[Target]:
    """Start every target, check that each keeps what it answers, then measure in alternating rounds."""
    bodies = traffic.write(folder / "bodies.tsv")
    found: list[Target] = []
    try:
        for start in starters(servers, folder, options.only):
            found.append(await start())
        async with kafka.reader(servers, committed=False) as reader:
            for target in found:
                await gate(target, reader)
            for number in range(options.rounds + 1):
                for target in found if number % 2 else found[::-1]:
                    await _round(target, reader, bodies, options.seconds if number else WARM_UP_SECONDS, counts=number)
            half = min(target.rounds[0]["rate"] for target in found) / 2
            for rate, rounds, seconds in (
                *((rate, options.quiet_rounds, options.quiet_seconds) for rate in QUIET_RATES),
                (half, 1, options.seconds),
            ):
                for number in range(rounds):
                    for target in found if number % 2 else found[::-1]:
                        target.steady[rate].append(await _steady(target, reader, bodies, rate, seconds))
    finally:
        for target in found:
            target.program.stop()
    return found


def starters(servers: str, folder: Path, only: frozenset[str]) -> list[Callable[[], Any]]:
    """Functions that start the targets; the first is the anchor of the ratios."""
    run = os.urandom(3).hex()

    async def ours(name: str, workers: int, python: str = sys.executable) -> Target:
        connector = targets.Connector.of(
            name, servers, folder, prefix=f"{name}-{run}", workers=workers, roles=["callbacks"]
        )
        connector.python = python
        await connector.apply_topics()
        program = connector.start()
        await program.listens(connector.ports["admin"])
        await program.listens(connector.ports["callbacks"])
        return Target(name, program, connector.ports["callbacks"], f"{connector.prefix}.message-status")

    async def other(name: str, begin: Callable[[dict[str, str]], Program]) -> Target:
        port, topic = free_port(), f"{name}-{run}"
        await kafka.create(servers, [topic])
        program = begin(targets.callback_environment(servers, topic, port))
        await program.listens(port)
        return Target(name, program, port, topic)

    def of_peer(peer: targets.Peer, given: dict[str, str]) -> Program:
        return peer.start(f"{peer.name}-callbacks.yaml", folder=folder, environment=given)

    rows: dict[str, Callable[[], Any]] = {}
    for peer in (targets.CONNECT, targets.BENTO):
        if peer.is_given:
            rows[peer.name] = partial(other, peer.name, partial(of_peer, peer))
    rows["baseline"] = lambda: other(
        "baseline", lambda given: targets.baseline("callbacks", "baseline", folder=folder, environment=given)
    )
    if targets.FORMER:
        rows["former"] = partial(ours, "former", 1, targets.FORMER)
    rows["ours"] = lambda: ours("ours", 1)
    rows["ours-2"] = lambda: ours("ours-2", 2)
    return [start for name, start in rows.items() if not only or name in only]


# --- correctness before speed -------------------------------------------------------------------------------------
async def gate(target: Target, reader: AIOKafkaConsumer, count: int = GATE_CALLBACKS) -> None:
    """So many answered callbacks leave exactly so many records; a forged one is refused and leaves none.

    Raises RuntimeError otherwise: such a target is not worth measuring.
    """
    before = await kafka.count(reader, target.topic)
    url = f"http://127.0.0.1:{target.port}{traffic.PATH}"
    stored = 0
    waiting = iter(list(traffic.callbacks(count, seed=2)))

    async with aiohttp.ClientSession() as session:

        async def call(signature: str, body: str) -> int:
            headers = {"Content-Type": FORM, "X-Twilio-Signature": signature}
            async with session.post(url, data=body, headers=headers) as answer:
                return answer.status

        async def work() -> None:
            nonlocal stored
            for signature, body in waiting:
                status = await call(signature, body)
                stored += status // 100 == 2  # noqa: PLR2004 - 2xx

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        _, body = next(traffic.callbacks(1))
        forged = await call("AAAAAAAAAAAAAAAAAAAAAAAAAAA=", body)
    expected = count if target.name != "baseline" else count + (forged // 100 == 2)  # noqa: PLR2004 - it checks nothing
    records = await kafka.settled(reader, target.topic, least=before + expected) - before
    print(f"  {target.name}: {stored} answered, {records} records, forged → {forged}", flush=True)
    if stored != count or records != expected or (forged != 403 and target.name != "baseline"):  # noqa: PLR2004 - HTTP
        raise RuntimeError(f"{target.name} does not keep what it answers.")


# --- speed --------------------------------------------------------------------------------------------------------
async def _round(target: Target, reader: AIOKafkaConsumer, bodies: Path, seconds: float, *, counts: int) -> None:
    before = await kafka.count(reader, target.topic)
    cost = machine.usage(target.program.pid)
    result = await _wrk(target, bodies, seconds) if shutil.which("wrk") else await _load(target, bodies, seconds)
    spent = machine.usage(target.program.pid)
    records = await kafka.settled(reader, target.topic, least=before + int(result["stored"])) - before
    # The generator leaves unanswered at most what was in flight when it stopped.
    if not result["stored"] <= records <= result["stored"] + CONNECTIONS or result["refused"]:
        raise RuntimeError(f"{target.name}: {result['stored']} stored by its answers, {records} records.")
    row = {
        "rate": result["stored"] / result["seconds"],
        "cost": (spent.cpu - cost.cpu) / result["stored"] * 1000,
        "memory": spent.memory,
        "p50": result["p50"],
        "p99": result["p99"],
    }
    shown = " ".join(f"{name} {value:.3f}" for name, value in row.items())
    print(f"  round {counts} {target.name:10} {shown}", flush=True)
    if counts:
        target.rounds.append(row)


async def _steady(
    target: Target, reader: AIOKafkaConsumer, bodies: Path, rate: float, seconds: float
) -> dict[str, float]:
    before = await kafka.count(reader, target.topic)
    cost = machine.usage(target.program.pid)
    result = await _load(target, bodies, seconds, rate=rate)
    spent = machine.usage(target.program.pid)
    records = await kafka.settled(reader, target.topic, least=before + int(result["stored"])) - before
    if records != result["stored"] or result["refused"]:
        raise RuntimeError(f"{target.name}: {result['stored']} stored by its answers, {records} records.")
    found = {
        "rate": result["stored"] / result["seconds"],
        "cost": (spent.cpu - cost.cpu) / result["stored"] * 1000,
        "p50": result["p50"],
        "p99": result["p99"],
    }
    print(
        f"  at {rate:.0f}/s {target.name:10} " + " ".join(f"{name} {value:.3f}" for name, value in found.items()),
        flush=True,
    )
    return found


async def _output(*command: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed.")
    return output.decode()


async def _wrk(target: Target, bodies: Path, seconds: float) -> dict[str, float]:
    script = str(Path(__file__).parent / "callbacks.lua")
    url = f"http://127.0.0.1:{target.port}{traffic.PATH}"
    command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "10s", "-s", script, url)
    output = await _output(*command, BODIES=str(bodies))
    result: dict[str, float] = json.loads(output.partition("RESULT ")[2])
    return {**result, "stored": result["requests"] - result["refused"]}


async def _load(target: Target, bodies: Path, seconds: float, *, rate: float = 0) -> dict[str, float]:
    options = ["--port", target.port, "--path", traffic.PATH, "--bodies", bodies, "--seconds", seconds, "--rate", rate]
    output = await _output(sys.executable, "-m", "bench.load", *map(str, options), "--connections", str(CONNECTIONS))
    result = json.loads(output)
    statuses: dict[str, int] = result.pop("statuses")
    stored = sum(number for status, number in statuses.items() if status.startswith("2"))
    return {**result, "stored": stored, "refused": sum(statuses.values()) - stored}


def table(found: Sequence[Target]) -> str:
    """The measurements as Markdown; ratios to the first target, round by round."""
    anchor = found[0]
    lines = [
        f"| target | callbacks/s | x {anchor.name} | p50 ms | p99 ms | CPU-s per 1,000 | x {anchor.name} | MiB "
        "| steady: rate | p50 | p99 | CPU ms each "
        + "".join(f"| CPU ms each at {rate:.0f}/s | x {anchor.name} " for rate in QUIET_RATES)
        + "|",
        "|---|---|---|---|---|---|---|---|---|---|---|---" + "|---|---" * len(QUIET_RATES) + "|",
    ]
    for target in found:
        pairs = list(zip(target.rounds, anchor.rounds, strict=True))
        cells = [
            machine.spread(row["rate"] for row in target.rounds),
            machine.spread((mine["rate"] / its["rate"] for mine, its in pairs), ".2f"),
            machine.spread((row["p50"] for row in target.rounds), ".1f"),
            machine.spread((row["p99"] for row in target.rounds), ".1f"),
            machine.spread((row["cost"] for row in target.rounds), ".3f"),
            machine.spread((mine["cost"] / its["cost"] for mine, its in pairs), ".2f"),
            f"{max(row['memory'] for row in target.rounds):.0f}",
            *_half(target),
            *(cell for rate in QUIET_RATES for cell in _quiet(target, anchor, rate)),
        ]
        lines.append(f"| {target.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _half(target: Target) -> list[str]:
    """Rate, latencies and cost at half of the slowest ceiling."""
    (row,) = target.steady[max(target.steady)]
    return [f"{row['rate']:.0f}", f"{row['p50']:.1f}", f"{row['p99']:.1f}", f"{row['cost']:.3f}"]


def _quiet(target: Target, anchor: Target, rate: float) -> list[str]:
    """Cost of a callback at a quiet rate, and beside the anchor's."""
    mine, its = target.steady[rate], anchor.steady[rate]
    ratios = [row["cost"] / other["cost"] for row, other in zip(mine, its, strict=True)]
    return [machine.spread((row["cost"] for row in mine), ".2f"), machine.spread(ratios, ".2f")]
