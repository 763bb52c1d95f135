"""Commands: record → POST to an API of fixed latency → result record. Rate, cost, latency at a steady rate, order."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from aiokafka import AIOKafkaProducer, ConsumerRecord

from bench import kafka, machine, targets, traffic
from bench.kafka import Arrivals
from bench.machine import Program, percentile
from connector.dev.broker import free_port

KEYS = 500
VALUE = (
    b'{"to":"+15551234567","from":"+15005550006","body":"Hello, this is one command of the benchmark, sixty letters"}'
)
_ID = re.compile(rb'"id":\s*"(b[0-9]+-[0-9]+)"')
DEADLINE_SECONDS = 120.0
# The load generator's own connections are idle before the steady part: its first commands wait for them.
UNCOUNTED_SECONDS = 1.0
WARM_UP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Options:
    """How many and how often; the API's latency in milliseconds; `rate` commands/s for the steady part.

    `warm_up` commands of ours come first: the broker compiles its code for transactions until it has written some ten
    thousand of them, on the cores that are measured, and answers five times as late meanwhile.
    """

    rounds: int = 3
    commands: int = 10_000
    warm_up: int = 0
    in_flight: int = 256
    latency: float = 20.0
    rate: float = 300.0
    seconds: float = 8.0
    only: frozenset[str] = frozenset()


@dataclass
class Target:
    """A target and what was measured of it."""

    name: str
    begin: "Begin"
    rounds: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a target finds its commands and the API."""

    servers: str
    folder: Path
    run: str
    api: str
    in_flight: int


@dataclass(frozen=True, slots=True)
class Begun:
    """What `begin` prepares: the topics, and how to start the program when the commands are there."""

    commands: str
    results: str
    start: Callable[[], Program]


Begin = Callable[[Setting], "asyncio.Future[Begun] | object"]


async def _ours(setting: Setting, *, workers: int = 1, python: str = sys.executable) -> Begun:
    name = setting.run
    connector = targets.Connector.of(
        name,
        setting.servers,
        setting.folder,
        prefix=name,
        workers=workers,
        roles=["commands"],
        commands={"max_in_flight": setting.in_flight},
        callbacks={"public_url": None},
    ).connection(api_url=setting.api, monitor_url=setting.api)
    connector.python = python
    await connector.apply_topics()
    commands, results = f"{name}.commands.send-message", f"{name}.results.send-message"
    return Begun(commands, results, connector.start)


def _other(start: Callable[[str, dict[str, str], Path], Program]) -> Callable[[Setting], object]:
    async def begin(setting: Setting) -> Begun:
        commands, results = f"commands-{setting.run}", f"results-{setting.run}"
        await kafka.create(setting.servers, [commands, results])
        environment = {
            "KAFKA": setting.servers,
            "BOOTSTRAP": setting.servers,
            "COMMANDS": commands,
            "CMD_TOPIC": commands,
            "RESULTS": results,
            "RES_TOPIC": results,
            "GROUP": f"group-{setting.run}",
            "API_URL": setting.api,
            "ACCOUNT_SID": traffic.ACCOUNT_SID,
            "TOKEN": traffic.TOKEN,
            "TWILIO_AUTH_TOKEN": traffic.TOKEN,
            "IN_FLIGHT": str(setting.in_flight),
            "METRICS_PORT": str(free_port()),
        }
        return Begun(commands, results, lambda: start(setting.run, environment, setting.folder))

    return begin


def rows() -> dict[str, Callable[[Setting], object]]:
    """The targets by name; the baseline is the anchor."""
    found: dict[str, Callable[[Setting], object]] = {
        "baseline": _other(
            lambda run, given, folder: targets.baseline("commands", f"baseline-{run}", folder=folder, environment=given)
        )
    }
    for peer in (targets.CONNECT, targets.BENTO):
        for more in ("", "-ordered") if peer.is_given else ():
            found[f"{peer.name}{more}"] = _other(
                lambda _run, given, folder, peer=peer, more=more: peer.start(  # type: ignore[misc]  # bound in the loop
                    f"{peer.name}-commands{more}.yaml", folder=folder, environment=given
                )
            )
    if targets.FORMER:
        found["former"] = partial(_ours, python=targets.FORMER)
    found |= {"ours": _ours, "ours-2": partial(_ours, workers=2)}
    return found


