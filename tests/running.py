"""The process under test: `python -m connector run` with a configuration file, a real broker and the simulator.

It is forked from one that has everything imported; a test that is about the start itself starts it afresh.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import yaml
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from connector.catalog import topics_of
from connector.dev.broker import free_port
from connector.kafka import topics
from connector.settings import Settings, load
from connector.simulator import Simulator
from tests import forked

PATIENCE_SECONDS = 60.0
"""A deadline that only a failure meets, however busy the machine is."""
# Of every topic: creating and deleting them is much of what a test costs the broker.
PARTITIONS = 2


def two_free_ports() -> tuple[int, int]:
    """Two different ones: a port that was just found free may be found free again."""
    port = free_port()
    return port, next(other for other in iter(free_port, 0) if other != port)


def configuration(simulator: Simulator, *, kafka: str, prefix: str, **sections: Any) -> dict[str, Any]:
    """A configuration for tests; `sections` replace whole sections, dicts are merged into them."""
    port, admin = two_free_ports()
    base: dict[str, Any] = {
        "kafka": {
            "bootstrap_servers": kafka,
            "topic_prefix": prefix,
            "partitions": PARTITIONS,
            "replication_factor": 1,
        },
        "connections": {
            "default": {
                "account_sid": simulator.account_sid,
                "auth_token": simulator.auth_token,
                "api_url": simulator.url,
                "monitor_url": simulator.url,
                "calls_per_second": 0,
            }
        },
        "watches": [],
        "callbacks": {"host": "127.0.0.1", "port": port, "public_url": f"http://127.0.0.1:{port}"},
        "commands": {"settle_time": "1s"},
        "admin": {"host": "127.0.0.1", "port": admin},
        "log": {"format": "json"},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return base


def clean_environment() -> dict[str, str]:
    """What the environment has, but for what would configure a connector."""
    ours = ("CONNECTOR", "TWILIO", "KAFKA")
    return {name: text for name, text in os.environ.items() if not name.startswith(ours)}


def children_of(pid: int) -> list[int]:
    """The process ids of a process's children; none when it has ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()] if children.exists() else []


class Connector:
    """One connector process; several of one configuration share everything but their ports."""

    def __init__(
        self,
        document: Mapping[str, Any],
        folder: Path,
        *,
        name: str = "connector",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.document = {**document}
        self.environment = dict(environment or {})
        self.folder = folder
        self.name = name
        self.process: asyncio.subprocess.Process | forked.Forked | None = None
        self._starts = 0

    @property
    def admin(self) -> str:
        """The admin port's URL."""
        return f"http://127.0.0.1:{self.document['admin']['port']}"

    @property
    def callbacks(self) -> str:
        """The public URL."""
        return str(self.document["callbacks"]["public_url"])

    @property
    def workers(self) -> list[int]:
        """The process ids of its workers, where there are several."""
        return [worker for nursery in self.nurseries for worker in children_of(nursery)]

    @property
    def nurseries(self) -> list[int]:
        """The process id of what its workers are forked from."""
        assert self.process is not None
        return children_of(self.process.pid)

    @property
    def settings(self) -> Settings:
        """What the process reads."""
        return load(self._file(), environ=self.environment)

    def sibling(self, name: str) -> "Connector":
        """Another process with the same configuration and ports of its own."""
        port, admin_port = two_free_ports()
        callbacks = {**self.document["callbacks"], "port": port, "public_url": f"http://127.0.0.1:{port}"}
        admin = {**self.document["admin"], "port": admin_port}
        document = {**self.document, "callbacks": callbacks, "admin": admin}
        return Connector(document, self.folder, name=name, environment=self.environment)

    def _file(self) -> Path:
        path = self.folder / f"{self.name}.yaml"
        path.write_text(yaml.safe_dump(dict(self.document)))
        return path

    @property
    def log(self) -> str:
        """What the process has logged over all its starts."""
        path = self.folder / f"{self.name}.log"
        return path.read_text() if path.exists() else ""

    async def apply_topics(self) -> None:
        """Create the topics."""
        settings = self.settings
        await topics.apply(settings.kafka, topics_of(settings))

    async def start(
        self,
        *,
        module: str = "connector",
        ready: bool = True,
        environment: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        afresh: bool = False,
    ) -> "Connector":
        """Start the process, and wait until it is ready."""
        arguments = ("run", "-c", str(self._file()), *options)
        env = {**clean_environment(), **self.environment, **(environment or {})}
        with (self.folder / f"{self.name}.log").open("ab") as log:
            # Workers are forked from what was started. Programs of ours measure what a user starts.
            if afresh or options or "PYTEST_CURRENT_TEST" not in os.environ:
                command = (sys.executable, "-m", module, *arguments)
                self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env=env)
            else:
                streams = {1: log.fileno(), 2: log.fileno()}
                self.process = await asyncio.to_thread(
                    forked.start, *arguments, module=module, environment=env, streams=streams
                )
        if ready:
            await self.wait_ready()
        return self

    async def wait_ready(self) -> None:
        """Wait until /readyz says so."""
        assert self.process is not None
        async with asyncio.timeout(PATIENCE_SECONDS), aiohttp.ClientSession() as session:
            while True:
                assert self.process.returncode is None, self.log[-2000:]
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.admin}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.05)

    async def wait_for_log(self, text: str, *, within: float = PATIENCE_SECONDS) -> None:
        """Wait until the process has logged this."""
        async with asyncio.timeout(within):
            while True:
                if text in self.log:
                    return
                await asyncio.sleep(0.05)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """End it at once."""
        await self._end(signal.SIGKILL)

    async def stop(self, *, within: float = PATIENCE_SECONDS) -> int:
        """End it in order; returns the exit code."""
        async with asyncio.timeout(within):
            return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
                self.process.send_signal(number)
        return await self.process.wait()


