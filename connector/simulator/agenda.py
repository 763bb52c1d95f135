"""What is to happen later: one heap and one timer of the event loop for all life cycles."""

import asyncio
import heapq
import itertools
from collections.abc import Callable


class Agenda:
    """Actions with a due time on the loop's clock; equal times run in the order of their making."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self.idle = asyncio.Event()
        self.idle.set()

    def __len__(self) -> int:
        return len(self._heap)

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Run an action so many seconds from now, never before the caller returns."""
        due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._heap, (due, next(self._count), action))
        self.idle.clear()
        if self._heap[0][0] == due:
            self._arm()

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self.idle.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._heap[0][0], self._run_due) if self._heap else None

    def _run_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()
        if not self._heap:
            self.idle.set()
        self._arm()
