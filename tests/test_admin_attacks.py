"""Whoever reaches the admin port can neither fill the memory nor the log, nor keep the probes off."""

import json
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from connector.simulator import Simulator
from tests.attacks import ATTACKS, Target
from tests.running import Connector, configuration

TOKEN = "a-token-of-the-console"
MOST_GROWTH = 30
WRONG_TOKENS = 2_000
SAMPLE_SECONDS = 10


def lines(log: str) -> Counter[tuple[str, str]]:
    """How often each refusal was logged."""
    found = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return Counter((line["event"], str(line.get("reason"))) for line in found)


@pytest.mark.parametrize("workers", [1, 2])
async def test_attacks_on_the_admin_port_cost_neither_memory_nor_log_nor_the_probes(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, workers: int
) -> None:
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix, admin={"token": TOKEN}), tmp_path)
    await process.apply_topics()
    await process.start(options=["--workers", str(workers)])
    try:
        assert process.process is not None
        target = Target(process.admin, [process.process.pid, *process.workers])
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            async with session.post(f"{process.admin}/login", data={"token": TOKEN}) as answer:
                assert answer.status == 200
            began, before = time.monotonic(), target.memory
            for name in ATTACKS:
                number = WRONG_TOKENS if name == "wrong-tokens" else 0
                told, alive = await target.under(name, number=number, seconds=2)
                assert set(alive) == {200}
                # The operator who is signed in works on.
                async with session.get(f"{process.admin}/api/overview") as answer:
                    assert answer.status == 200
            seconds, after = time.monotonic() - began, target.memory
        assert after - before < MOST_GROWTH * workers
        assert told[429] > WRONG_TOKENS * 0.9
        assert 200 not in told
        most = seconds // SAMPLE_SECONDS + 1
        logged = {line: count for line, count in lines(process.log).items() if line[0].startswith("admin")}
        assert logged
        assert max(logged.values()) <= most, logged
        assert "Traceback" not in process.log
    finally:
        await process.kill()
