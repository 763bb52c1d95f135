"""`python -m bench.trips [command row callback] [--list]`: through how many files one thing goes, traced at run time.

The connector runs in this process, with a real broker and the simulator. After some things of a kind, so that caches
are full, the calls of one more are noted (`sys.setprofile`): which files of the connector they are in, and how often
the next call is in another file than the one before. What the same task also runs when there is nothing to do
(heartbeats, commits, probes) does not count.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import aiohttp
import orjson
import yaml
from aiokafka import AIOKafkaProducer

import connector
from bench import kafka
from connector.app import App
from connector.dev.broker import free_port
from connector.settings import load
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.twilio.signature import compute

HOME = Path(connector.__file__).parent
# What stands in for Twilio, what starts it, what also the servers and readers of this program go through, and what
# looks at all figures every ten seconds, is no part of the trip.
OUTSIDE = ("simulator/", "dev/", "server_header.py", "kafka/header_names.py", "kafka/sought.py", "console/health.py")
WARM_UP = 3
INTERVAL = "6s"
SETTLE_SECONDS, IDLE_SECONDS = 0.3, 2.5
TRIES = 10
WITHIN_SECONDS = 60.0
PREFIX = f"trips-{os.getpid()}"


Call = tuple[str, CodeType]
"""Which sort of task called which function."""


class Trace:
    """The calls of the connector's functions while it is on, in their order."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._files: dict[str, str] = {}

    def file(self, code: CodeType) -> str:
        """The file in the connector, empty for any other."""
        name = code.co_filename
        if name not in self._files:
            path = Path(name)
            inside = str(path.relative_to(HOME)) if path.is_relative_to(HOME) else ""
            self._files[name] = "" if inside.startswith(OUTSIDE) else inside
        return self._files[name]

    @contextlib.contextmanager
    def on(self) -> Iterator[list[Call]]:
        """Note calls."""
        self.calls = []
        sys.setprofile(self._profile)
        try:
            yield self.calls
        finally:
            sys.setprofile(None)

    def _profile(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and self.file(frame.f_code):
            self.calls.append((_task(), frame.f_code))


def _task() -> str:
    """The present task's name without its number."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return ""
    return task.get_name().rstrip("0123456789") if task is not None else ""


@dataclass(frozen=True)
class Trip:
    """What one thing went through: calls by file, and moves from file to file."""

    files: Counter[str]
    moves: Counter[tuple[str, str]]

    @classmethod
    def of(cls, trace: Trace, calls: Iterable[Call], idle: Collection[Call]) -> "Trip":
        """The trip that was traced, without what runs in any case."""
        files = [trace.file(call[1]) for call in calls if call not in idle]
        return cls(Counter(files), Counter(pair for pair in pairwise(files) if pair[0] != pair[1]))


@dataclass
class World:
    """Where things are done: a running connector, its broker and its Twilio."""

    servers: str
    simulator: Simulator
    port: int
    producer: AIOKafkaProducer
    number: int = 0
    _signed: Mapping[str, Any] = field(default_factory=dict)

    def prepare(self) -> None:
        """Do what somebody else does: it is no part of the trip."""
        self.number += 1
        url = f"http://127.0.0.1:{self.port}/callbacks/message-status"
        sids = {"AccountSid": self.simulator.account_sid, "MessageSid": f"SM{self.number:032}"}
        form = {**sids, "MessageStatus": "sent"}
        signature = compute(url, list(form.items()), self.simulator.auth_token)
        self._signed = {"url": url, "data": form, "headers": {"X-Twilio-Signature": signature}}

    async def command(self) -> None:
        """A message, until its result is there."""
        value = {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": "Hello", "status_callback": None}
        headers = [("id", f"c-{self.number}".encode())]
        async with self._arriving("results.send-message"):
            await self.producer.send_and_wait(
                f"{PREFIX}.commands.send-message", orjson.dumps(value), key=b"k", headers=headers
            )

    async def row(self) -> None:
        """A row of a watched list, until its event is there."""
        async with self._arriving("messages"):
            self.simulator.fill("messages", count=1)

    async def callback(self) -> None:
        """A status callback, until it is answered: then its event is there."""
        async with aiohttp.ClientSession() as session, session.post(**self._signed) as answer:
            answer.raise_for_status()

    @contextlib.asynccontextmanager
    async def _arriving(self, topic: str) -> AsyncIterator[None]:
        """Return when one more record is on the topic."""
        async with kafka.reader(self.servers) as reader:
            places = kafka.places(f"{PREFIX}.{topic}")
            reader.assign(places)
            await reader.seek_to_end(*places)
            for place in places:
                await reader.position(place)
            yield
            while not await reader.getmany(timeout_ms=50):
                pass


KINDS: Mapping[str, tuple[str, Callable[[World], Awaitable[None]]]] = {
    "command": ("commands", World.command),
    "row": ("watch", World.row),
    "callback": ("callbacks", World.callback),
}


@contextlib.asynccontextmanager
async def _world(servers: str, role: str, folder: Path) -> AsyncIterator[World]:
    port = free_port()
    async with Simulator(seed=1, settings={"auto_advance": False}) as simulator:
        connection = {
            "account_sid": simulator.account_sid,
            "auth_token": simulator.auth_token,
            "api_url": simulator.url,
            "monitor_url": simulator.url,
            "calls_per_second": 0,
        }
        document = {
            "roles": [role],
            "kafka": {"bootstrap_servers": servers, "topic_prefix": PREFIX, "replication_factor": 1},
            "connections": {"default": connection},
            "watches": [{"resource": "messages", "interval": INTERVAL}],
            "callbacks": {"host": "127.0.0.1", "port": port, "public_url": f"http://127.0.0.1:{port}"},
            "admin": {"host": "127.0.0.1", "port": free_port()},
            "log": {"level": "warning"},
        }
        file = folder / "connector.yaml"
        file.write_text(yaml.safe_dump(document))
        command = [sys.executable, "-m", "connector", "topics", "apply", "-c", str(file)]
        applying = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        if await applying.wait():
            raise RuntimeError("The topics were not made.")
        app = App(load(file, environ={}))
        producer = AIOKafkaProducer(bootstrap_servers=servers)
        await producer.start()
        running = asyncio.create_task(app.run())
        try:
            await app.started.wait()
            yield World(servers, simulator, port, producer)
        finally:
            app.stop.set()
            await running
            await producer.stop()
            await kafka.delete(servers, PREFIX)


async def trip(kind: str, servers: str) -> Trip:
    """The trip of one thing of this kind."""
    role, make = KINDS[kind]
    trace = Trace()
    with tempfile.TemporaryDirectory(prefix="trips-") as folder:
        async with _world(servers, role, Path(folder)) as world:
            if kind == "row":
                # What is there when a watch begins is not new to it.
                await _polled(world)
            for _ in range(WARM_UP):
                world.prepare()
                async with asyncio.timeout(WITHIN_SECONDS):
                    await make(world)
            idle = await _idle(world, trace)
            world.prepare()
            with trace.on() as calls:
                await make(world)
            return Trip.of(trace, calls, idle)


async def _idle(world: World, trace: Trace) -> Collection[Call]:
    """What is called when nothing happens, once that is always the same: a poll belongs to the trip of its row."""
    seen: set[Call] = set()
    for _ in range(TRIES):
        await asyncio.sleep(SETTLE_SECONDS)
        before = len(world.simulator.journal)
        with trace.on() as calls:
            await asyncio.sleep(IDLE_SECONDS)
        if len(world.simulator.journal) == before:
            is_new, seen = not seen.issuperset(calls) or not seen, seen | set(calls)
            if not is_new:
                return seen
    raise RuntimeError("There was no pause between two polls.")


async def _polled(world: World) -> None:
    async with asyncio.timeout(WITHIN_SECONDS):
        while not world.simulator.journal.of("ListMessage"):
            await asyncio.sleep(0.1)


async def measure(kinds: Sequence[str], *, listed: bool) -> None:
    """Print the trips."""
    async with kafka.broker() as servers:
        for kind in kinds:
            found = await trip(kind, servers)
            print(f"{kind}: {len(found.files)} files, {found.moves.total()} moves between files")
            for file, count in found.files.most_common() if listed else ():
                print(f"  {count:4} calls  {file}")
            for (former, file), count in found.moves.most_common() if listed else ():
                print(f"  {count:4} moves  {former} -> {file}")


def main() -> None:
    """Read the options, trace and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.trips", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], default=[], help="default: all")
    parser.add_argument("--list", action="store_true", help="every file and every move")
    given = parser.parse_args()
    asyncio.run(measure(given.kinds or list(KINDS), listed=given.list))


if __name__ == "__main__":
    main()
