"""What a burst has needed is given back to the system."""

import asyncio
from pathlib import Path

import orjson
import pytest

from connector.memory import LOOK_SECONDS
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from tests.guarantees.windows import scene
from tests.running import Connector

MISTAKES = orjson.dumps(
    {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": "x", "persistent_action": [1] * 450_000}
)


def _resident(process: Connector) -> int:
    """In MiB."""
    assert process.process is not None
    pages = Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096 // 2**20


@pytest.mark.parametrize("without", ["", "memory given back"])
async def test_half_a_million_mistakes_leave_a_process_as_it_was(
    kafka: str, prefix: str, tmp_path: Path, without: str
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await playing.start(playing.first, without=without)
        await playing.send("first")
        await playing.results(1)
        before = _resident(playing.first)
        for _ in range(4):
            await playing.producer.send_and_wait(f"{prefix}.commands.send-message", MISTAKES, key=b"odd")
        await playing.results(5)
        await asyncio.sleep(LOOK_SECONDS + 2)
        grown = _resident(playing.first) - before
    assert (grown > 30) is bool(without), grown
