"""One real Kafka for the whole run, a topic prefix for each test, and the process under test.

KAFKA_BOOTSTRAP_SERVERS names a broker; else testcontainers starts one where a Docker engine answers; else the embedded
broker, which is started once by the process that distributes the tests.
"""

import asyncio
import gc
import itertools
import os
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs
from structlog.typing import EventDict

from connector.__main__ import YOUNG_OBJECTS
from connector.dev.broker import archive_classes
from connector.simulator import Simulator
from connector.twilio.client import TwilioClient
from tests import forked
from tests.brokers import QuickBroker
from tests.callback_port import Port, opened
from tests.examples import examples
from tests.span_collector import Collector, collecting
from tests.twilio_servers import connected

# How long an example takes says how busy the machine is, nothing else.
hypothesis.settings.register_profile(
    "untimed",
    max_examples=examples(200),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile("untimed")

# As in the connector: what stays is not searched for cycles again and again.
gc.set_threshold(YOUNG_OBJECTS)

_numbers = itertools.count(1)


class _Background:
    """The embedded broker on a thread and loop of its own, for as long as the run lasts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-kafka", daemon=True)
        self._thread.start()
        self.broker = QuickBroker()
        self._start = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)

    async def _begin(self) -> None:
        # Dozens of tests start brokers of their own.
        await archive_classes()
        await self.broker.start()

    def address(self) -> str:
        self._start.result(timeout=300)
        return self.broker.bootstrap_servers

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self.broker.stop(gracefully=False), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()


class _Container:
    """Kafka in a container."""

    def __init__(self) -> None:
        from testcontainers.kafka import KafkaContainer  # noqa: PLC0415 - only where an engine answers

        self._container = KafkaContainer("confluentinc/cp-kafka:7.6.0").with_kraft()
        self._container.start()

    def address(self) -> str:
        return str(self._container.get_bootstrap_server())

    def stop(self) -> None:
        self._container.stop()


def _engine_answers() -> bool:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    import docker  # noqa: PLC0415 - comes with testcontainers

    try:
        client = docker.from_env(timeout=3)
    except docker.errors.DockerException:
        return False
    client.close()
    return True


_kafka: _Background | _Container | None = None


def _kafka_address() -> str:
    global _kafka  # noqa: PLW0603 - one for the run
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return given
    if _kafka is None:
        _kafka = _Container() if _engine_answers() else _Background()
    return _kafka.address()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of the parallel run where Kafka is."""
    node.workerinput["kafka"] = _kafka_address()


def pytest_collection_finish() -> None:
    """What is imported and collected stays."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """Stop what was started."""
    forked.end()
    if _kafka is not None:
        _kafka.stop()


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> str:
    """host:port of a real Kafka."""
    given = getattr(request.config, "workerinput", {}).get("kafka")
    return given or _kafka_address()


@pytest.fixture(scope="session")
def cleaner(kafka: str) -> AdminClient:
    """Who deletes topics."""
    return AdminClient({"bootstrap.servers": kafka, "log_level": 0})


@pytest.fixture
def prefix(request: pytest.FixtureRequest, cleaner: AdminClient) -> Iterator[str]:
    """A topic prefix that no other test has. Its topics go with the test: a thousand tests' fill a broker's memory."""
    worker = getattr(request.config, "workerinput", {}).get("workerid", "main")
    prefix = f"t{os.getpid()}-{worker}-{next(_numbers)}"
    yield prefix
    if names := [
        name for name in cleaner.list_topics(timeout=30).topics if name.startswith((f"{prefix}.", f"{prefix}-"))
    ]:
        cleaner.delete_topics(names)


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    """What this process logs during the test, in its order."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def simulator(request: pytest.FixtureRequest) -> AsyncIterator[Simulator]:
    """A simulated Twilio with reproducible SIDs, and the settings of the mark `simulated`."""
    mark = request.node.get_closest_marker("simulated")
    async with Simulator(seed=1, settings=mark.kwargs if mark else {}) as running:
        yield running


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector of spans."""
    async with collecting() as listening:
        yield listening


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[TwilioClient]:
    """A client of the simulated Twilio."""
    async with connected(simulator.url) as opened_client:
        yield opened_client


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    """A receiver that listens, with a place for its records."""
    async with opened() as listening:
        yield listening
