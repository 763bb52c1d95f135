"""Which commands of a partition are finished: the contiguous prefix, and what lies finished above it. Pure."""

import base64
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connector.kafka.offset_set import OffsetSet

# Kafka's default offset.metadata.max.bytes, counted in characters.
METADATA_LIMIT = 4096
VERSION = "1"


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
        before or not: that commit says that nobody needs to read of it in the journal any more.
        """
        finished = finished or OffsetSet()
        committed = max(base, end)
        self._next = max(finished.end, committed)
        open_ones = {*(offset for offset in pending if offset not in finished), *finished.missing(committed)}
        self._pending: OrderedDict[int, None] = OrderedDict.fromkeys(sorted(open_ones))
        self._undelivered = deque(self._pending)

    @property
    def base(self) -> int:
        """Everything below it is finished: the offset to commit, and to read from."""
        return next(iter(self._pending), self._next)

    @property
    def end(self) -> int:
        """Behind the last one that is known."""
        return self._next

    @property
    def pending(self) -> int:
        """How many are known and not finished."""
        return len(self._pending)

    def deliver(self, offset: int) -> bool:
        """Note a delivered record; False when it is finished or was delivered before."""
        # What is passed over does not exist any more.
        while self._undelivered and self._undelivered[0] < offset:
            del self._pending[self._undelivered.popleft()]
        if self._undelivered and self._undelivered[0] == offset:
            self._undelivered.popleft()
            return True
        if offset < self._next:
            return False
        self._next = offset + 1
        self._pending[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """Note that a delivered command is finished: its result is durable."""
        self._pending.pop(offset, None)

    def metadata(self, *, low: int, digest: int | None) -> str | None:
        """What a successor must know, as text.

        None when it would be longer than Kafka allows: then nothing is committed until more is finished, and the commit
        before it stays, which is as true as it was.
        """
        text = encode(self.base, Commit(low=low, digest=digest, end=self._next, pending=tuple(self._pending)))
        return text if len(text) <= METADATA_LIMIT else None


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
    end, pending = _unpacked(base, zlib.decompress(base64.b64decode(packed))) if packed else (base, [])
    return Commit(low=int(low), digest=int(digest) if digest else None, end=end, pending=tuple(pending))


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
