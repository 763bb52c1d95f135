"""The stage: a broker of its own, the simulator, several connector processes, and what goes wrong with them."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connector.dev.broker import Broker
from connector.errors import Unavailable
from connector.simulator import Simulator
from tests.brokers import QuickBroker
from tests.running import Connector, configuration

# Short, so that a short run sees many take-overs; the broker's own default would not allow less.
SESSION_SECONDS = 3.0
# With workers, so many of the kills hit one of them instead of their supervisor.
WORKER_SHARE = 0.7
AHEAD_SECONDS = (0.0, 2.0, -2.0, 90.0, -90.0, 7200.0, -7200.0)
SETTLE_SECONDS = 2.0
REQUEST_SECONDS = 3.0
# After a broker was away, owners are still lost for so long: those that it takes for dead have not noticed yet.
RECOVERY_SECONDS = 2 * SESSION_SECONDS
SETTINGS: Mapping[str, Any] = {
    "kafka": {"session_timeout": f"{SESSION_SECONDS:g}s", "partitions": 4, "replication_factor": 1},
    "commands": {"settle_time": f"{SETTLE_SECONDS:g}s", "request_timeout": f"{REQUEST_SECONDS:g}s"},
}


@dataclass
class Stage:
    """What takes part. While it `rests`, nothing is started again by itself."""

    broker: Broker
    simulator: Simulator
    processes: list[Connector]
    module: str = "connector"
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: int = 1
    rests: bool = False
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return self.broker.bootstrap_servers

    @property
    def prefix(self) -> str:
        """The topics' prefix."""
        return str(self.processes[0].document["kafka"]["topic_prefix"])

    @property
    def partitions(self) -> int:
        """How many every topic has."""
        return int(self.processes[0].document["kafka"]["partitions"])

    async def start(self, process: Connector, *, ready: bool = False) -> None:
        """Start a process (again), unless it runs."""
        options = ["--workers", str(self.workers)] if self.workers > 1 else []
        async with self._starting:
            if process.process is None or process.process.returncode is not None:
                await process.start(module=self.module, ready=False, environment=self.environment, options=options)
        if ready:
            await process.wait_ready()

    async def tend(self) -> None:
        """What Kubernetes does, for ever: start again what has ended because Kafka was away when it started."""
        while True:
            fallen = [process for process in self.processes if _gave_up(process) and not self.rests]
            await asyncio.gather(*(self.start(process) for process in fallen))
            await asyncio.sleep(0.2)

    async def stop(self) -> list[int]:
        """End every process in order, as soon as it has started; their exit codes."""
        await asyncio.gather(*(self._ready(process) for process in self.processes))
        return list(await asyncio.gather(*(process.stop(within=60) for process in self.processes)))

    async def _ready(self, process: Connector) -> None:
        while True:
            try:
                return await process.wait_ready()
            except AssertionError:
                if not _gave_up(process):
                    raise
                await self.start(process)


def _gave_up(process: Connector) -> bool:
    return process.process is not None and process.process.returncode == Unavailable.exit_code


