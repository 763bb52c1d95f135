"""`run --workers N`, the real processes: they share the port, die and come back, count as one, and drain together."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import ProcessCollector

from connector.errors import ConfigurationError
from connector.simulator import Simulator
from connector.telemetry.exposition import OPENMETRICS
from connector.twilio.signature import compute
from tests.running import PATIENCE_SECONDS, Connector, configuration, read_all, until, wait_for_records

WORKERS = 2
ACCOUNT = "AC" + "1" * 32


@asynccontextmanager
async def supervised(
    simulator: Simulator, kafka: str, prefix: str, folder: Path, **sections: Any
) -> AsyncIterator[Connector]:
    """Two workers under a supervisor, ready."""
    document = configuration(simulator, kafka=kafka, prefix=prefix, **sections)
    process = Connector(document, folder)
    await process.apply_topics()
    try:
        yield await process.start(options=["--workers", str(WORKERS)])
    finally:
        if process.process is not None:
            await process.kill()


async def call_back(process: Connector, token: str, account: str, number: int) -> int:
    """Deliver a status callback on a connection of its own; returns the HTTP status, 0 when nobody listens."""
    url = f"{process.callbacks}/callbacks/message-status"
    form = {"MessageSid": f"SM{number:032x}", "MessageStatus": "sent", "AccountSid": account}
    headers = {"X-Twilio-Signature": compute(url, form.items(), token), "Connection": "close"}
    try:
        async with aiohttp.ClientSession() as session, session.post(url, data=form, headers=headers) as answer:
            return answer.status
    except aiohttp.ClientError:
        return 0


async def text_of(process: Connector, path: str, *, accept: str = "*/*") -> tuple[int, str]:
    url, headers = f"{process.admin}{path}", {"Accept": accept}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


def start_of(pid: int) -> float:
    """When a process began, in seconds since 1970."""
    found = {metric.name: metric for metric in ProcessCollector(pid=lambda: pid, registry=None).collect()}
    return float(found["process_start_time_seconds"].samples[0].value)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def memory_of(pid: int) -> Mapping[str, int]:
    """The memory of a process in KiB, by what it is."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(size.split()[0]) for name, _, size in (line.partition(":") for line in lines)}


def value_of(metrics: str, name: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)", metrics, re.MULTILINE))


