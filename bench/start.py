"""Start: from the command to an admin port that says ready, with topics present; and how long help takes."""

import asyncio
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bench import machine, targets

ROUNDS = 5
READY_SECONDS, HELP_SECONDS = 2.0, 0.3


async def measure(servers: str, folder: Path) -> dict[str, list[float]]:
    """Seconds of each start: one process with every role, two workers, and `--help`."""
    found: dict[str, list[float]] = {"ready": [], "ready, 2 workers": [], "--help": []}
    run = os.urandom(3).hex()
    connector = targets.Connector.of(f"start-{run}", servers, folder, prefix=f"start-{run}")
    connector.document["watches"] = [{"resource": "messages", "interval": "1h"}]
    connector.connection(api_url="http://127.0.0.1:9", monitor_url="http://127.0.0.1:9")
    await connector.apply_topics()
    for _ in range(ROUNDS):
        for name, workers in (("ready", 1), ("ready, 2 workers", 2)):
            connector.workers = workers
            found[name].append(await _until_ready(connector))
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "connector", "--help", stdout=asyncio.subprocess.DEVNULL
        )
        await process.wait()
        found["--help"].append(time.monotonic() - began)
    return found


async def _until_ready(connector: targets.Connector) -> float:
    began = time.monotonic()
    program = connector.start()
    url = f"http://127.0.0.1:{connector.ports['admin']}/readyz"
    try:
        async with aiohttp.ClientSession() as session:
            while not await _is_ready(session, url):
                await asyncio.sleep(0.01)
        return time.monotonic() - began
    finally:
        program.stop()


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200  # noqa: PLR2004 - OK
    except aiohttp.ClientError:
        return False


def table(found: Mapping[str, Sequence[float]]) -> str:
    """The measurements as Markdown."""
    rows = [f"| {name} | {machine.spread(seconds, '.2f')} |" for name, seconds in found.items()]
    return "\n".join(["| | seconds |", "|---|---|", *rows])
