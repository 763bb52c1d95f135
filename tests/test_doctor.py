"""`twilio-kafka doctor` against a running connector, and against what is broken."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from connector.dev.broker import free_port
from connector.simulator import Simulator
from tests.forked import completed
from tests.running import Connector, configuration, read_all, running


async def examined(process: Connector, *arguments: str) -> tuple[int, dict[str, dict[str, str]], str]:
    """Exit code, the checks by name, and everything that was printed."""
    command = ("doctor", "-c", str(process._file()), "--format", "json", *arguments)
    found = await asyncio.to_thread(completed, *command, env={**os.environ, "NO_COLOR": "1"})
    assert found.stdout, found.stderr
    document = json.loads(found.stdout)
    assert document["ok"] == (found.returncode == 0)
    checks = {check["name"]: check for check in document["checks"]}
    return found.returncode, checks, found.stdout + found.stderr


def states(checks: dict[str, dict[str, str]]) -> dict[str, str]:
    return {name: check["state"] for name, check in checks.items() if name != "durability"}


async def test_a_healthy_connector_passes_every_check_and_nothing_is_left_behind(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,):
        code, checks, printed = await examined(process)
        for topic in ("message-status", "control", "dead-letters"):
            assert await read_all(kafka, f"{prefix}.{topic}") == []
    assert code == 0, printed
    assert set(states(checks).values()) == {"ok"}
    assert set(states(checks)) == {
        *("broker", "topics", "rights"),
        *("twilio (default)", "clock (default)", "callbacks (default)"),
    }
    assert simulator.auth_token not in printed
    assert len(simulator.journal.of("ListMessage")) == 1


@pytest.mark.parametrize(
    ("change", "failing", "sentence"),
    [
        ({"auth_token": "wrong"}, {"twilio (default)", "callbacks (default)"}, "refuses the credentials"),
        ({"api_url": "http://127.0.0.1:1"}, {"twilio (default)"}, "cannot be reached"),
    ],
)
async def test_a_wrong_connection_is_told_with_a_remedy(
    kafka: str,
    prefix: str,
    simulator: Simulator,
    tmp_path: Path,
    *,
    change: dict[str, str],
    failing: set[str],
    sentence: str,
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,):
        changed: dict[str, Any] = {**document["connections"]["default"], **change}
        other = Connector({**document, "connections": {"default": changed}}, tmp_path, name="other")
        code, checks, printed = await examined(other)
        assert process.process is not None
    assert code == 1
    assert {name for name, state in states(checks).items() if state == "failed"} == failing
    assert sentence in printed
    assert all(checks[name]["remedy"] for name in failing)


async def test_a_public_url_that_leads_elsewhere_fails(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    document["callbacks"]["public_url"] = simulator.url
    process = Connector(document, tmp_path)
    await process.apply_topics()
    code, checks, _ = await examined(process)
    assert code == 1
    assert "is not the connector's answer" in checks["callbacks (default)"]["sentence"]
    assert "Lead POST /callbacks/" in checks["callbacks (default)"]["remedy"]


async def test_missing_topics_and_an_absent_broker_are_failed_checks_not_crashes(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    without_topics = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    code, checks, _ = await examined(without_topics, "--offline")
    assert code == 1
    assert checks["topics"]["state"] == "failed"
    assert checks["topics"]["remedy"] == "twilio-kafka topics apply"
    assert checks["rights"]["state"] == "skipped"

    nowhere = f"127.0.0.1:{free_port()}"
    without_broker = Connector(configuration(simulator, kafka=nowhere, prefix=prefix), tmp_path)
    code, checks, _ = await examined(without_broker, "--offline")
    assert code == 1
    assert nowhere in checks["broker"]["sentence"]


async def test_offline_asks_neither_twilio_nor_the_public_address(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    await process.apply_topics()
    code, checks, _ = await examined(process, "--offline")
    assert code == 0
    assert {checks[name]["state"] for name in ("twilio", "clock", "callbacks")} == {"skipped"}
    assert simulator.journal.total == 0


@pytest.mark.parametrize(
    ("seconds", "state"), [(0.4, "ok"), (-4, "ok"), (8, "warning"), (-30, "warning"), (61, "failed"), (-4000, "failed")]
)
def test_the_skew_of_the_clock_is_judged(seconds: float, state: str) -> None:
    from connector.doctor import _skew  # noqa: PLC0415 - pure, and nobody else's

    check = _skew("default", seconds)
    assert check.state == state
    if abs(seconds) > 1:
        assert ("ahead of" if seconds > 0 else "behind") in check.sentence
