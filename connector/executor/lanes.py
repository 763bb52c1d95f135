"""Lanes: the commands of one key in their order, different keys in parallel."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")

CANCEL_SECONDS = 2.0


class Leaving(Exception):
    """Raised where work would wait though its lanes are closing: the item stays unfinished for a successor."""


class Lanes(Generic[Item]):
    """One task for each key that has something to do; a lane that is empty is forgotten, whatever the number of keys.

    `work` is awaited for one item after the other of a lane. An item without a key has a lane of its own. `done` is
    told what is finished. The first exception that work raises is the result of `failure`.
    """

    def __init__(
        self,
        work: Callable[[Item], Awaitable[None]],
        *,
        name: str,
        done: Callable[[Item], None] = lambda _item: None,
    ) -> None:
        self._work = work
        self._done = done
        self._name = name
        self._queues: dict[Hashable, deque[Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Task[None] | None] = set()
        self._closing = False
        self.failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        """How many lanes there are now."""
        return len(self._queues)

    def put(self, key: Hashable | None, item: Item) -> None:
        """Add an item to the end of its lane."""
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
                self._done(queue.popleft())
        except Leaving:
            return
        except Exception as error:  # noqa: BLE001 - handed to the owner, which reopens
            self.fail(error)
            return
        self._queues.pop(lane, None)

    def fail(self, error: BaseException) -> None:
        """Tell the owner, which reopens; the first one counts."""
        if not self.failure.done():
            self.failure.set_result(error)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what a drain need not wait for: nothing is under way at Twilio, or it does no harm twice.

        Raises Leaving when the lanes are closing already.
        """
        if self._closing:
            raise Leaving
        task = asyncio.current_task()
        self._waiting.add(task)
        try:
            yield
        finally:
            self._waiting.discard(task)

    async def drain(self, seconds: float) -> bool:
        """Start nothing more, end what only waits, and let the rest finish. False when something had to be cancelled.

        What is finished within `seconds` is finished for good.
        """
        self._closing = True
        for task in self._waiting:
            if task is not None:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        return await self.cancel()

    async def cancel(self) -> bool:
        """End every lane at once; whether there was none."""
        self._closing = True
        late = set(self._tasks)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CANCEL_SECONDS)
        return not late
