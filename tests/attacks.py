"""Attacks on a port (half-open connections, unfinished bodies, wrong tokens), and what they cost the processes there.

`python -m tests.attacks URL PID…` runs each for a minute; meanwhile `/livez` is asked, afterwards memory is compared.
Each attack is a process of its own, so that an honest caller does not wait for the attacker's loop.
"""

import asyncio
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-"
BODY = (
    b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: 1000\r\n\r\ntoken="
)
AT_ONCE = 200
AGAIN_SECONDS = 0.2
MEGABYTE = 1024

Statuses = Counter[int]
Attack = Callable[[str, int, float], Coroutine[Any, Any, Statuses]]


@dataclass(frozen=True)
class Target:
    """A port and the processes behind it."""

    url: str
    processes: Sequence[int]

    @property
    def memory(self) -> int:
        """What the processes hold, in megabytes."""
        return sum(_resident(process) for process in self.processes) // MEGABYTE

    async def alive(self) -> int:
        """The status of /livez, on a connection of its own."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{self.url}/livez") as answer:
            return answer.status

    async def under(self, name: str, *, number: int = 0, seconds: float = 60.0) -> tuple[Statuses, Statuses]:
        """Attack; statuses of the attack's own answers, and those of /livez meanwhile."""
        options = [name, self.url, str(number or ATTACKS[name][1]), str(seconds)]
        attacking = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.attacks", *options, stdout=asyncio.subprocess.PIPE
        )
        told = asyncio.ensure_future(attacking.communicate())
        statuses = Statuses()
        try:
            while not told.done():
                statuses[await self.alive()] += 1
                await asyncio.wait({told}, timeout=0.2)
            printed, _ = await told
        finally:
            with suppress(ProcessLookupError):
                attacking.kill()
        return Statuses({int(status): count for status, count in json.loads(printed).items()}), statuses


def _resident(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def raise_limit_of_files() -> None:
    """Let this process hold thousands of connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def half_open(url: str, number: int, seconds: float) -> Statuses:
    """Hold so many connections, each with a part of a head; open those again that are closed."""
    return await _hold(url, number, seconds, HEAD)


async def unfinished_bodies(url: str, number: int, seconds: float) -> Statuses:
    """Hold so many connections, each with a whole head and a part of its body."""
    return await _hold(url, number, seconds, BODY)


async def _hold(url: str, number: int, seconds: float, sent: bytes) -> Statuses:
    host, port = urlsplit(url).hostname, urlsplit(url).port
    ends, statuses = time.monotonic() + seconds, Statuses()

    async def hold() -> None:
        while (left := ends - time.monotonic()) > 0:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(left):
                    reader, writer = await asyncio.open_connection(host, port)
                    writer.write(sent)
                    try:
                        statuses[int((await reader.read())[9:12] or 0)] += 1
                    finally:
                        writer.transport.abort()
            await asyncio.sleep(AGAIN_SECONDS)

    await asyncio.gather(*(hold() for _ in range(number)))
    return statuses


async def wrong_tokens(url: str, number: int, seconds: float) -> Statuses:
    """Try so many wrong tokens, hundreds at once."""
    del seconds
    numbers, statuses = count(), Statuses()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def guess() -> None:
            while (guessed := next(numbers)) < number:
                headers = {"Authorization": f"Bearer guess-{guessed:08}"}
                with suppress(aiohttp.ClientError):
                    async with session.get(f"{url}/api/overview", headers=headers) as answer:
                        statuses[answer.status] += 1

        await asyncio.gather(*(guess() for _ in range(AT_ONCE)))
    return statuses


ATTACKS: dict[str, tuple[Attack, int]] = {
    "half-open": (half_open, 2_000),
    "unfinished-bodies": (unfinished_bodies, 2_000),
    "wrong-tokens": (wrong_tokens, 20_000),
}


async def _measure(target: Target) -> None:
    for name in ATTACKS:
        before, began = target.memory, time.monotonic()
        told, alive = await target.under(name)
        grown = f"{before} -> {target.memory} MB"
        print(f"{name}: {time.monotonic() - began:.0f} s, /livez {dict(alive)}, {grown}, answers {dict(told)}")  # noqa: T201


if __name__ == "__main__":
    raise_limit_of_files()
    if sys.argv[1] in ATTACKS:
        name, url, number, seconds = sys.argv[1:]
        print(json.dumps(asyncio.run(ATTACKS[name][0](url, int(number), float(seconds)))))  # noqa: T201 - to its parent
    else:
        asyncio.run(_measure(Target(sys.argv[1], [int(process) for process in sys.argv[2:]])))
