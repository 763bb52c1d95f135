"""How many requests run at once: the limit grows slowly while Twilio answers and shrinks when it says 429.

Twilio limits the concurrency of an account and does not publish the number (usage/rest-api-best-practices).
"""

import asyncio
from collections import deque
from collections.abc import Callable

SHRINK = 0.7


class Concurrency:
    """An adaptive limit: one more per round trip without a refusal, 30 % less per round trip with one.

    `report` is called with the limit whenever it changes. First come, first served.
    """

    def __init__(self, maximum: int, *, report: Callable[[float], object] = lambda _limit: None) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._shrunk_at = float("-inf")
        self._report = report
        report(self.limit)

    async def acquire(self) -> None:
        """Wait for a place. Every `acquire` that returned needs one `release`."""
        if self.running < int(self.limit) and not self._waiting:
            self.running += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give the slot to the request that has waited longest."""
        self.running -= 1
        self._admit()

    def succeeded(self) -> None:
        """An answer that is no 429: grow by one per `limit` answers, which is about one round trip."""
        if self.limit < self.maximum:
            self._change(min(float(self.maximum), self.limit + 1 / self.limit))
            self._admit()

    def throttled(self, *, sent_at: float) -> None:
        """Answer 429 to a request sent at this loop time; what was sent before the last shrinking does not count."""
        if sent_at >= self._shrunk_at:
            self._shrunk_at = asyncio.get_running_loop().time()
            self._change(max(1.0, self.limit * SHRINK))

    def _change(self, limit: float) -> None:
        self.limit = limit
        self._report(limit)

    def _admit(self) -> None:
        while self._waiting and self.running < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)
