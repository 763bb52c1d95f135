"""Searching the topics from the console, with commands and callbacks going on beside it: times, latencies, memory.

Half of the records are of yesterday, half of the last hour. Rounds with and without a search alternate; in both of them
a page of the console is open.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaProducer

from bench import callbacks, commands, kafka, machine, traffic
from bench.machine import Program, percentile, spread
from bench.targets import Connector
from connector.dev.broker import free_port

COMMANDS_PER_SECOND = 20.0
CALLBACKS_PER_SECOND = 50.0
# Records that a busy producer writes together.
TOGETHER = 20
TOPICS = ("messages", "message-status", "message-status", "results.send-message")
YESTERDAY_SECONDS = 20 * 3600.0
HOUR_SECONDS = 3600.0
CORRELATION = "order-2026-000017"
SEARCHED = "SM" + "5e" * 16
LOOK_SECONDS = 0.2
# Pairs of rounds: the broker compiles its code, that for the traffic and that for reading much of the topics.
WARM_UP = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How many records, rounds, and seconds of a round."""

    records: int = 1_000_000
    rounds: int = 8
    seconds: float = 22.0
    compression: str | None = None


@dataclass
class Times:
    """What searches of one kind took.

    Seconds to the first hit and to the end, CPU seconds without the traffic's,
    MiB above the start.
    """

    name: str
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


@dataclass
class Found:
    """All that was measured; latencies in milliseconds by what went on and whether somebody searched.

    A round has some hundred commands: its p99 is that of the fourth or fifth slowest. So all rounds count as one.
    """

    searches: list[Times]
    quiet: dict[str, list[Sequence[float]]] = field(default_factory=lambda: {"commands": [], "callbacks": []})
    searching: dict[str, list[Sequence[float]]] = field(default_factory=lambda: {"commands": [], "callbacks": []})


async def measure(servers: str, folder: Path, options: Options) -> Found:
    """Fill the topics, then search in them beside the traffic."""
    run, port = f"search-{os.urandom(3).hex()}", free_port()
    stub_environment = {"PORT": str(port), "LATENCY_MS": "20"}
    stub = Program("stub", [sys.executable, "-m", "bench.stub"], folder=folder, environment=stub_environment)
    connector = Connector.of(run, servers, folder, prefix=run, roles=["commands", "callbacks"]).connection(
        api_url=f"http://127.0.0.1:{port}", monitor_url=f"http://127.0.0.1:{port}"
    )
    try:
        await stub.listens(port)
        await connector.apply_topics()
        began = time.monotonic()
        await fill(servers, run, options)
        print(f"  {options.records:,} records written in {time.monotonic() - began:.0f} s", flush=True)
        program = connector.start()
        try:
            await program.listens(connector.ports["admin"])
            async with aiohttp.ClientSession() as session, kafka.writer(servers) as producer:
                return await Bench(connector, program, servers, session, producer, folder, options).run()
        finally:
            program.stop()
    finally:
        stub.stop()
        await kafka.delete(servers, run)


# --- what is searched -------------------------------------------------------------------------------------------------
async def fill(servers: str, prefix: str, options: Options) -> None:
    """Write the records: the first half yesterday, the second half in the last hour, over all partitions."""
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", compression_type=options.compression, max_batch_size=262_144
    )
    await producer.start()
    try:
        await asyncio.gather(
            *(
                _fill(producer, f"{prefix}.{topic}", partition, place, options)
                for place, (topic, partition) in enumerate(_partitions())
            )
        )
    finally:
        await producer.stop()


def _partitions() -> Iterator[tuple[str, int]]:
    return ((topic, partition) for topic in dict.fromkeys(TOPICS) for partition in range(kafka.PARTITIONS))


async def _fill(producer: AIOKafkaProducer, topic: str, partition: int, place: int, options: Options) -> None:
    share = sum(topic.endswith(f".{name}") for name in TOPICS) / len(TOPICS) / kafka.PARTITIONS
    count, now = int(options.records * share), time.time()
    position = 0
    while position < count:
        batch = producer.create_batch()
        for number in range(position, min(position + TOGETHER, count)):
            share = number / count
            batch.append(**_record(place, number, _at(share, now), _named(topic, partition, share, count)))
        position += TOGETHER
        await producer.send_batch(batch, topic, partition=partition)


def _at(share: float, now: float) -> int:
    """Milliseconds of the record behind so much of all of them."""
    if share < 0.5:  # noqa: PLR2004 - the first half
        return int((now - YESTERDAY_SECONDS - HOUR_SECONDS + share * 2 * HOUR_SECONDS) * 1000)
    return int((now - HOUR_SECONDS + (share - 0.5) * 2 * HOUR_SECONDS) * 1000)