async def test_callbacks_are_shared_counted_as_one_and_a_dead_worker_comes_back(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with supervised(simulator, kafka, prefix, tmp_path) as process:
        assert process.process is not None
        started = start_of(process.process.pid)
        token, account = simulator.auth_token, simulator.account_sid
        first, second = process.workers
        statuses = [await call_back(process, token, account, number) for number in range(40)]
        assert statuses == [204] * 40
        assert "\n# TYPE twilio_kafka_callbacks_total counter\n" in (await text_of(process, "/metrics"))[1]
        code, metrics = await text_of(process, "/metrics", accept=OPENMETRICS)
        assert code == 200
        assert metrics.endswith("# EOF\n")
        assert value_of(metrics, "twilio_kafka_callbacks_total") == 40
        assert value_of(metrics, "twilio_kafka_build_info") == 1
        assert value_of(metrics, "twilio_kafka_role_info") == 3
        assert value_of(metrics, "process_start_time_seconds") == pytest.approx(started, abs=2)
        # Both hold partitions: of the two of each role, one each.
        assert value_of(metrics, "twilio_kafka_owners") == 4

        os.kill(first, signal.SIGKILL)
        await process.wait_for_log("worker ended")
        # What it had counted is not forgotten: a sum that falls would look like a restart of all, and count twice.
        assert value_of((await text_of(process, "/metrics"))[1], "twilio_kafka_callbacks_total") == 40
        assert (await text_of(process, "/readyz"))[0] == 200
        await until(lambda: process.log.count('"event": "started"') == WORKERS + 1)
        stored = {n for n in range(40, 60) if await call_back(process, token, account, n) == 204}
        assert {40 + 19} <= stored
        assert second in process.workers
        assert (await text_of(process, "/livez"))[0] == 200
        assert await process.stop() == 0
        assert process.log.count('"event": "stopped"') == 2
    sids = {int(record.key.removeprefix(b"SM"), 16) for record in await read_all(kafka, f"{prefix}.message-status")}
    assert set(range(40)) | stored <= sids


async def test_commands_and_watches_go_on_with_any_number_of_workers(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    watches = [{"resource": "messages", "interval": "300ms"}]
    async with supervised(simulator, kafka, prefix, tmp_path, watches=watches) as process:
        await process.wait_for_log("watch starts anew")
        sids = {simulator.receive(from_="+15550100001", to="+15551234567", body=f"{number}").sid for number in range(5)}
        found = await wait_for_records(kafka, f"{prefix}.messages", 5)
    assert {record.key.decode() for record in found} == sids


async def test_the_console_answers_through_the_supervisor(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    admin = {"token": "a-token-of-the-test"}
    async with supervised(simulator, kafka, prefix, tmp_path, admin=admin) as process:
        assert (await text_of(process, "/version"))[0] == 200
        assert (await text_of(process, "/api/overview"))[0] == 401
        headers = {"Authorization": "Bearer a-token-of-the-test"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{process.admin}/api/overview") as answer:
                assert (answer.status, (await answer.json())["prefix"]) == (200, prefix)
            async with session.get(f"{process.admin}/api/stream") as answer:
                assert (await answer.content.readline()).startswith(b"event: tick")


async def test_when_the_supervisor_is_killed_its_workers_drain_and_end(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with supervised(simulator, kafka, prefix, tmp_path) as process:
        orphans = [*process.workers, *process.nurseries]
        assert len(orphans) == WORKERS + 1
        await process.kill()
        await until(lambda: not any(is_there(pid) for pid in orphans))
        assert process.log.count('"event": "stopped"') == WORKERS


async def test_when_the_nursery_is_killed_its_workers_drain_and_the_supervisor_says_so(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with supervised(simulator, kafka, prefix, tmp_path) as process:
        assert process.process is not None
        (nursery,), workers = process.nurseries, process.workers
        os.kill(nursery, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.process.wait() == 69
        assert not any(is_there(pid) for pid in workers)
        assert process.log.count('"event": "stopped"') == WORKERS
        assert process.log.count("The process that workers are forked from has ended") == 1


async def test_a_worker_that_comes_back_reads_the_configuration_as_it_is_then(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with supervised(simulator, kafka, prefix, tmp_path) as process:
        process.document["log"] = {"format": "json", "level": "warning"}
        assert process.settings.log.level == "warning"
        os.kill(process.workers[0], signal.SIGKILL)
        await process.wait_for_log("worker ended")
        await until(lambda: len(process.workers) == WORKERS)
        process.document["callbacks"]["max_body"] = "nonsense"
        with pytest.raises(ConfigurationError):
            _ = process.settings
        os.kill(process.workers[0], signal.SIGKILL)
        await process.wait_for_log("max_body")
        assert process.log.count('"event": "started"') == WORKERS


async def test_what_is_imported_is_in_memory_once(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with supervised(simulator, kafka, prefix, tmp_path) as process:
        for worker in process.workers:
            held = memory_of(worker)
            assert held["Pss"] < 0.7 * held["Rss"]


@pytest.mark.parametrize(
    "case",
    [
        ({}, 69, "does not answer"),
        ({"callbacks": {"port": 0}}, 78, "workers cannot share"),
    ],
)
async def test_what_keeps_it_from_starting_is_said_once_with_its_exit_code(
    simulator: Simulator, prefix: str, tmp_path: Path, case: tuple[Any, int, str]
) -> None:
    sections, code, sentence = case
    process = Connector(configuration(simulator, kafka="127.0.0.1:1", prefix=prefix, **sections), tmp_path)
    await process.start(options=["--workers", "2"], ready=False)
    assert process.process is not None
    async with asyncio.timeout(30):
        assert await process.process.wait() == code
    assert process.log.count(sentence) == 1


async def test_a_taken_port_is_not_shared_with_strangers(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    port = process.document["callbacks"]["port"]
    server = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", port, reuse_port=True)
    async with server:
        await process.start(options=["--workers", "2"], ready=False)
        assert process.process is not None
        async with asyncio.timeout(30):
            assert await process.process.wait() == 69
    assert "callbacks.port: cannot listen" in process.log
