"""The commands that an owner has under way: each key's in their order, and which are finished, told to the group.

`Progress` holds the contiguous prefix of what is finished, and what lies finished above it; the `Committer` commits
that soon after a change.
"""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Generic, TypeVar

from connector.errors import Unavailable
from connector.executor.offsets import Commit, encode
from connector.kafka.ownership import Assignment
from connector.process.rhythm import until_next
from connector.state.checkpoints import Commits
from connector.state.journal import OffsetSet

Item = TypeVar("Item")

CANCEL_SECONDS = 2.0
# Kafka's default offset.metadata.max.bytes, counted in characters.
METADATA_LIMIT = 4096
COMMIT_SECONDS = 0.2
# Afterwards there is nothing left to do that a change has caused.
AWAKE_SECONDS = 3.0
CONFIRM_SECONDS = 2.0
# Of what a commit tells. There are more only where commands had a transaction each, until they are passed over.
MOST_HOLES = 20_000


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


class Progress:
    """One topic's partition. Offsets come in rising order; gaps (markers, deleted records) count as finished."""

    def __init__(
        self, base: int, *, end: int = 0, pending: Iterable[int] = (), finished: OffsetSet | None = None
    ) -> None:
        """`end` and `pending` are the last commit's: between `base` and `end` only `pending` is not finished.

        `finished` is what the journal knows beyond that. It belongs into the next commit, whether it is delivered again
        before or not: that commit says that no owner needs to read of it in the journal any more.
        """
        self._finished = finished or OffsetSet()
        self._committed = max(base, end)
        self._known = max(self._finished.end, self._committed)
        left = sorted(offset for offset in {*pending} if offset >= base and offset not in self._finished)
        self._pending: OrderedDict[int, None] = OrderedDict.fromkeys(left)
        self._undelivered = deque(left)
        self._position = base

    @property
    def base(self) -> int:
        """Everything below it is finished: the offset to commit, and to read from."""
        first = next(iter(self._pending), self.end)
        return min(first, next(self._holes(), first))

    @property
    def end(self) -> int:
        """Behind the last one that is known."""
        return max(self._position, self._known)

    @property
    def position(self) -> int:
        """Behind the last one that was delivered."""
        return self._position

    @property
    def pending(self) -> int:
        """How many are delivered, or known from a commit, and not finished."""
        return len(self._pending)

    def deliver(self, offset: int) -> bool:
        """Note a delivered record; False when it is finished or was delivered before."""
        if offset < self._position:
            return False
        # What is passed over does not exist any more.
        while self._undelivered and self._undelivered[0] < offset:
            self._pending.pop(self._undelivered.popleft(), None)
        self._position = offset + 1
        if offset < self._committed:
            is_open = bool(self._undelivered) and self._undelivered[0] == offset
            if is_open:
                self._undelivered.popleft()
            return is_open
        if offset < self._finished.end and offset in self._finished:
            return False
        self._pending[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """Note that a delivered command is finished: its result is durable."""
        self._pending.pop(offset, None)

    def metadata(self, *, low: int, digest: int | None, limit: int = METADATA_LIMIT) -> str | None:
        """What a successor must know, as text; None when it would be longer than `limit`.

        Then the commit before it stays, which is as true as it was: the journal from its mark on tells the rest.
        """
        holes = list(islice(self._holes(), MOST_HOLES + 1))
        if len(holes) > MOST_HOLES:
            return None
        # Offsets that were delivered lie below the holes, and those of the last commit as well.
        pending = (*self._pending, *holes)
        text = encode(self.base, Commit(low=low, digest=digest, end=self.end, pending=pending))
        return text if len(text) <= limit else None

    def _holes(self) -> Iterator[int]:
        """What the journal does not name as finished, in what was not delivered yet: such a record may exist or not."""
        return self._finished.missing(max(self._position, self._committed))


def known(
    progress: Mapping[str, Progress], former: Commits, *, low: int, digest: int | None, limit: int
) -> dict[str, tuple[int, str]]:
    """For each topic what is finished: its base, and the text that says the rest.

    Of a topic with more holes than the text may tell, the former one stays: it is as true as it was, with the
    journal's low-water mark of that time.
    """
    found = dict(former)
    for topic, one in progress.items():
        text = one.metadata(low=low, digest=digest, limit=limit)
        if text is not None:
            found[topic] = one.base, text
    return found


class Rhythm:
    """When an owner commits and keeps: turns of `seconds` while something happens, seldom while nothing does."""

    def __init__(self, seconds: float) -> None:
        self.changes = 0
        self._seconds = seconds
        self._awake_until = 0.0
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Something has happened."""
        self.changes += 1
        self._awake_until = asyncio.get_running_loop().time() + AWAKE_SECONDS
        self._changed.set()

    async def turn(self, *, quiet: float, within: float = math.inf) -> None:
        """Return when it is time: `seconds` after the last turn or the first change.

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
                return
        await asyncio.sleep(self._seconds)


class Committer:
    """Commits what is finished a few times a second while something happens, else proves the membership.

    `finished` tells it, as offset and text of each topic; nothing while no commit may be made.
    """

    def __init__(self, assignment: Assignment, rhythm: Rhythm, finished: Callable[[], Commits]) -> None:
        self._assignment = assignment
        self._rhythm = rhythm
        self._finished = finished
        self._committed: Commits | None = None
        self._committed_at = 0.0
        # Of the rhythm, when what is finished was last looked at.
        self._changes = -1

    async def run(self) -> None:
        """Commit until cancelled. Raises Unavailable when the group does not accept it any more."""
        while True:
            left = max(COMMIT_SECONDS, self._committed_at + CONFIRM_SECONDS - time.monotonic())
            await self._rhythm.turn(quiet=CONFIRM_SECONDS, within=left)
            await self.commit()

    async def commit(self) -> None:
        """Commit what is finished now; where the group knows it, confirm that in time. Raises Unavailable."""
        if self._committed is None or self._changes != self._rhythm.changes:
            self._changes = self._rhythm.changes
            if (values := self._finished()) and values != self._committed:
                self._note_answer(values, accepted=await self._assignment.commit(values))
                return
        if self._committed and time.monotonic() - self._committed_at >= CONFIRM_SECONDS - COMMIT_SECONDS:
            self._note_answer(self._committed, accepted=await self._assignment.confirm())

    def _note_answer(self, values: Commits, *, accepted: bool) -> None:
        self._committed = values if accepted else None
        if accepted:
            self._committed_at = time.monotonic()
            return
        # Soon again, also while nothing happens.
        self._rhythm.changed()
        if not self._assignment.held and not self._assignment.leaving.is_set():
            raise Unavailable("The group does not accept this owner's commits.")