def _named(topic: str, partition: int, share: float, count: int) -> tuple[str, str]:
    """The SID and the correlation id of the few records that are looked for."""
    by_sid = not topic.endswith(".results.send-message")
    if by_sid and partition == kafka.partition_of(SEARCHED.encode()) and _is_nearest(share, 0.3, count):
        return SEARCHED, ""
    is_correlated = partition == 1 and (_is_nearest(share, 0.6, count) or _is_nearest(share, 0.9, count))
    return "", CORRELATION if is_correlated else ""


def _is_nearest(share: float, wanted: float, count: int) -> bool:
    """Whether of `count` records this is the one at `wanted`."""
    return round(share * count) == round(wanted * count)


def _record(place: int, number: int, at: int, named: tuple[str, str]) -> dict[str, Any]:
    """An event of about 900 bytes."""
    sid, correlation = named
    sid = sid or f"SM{(place << 40) + number * 0x9E3779B97F4A7C15 % 2**100:032x}"
    customer = f"+1555{number % 10_000_000:07d}"
    value = {
        "sid": sid,
        "message_sid": sid,
        "account_sid": traffic.ACCOUNT_SID,
        "status": "delivered",
        "message_status": "delivered",
        "from": "+15551230000",
        "to": customer,
        "direction": "outbound-api",
        "body": "Your order has left our house and will be with you soon. " * 4,
        "error_code": None,
    }
    headers = {
        "ce_specversion": "1.0",
        "ce_id": sid,
        "ce_source": f"/twilio/{traffic.ACCOUNT_SID}/messages",
        "ce_subject": sid,
        "ce_type": "twilio.message.status.v1",
        "ce_time": "2026-11-24T13:00:00Z",
        "ce_correlationid": correlation or f"order-{place}-{number}",
        "ce_causationid": f"command-{place}-{number}",
        "content-type": "application/json",
    }
    return {
        "timestamp": at,
        "key": sid.encode(),
        "value": orjson.dumps(value),
        "headers": [(name, text.encode()) for name, text in headers.items()],
    }


