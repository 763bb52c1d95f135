"""Health of the real process tells the truth: Kafka and stuck engines are seen, Twilio is not."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from connector.app import App
from connector.dev.broker import Broker
from connector.kafka import ownership
from connector.kafka.clients import Offsets
from connector.kafka.ownership import Assignment, Membership
from connector.settings import KafkaSettings, Settings, load
from connector.simulator import Simulator
from tests.brokers import QuickBroker
from tests.producing import Message, produce
from tests.running import Connector, configuration, running, until, wait_for_records

COMMAND = {"to": "+15557654321", "from": "+15551234567", "body": "Hello"}
STUCK_SECONDS = 3.0
"""Three session timeouts of a second: after so long without a proof the client is rebuilt, after nine it is dead."""


async def health(process: Connector) -> tuple[int, int, str]:
    """Liveness, readiness, and what readiness says."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{process.admin}/livez") as live:
            pass
        async with session.get(f"{process.admin}/readyz") as ready:
            return live.status, ready.status, await ready.text()


async def test_without_twilio_the_process_is_alive_and_ready(kafka: str, prefix: str, tmp_path: Path) -> None:
    simulator = Simulator(seed=1)
    await simulator.start()
    watches = [{"resource": "messages", "interval": "200ms"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    async with running(document, tmp_path) as (process,):
        await process.wait_for_log("watch starts anew")
        await simulator.stop()
        began = time.monotonic()
        while time.monotonic() < began + STUCK_SECONDS:
            assert (await health(process))[:2] == (200, 200)
            await asyncio.sleep(0.2)


async def test_a_request_that_hangs_at_twilio_is_not_stuck(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(
        simulator, kafka=kafka, prefix=prefix, commands={"settle_time": "1s", "request_timeout": "1m"}
    )
    document["kafka"] |= {"session_timeout": "1s"}
    simulator.fault("latency", "CreateMessage", seconds=4 * STUCK_SECONDS, times=1)
    async with running(document, tmp_path) as (process,):
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.send-message", COMMAND)])
        began = time.monotonic()
        while time.monotonic() < began + 3.5 * STUCK_SECONDS:
            assert (await health(process))[:2] == (200, 200)
            await asyncio.sleep(0.5)
        await wait_for_records(kafka, f"{prefix}.results.send-message", 1)
    assert "membership lost" not in process.log


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    """A broker that may be frozen."""
    broker = await QuickBroker().start()
    yield broker
    await broker.stop(gracefully=False)


async def test_a_broker_that_is_frozen_is_seen_by_readiness_and_needs_no_restart(
    broker: Broker, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=broker.bootstrap_servers, prefix="frozen")
    document["kafka"] |= {"session_timeout": "1s"}
    node = broker.nodes[0].process
    assert node is not None
    async with running(document, tmp_path) as (process,):
        os.kill(node.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                while (found := await health(process))[1] == 200:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.2)
            assert found == (200, 503, "Kafka does not answer.\n")
            # Longer than the watchdog's patience: a restart would help nobody.
            frozen = time.monotonic()
            while time.monotonic() < frozen + 3 * STUCK_SECONDS + 1:
                assert (await health(process))[0] == 200
                await asyncio.sleep(0.5)
        finally:
            os.kill(node.pid, signal.SIGCONT)
        async with asyncio.timeout(30):
            while (await health(process))[1] != 200:  # noqa: ASYNC110 - the same
                await asyncio.sleep(0.2)
        await asyncio.to_thread(produce, broker.bootstrap_servers, [Message("frozen.commands.send-message", COMMAND)])
        await wait_for_records(broker.bootstrap_servers, "frozen.results.send-message", 1, within=60)


class Unproven(Membership):
    """A member whose commits nobody accepts, while Kafka answers: stuck, though nothing raises."""

    async def commit(self, offsets: Mapping[int, Offsets]) -> bool:
        """Say no."""
        del offsets
        return False


async def until_left(assignment: Assignment) -> None:
    await assignment.leaving.wait()


async def test_a_consumer_that_stays_stuck_though_it_is_rebuilt_is_dead(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "JOIN_MARGIN_SECONDS", 2.0)
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    await process.apply_topics()
    settings: Settings = load(tmp_path / "connector.yaml", environ={})
    fast: KafkaSettings = settings.kafka.model_copy(
        update={"session_timeout": type(settings.shutdown_grace)(seconds=1)}
    )
    member = Unproven(
        fast, role="watch", group=f"{prefix}-watch", topics=[f"{prefix}.cursors"], serve=until_left, lock_only=True
    )
    app = App(settings, memberships=[member])
    stop = asyncio.Event()
    running_member = asyncio.create_task(member.run(stop))
    try:
        await until(lambda: member.assignments)
        assert app.dead() == []
        await until(lambda: app.dead() == ["The watch membership makes no progress."], within=30)
    finally:
        stop.set()
        await running_member


async def test_an_event_loop_that_does_not_turn_does_not_answer_liveness(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with running(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path) as (process,):
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await health(process)
        process.send_signal(signal.SIGCONT)
        assert (await health(process))[0] == 200
