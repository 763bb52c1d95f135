"""Which commands of a partition are finished: the contiguous prefix, and a bitmap of those above it. Pure."""

import base64
from collections import OrderedDict

# Kafka's default offset.metadata.max.bytes, counted in characters.
METADATA_LIMIT = 4096
# As far as finished commands may lie above the slowest one: their bitmap fits the metadata.
MAX_SPAN = 20_000
VERSION = "1"


class Progress:
    """One topic's partition. Offsets come in rising order; gaps (markers, deleted records) count as finished."""

    def __init__(self, base: int, finished: frozenset[int] = frozenset()) -> None:
        self._next = base
        self._pending: OrderedDict[int, None] = OrderedDict()
        self._finished = set(finished)

    @property
    def base(self) -> int:
        """Everything below it is finished: the offset to commit."""
        if self._pending:
            return next(iter(self._pending))
        return self._next

    @property
    def pending(self) -> int:
        """How many are delivered and not finished."""
        return len(self._pending)

    @property
    def span(self) -> int:
        """From the slowest command to the newest."""
        return self._next - self.base

    def deliver(self, offset: int) -> bool:
        """Note a delivered record; False when it is finished or was delivered before."""
        if offset < self._next:
            return False
        self._next = offset + 1
        if offset in self._finished:
            return False
        self._pending[offset] = None
        return True

    def finish(self, offset: int) -> None:
        """Note that a command is finished: its result is durable."""
        if offset in self._pending:
            del self._pending[offset]
            self._finished.add(offset)

    def metadata(self, journal_low: int) -> str | None:
        """What a successor must know: where to read the journal from, and what is finished above the base.

        None when it would be longer than Kafka allows: then nothing is committed until the slowest command is finished.
        """
        base = self.base
        self._finished = {offset for offset in self._finished if offset >= base}
        text = f"{VERSION}:{journal_low}:{encode_bitmap(base, self._finished)}"
        return text if len(text) <= METADATA_LIMIT else None


def encode_bitmap(base: int, finished: set[int] | frozenset[int]) -> str:
    """Bit n tells whether base + n is finished; base64."""
    if not finished:
        return ""
    bits = bytearray((max(finished) - base) // 8 + 1)
    for offset in finished:
        bits[(offset - base) // 8] |= 1 << ((offset - base) % 8)
    return base64.b64encode(bits).decode()


def decode_metadata(base: int, text: str) -> tuple[int | None, frozenset[int]]:
    """Journal offset and finished offsets of a commit; (None, nothing) for metadata that is not ours."""
    version, _, rest = text.partition(":")
    low, _, bitmap = rest.partition(":")
    if version != VERSION or not low.isdigit():
        return None, frozenset()
    bits = base64.b64decode(bitmap)
    found = (base + 8 * index + bit for index, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1)
    return int(low), frozenset(found)
