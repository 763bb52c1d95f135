"""The commands of one partition number, over all command topics, while this process holds it.

Restore, then read; journal and results go through one writer; finished offsets are committed a few times a second with
what a successor must know. On leaving: finish what is in flight, commit, return.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.executor.lanes import Lanes, Leaving
from connector.executor.offsets import MAX_SPAN, Progress, decode_metadata
from connector.executor.pending import Pending, pending
from connector.executor.results import Answer
from connector.executor.writer import Writer
from connector.kafka import journal
from connector.kafka.ownership import DRAIN_SECONDS, RawRecord, Seat
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

COMMIT_SECONDS = 0.2
CONFIRM_SECONDS = 2.0
ID_POLL_SECONDS = 0.1
# Held above what is in flight, so that every slot finds a lane with work though keys are unevenly spread.
HELD_PER_SLOT = 8
MEDIA_TRANSACTION_MS = 120_000


class Work(Protocol):
    """Executes one command for an owner."""

    async def __call__(self, owner: "Owner", command: Pending) -> None:
        """Return when the command's result is durable."""


@dataclass
class _Seen:
    """An explicit id: who has it, and where its end stands in the journal."""

    offset: int
    topic: str
    journal_offset: int | None
    finished: asyncio.Event
    at: float = field(default_factory=time.time)