@contextlib.asynccontextmanager
async def stage(
    folder: Path,
    *,
    seed: int,
    count: int = 3,
    nodes: int = 1,
    without: str = "",
    workers: int = 1,
    simulated: Mapping[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[Stage]:
    """A stage with everything running; `without` names a safeguard that the processes lack (see `without.py`)."""
    broker = QuickBroker(nodes=nodes)
    async with contextlib.AsyncExitStack() as stack:
        await broker.start()
        stack.push_async_callback(broker.stop, gracefully=False)
        simulator = await stack.enter_async_context(Simulator(seed=seed, settings=simulated or {}))
        document = configuration(simulator, kafka=broker.bootstrap_servers, prefix="chaos")
        for name, section in (*SETTINGS.items(), *sections.items()):
            document[name] = {**document.get(name, {}), **section} if isinstance(section, dict) else section
        first = Connector(document, folder, name="connector-1")
        processes = [first, *(first.sibling(f"connector-{number}") for number in range(2, count + 1))]
        module = "tests.guarantees.without" if without else "connector"
        running = Stage(broker, simulator, processes, module, {"WITHOUT": without} if without else {}, workers)
        await first.apply_topics()
        stack.push_async_callback(_end, processes)
        await asyncio.gather(*(running.start(process, ready=True) for process in processes))
        tending = asyncio.create_task(running.tend(), name="tending")
        stack.callback(tending.cancel)
        yield running


def apart(seed: int) -> float:
    """How far Twilio's clock is ahead of ours when a run begins."""
    return seeded(seed, "clock").choice(AHEAD_SECONDS)


def seeded(seed: int, purpose: str) -> random.Random:
    """Choices of their own for a purpose, the same again for the same seed."""
    return random.Random(f"{seed}/{purpose}")  # noqa: S311 - reproducible choices are the point


async def _end(processes: list[Connector]) -> None:
    await asyncio.gather(*(process.kill() for process in processes if process.process is not None))


@dataclass
class Disturbances:
    """Seeded trouble for a stage: `weights` say how often what happens, `done` counts what did.

    `interruptions` are the times, from and to, in which a process or the broker was not there.
    """

    stage: Stage
    random: random.Random
    weights: Mapping[str, float]
    pause: tuple[float, float] = (0.5, 3.0)
    done: Counter[str] = field(default_factory=Counter)
    interruptions: list[tuple[float, float]] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Make trouble for so long; afterwards everything runs again."""
        end = asyncio.get_running_loop().time() + seconds
        names, weights = list(self.weights), list(self.weights.values())
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(self.random.uniform(*self.pause))
            name = self.random.choices(names, weights)[0]
            await getattr(self, f"_{name}")(self.random.choice(self.stage.processes))
            self.done[name] += 1

    @contextlib.contextmanager
    def _interrupted(self, *, recovery: float = 0.0) -> Iterator[None]:
        """What is in flight meanwhile may be left in doubt."""
        begun = time.time()
        yield
        self.interruptions.append((begun, time.time() + recovery))

    async def _worker(self, process: Connector) -> None:
        """One of several workers is killed: its supervisor starts another."""
        with self._interrupted(), contextlib.suppress(ProcessLookupError):
            os.kill(self.random.choice(process.workers), signal.SIGKILL)

    async def _kill(self, process: Connector) -> None:
        if self.stage.workers > 1 and process.workers and self.random.random() < WORKER_SHARE:
            await self._worker(process)
            return
        with self._interrupted():
            await process.kill()
        await asyncio.sleep(self.random.uniform(0, 2))
        await self.stage.start(process)

    async def _terminate(self, process: Connector) -> None:
        await process.stop(within=60)
        await self.stage.start(process)

    async def _freeze(self, process: Connector) -> None:
        """A process stands still: with workers one of them, which is what holds partitions."""
        assert process.process is not None
        frozen = self.random.choice(process.workers or [process.process.pid])
        with self._interrupted(), contextlib.suppress(ProcessLookupError):
            os.kill(frozen, signal.SIGSTOP)
            await asyncio.sleep(self.random.choice([0.5, SESSION_SECONDS + 1, 2 * SESSION_SECONDS]))
            os.kill(frozen, signal.SIGCONT)

    async def _broker(self, _process: Connector) -> None:
        node = self.random.choice(self.stage.broker.nodes)
        with self._interrupted(recovery=RECOVERY_SECONDS):
            await node.kill()
            await asyncio.sleep(self.random.uniform(1, 4))
            await node.start()
            await node.ready()

    async def _storm(self, _process: Connector) -> None:
        """For two seconds most requests are throttled or fail."""
        faults = self.stage.simulator.state.faults
        rows = [
            faults.add("throttle", "Create*", probability=0.5),
            faults.add("error", "*", probability=0.1, status=503),
        ]
        await asyncio.sleep(2)
        faults.rows = [row for row in faults.rows if row not in rows]
