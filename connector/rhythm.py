"""When something is done that is to be done regularly: soon after a change, seldom while nothing happens."""

import asyncio
import math
from contextlib import suppress

# Afterwards there is nothing left to do that a change has caused.
AWAKE_SECONDS = 3.0
# Of a period: so soon after a turn the next one is not due yet, though a timer was early.
EARLY_SHARE = 0.05


def until_next(period: float) -> float:
    """Seconds to the next multiple of this period: what is due at the same moments costs one wake-up together."""
    left = period - asyncio.get_running_loop().time() % period
    return left if left > EARLY_SHARE * period else left + period


class Rhythm:
    """Turns of `seconds` for as long as something happens."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._awake_until = 0.0
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Something has happened."""
        self._awake_until = asyncio.get_running_loop().time() + AWAKE_SECONDS
        self._changed.set()

    async def turn(self, *, quiet: float, within: float = math.inf) -> bool:
        """Return when it is time: `seconds` after the last turn or the first change, True; else False.

        While nothing happens that is at the multiples of `quiet` seconds, for all that wait at the same moment: one
        wake-up, and one request, serves all of them. `within`: so many seconds from now at the latest.
        """
        clock = asyncio.get_running_loop().time
        if clock() >= self._awake_until:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(until_next(quiet), within)):
                    await self._changed.wait()
            if not self._changed.is_set():
                return False
        await asyncio.sleep(self._seconds)
        return True


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake as soon as the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
