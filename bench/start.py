"""Start: from the command to an admin port that says ready, with topics present; how long help and a scrape take."""

import asyncio
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp

from bench import machine, targets

ROUNDS = 5
SCRAPES = 10


async def measure(servers: str, folder: Path) -> dict[str, list[float]]:
    """Seconds of each start: one process with every role, two workers, and `--help`; and of a scrape of each."""
    found: dict[str, list[float]] = defaultdict(list)
    run = os.urandom(3).hex()
    connector = targets.Connector.of(f"start-{run}", servers, folder, prefix=f"start-{run}")
    connector.document["watches"] = [{"resource": "messages", "interval": "1h"}]
    connector.connection(api_url="http://127.0.0.1:9", monitor_url="http://127.0.0.1:9")
    await connector.apply_topics()
    for _ in range(ROUNDS):
        for name, workers in (("ready", 1), ("ready, 2 workers", 2)):
            connector.workers = workers
            seconds, scrapes = await _until_ready(connector)
            found[name].append(seconds)
            found[name.replace("ready", "a scrape")] += scrapes
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "connector", "--help", stdout=asyncio.subprocess.DEVNULL, env=machine.compiled()
        )
        await process.wait()
        found["--help"].append(time.monotonic() - began)
    return found


async def _until_ready(connector: targets.Connector) -> tuple[float, list[float]]:
    began = time.monotonic()
    program = connector.start()
    admin = f"http://127.0.0.1:{connector.ports['admin']}"
    try:
        async with aiohttp.ClientSession() as session:
            while not await _is_ready(session, f"{admin}/readyz"):
                await asyncio.sleep(0.01)
            seconds = time.monotonic() - began
            return seconds, [await _scrape(session, f"{admin}/metrics") for _ in range(SCRAPES)]
    finally:
        program.stop()


async def _scrape(session: aiohttp.ClientSession, url: str) -> float:
    began = time.monotonic()
    async with session.get(url) as answer:
        await answer.read()
    return time.monotonic() - began


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200  # noqa: PLR2004 - OK
    except aiohttp.ClientError:
        return False


def table(found: Mapping[str, Sequence[float]]) -> str:
    """The measurements as Markdown."""
    rows = [f"| {name} | {machine.spread(seconds, '.4f')} |" for name, seconds in found.items()]
    return "\n".join(["| | seconds |", "|---|---|", *rows])