async def measure(servers: str, folder: Path, options: Options) -> list[Target]:
    """Alternate over the targets; each round has topics of its own, and the first is a warm-up that does not count."""
    found = [Target(name, begin) for name, begin in rows().items() if not options.only or name in options.only]
    port = free_port()
    api, environment = f"http://127.0.0.1:{port}", {"PORT": str(port), "LATENCY_MS": str(options.latency)}
    stub = Program("stub", [sys.executable, "-m", "bench.stub"], folder=folder, environment=environment)
    try:
        await stub.listens(port)
        async with kafka.writer(servers) as producer:
            if options.warm_up:
                warming = replace(options, commands=options.warm_up, seconds=WARM_UP_SECONDS)
                setting = Setting(servers, folder, f"warm-{os.urandom(3).hex()}", api, options.in_flight)
                await _round(Target("warm-up", _ours), setting, producer, warming)
            for number in range(options.rounds + 1):
                for target in found if number % 2 else found[::-1]:
                    run = f"{target.name}-{os.urandom(3).hex()}"
                    setting = Setting(servers, folder, run, api, options.in_flight)
                    row = await _round(target, setting, producer, options)
                    if number:
                        target.rounds.append(row)
                    shown = " ".join(f"{name} {value:.3f}" for name, value in row.items())
                    print(f"  round {number} {target.name:16} {shown}", flush=True)
    finally:
        stub.stop()
    return found


