"""Work that many callers ask for at once, and that is done once for all of them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """`work`, done one at a time: each caller gets what was begun after it asked, as do all others that wait meanwhile.

    So thousands of callers cost as much as one. `rest` is the pause in seconds between one piece of work and the next.
    Called only within the event loop.
    """

    def __init__(self, work: Callable[[], Awaitable[T]], *, rest: float = 0.0) -> None:
        self._work = work
        self._rest = rest
        self._rests_until = 0.0
        self._last: asyncio.Task[T] | None = None
        self._is_open = False

    async def __call__(self) -> T:
        """The result. Raises what the work raises."""
        if self._last is None or not self._is_open:
            self._is_open = True
            self._last = asyncio.create_task(self._after(self._last), name="shared work")
        # A caller that goes away takes it from no other.
        return await asyncio.shield(self._last)

    async def _after(self, former: "asyncio.Task[T] | None") -> T:
        if former is not None:
            await asyncio.wait({former})
        await asyncio.sleep(self._rests_until - time.monotonic())
        self._is_open = False
        try:
            return await self._work()
        finally:
            self._rests_until = time.monotonic() + self._rest
