"""Lanes: the commands of one key in their order, different keys in parallel."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Leaving(Exception):
    """Raised by work that is not to go on: its lane ends here, the item stays unfinished for a successor."""


class Lanes(Generic[Item]):
    """One task for each key that has something to do; a lane that is empty is forgotten, whatever the number of keys.

    `work` is awaited for one item after the other of a lane. An item without a key has a lane of its own.
    """

    def __init__(self, work: Callable[[Item], Awaitable[None]], *, name: str) -> None:
        self._work = work
        self._name = name
        self._queues: dict[Hashable, deque[Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self.held = 0
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def put(self, key: Hashable | None, item: Item) -> None:
        """Add an item to the end of its lane."""
        self.held += 1
        lane = object() if key is None else key
        queue = self._queues.get(lane)
        if queue is not None:
            queue.append(item)
            return
        self._queues[lane] = queue = deque((item,))
        task = asyncio.create_task(self._run(lane, queue), name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, lane: Hashable, queue: "deque[Item]") -> None:
        try:
            while queue and not self._closing:
                await self._work(queue[0])
                queue.popleft()
                self.held -= 1
        except Leaving:
            return
        except Exception as error:  # noqa: BLE001 - handed to the owner, which reopens
            if not self.failure.done():
                self.failure.set_result(error)
            return
        self._queues.pop(lane, None)

    async def drain(self, seconds: float) -> bool:
        """Start nothing more and wait for what is running. False when something had to be cancelled."""
        self._closing = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1)
            return not late
        return True

    def cancel(self) -> None:
        """End every lane at once."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
