"""`make flood`: a minute under each kind of attack on the callback port, and what becomes of honest callbacks.

Under each: every honest callback is answered within two seconds, /livez says 200, the process grows by 30 MB at most,
and the log has one line for each reason and ten seconds.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import logging
import resource
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from connector.dev.broker import Broker
from connector.simulator import Simulator
from connector.twilio.signature import compute
from tests.callback_port import HEAD
from tests.mutation import mutated
from tests.running import Connector, configuration, running

ANSWER_SECONDS = 2.0
MOST_GROWTH = 30 * 1024**2
QUIET_SECONDS = 10.0
HONEST = 50
FORM = HEAD + b"Content-Type: application/x-www-form-urlencoded\r\n"
RANDOM_AT_ONCE = 50

Attack = Callable[[int, int, asyncio.Event, Counter[str]], Coroutine[Any, Any, None]]


@dataclass
class Outcome:
    """What came of one attack."""

    name: str
    slowest: float = 0.0
    growth: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    lines: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def promise(self, kept: object, sentence: str) -> None:
        """Note a sentence that does not hold."""
        if not kept:
            self.broken.append(sentence)

    def report(self) -> str:
        """One paragraph."""
        counts = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        lines = ", ".join(f"{count} of {reason!r}" for reason, count in sorted(self.lines.items())) or "none"
        figures = f"slowest honest answer {self.slowest * 1000:.0f} ms, memory {self.growth / 1024**2:+.1f} MB"
        return f"{self.name}: {figures}\n  {counts}\n  log: {lines}\n  {'; '.join(self.broken) or 'KEPT'}"


async def _holds(port: int, sent: bytes, stop: asyncio.Event, counts: Counter[str]) -> None:
    """Hold one connection with the beginning of a request, and open the next one when the port ends it."""
    while not stop.is_set():
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            counts[f"connections refused ({error.strerror})"] += 1
            await asyncio.sleep(1)
            continue
        counts["connections held"] += 1
        writer.write(sent)
        try:
            await reader.read()
        except OSError:
            counts["connections reset"] += 1
        finally:
            writer.transport.abort()


def holding(sent: bytes) -> Attack:
    """An attack of so many connections that each send this and wait."""

    async def run(port: int, count: int, stop: asyncio.Event, counts: Counter[str]) -> None:
        async with asyncio.TaskGroup() as tasks:
            held = [tasks.create_task(_holds(port, sent, stop, counts)) for _ in range(count)]
            await stop.wait()
            for task in held:
                task.cancel()

    return run


async def random_requests(port: int, count: int, stop: asyncio.Event, counts: Counter[str]) -> None:
    """So many mutated requests, fifty at a time, over and over until it is to stop."""

    async def call(number: int) -> None:
        random = Random(number)  # noqa: S311 - repeatable
        while not stop.is_set() and counts["random requests"] < count:
            counts["random requests"] += 1
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(mutated(random))
                writer.write_eof()
                counts[f"answers {(await reader.read()).partition(b' ')[2][:3].decode() or 'none'}"] += 1
                writer.transport.abort()

    await asyncio.gather(*(call(number) for number in range(RANDOM_AT_ONCE)))


ATTACKS: Mapping[str, tuple[Attack, int]] = {
    "half-open connections": (holding(b""), 2000),
    "half a request line": (holding(HEAD[:20]), 2000),
    "unfinished heads": (holding(HEAD + b"X: " + b"x" * 60_000), 2000),
    "unfinished bodies": (holding(FORM + b"Content-Length: 1000\r\n\r\na"), 2000),
    "large unfinished bodies": (holding(FORM + b"Content-Length: 65000\r\n\r\n" + b"a" * 64_000), 2000),
    "random requests": (random_requests, 100_000),
}


class Honest:
    """A caller that Twilio would be."""

    def __init__(self, process: Connector, simulator: Simulator) -> None:
        self.process = process
        self.simulator = simulator
        self.number = 0

    async def call(self, outcome: Outcome) -> None:
        """One callback on a connection of its own."""
        self.number += 1
        url = f"{self.process.callbacks}/callbacks/message-status"
        form = {
            "MessageSid": f"SM{self.number:032x}",
            "MessageStatus": "sent",
            "AccountSid": self.simulator.account_sid,
        }
        headers = {"X-Twilio-Signature": compute(url, form.items(), self.simulator.auth_token)}
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                aiohttp.ClientSession() as session,
                session.post(url, data=form, headers=headers) as answer,
            ):
                outcome.counts[f"honest answers {answer.status}"] += 1
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            outcome.counts[f"honest {type(error).__name__}"] += 1
        outcome.slowest = max(outcome.slowest, time.monotonic() - began)

    async def is_live(self) -> bool:
        """Whether /livez says so."""
        with contextlib.suppress(TimeoutError, OSError, aiohttp.ClientError):
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                aiohttp.ClientSession() as session,
                session.get(f"{self.process.admin}/livez") as answer,
            ):
                return answer.status == 200
        return False


def memory(process: Connector) -> int:
    """The resident size in bytes."""
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def said(log: str) -> tuple[dict[str, int], list[str]]:
    """Lines by reason, and the reasons that were said twice within ten seconds."""
    moments: dict[str, list[float]] = defaultdict(list)
    for line in log.splitlines():
        with contextlib.suppress(ValueError, KeyError):
            entry = json.loads(line)
            reason = f"{entry['event']}: {entry.get('reason', '')}"
            moments[reason].append(datetime.fromisoformat(entry["timestamp"]).timestamp())
    early = [
        reason
        for reason, when in moments.items()
        if any(later - earlier < QUIET_SECONDS - 0.1 for earlier, later in itertools.pairwise(when))
    ]
    return {reason: len(when) for reason, when in moments.items()}, early


@contextlib.asynccontextmanager
async def attacking(name: str, port: int, count: int, counts: Counter[str]) -> AsyncIterator[None]:
    """The attack in a process of its own: in ours it would hold up the honest caller."""
    options = ["--port", str(port), "--count", str(count), name]
    attacker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.floods", *options, stdin=PIPE, stdout=PIPE, cwd=Path(__file__).parent.parent
    )
    assert attacker.stdin is not None
    assert attacker.stdout is not None
    try:
        yield
        if ATTACKS[name][0] is not random_requests:
            attacker.stdin.close()
        counts.update(json.loads(await attacker.stdout.read()))
    finally:
        attacker.stdin.close()
        await attacker.wait()


async def _attack_until_told(name: str, port: int, count: int) -> None:
    """Attack until the standard input ends, then print what was counted."""
    stop, counts = asyncio.Event(), Counter[str]()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    _open_files(None)
    await ATTACKS[name][0](port, count, stop, counts)
    print(json.dumps(counts))  # noqa: T201 - what this is for


async def attack(honest: Honest, name: str, *, count: int, seconds: float) -> Outcome:
    """One attack for so long, with fifty honest callbacks in it."""
    outcome, process = Outcome(name), honest.process
    for _ in range(HONEST):
        await honest.call(Outcome("before"))
    before, said_before = memory(process), len(process.log)
    async with attacking(name, urlsplit(process.callbacks).port or 0, count, outcome.counts):
        until = time.monotonic() + seconds
        for left in range(HONEST, 0, -1):
            await asyncio.sleep(max(0, until - time.monotonic()) / left)
            await honest.call(outcome)
            outcome.growth = max(outcome.growth, memory(process) - before)
        outcome.promise(await honest.is_live(), "/livez does not say 200")
    outcome.lines, early = said(process.log[said_before:])
    outcome.promise(outcome.counts["honest answers 204"] == HONEST, "honest callbacks were not answered")
    outcome.promise(outcome.growth <= MOST_GROWTH, "more than 30 MB")
    outcome.promise(not early, f"said twice within ten seconds: {early}")
    outcome.promise("Traceback" not in process.log, "a traceback")
    return outcome


def _open_files(soft: int | None) -> None:
    """Set how many files this process, and what it starts, may open; None for all that the hard limit allows."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft or hard, hard))


