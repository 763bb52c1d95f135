"""Records of many callers in shared batches: while one batch of a partition is on its way, the next one fills."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from struct import Struct

from aiokafka import TopicPartition

from connector.events import Record
from connector.kafka.aiokafka_internals import BatchBuilder

SCHEMA_HEADERS: dict[str, tuple[str, bytes]] = {}
"""For a topic the header that names the schema of its values, where a registry knows it: one for the process."""

# Kafka's sequence numbers begin anew behind the largest signed number of 32 bits.
LARGEST_SEQUENCE = 0x7FFFFFFF

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
WORD = 0xFFFFFFFF
# A message has three or four callbacks within seconds; this is a few minutes of them.
REMEMBERED_KEYS = 8192


class Write:
    """The records of one call: `done` has their offsets when all are acknowledged, or raises why they are not."""

    __slots__ = ("_left", "_offsets", "done")

    def __init__(self, count: int) -> None:
        self.done: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._offsets = [0] * count
        self._left = count
        if not count:
            self.done.set_result([])

    def acknowledge(self, index: int, offset: int) -> None:
        """Note the offset of one of the records."""
        self._offsets[index] = offset
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(self._offsets)

    def fail(self, error: Exception) -> None:
        """Let the call fail: one of its records was refused, or its fate is unknown."""
        if not self.done.done():
            self.done.set_exception(error)
            # The caller may no longer await it.
            self.done.exception()


class Batch:
    """Records of one partition that are sent together, and the calls that they belong to; `schema` is for each."""

    __slots__ = ("_builder", "_encoded", "_records", "_schema", "count", "deadline", "opened")

    def __init__(self, builder: BatchBuilder, schema: tuple[str, bytes] | None = None) -> None:
        self.opened = time.monotonic()
        self.deadline: asyncio.TimerHandle | None = None
        self.count = 0
        self._encoded: bytearray | None = None
        self._builder = builder
        self._schema = schema
        self._records: list[tuple[Write, int]] = []

    def add(self, record: Record, write: Write, index: int) -> bool:
        """Take a record in, unless the batch is full. The first one fits, whatever its size."""
        headers = record.headers if self._schema is None else [*record.headers, self._schema]
        # A record without a key and a value is one with an empty value.
        value = b"" if record.key is None and record.value is None else record.value
        if self._builder.append(self.count, None, record.key, value, headers) is None:
            return False
        self.count += 1
        self._records.append((write, index))
        return True

    def encoded(self, producer_id: int, epoch: int, sequence: int) -> bytearray:
        """What is sent: however often, it is the same."""
        if self._encoded is None:
            self._builder.set_producer_state(producer_id, epoch, sequence)
            self._encoded = self._builder.build()
        return self._encoded

    def acknowledge(self, offset: int) -> None:
        """Tell the calls that their records are stored, the first one at this offset; -1 where that is unknown."""
        for at, (write, index) in enumerate(self._ended()):
            write.acknowledge(index, offset if offset < 0 else offset + at)

    def fail(self, error: Exception) -> None:
        """Tell the calls that a record was refused or that the fate of theirs is unknown."""
        for write, _ in self._ended():
            write.fail(error)

    def _ended(self) -> Sequence[tuple[Write, int]]:
        """The records whose calls still wait; there are none after the first call."""
        if self.deadline is not None:
            self.deadline.cancel()
        records, self._records = self._records, []
        return records


class Lane:
    """One partition: `filling` takes records, `full` is sent before it, `sending` has been sent at least once.

    While it `rests` it is not sent: it was refused just now. `builder` makes what encodes a batch.
    """

    __slots__ = ("_builder", "filling", "full", "place", "rests", "sending", "sequence")

    def __init__(self, topic: str, partition: int, builder: Callable[[], BatchBuilder]) -> None:
        self.place = TopicPartition(topic, partition)
        self.filling: Batch | None = None
        self.full: deque[Batch] = deque()
        self.sending: Batch | None = None
        self.sequence = 0
        self.rests = False
        self._builder = builder

    def add(self, record: Record, write: Write, index: int) -> Batch | None:
        """Take a record in. Returns the batch that it is the first of, None when another one had room for it."""
        if self.filling is not None and self.filling.add(record, write, index):
            return None
        batch = Batch(self._builder(), SCHEMA_HEADERS.get(self.place.topic))
        # A record that cannot be encoded leaves no batch behind.
        batch.add(record, write, index)
        if self.filling is not None:
            self.full.append(self.filling)
        self.filling = batch
        return batch

    @property
    def is_empty(self) -> bool:
        """Whether everything is acknowledged."""
        return self.sending is None and self.filling is None and not self.full

    def has_waited(self, seconds: float) -> bool:
        """Whether its next acknowledgement is this late."""
        first = self.sending or (self.full[0] if self.full else self.filling)
        return first is not None and time.monotonic() - first.opened >= seconds

    def encoded(self, producer_id: int, epoch: int) -> bytearray | None:
        """What is to be sent now: the batch that is not acknowledged, or else the next; None when there is none."""
        if self.sending is None:
            if self.full:
                self.sending = self.full.popleft()
            elif self.filling is not None:
                self.sending, self.filling = self.filling, None
            else:
                return None
        return self.sending.encoded(producer_id, epoch, self.sequence)

    def acknowledge(self, offset: int) -> float:
        """The batch has been stored, and the next one may be sent. Returns the monotonic time of its first record."""
        batch, self.sending = self.sending, None
        assert batch is not None  # noqa: S101 - it was sent
        self.sequence = (self.sequence + batch.count) & LARGEST_SEQUENCE
        batch.acknowledge(offset)
        return batch.opened

    def drop(self, batch: Batch) -> None:
        """Never send this batch, unless it has left."""
        if batch is self.filling:
            self.filling = None
        elif batch in self.full:
            self.full.remove(batch)

    def take_all(self) -> Iterator[Batch]:
        """Every batch, each taken out."""
        batches = [self.sending, *self.full, self.filling]
        self.sending = self.filling = None
        self.full.clear()
        return (batch for batch in batches if batch is not None)


@lru_cache(maxsize=REMEMBERED_KEYS)
def partition_of(key: bytes, count: int) -> int:
    """The partition of a key among `count`: where Kafka's Java client and most others place it.

    The client's own function, pure Python as well, takes twice as long.
    """
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(data: bytes) -> int:
    """The 32-bit hash, unsigned, as org.apache.kafka.common.utils.Utils writes it."""
    length = len(data)
    value = SEED ^ length
    for word in _words(length // 4).unpack_from(data):
        mixed = word * MULTIPLIER & WORD
        value = (value * MULTIPLIER ^ (mixed ^ mixed >> 24) * MULTIPLIER) & WORD
    if rest := data[length & ~3 :]:
        value = (value ^ int.from_bytes(rest, "little")) * MULTIPLIER & WORD
    value = (value ^ value >> 13) * MULTIPLIER & WORD
    return value ^ value >> 15


@lru_cache(maxsize=64)
def _words(count: int) -> Struct:
    return Struct(f"<{count}I")