async def _round(target: Target, setting: Setting, producer: AIOKafkaProducer, options: Options) -> dict[str, float]:
    begun = await target.begin(setting)  # type: ignore[misc]  # a coroutine of Begun
    assert isinstance(begun, Begun)  # noqa: S101 - what every begin gives
    # One partition at a time commits in the ordered reader: a tenth of the commands is enough to see its rate.
    count = options.commands // 10 if target.name.endswith("-ordered") else options.commands
    ids = [(number % KEYS, number // KEYS) for number in range(count)]
    await send(producer, begun.commands, [command(key, place) for key, place in ids])
    began = time.monotonic()
    program = begun.start()
    try:
        async with Arrivals(setting.servers, begun.results, identify) as arrivals:
            await arrivals.wait(max(1, count // 100), within=DEADLINE_SECONDS)
            cost, already = machine.usage(program.pid), len(arrivals.times)
            await arrivals.wait(count, within=DEADLINE_SECONDS)
            spent = machine.usage(program.pid)
            times = sorted(arrivals.times.values())
            first = max(1, count // 100)
            # The ordered reader answers a whole fetch at its end: its time counts from the start of the program.
            is_ordered = target.name.endswith("-ordered")
            rate = count / (times[-1] - began) if is_ordered else (count - first) / (times[-1] - times[first - 1])
            row = {
                "rate": rate,
                "cost": (spent.cpu - cost.cpu) / max(1, count - already) * 1000,
                "memory": spent.memory,
                "inversions": float(_inversions(arrivals.order)),
                "repeated": float(arrivals.repeated),
            }
            if not is_ordered:
                row |= await _steady(producer, begun.commands, arrivals, program, options)
            if target.name.startswith("ours") and (row["inversions"] or row["repeated"]):
                raise RuntimeError(f"Order or uniqueness lost: {row}.")
            return row
    finally:
        program.stop()


async def _steady(
    producer: AIOKafkaProducer, topic: str, arrivals: Arrivals, program: Program, options: Options
) -> dict[str, float]:
    total = int(options.rate * options.seconds)
    sent: dict[str, float] = {}
    before, cost = len(arrivals.times), machine.usage(program.pid)
    started, number = time.monotonic(), 0
    while number < total:
        due = min(total, int((time.monotonic() - started) * options.rate) + 1)
        for place in range(number, due):
            key, value, headers, partition = command(place % KEYS, 1_000_000 + place // KEYS)
            sent[_name(place % KEYS, 1_000_000 + place // KEYS)] = time.monotonic()
            await producer.send(topic, value, key=key, headers=headers, partition=partition)
        number = due
        await asyncio.sleep(0.002)
    await arrivals.wait(before + total, within=30)
    spent = machine.usage(program.pid)
    counted = {name: moment for name, moment in sent.items() if moment > started + UNCOUNTED_SECONDS}
    latencies = sorted((arrivals.times[name] - moment) * 1000 for name, moment in counted.items())
    return {
        "p50": percentile(latencies, 0.5),
        "p99": percentile(latencies, 0.99),
        "steady_cost": (spent.cpu - cost.cpu) / total * 1000,
    }


Command = tuple[bytes, bytes, list[tuple[str, bytes]], int]


def _name(key: int, place: int) -> str:
    return f"b{key}-{place}"


def command(key: int, place: int) -> Command:
    """A command of a key; its place within it is unique."""
    named = f"k{key}".encode()
    name = _name(key, place).encode()
    # Peers find the id in the value; the connector takes it from the header and refuses what it does not know.
    return named, VALUE, [("id", name)], kafka.partition_of(named)


async def send(producer: AIOKafkaProducer, topic: str, commands: Sequence[Command]) -> None:
    """Write commands, and wait until the broker has them."""
    futures = [
        await producer.send(topic, value, key=key, headers=headers, partition=partition)
        for key, value, headers, partition in commands
    ]
    await asyncio.gather(*futures)


def identify(record: ConsumerRecord) -> str | None:
    """The id of the command that a result answers."""
    found = _ID.search(record.value or b"")
    return found[1].decode() if found else None


def _inversions(order: Sequence[str]) -> int:
    last: dict[str, int] = {}
    found = 0
    for name in order:
        key, _, place = name.partition("-")
        found += int(place) < last.get(key, -1)
        last[key] = max(int(place), last.get(key, -1))
    return found


def table(found: Sequence[Target]) -> str:
    """The measurements as Markdown; ratios to the baseline, round by round."""
    return "\n".join(_lines(found))


def _lines(found: Sequence[Target]) -> Iterator[str]:
    anchor = found[0]
    yield (
        f"| target | commands/s | x {anchor.name} | CPU-s per 1,000 | MiB | steady p50 ms | p99 ms "
        f"| p50 - {anchor.name}'s | p99 - {anchor.name}'s | CPU-s per 1,000 | inversions | repeated |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for target in found:
        pairs = list(zip(target.rounds, anchor.rounds, strict=True))
        steady = [(mine, its) for mine, its in pairs if "p50" in mine]
        cells = [
            machine.spread(row["rate"] for row in target.rounds),
            machine.spread((mine["rate"] / its["rate"] for mine, its in pairs), ".2f"),
            machine.spread((row["cost"] for row in target.rounds), ".3f"),
            f"{max(row['memory'] for row in target.rounds):.0f}",
            machine.spread((row["p50"] for row in target.rounds if "p50" in row), ".0f"),
            machine.spread((row["p99"] for row in target.rounds if "p99" in row), ".0f"),
            machine.spread((mine["p50"] - its["p50"] for mine, its in steady), "+.0f"),
            machine.spread((mine["p99"] - its["p99"] for mine, its in steady), "+.0f"),
            machine.spread((row["steady_cost"] for row in target.rounds if "steady_cost" in row), ".3f"),
            f"{max(row['inversions'] for row in target.rounds):.0f}",
            f"{max(row['repeated'] for row in target.rounds):.0f}",
        ]
        yield f"| {target.name} | {' | '.join(cells)} |"
