"""Which commands of a partition are finished: the contiguous prefix, and what lies finished above it.

Pure, but for the `Committer`, which tells it to the group, soon after a change.
"""

import asyncio
import base64
import math
import time
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from connector.errors import Unavailable
from connector.kafka.ownership import Assignment
from connector.process.rhythm import until_next
from connector.state.checkpoints import Commits
from connector.state.journal import OffsetSet

# Kafka's default offset.metadata.max.bytes, counted in characters.
METADATA_LIMIT = 4096
COMMIT_SECONDS = 0.2
# Afterwards there is nothing left to do that a change has caused.
AWAKE_SECONDS = 3.0
CONFIRM_SECONDS = 2.0
VERSION = "1"
# Of what a commit tells. There are more only where commands had a transaction each, until they are passed over.
MOST_HOLES = 20_000
# What a text may unpack to: far beyond what owners write.
LARGEST_TEXT = 1024 * 1024
MOST_PENDING = 1_000_000


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit says beside its offset.

    A successor reads the journal from `low`; the newest digest of ids stands at `digest` (None: there is none); above
    the committed offset everything below `end` is finished but `pending`.
    """

    low: int
    digest: int | None
    end: int
    pending: Sequence[int] = ()


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


def encode(base: int, commit: Commit) -> str:
    """`1:<low>:<digest>:<lengths>`: how many are pending, finished, pending … from the base on; base64 of deflate."""
    lengths = b"".join(_varint(length) for length in _runs(base, commit.end, commit.pending))
    packed = base64.b64encode(zlib.compress(lengths, 9)).decode() if lengths else ""
    return f"{VERSION}:{commit.low}:{'' if commit.digest is None else commit.digest}:{packed}"


def decode(base: int, text: str) -> Commit | None:
    """What a commit says; None for metadata that is not ours."""
    version, _, rest = text.partition(":")
    if version != VERSION or rest.count(":") != 2:  # noqa: PLR2004 - three members
        return None
    low, digest, packed = rest.split(":")
    try:
        lengths = zlib.decompressobj().decompress(base64.b64decode(packed), LARGEST_TEXT) if packed else b""
        end, pending = _unpacked(base, lengths)
        return Commit(low=int(low), digest=int(digest) if digest else None, end=end, pending=tuple(pending))
    except (ValueError, zlib.error):
        return None


def _runs(base: int, end: int, pending: Sequence[int]) -> list[int]:
    """Lengths of the runs of pending, finished, pending … offsets from `base` to `end`; the first may be 0."""
    lengths: list[int] = []
    position = base
    for first, last in _intervals(pending):
        lengths += [first - position] if lengths else [0, first - position] if first > position else []
        lengths.append(last - first)
        position = last
    if end > position:
        lengths += [end - position] if lengths else [0, end - position]
    return lengths


def _intervals(offsets: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found


def _unpacked(base: int, lengths: bytes) -> tuple[int, list[int]]:
    """Where the runs end, and which offsets are pending."""
    pending: list[int] = []
    position = base
    is_pending = True
    for length in _varints(lengths):
        if is_pending and len(pending) + length > MOST_PENDING:
            raise ValueError("More is pending than any owner holds.")
        if is_pending:
            pending += range(position, position + length)
        position += length
        is_pending = not is_pending
    return position, pending


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:  # noqa: PLR2004 - seven bits
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varints(data: bytes) -> list[int]:
    found: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:  # noqa: PLR2004 - the last of its number
            found.append(number)
            number = shift = 0
    return found


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