# --- searching beside the traffic -------------------------------------------------------------------------------------
@dataclass
class Bench:
    """One process, its traffic and the searches."""

    connector: Connector
    program: Program
    servers: str
    session: aiohttp.ClientSession
    producer: AIOKafkaProducer
    folder: Path
    options: Options
    _sent: int = 0
    _searches: int = 0
    _traffic: float = 0.0
    """CPU seconds that the traffic alone takes in a second."""
    _most: float = 0.0

    async def run(self) -> Found:
        """A warm-up, then rounds without and with searches."""
        found = Found([Times("a SID of yesterday, by key"), Times("a correlation id of the last hour")])
        asks: list[Callable[[], dict[str, str]]] = [
            lambda: {"text": SEARCHED, "timeline": "", "viewer": "bench"},
            lambda: {"text": CORRELATION, "since": _ago(HOUR_SECONDS + 60), "viewer": "bench"},
        ]
        beside = [
            asyncio.create_task(self._look(), name="look"),
            asyncio.create_task(self._highest(), name="memory"),
        ]
        topic = f"{self.connector.prefix}.results.send-message"
        try:
            async with kafka.Arrivals(self.servers, topic, commands.identify) as arrivals:
                for number in range(WARM_UP + self.options.rounds):
                    if number == WARM_UP:
                        found = Found([Times(times.name) for times in found.searches])
                    for which in (0, 1) if number % 2 else (1, 0):
                        if which:
                            search = partial(self._search, found.searches, asks)
                            _note(found.searching, await self._round(arrivals, search))
                        else:
                            _note(found.quiet, await self._round(arrivals, lambda _: asyncio.sleep(0)))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        return found

    async def _look(self) -> None:
        """A page that is open."""
        while True:
            async with self.session.get(self._url("overview")) as answer:
                await answer.read()
            await asyncio.sleep(1)

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.connector.ports['admin']}/api/{path}"

    async def _round(self, arrivals: kafka.Arrivals, beside: Callable[[float], Any]) -> dict[str, Sequence[float]]:
        """The latencies of commands and of callbacks over some seconds of the same traffic."""
        seconds = self.options.seconds
        began, before = time.monotonic(), machine.usage(self.program.pid).cpu
        until, searches = began + seconds, self._searches
        sending, load, _ = await asyncio.gather(self._send(arrivals, until), self._callbacks(seconds), beside(until))
        if self._searches == searches:
            self._traffic = (machine.usage(self.program.pid).cpu - before) / (time.monotonic() - began)
        found = {"commands": sending, "callbacks": load}
        print(f"  p99 { {name: percentile(sorted(all_), 0.99) for name, all_ in found.items()} }", flush=True)
        return found

    async def _send(self, arrivals: kafka.Arrivals, until: float) -> Sequence[float]:
        sent: dict[str, float] = {}
        started, number = time.monotonic(), 0
        while time.monotonic() < until:
            name = f"b{self._sent % commands.KEYS}-{self._sent}"
            key = name.partition("-")[0].encode()
            await self.producer.send(
                f"{self.connector.prefix}.commands.send-message",
                commands.VALUE,
                key=key,
                headers=[("id", name.encode())],
            )
            sent[name] = time.monotonic()
            self._sent, number = self._sent + 1, number + 1
            await asyncio.sleep(max(0.0, started + number / COMMANDS_PER_SECOND - time.monotonic()))
        await arrivals.wait(self._sent, within=30)
        return [(arrivals.times[name] - at) * 1000 for name, at in sent.items()]

    async def _callbacks(self, seconds: float) -> Sequence[float]:
        options = {"port": self.connector.ports["callbacks"], "path": traffic.PATH, "fresh": int(time.time() * 1000)}
        options |= {"seconds": seconds, "rate": CALLBACKS_PER_SECOND, "connections": 16}
        given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        output = await callbacks._output(sys.executable, "-m", "bench.load", *given, "--each")  # noqa: SLF001 - of the bench
        result = orjson.loads(output)
        if set(result["statuses"]) != {"204"}:
            raise RuntimeError(f"Not everything was stored: {result['statuses']}.")
        latencies: Sequence[float] = result["latencies"]
        return latencies

    async def _search(self, kinds: Sequence[Times], asks: Sequence[Callable[[], dict[str, str]]], until: float) -> None:
        """One search after the other, as long as the round lasts."""
        while time.monotonic() < until:
            await self._one(kinds[self._searches % len(kinds)], asks[self._searches % len(kinds)](), until)
            self._searches += 1

    async def _one(self, times: Times, query: dict[str, str], until: float) -> None:
        before, began, first, hits = machine.usage(self.program.pid), time.monotonic(), None, 0
        self._most = 0.0
        async with self.session.get(self._url("search"), params=query) as answer:
            async for line in answer.content:
                found = orjson.loads(line)
                hits += "found" in found
                first = first or (time.monotonic() if "found" in found else None)
                if "error" in found:
                    raise RuntimeError(found["error"])
        if not hits or first is None:
            raise RuntimeError(f"Nothing was found of {query}.")
        times.first.append(first - began)
        times.whole.append(time.monotonic() - began)
        beside = max(0.0, min(until, time.monotonic()) - began)
        times.cpu.append(machine.usage(self.program.pid).cpu - before.cpu - self._traffic * beside)
        times.memory.append(self._most - before.memory)
        print(f"  {times.name}: {hits} found, first {times.first[-1]:.2f} s, all {times.whole[-1]:.2f} s", flush=True)

    async def _highest(self) -> None:
        """Look at the memory all the time, in rounds without a search as well: looking costs both alike."""
        while True:
            self._most = max(self._most, machine.usage(self.program.pid).memory)
            await asyncio.sleep(LOOK_SECONDS)


def _ago(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def _note(of: dict[str, list[Sequence[float]]], row: dict[str, Sequence[float]]) -> None:
    for name, latencies in row.items():
        of[name].append(latencies)


def table(found: Found) -> str:
    """The measurements as Markdown."""
    lines = [
        "| search | seconds to the first | seconds in all | CPU-s without the traffic's | MiB above before |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {times.name} | {spread(times.first, '.2f')} | {spread(times.whole, '.2f')} | {spread(times.cpu, '.2f')} "
        f"| {spread(times.memory, '.1f')} |"
        for times in found.searches
    ]
    lines += [
        "",
        "| ms | nobody searches | somebody searches all the time | x | rounds without | rounds with |",
        "|---|---|---|---|---|---|",
    ]
    for name, quiet in found.quiet.items():
        busy = found.searching[name]
        for share in (0.5, 0.99):
            before, after = (percentile(sorted(chain.from_iterable(rounds)), share) for rounds in (quiet, busy))
            cells = [f"{name}, p{share * 100:.0f}", f"{before:.1f}", f"{after:.1f}", f"{after / before:.2f}"]
            cells += [spread([percentile(sorted(one), share) for one in rounds], ".1f") for rounds in (quiet, busy)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