@contextlib.asynccontextmanager
async def running(
    document: Mapping[str, Any], folder: Path, *, count: int = 1, environment: Mapping[str, str] | None = None
) -> AsyncIterator[list[Connector]]:
    """Topics and so many processes; all are ended, whatever happens."""
    first = Connector(document, folder, name="connector-1", environment=environment)
    processes = [first, *(first.sibling(f"connector-{number}") for number in range(2, count + 1))]
    await first.apply_topics()
    try:
        await asyncio.gather(*(process.start() for process in processes))
        yield processes
    finally:
        await asyncio.gather(*(process.kill() for process in processes if process.process is not None))


@contextlib.asynccontextmanager
async def _reading(kafka: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer at the topic's beginning."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _read_on(consumer: AIOKafkaConsumer) -> list[ConsumerRecord]:
    """What is committed and was not read yet."""
    found: list[ConsumerRecord] = []
    # Without a group it has all partitions at once.
    ends = await consumer.end_offsets(sorted(consumer.assignment()))
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=100)).values():
            found += records
    return found


async def read_all(kafka: str, topic: str) -> list[ConsumerRecord]:
    """Every committed record of a topic, partition by partition."""
    async with _reading(kafka, topic) as consumer:
        return await _read_on(consumer)


async def wait_for_records(
    kafka: str, topic: str, count: int, *, within: float = PATIENCE_SECONDS
) -> list[ConsumerRecord]:
    """The records of a topic, partition by partition, as soon as there are so many."""
    async with asyncio.timeout(within):
        while True:
            async with _reading(kafka, topic) as consumer:
                found = await _read_on(consumer)
                # A topic that is not there yet is looked for again.
                while len(found) < count and consumer.assignment():
                    await asyncio.sleep(0.1)
                    found += await _read_on(consumer)
            if len(found) >= count:
                return sorted(found, key=lambda record: record.partition)
            await asyncio.sleep(0.1)


async def until(condition: Callable[[], object], *, within: float = PATIENCE_SECONDS) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(within):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


async def freeze(process: asyncio.subprocess.Process) -> None:
    """Stop every thread of a process, which may go on for a moment after the signal."""
    process.send_signal(signal.SIGSTOP)
    threads = Path(f"/proc/{process.pid}/task")
    await until(lambda: {file.read_text().rpartition(")")[2].split()[0] for file in threads.glob("*/stat")} == {"T"})


def values(records: Sequence[ConsumerRecord]) -> list[Any]:
    """The JSON values of records."""
    return [orjson.loads(record.value) for record in records]


def headers_of(record: ConsumerRecord) -> dict[str, str]:
    """The headers of a record as text."""
    return {name: raw.decode() for name, raw in record.headers}
