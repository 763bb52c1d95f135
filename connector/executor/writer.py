"""What an owner writes: its attempts at once, the ends of many commands in one transaction.

Attempts stand in the journal beside the transactions, acknowledged in one round trip. They bear the epoch of an id of
their own. To open it alone fences nobody: each partition refuses a predecessor from the first record of its successor
on. So a fence record is written, and acknowledged, before the journal's end is looked up: every attempt of a
predecessor lies below that end, or is refused.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from connector.errors import ConnectorError, Superseded, Unacknowledged, Unavailable, Unwritable
from connector.events import Record, boot_seconds
from connector.kafka import clients, failures
from connector.kafka.ownership import RawRecord
from connector.kafka.sending.sender import Sender
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from connector.state import checkpoints, journal
from connector.telemetry.logs import logger

log = logger(__name__)

FENCE_SECONDS = 8.0
# The broker forgets what has not been written for a day (a week, an id), and with it whom it refuses.
KEEP_SECONDS = 3600.0
KEEP_AGAIN_SECONDS = 60.0
KEEP_TIMEOUT_SECONDS = 15.0
# Brokers acknowledge in milliseconds; a partition that has no leader, or too few replicas, does not.
LATE_SECONDS = 8.0

# A transaction that begins while the markers of the one before are being written is put off by the broker; this pause
# after each avoids that nearly always, and gathers more records.
PAUSE_SECONDS = 0.003
MAX_RECORDS = 1_000
RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 2.0
# Before the write that Kafka does not take is looked for: when Kafka is silent for seconds, and when it fails at once.
SILENT_TRIES = 2
TRIES = 10
# A topic that was silent is not tried again for so long: each try keeps all writes waiting for seconds.
SILENT_SECONDS = 20.0
NOWHERE = -1


class Attempts:
    """Those of the owner of one partition number, which opens another one after any failure."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str, partition: int) -> None:
        self._kafka = kafka
        self._partition = partition
        self._transactional_id = transactional_id
        self._sender: Sender | None = None
        self._fence = journal.encode_fence(kafka.topic_prefix, uuid.uuid4().hex, partition=partition)
        # Everything below was there when it was last looked.
        self._end = 0
        self._is_silent = False
        self._keep_at = 0.0

    async def open(self) -> None:
        """Fence the predecessor. Read the journal's end afterwards. Raises Superseded, Unavailable."""
        sender = Sender(self._kafka, transactional_id=self._transactional_id, is_beside=True)
        self._sender = await clients.start(sender)
        with failures.writing(f"{self._transactional_id} has no fence"):
            async with asyncio.timeout(FENCE_SECONDS):
                await self.write(self._fence)
        self._keep_at = boot_seconds() + KEEP_SECONDS

    async def write(self, record: Record) -> int:
        """Return the offset of a record of the journal when it is durable; -1 where Kafka does not tell it.

        Waits for Kafka as long as it takes. Raises Superseded when a successor has fenced this owner, or when the
        journal is another one; Unwritable, and Unavailable after which there must be another owner.
        """
        floor = self._end
        timer = asyncio.get_running_loop().call_later(LATE_SECONDS, self._note_silence)
        try:
            (offset,) = await self._opened().write([record])
        except BaseException:
            with failures.writing(f"{self._transactional_id} cannot write"):
                raise
        finally:
            timer.cancel()
        if self._is_silent:
            self._is_silent = False
            log.info("journal is written again", transactional_id=self._transactional_id)
        if 0 <= offset < floor:
            raise Superseded(f"{record.topic} begins anew at {offset}: it is another topic, or has lost entries.")
        self._end = max(self._end, offset + 1)
        return offset

    async def keep_regularly(self) -> int | None:
        """Let the broker remember this owner, and with it the fence, however long there is nothing to do.

        Returns the offset of a record that does so, None where it is not time; while no coordinator answers it is tried
        again later. Raises as `write` does.
        """
        if boot_seconds() < self._keep_at:
            return None
        self._keep_at = boot_seconds() + KEEP_SECONDS
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_SECONDS):
                with failures.writing(f"{self._transactional_id} cannot be kept"):
                    # The journal's partition gets no marker: its end is to be known.
                    await self._opened().keep_id(checkpoints.topic_of(self._kafka), self._partition)
        except TimeoutError:
            self._keep_at = boot_seconds() + KEEP_AGAIN_SECONDS
            return None
        return await self.write(self._fence)

    async def since(self, start: int) -> Sequence[RawRecord]:
        """Every committed record of the journal from `start` on, without our fences.

        Raises Superseded where there is another owner's fence, Unavailable.
        """
        records = await journal.since(self._kafka, self._partition, start)
        if any(journal.is_fence(record) and record.value != self._fence.value for record in records):
            raise Superseded(f"Another owner has fenced {self._transactional_id}.")
        return [record for record in records if not journal.is_fence(record)]

    async def close(self) -> None:
        """End the producer. What is not acknowledged may be written or not."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.end(Unavailable(f"The producer {self._transactional_id} has been closed."))
            await clients.end(sender)

    def _opened(self) -> Sender:
        if self._sender is None:
            raise Unavailable(f"The producer {self._transactional_id} has been closed.")
        return self._sender

    def _note_silence(self) -> None:
        if not self._is_silent:
            reason = f"Kafka has not acknowledged an entry within {LATE_SECONDS:g} s."
            log.warning("journal cannot be written", transactional_id=self._transactional_id, reason=reason)
        self._is_silent = True


Since = Callable[[int], Awaitable[Sequence[RawRecord]]]
"""Gives the committed journal records from an offset on."""


class _Write(NamedTuple):
    records: Sequence[Record]
    applied: Callable[[int], None]
    done: "asyncio.Future[int]"

    def concerns(self, topic: str) -> bool:
        return any(record.topic == topic for record in self.records)


class Writer:
    """The one stream of transactions of an owner, which is told of each by `written`.

    A transaction that fails may have happened. The producer is opened again then, which fences an owner that has taken
    over meanwhile, and the journal is read from where our last entry was. Empty: nothing has happened, and the records
    are written again. Ours: they are durable. Anything else: another owner was at work, and this one ends. So results
    that are in memory outlive a broker that is away for a while, and nothing is in doubt because of it.

    Attempts are written beside the transactions: those that lie between our entries say nothing of a write.

    Records that Kafka does not take, for whatever reason, fail the write that brought them and no other one. What only
    the journal does not take is written again as long as it takes: nothing can be done without it.
    """

    def __init__(
        self,
        transactions: Transactions,
        *,
        journal: str,
        end: int,
        since: Since,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self.end = end
        """What is written next comes there or later; what was written before is applied."""
        self._marked = end
        self._is_idle = True
        self._written = written
        self._transactions = transactions
        self._journal = journal
        self._since = since
        self._queue: asyncio.Queue[_Write] = asyncio.Queue()
        self._failing = False
        self._silent: dict[str, float] = {}
        self._clock = asyncio.get_running_loop().time
        self._ended = 0.0

    def write(
        self, records: Sequence[Record], applied: Callable[[int], None] = lambda _offset: None
    ) -> "asyncio.Future[int]":
        """Queue these records; what is returned is done when they are durable, all or none.

        Its result is the offset of the journal record among them.

        `applied` is called with it at the moment when they are known to be durable, before anything later is written.
        Raises Superseded when another owner has taken over. Nothing was written when it raises Unwritable, because
        Kafka refuses them for what they are, or Unacknowledged, because it does not take them though it is there.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._is_idle = False
        self._queue.put_nowait(_Write(records, applied, done))
        return done

    def pass_over(self, offset: int) -> None:
        """A record of this owner stands there that concerns no command."""
        # While something is on its way, that may stand before it.
        if self._is_idle and offset >= self.end:
            self.end = offset + 1
            self._written()

    async def run(self) -> None:
        """Write until cancelled. Raises what ended it, after telling every writer."""
        batch: list[_Write] = []
        try:
            while True:
                batch = await self._gathered()
                await self._make_durable(batch)
                self._ended = self._clock()
                if not self._transactions.usable:
                    log.info("producer replaced", transactional_id=self._transactions.transactional_id)
                    await self._reopened(())
                self._is_idle = self._queue.empty()
        except BaseException as error:
            self._fail(batch, error)
            raise

    async def _gathered(self) -> list[_Write]:
        batch = [await self._queue.get()]
        await asyncio.sleep(max(0.0, self._ended + PAUSE_SECONDS - self._clock()))
        count = len(batch[0].records)
        while not self._queue.empty() and count < MAX_RECORDS:
            batch.append(self._queue.get_nowait())
            count += len(batch[-1].records)
        return batch

    async def _make_durable(self, batch: Sequence[_Write]) -> None:
        tries = 0
        batch = self._without_silent(batch)
        while batch:
            records = [record for write in batch for record in write.records]
            try:
                offsets: Sequence[int] | None = await self._transactions.write(records)
            except Superseded:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, these records alone are at fault
                failure, limit = _failure(error)
                self._note_failure(failure)
                offsets = await self._reopened(records)
                tries += 1
            if offsets is not None:
                self._note_success(records)
                self._apply(batch, offsets)
                return
            if tries >= limit or failure.topic in self._silent:
                batch, tries = await self._set_apart(batch, failure), 0

    async def _set_apart(self, batch: Sequence[_Write], failure: Unwritable | Unacknowledged) -> Sequence[_Write]:
        """Fail the writes that Kafka does not take, and write the others; those that are still to be written."""
        if len(batch) == 1:
            if self._is_of_the_journal(batch[0], failure):
                return batch
            self._note_silence(failure)
            return _failed(batch, failure)
        topic = None if failure.topic == self._journal else failure.topic
        concerned = [write for write in batch if topic is None or write.concerns(topic)]
        await self._make_durable([write for write in batch if topic is not None and not write.concerns(topic)])
        if topic is not None and (isinstance(failure, Unacknowledged) or failure.is_of_topic):
            self._note_silence(failure)
            return _failed(concerned, failure)
        for write in concerned:
            await self._make_durable([write])
        return ()

    def _note_silence(self, failure: ConnectorError) -> None:
        if isinstance(failure, Unacknowledged) and failure.topic not in (None, self._journal):
            self._silent[str(failure.topic)] = self._clock() + SILENT_SECONDS

    def _without_silent(self, batch: Sequence[_Write]) -> Sequence[_Write]:
        """The writes that concern no topic which was silent lately; the others fail at once."""
        for topic, until in self._silent.items():
            if self._clock() < until:
                failure = Unacknowledged(f"Kafka did not take records of {topic} lately.", topic=topic)
                _failed([write for write in batch if write.concerns(topic)], failure)
                batch = [write for write in batch if not write.concerns(topic)]
        return batch

    def _is_of_the_journal(self, write: _Write, failure: ConnectorError) -> bool:
        return isinstance(failure, Unavailable) and all(record.topic == self._journal for record in write.records)

    async def _reopened(self, records: Sequence[Record]) -> list[int] | None:
        """Open the producer again; the offsets of these records if they are durable, None if they are not.

        Raises Superseded when another owner has written meanwhile. Waits for Kafka as long as it takes.
        """
        ours = [(record.key, record.value) for record in records if record.topic == self._journal]
        written = await self._found_after_opening()
        found = [item for item in written if (item.key, item.value) in ours or not journal.is_attempt(item)]
        if not found:
            return None
        if [(item.key, item.value) for item in found] != ours:
            raise Superseded(f"Another owner has used {self._transactions.transactional_id} meanwhile.")
        offsets = iter([item.offset for item in found])
        return [next(offsets) if record.topic == self._journal else NOWHERE for record in records]

    async def _found_after_opening(self) -> Sequence[RawRecord]:
        pause = RETRY_SECONDS
        while True:
            try:
                await self._transactions.open()
                return await self._since(self.end)
            except Unavailable as error:
                self._note_failure(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)

    def _apply(self, batch: Sequence[_Write], offsets: Sequence[int]) -> None:
        # The marker of the transaction before was written before this one could begin.
        self.end = before = max(self.end, self._marked)
        position = 0
        for write in batch:
            end = position + len(write.records)
            places = [
                offset
                for record, offset in zip(write.records, offsets[position:end], strict=True)
                if record.topic == self._journal
            ]
            place = places[-1] if places else NOWHERE
            if places and place < self.end:
                raise Superseded(f"{self._journal} begins anew at {place}: it is another topic, or has lost entries.")
            self.end = max(self.end, place + 1)
            write.applied(place)
            if not write.done.done():
                write.done.set_result(place)
            position = end
        # Behind our last entry comes the marker that commits it: perhaps later than an attempt that is written now.
        if self.end > before:
            self._marked = self.end + 1
        self._written()

    def _note_failure(self, error: ConnectorError) -> None:
        """Log that nothing can be written; who has brought what Kafka refuses says so itself."""
        if isinstance(error, Unwritable):
            return
        if not self._failing:
            log.warning(
                "journal cannot be written",
                transactional_id=self._transactions.transactional_id,
                reason=f"{error!r:.200}",
            )
        self._failing = True

    def _note_success(self, records: Sequence[Record]) -> None:
        for topic in {record.topic for record in records} & self._silent.keys() if self._silent else ():
            del self._silent[topic]
        if self._failing:
            log.info("journal is written again", transactional_id=self._transactions.transactional_id)
        self._failing = False

    def _fail(self, batch: list[_Write], error: BaseException) -> None:
        while not self._queue.empty():
            batch.append(self._queue.get_nowait())
        reason = error if isinstance(error, ConnectorError) else Superseded("This owner has ended.")
        for write in batch:
            if not write.done.done():
                write.done.set_exception(reason)
                write.done.exception()


def _failure(error: Exception) -> tuple[Unwritable | Unacknowledged, int]:
    """What a failed transaction means for its records, and how often they are written before one is given up."""
    match error:
        case Unwritable():
            return error, 1
        case Unacknowledged():
            return error, SILENT_TRIES
        case Unavailable():
            return Unacknowledged(str(error)), TRIES
        case _:
            return Unwritable(f"Kafka's client cannot write these records: {error!r:.200}"), 1


def _failed(batch: Sequence[_Write], error: ConnectorError) -> Sequence[_Write]:
    """Tell those who wait for these writes; no write is left."""
    for write in batch:
        if not write.done.done():
            write.done.set_exception(error)
    return ()