async def floods(
    kafka: str, prefix: str, folder: Path, *, names: Sequence[str] = (), share: float = 1.0, seconds: float = 60.0
) -> list[Outcome]:
    """Each attack in turn on one process, which starts with a soft limit of 1,024 files as many systems have it."""
    _open_files(1024)
    async with Simulator(seed=1) as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["callbacks"])
        async with running(document, folder) as (process,):
            _open_files(None)
            honest = Honest(process, simulator)
            outcomes = []
            for name in names or ATTACKS:
                outcomes.append(await attack(honest, name, count=int(ATTACKS[name][1] * share), seconds=seconds))
                print(outcomes[-1].report(), flush=True)  # noqa: T201 - what this is for
            return outcomes


async def _main(given: argparse.Namespace) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="flood-"))
    broker = await Broker().start()
    try:
        outcomes = await floods(
            broker.bootstrap_servers, "flood", folder, names=given.attacks, share=given.share, seconds=given.seconds
        )
    finally:
        await broker.stop()
    return all(not outcome.broken for outcome in outcomes)


def main() -> None:
    """Run what the arguments say; exit with 1 when a promise was broken."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    parser = argparse.ArgumentParser(prog="python -m tests.floods", description=__doc__)
    parser.add_argument("attacks", nargs="*", choices=[[], *ATTACKS], default=[], help="default: all")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--share", type=float, default=1.0, help="of 2,000 connections and 100,000 requests")
    parser.add_argument("--port", type=int, help="only attack this port, until the standard input ends")
    parser.add_argument("--count", type=int, help="of connections or requests, with --port")
    given = parser.parse_args()
    if given.port is not None:
        asyncio.run(_attack_until_told(given.attacks[0], given.port, given.count))
        return
    sys.exit(0 if asyncio.run(_main(given)) else 1)


if __name__ == "__main__":
    main()
