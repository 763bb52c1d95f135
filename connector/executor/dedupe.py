"""Repeats of a caller: an id that was seen within the dedupe window is not executed again.

The ids are known as running, finished lately, or in digests that the journal keeps.
"""

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from connector.errors import Unavailable
from connector.events import Position, now
from connector.executor import repeats
from connector.executor.command import Command
from connector.kafka import reading
from connector.settings import KafkaSettings
from connector.state import journal
from connector.state.journal import Digest, TopicOffset
from connector.telemetry.logs import logger

log = logger(__name__)

# So many finished ids make a digest: a record of about 360 KB.
DIGEST_IDS = 16_384
# Sixteen bytes each, for each partition; older ones are forgotten before their time.
MAX_IDS = 1_000_000
# A successor reads at most about so many entries beside the digests.
DIGEST_ENTRIES = 100_000
RETRY_SECONDS = 0.5
# Clocks of processes may be apart by this, before they know of each other's error.
MARGIN = timedelta(hours=1)
LATEST = 20_000

Waiting = Callable[[], AbstractContextManager[None]]
Keep = Callable[[journal.Digest], Awaitable[None]]


def number_of(topic: str, command_id: str) -> int:
    """Eight bytes that stand for a command's id; who finds one compares the id itself in the journal."""
    return int.from_bytes(hashlib.blake2b(f"{topic}/{command_id}".encode(), digest_size=8).digest(), "little")


@dataclass
class Running:
    """The first command of its id, while it is running."""

    topic_offset: TopicOffset
    finished: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class _Sealed:
    """The ids of a digest, sorted, and the journal offsets of their ends."""

    numbers: "array[int]"
    offsets: "array[int]"
    until: datetime

    def find(self, number: int) -> int | None:
        position = bisect_left(self.numbers, number)
        found = position < len(self.numbers) and self.numbers[position] == number
        return self.offsets[position] if found else None


def _sealed(digest: Digest) -> _Sealed:
    ordered = sorted(digest.pairs)
    return _Sealed(array("Q", [number for number, _ in ordered]), array("Q", [end for _, end in ordered]), digest.until)


class Ids:
    """The ids of one partition. `forgotten` tells whether more came within the window than are kept."""

    def __init__(self) -> None:
        self.forgotten = False
        self._running: dict[int, Running] = {}
        self._fresh: dict[int, int] = {}
        self._until: datetime | None = None
        self._digests: deque[_Sealed] = deque()
        self._kept = 0

    def __len__(self) -> int:
        """How many finished ids are known."""
        return self._kept + len(self._fresh)

    def begin(self, number: int, topic_offset: TopicOffset) -> None:
        """This command is the first of its id."""
        self._running[number] = Running(topic_offset)

    def running(self, number: int) -> Running | None:
        """The command of this id that is running."""
        return self._running.get(number)

    def end_of(self, number: int) -> int | None:
        """The journal offset where a command of this id ended; it may be older than the window."""
        found = self._fresh.get(number)
        if found is not None:
            return found
        return next((end for digest in self._digests if (end := digest.find(number)) is not None), None)

    def end(self, number: int, topic_offset: TopicOffset) -> None:
        """This command is not running any more."""
        running = self._running.get(number)
        if running is not None and running.topic_offset == topic_offset:
            del self._running[number]
            running.finished.set()

    def note(self, number: int, journal_offset: int, at: datetime) -> None:
        """A command of this id has ended, durably, at this place of the journal."""
        self._fresh[number] = journal_offset
        self._until = max(self._until, at) if self._until is not None else at

    def digest(self, *, through: int, previous: int | None, least: int = DIGEST_IDS) -> Digest | None:
        """A digest of what was finished since the last one, None while that is not `least` yet.

        Everything that ended before `through` must have been noted. `keep` it when it is durable.
        """
        if len(self._fresh) < least:
            return None
        return Digest(through=through, previous=previous, until=self._until or now(), pairs=list(self._fresh.items()))

    def keep(self, digest: Digest) -> None:
        """This digest is durable: what it holds need not be held one by one."""
        for number, end in digest.pairs:
            if self._fresh.get(number) == end:
                del self._fresh[number]
        self._digests.appendleft(_sealed(digest))
        self._kept += len(digest.pairs)
        while self._kept > MAX_IDS:
            self.forgotten = True
            self._drop()

    def load(self, digest: Digest) -> bool:
        """Take in a digest that is older than those before; False when there is no room for more."""
        self._digests.append(_sealed(digest))
        self._kept += len(digest.pairs)
        self.forgotten |= self._kept > MAX_IDS
        return self._kept < MAX_IDS

    def forget(self, before: datetime) -> None:
        """Drop the digests that hold nothing younger."""
        while self._digests and self._digests[-1].until < before:
            self._drop()

    def _drop(self) -> None:
        self._kept -= len(self._digests.pop().numbers)


