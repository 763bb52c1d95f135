"""Header names that are not UTF-8, which any producer may write, and batches that a search passes over.

The client raises on such a record at every read, so that one record stops every topic of its reader. Here the batch is
read once more, with escapes in place of the odd bytes.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.errors import CorruptRecordException
from aiokafka.structs import ConsumerRecord

from connector.kafka import aiokafka_internals, sought

LENGTH = struct.Struct(">i")
LENGTH_OFFSET = struct.calcsize(">q")
LOG_OVERHEAD = LENGTH_OFFSET + LENGTH.size


class _Text(bytearray):
    """Bytes whose parts are decoded with escapes for what is not UTF-8."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return _Text(found) if isinstance(place, slice) else found

    def decode(self, *_: Any) -> str:
        return bytes(self).decode(errors="backslashreplace")


class _TolerantBatch(aiokafka_internals.BatchInPython):  # type: ignore[misc]  # final only for the type checker
    """The client's own parser in Python, with names that it may decode."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _Text(self._buffer)


class Fetched:
    """What a fetch has brought of a partition, in place of the client's MemoryRecords."""

    def __init__(self, raw: bytes, *, tolerant: bool = False) -> None:
        self._raw = raw
        self._batches = aiokafka_internals.MemoryRecords(raw)
        self._tolerant = tolerant
        self._needles = sought.needles()
        self._start = self._end = 0

    def size_in_bytes(self) -> int:
        """How many bytes there are."""
        return len(self._raw)

    def has_next(self) -> bool:
        """Whether there is another batch."""
        found: bool = self._batches.has_next()
        return found

    def next_batch(self) -> Any:
        """The next batch, in the client's form."""
        self._start = self._end
        self._end += LOG_OVERHEAD + LENGTH.unpack_from(self._raw, self._start + LENGTH_OFFSET)[0]
        batch = self._batches.next_batch()
        if self._needles and (passed := sought.passed(self._raw, self._start, self._end, self._needles)):
            return passed
        return _TolerantBatch(memoryview(self._raw)[self._start : self._end]) if self._tolerant else batch

    def tolerant(self) -> "Fetched":
        """The same from the present batch on, with escapes in names that are not UTF-8."""
        return Fetched(self._raw[self._start :], tolerant=True)


class PartitionRecords(aiokafka_internals.PartitionRecords):  # type: ignore[misc]  # untyped in the library
    """The client's, which goes on behind a record that it cannot read."""

    _records: Fetched
    _records_iterator: Iterator[ConsumerRecord]

    def __next__(self) -> ConsumerRecord:
        try:
            return super().__next__()
        except (UnicodeDecodeError, CorruptRecordException) as error:
            # The client's parser in Python calls it corrupt.
            if not isinstance(error, UnicodeDecodeError) and not isinstance(error.__cause__, UnicodeDecodeError):
                raise
            # Records that were returned before are left out by their offsets.
            self._records = self._records.tolerant()
            self._records_iterator = self._unpack_records()
            return super().__next__()


def install() -> None:
    """Make every consumer read so."""
    aiokafka_internals.read_with(Fetched, PartitionRecords)