class Owner:
    """One partition number of all command topics. `topics` maps each topic to its command's name."""

    def __init__(
        self,
        seat: Seat,
        *,
        kafka: KafkaSettings,
        topics: Mapping[str, str],
        work: Work,
        hold: int,
        dedupe_window: timedelta,
    ) -> None:
        self.seat = seat
        # Large files have a producer of their own: they delay nobody, and a failed one poisons nothing.
        self.media = Transactions(
            kafka,
            f"{seat.transactions.transactional_id}-media",
            compression_type=None,
            transaction_timeout_ms=MEDIA_TRANSACTION_MS,
        )
        self._kafka = kafka
        self._topics = topics
        self._work = work
        self._hold = hold
        self._window = dedupe_window
        self._writer = Writer(seat.transactions)
        self._lanes: Lanes[Pending] = Lanes(self._execute, name=f"lane-{seat.partition}")
        self._progress: dict[str, Progress] = {}
        self._journal = journal.State()
        self._open_at: dict[tuple[str, int], int] = {}
        self._ids: OrderedDict[bytes, _Seen] = OrderedDict()
        self._ids_loaded = asyncio.Event()
        self._paused = False
        self._committed: object = None
        self._committed_at = 0.0

    # --- life -----------------------------------------------------------------------------------------------------
    async def serve(self) -> None:
        """Own the partition until the seat is left. Raises what ended it otherwise."""
        await self._restore()
        tasks = [
            asyncio.create_task(self._writer.run(), name=f"writer-{self.seat.partition}"),
            asyncio.create_task(self._commit_regularly(), name=f"committer-{self.seat.partition}"),
            asyncio.create_task(self._load_ids(), name=f"dedupe-{self.seat.partition}"),
        ]
        leaving = asyncio.create_task(self.seat.leaving.wait(), name=f"leaving-{self.seat.partition}")
        try:
            self.seat.start_reading({topic: progress.base for topic, progress in self._progress.items()}, self._deliver)
            await self._until_ended({leaving, *tasks})
            self.seat.pause(self._topics)
            await self._lanes.drain(DRAIN_SECONDS - 2)
            await self._commit()
        finally:
            self._lanes.cancel()
            for task in (leaving, *tasks):
                task.cancel()
            await asyncio.gather(*tasks, leaving, return_exceptions=True)
            await self.media.close()

    async def _until_ended(self, tasks: set["asyncio.Task[None] | asyncio.Task[bool]"]) -> None:
        watched: set[asyncio.Future[object]] = {*tasks, self._lanes.failure}  # type: ignore[arg-type]  # any results
        while not self.seat.leaving.is_set():
            done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is self._lanes.failure:
                    raise self._lanes.failure.result()
                task.result()

    async def _restore(self) -> None:
        held = await self.seat.committed()
        decoded = {topic: (base, *decode_metadata(base, text)) for topic, (base, text) in held.items()}
        known = [low for _, low, _ in decoded.values() if low is not None]
        for topic in self._topics:
            base, _, finished = decoded.get(topic, (0, None, frozenset()))
            self._progress[topic] = Progress(base, finished)
        low = min(known, default=0)
        self._journal = await journal.restore(self._kafka, self.seat.partition, low=low)
        self._open_at = dict(self._journal.open_at)
        if self._journal.records or self._open_at:
            log.info(
                "commands restored",
                partition=self.seat.partition,
                journal_records=self._journal.records,
                in_doubt=len(self._open_at),
            )

    async def _load_ids(self) -> None:
        """Read the ids of the dedupe window; only commands with an id of their own wait for it."""
        since = datetime.now(UTC) - self._window
        found = await journal.seen_ids(self._kafka, self.seat.partition, since=since, end=self._journal.end)
        loaded: OrderedDict[bytes, _Seen] = OrderedDict()
        finished = asyncio.Event()
        finished.set()
        for hashed, (offset, topic, position, at) in found.items():
            loaded[hashed] = _Seen(offset, topic, position, finished, at.timestamp())
        for hashed, seen in self._ids.items():
            loaded.setdefault(hashed, seen)
        self._ids = loaded
        self._ids_loaded.set()
        await asyncio.Event().wait()

    # --- intake ---------------------------------------------------------------------------------------------------
    def _deliver(self, topic: str, records: Sequence[RawRecord]) -> None:
        progress = self._progress[topic]
        for record in records:
            if progress.deliver(record.offset):
                self._lanes.put(record.key, self._read(topic, record))
        if not self._paused and (self._lanes.held >= self._hold or progress.span >= MAX_SPAN):
            self._paused = True
            self.seat.pause(self._topics)

    def _read(self, topic: str, record: RawRecord) -> Pending:
        return pending(
            topic=topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=record.headers,
            milliseconds=record.timestamp,
            command=self._topics[topic],
        )

    async def _execute(self, command: Pending) -> None:
        try:
            await self._work(self, command)
        finally:
            if self._paused and self._lanes.held <= self._hold // 2 and not self.seat.leaving.is_set():
                self._resume()

    def _resume(self) -> None:
        open_topics = [topic for topic, progress in self._progress.items() if progress.span < MAX_SPAN // 2]
        if len(open_topics) == len(self._progress):
            self._paused = False
        self.seat.resume(open_topics)

    # --- what executing a command needs ---------------------------------------------------------------------------
    def was_finished(self, command: Pending) -> bool:
        """Whether the journal shows the command's end; then it counts as finished here too."""
        entry = self._journal.latest.get((command.topic, command.offset))
        if entry is None or entry.state != "done":
            return False
        self._finish(command)
        return True

    def open_attempt(self, command: Pending) -> journal.Entry | None:
        """The attempt of a predecessor whose answer nobody knows."""
        return self._journal.latest.get((command.topic, command.offset))

    async def first_of_id(self, command: Pending) -> int | None:
        """The journal offset where an earlier command of the same id ended; None for the first of its id.

        An earlier one that is still running is waited for.
        """
        if not command.explicit:
            return None
        await self._ids_loaded.wait()
        hashed = journal.id_hash(command.topic, command.id)
        seen = self._ids.get(hashed)
        now = time.time()
        if seen is not None and (seen.topic, seen.offset) != (command.topic, command.offset):
            while not seen.finished.is_set():
                await self.wait(ID_POLL_SECONDS)
            if seen.journal_offset is not None and now - seen.at <= self._window.total_seconds():
                return seen.journal_offset
        self._ids[hashed] = _Seen(command.offset, command.topic, None, asyncio.Event())
        self._ids.move_to_end(hashed)
        self._forget_ids(now)
        return None

    def _forget_ids(self, now: float) -> None:
        while self._ids:
            seen = next(iter(self._ids.values()))
            if len(self._ids) <= journal.MAX_IDS and now - seen.at <= self._window.total_seconds():
                return
            self._ids.popitem(last=False)

    async def attempt(self, command: Pending, entry: journal.Entry) -> None:
        """Make the attempt durable. Raises Superseded when the partition has another owner: do not send."""
        where = (command.topic, command.offset)
        self._open_at.setdefault(where, self._journal.end)
        record = journal.encode(self._kafka.topic_prefix, entry, partition=self.seat.partition)
        (offset,) = await self._writer.write([record])
        self._journal.end = max(self._journal.end, offset + 1)

    async def write(self, records: Sequence[Record]) -> None:
        """Make records durable that end no command."""
        await self._writer.write(records)

    async def finish(self, command: Pending, answer: Answer, records: Sequence[Record], entry: journal.Entry) -> None:
        """Make result and journal entry durable together; then the command is finished."""
        last = journal.encode(self._kafka.topic_prefix, entry, partition=self.seat.partition)
        *_, offset = await self._writer.write([*records, last])
        self._journal.end = max(self._journal.end, offset + 1)
        seen = self._ids.get(journal.id_hash(command.topic, command.id)) if command.explicit else None
        if seen is not None and answer.outcome != "duplicate":
            seen.journal_offset = offset
            seen.finished.set()
        self._finish(command)

    def _finish(self, command: Pending) -> None:
        where = (command.topic, command.offset)
        self._journal.latest.pop(where, None)
        self._open_at.pop(where, None)
        self._progress[command.topic].finish(command.offset)

    async def wait(self, seconds: float) -> None:
        """Wait between attempts. Raises Leaving when the owner drains meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self.seat.leaving.wait()
        except TimeoutError:
            return
        raise Leaving

    # --- committing -----------------------------------------------------------------------------------------------
    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()
            if self._paused and self._lanes.held <= self._hold // 2:
                self._resume()

    async def _commit(self) -> None:
        """Commit every topic in one request: the journal's low-water mark must be of one moment for all of them."""
        low = min(self._open_at.values(), default=self._journal.end)
        offsets: dict[str, tuple[int, str]] = {}
        for topic, progress in self._progress.items():
            metadata = progress.metadata(low)
            if metadata is None:
                return
            offsets[topic] = (progress.base, metadata)
        for topic, progress in self._progress.items():
            telemetry.COMMAND_LAG.labels(self._topics[topic]).set(progress.pending)
        idle = offsets == self._committed
        if idle and time.monotonic() - self._committed_at < CONFIRM_SECONDS:
            return
        if await self.seat.commit(offsets):
            self._committed, self._committed_at = offsets, time.monotonic()
        elif not self.seat.held:
            raise Unavailable("The group does not accept this owner's commits.")
