"""When something is done that is to be done regularly."""

import asyncio
from contextlib import suppress

# Of a period: so soon after a turn the next one is not due yet, though a timer was early.
EARLY_SHARE = 0.05


def until_next(period: float) -> float:
    """Seconds to the next multiple of this period: what is due at the same moments costs one wake-up together."""
    left = period - asyncio.get_running_loop().time() % period
    return left if left > EARLY_SHARE * period else left + period


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Sleep, or wake as soon as the event is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
