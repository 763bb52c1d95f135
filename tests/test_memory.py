"""What a burst has needed is given back to the system."""

import subprocess
import sys

import pytest

# A hundred megabytes come and go, and here and there a piece stays; or they hang in objects that refer to each other.
BURSTS = {
    "pieces": "pieces = [bytes(1000) for _ in range(100_000)]; pieces = pieces[::200]",
    "cycles": "for _ in range(100): cycle = [b'x' * 1_000_000]; cycle.append(cycle)",
}
BURST = """
import asyncio, gc, sys
from connector.process import memory

async def main():
    memory.LOOK_SECONDS = 0.2
    before = memory.resident_bytes()
    exec(sys.argv[3])
    giving = asyncio.create_task(memory.give_back()) if sys.argv[1] else None
    await asyncio.sleep(0)
    gc.set_threshold(20_000)
    exec(sys.argv[2])
    await asyncio.sleep(1)
    print((memory.resident_bytes() - before) // 2**20)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's memory is given back")
@pytest.mark.parametrize("given_back", [True, False])
@pytest.mark.parametrize("burst", BURSTS)
def test_what_a_burst_has_needed_is_given_back(burst: str, *, given_back: bool) -> None:
    assert (grown(burst=BURSTS[burst], given_back=given_back) < 30) is given_back


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc's memory is given back")
@pytest.mark.parametrize("given_back", [True, False])
def test_what_the_start_has_needed_is_given_back(*, given_back: bool) -> None:
    start = "pieces = [bytes(1000) for _ in range(12_000)]; pieces = pieces[::200]"
    assert (grown(start=start, given_back=given_back) < 6) is given_back


def grown(*, start: str = "", burst: str = "", given_back: bool) -> int:
    """By how many MiB a process has grown that did this before and after it began to give memory back."""
    command = [sys.executable, "-c", BURST, "yes" if given_back else "", burst, start]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603 - our own
    return int(done.stdout)