class Dedupe:
    """The ids of one partition. `digest_at` is the journal offset of the newest digest."""

    def __init__(
        self,
        kafka: KafkaSettings,
        partition: int,
        *,
        window: timedelta,
        digest_at: int | None,
        present: Callable[[], datetime] = now,
        lost: Sequence[str] = (),
        is_forgotten: bool = False,
    ) -> None:
        """`lost` names the commands of which the journal may have lost ids: their results tell them as well.

        `is_forgotten`: of some commands nothing else may be left than their results, however old these are.
        """
        self.digest_at = digest_at
        self._present = present
        self._lost = lost
        self._is_forgotten = is_forgotten
        self._told: dict[tuple[str, str], journal.Entry] = {}
        self._answered: dict[Position, journal.Entry] = {}
        self._kafka = kafka
        self._partition = partition
        self._window = window
        self._ids = Ids()
        self._through = 0
        self._loaded = asyncio.Event()

    async def load(self, *, end: int, keep: Keep) -> None:
        """Read the ids of the window from the journal up to `end`. Raises Unavailable.

        `keep` makes a digest durable and calls `written`: where there are none, an hour of ids would fill the memory.
        """
        since = self._present() - self._window
        start = await self._load_digests(since)
        if start is None:
            # Entries bear their writers' own times; the last ones are read whatever these say.
            dated = await journal.offset_of(self._kafka, self._partition, since - MARGIN)
            latest = max(0, end - LATEST)
            start = latest if dated is None else min(dated, latest)
        async for entry, offset in journal.entries(self._kafka, self._partition, start=start, end=end):
            if entry.names_id:
                self._ids.note(number_of(entry.command_topic, entry.id), offset, entry.latest)
                digest = self._ids.digest(through=offset + 1, previous=self.digest_at)
                if digest is not None:
                    await keep(digest)
                    start = offset + 1
        self._through = start
        if self._is_forgotten or (self._lost and not await self._reaches_back(since, end)):
            await self._ask_results(since - MARGIN)
        self._loaded.set()

    async def _reaches_back(self, since: datetime, end: int) -> bool:
        """Whether the journal holds an entry of before the window, so that it holds all of the window."""
        topic = journal.topic_of(self._kafka)
        first, _ = (await reading.bounds(self._kafka, [topic], self._partition))[topic]
        dated = await journal.offset_of(self._kafka, self._partition, since)
        return (end if dated is None else dated) > first

    async def _ask_results(self, since: datetime) -> None:
        begin = None if self._is_forgotten else since
        async with aclosing(repeats.answered(self._kafka, self._lost, self._partition, begin)) as found:
            async for origin, entry in found:
                if self._is_forgotten:
                    self._answered[origin] = entry
                if entry.names_id and entry.at >= since:
                    self._told[entry.topic, entry.id] = entry

    async def _load_digests(self, since: datetime) -> int | None:
        """Read the digests of the window; where the entries begin that are in none of them."""
        start: int | None = None
        async with aclosing(self._digests()) as digests:
            async for digest in digests:
                start = digest.through if start is None else start
                if digest.until < since or not self._ids.load(digest):
                    break
        return start

    async def _digests(self) -> AsyncGenerator[journal.Digest, None]:
        if self.digest_at is not None:
            async for digest in journal.digests(self._kafka, self._partition, newest=self.digest_at):
                yield digest

    def resume(self, attempts: Iterable[journal.Entry]) -> None:
        """Commands that a predecessor has begun: no other command of their ids may go first."""
        for entry in attempts:
            if entry.explicit:
                self._ids.begin(number_of(entry.command_topic, entry.id), entry.topic_offset)

    async def answer_of(self, command: Command, waiting: Waiting) -> journal.Entry | None:
        """How this very command ended, if its result is all that is left of it."""
        if not self._loaded.is_set():
            with waiting():
                await self._loaded.wait()
        entry = self._answered.get(command.origin)
        return entry if entry is not None and repeats.is_answer_to(entry, command) else None

    async def first(self, command: Command, waiting: Waiting, *, begin: bool = True) -> journal.Entry | None:
        """How an earlier command of the same id ended; None for the first of its id, which is running from then on.

        One that is still running is waited for. `begin` is False for a command that will not be executed here.
        """
        if not command.explicit:
            return None
        if not self._loaded.is_set():
            with waiting():
                await self._loaded.wait()
        number = number_of(command.origin.topic, command.id)
        others: set[int] = set()
        while True:
            running = self._ids.running(number)
            if running is not None and running.topic_offset != command.topic_offset:
                with waiting():
                    await running.finished.wait()
                continue
            end = self._ids.end_of(number)
            if end is None or end in others:
                told = self._told.get((command.origin.topic, command.id))
                if told is not None and self._is_first(told, command):
                    return told
                if begin:
                    self._ids.begin(number, command.topic_offset)
                return None
            entry = await self._entry(end, waiting)
            if entry is not None and self._is_first(entry, command):
                return entry
            # Too old, or another id of the same number. Meanwhile another command may have begun.
            others.add(end)

    async def _entry(self, end: int, waiting: Waiting) -> journal.Entry | None:
        while True:
            with waiting():
                try:
                    return await journal.entry_at(self._kafka, self._partition, end)
                except Unavailable as error:
                    log.info("dedupe waits", partition=self._partition, reason=f"{error!r:.120}")
                await asyncio.sleep(RETRY_SECONDS)

    def _is_first(self, entry: journal.Entry, command: Command) -> bool:
        same = (entry.command_topic, entry.id) == (command.origin.topic, command.id)
        return same and entry.topic_offset != command.topic_offset and self._present() - entry.latest <= self._window

    def finished(self, command: Command, journal_offset: int, latest: datetime | None) -> None:
        """A command has ended, durably, at `latest` at the latest. None: it was never sent, and its id is free."""
        number = number_of(command.origin.topic, command.id)
        if latest is not None:
            self._ids.note(number, journal_offset, latest)
        self._ids.end(number, command.topic_offset)

    def due(self, end: int) -> journal.Digest | None:
        """The digest that is to be written now; everything before `end` has been noted."""
        if not self._loaded.is_set():
            return None
        self._ids.forget(self._present() - self._window)
        if self._ids.forgotten:
            self._ids.forgotten = False
            log.warning("dedupe window shortened", partition=self._partition, ids_kept=MAX_IDS)
        least = 0 if end - self._through >= DIGEST_ENTRIES else DIGEST_IDS
        return self._ids.digest(through=end, previous=self.digest_at, least=least)

    def written(self, digest: journal.Digest, journal_offset: int) -> None:
        """This digest is durable."""
        self._ids.keep(digest)
        self.digest_at = journal_offset
        self._through = digest.through
