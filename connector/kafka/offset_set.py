"""A set of offsets that takes a bit for each: what is finished of a topic with millions of commands."""

from collections.abc import Iterator

CHUNK = 1024
FULL = (1 << CHUNK) - 1


class OffsetSet:
    """Offsets in any order; those that lie together are cheap."""

    def __init__(self) -> None:
        self.end = 0
        self._chunks: dict[int, int] = {}

    def add(self, offset: int) -> None:
        """Take an offset in; once more is no harm."""
        chunk, bit = divmod(offset, CHUNK)
        self._chunks[chunk] = self._chunks.get(chunk, 0) | 1 << bit
        self.end = max(self.end, offset + 1)

    def __contains__(self, offset: object) -> bool:
        if not isinstance(offset, int) or offset < 0:
            return False
        chunk, bit = divmod(offset, CHUNK)
        return bool(self._chunks.get(chunk, 0) >> bit & 1)

    def missing(self, start: int) -> Iterator[int]:
        """The offsets from `start` below `end` that are not in it, in their order."""
        for chunk in range(start // CHUNK, -(-self.end // CHUNK)):
            if self._chunks.get(chunk) != FULL:
                span = range(max(start, chunk * CHUNK), min(self.end, (chunk + 1) * CHUNK))
                yield from (offset for offset in span if offset not in self)
