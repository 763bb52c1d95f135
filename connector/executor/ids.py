"""Which ids of the callers were seen: running, finished lately, and in digests that the journal keeps. Pure."""

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from connector.events import now
from connector.kafka.journal import Digest, TopicOffset

# So many finished ids make a digest: a record of about 360 KB.
DIGEST_IDS = 16_384
# Sixteen bytes each, for each partition; older ones are forgotten before their time.
MAX_IDS = 1_000_000


def number_of(topic: str, command_id: str) -> int:
    """Eight bytes that stand for a command's id; who finds one compares the id itself in the journal."""
    return int.from_bytes(hashlib.blake2b(f"{topic}/{command_id}".encode(), digest_size=8).digest(), "little")


def partition_of_id(command_id: str, partitions: int) -> int:
    """The partition where commands without a key and with this id meet, so that a repeat is recognised."""
    return int.from_bytes(hashlib.blake2b(command_id.encode(), digest_size=8).digest(), "big") % partitions


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
