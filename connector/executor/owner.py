"""The commands of one partition number, over all command topics, while this process holds it.

Restore, then read; journal and results go through one writer; finished offsets are committed a few times a second with
what a successor must know. On leaving: finish what is in flight, commit, return.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import NamedTuple, Protocol

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record, now
from connector.executor import offsets
from connector.executor.dedupe import Dedupe
from connector.executor.lanes import Lanes
from connector.executor.media import MediaWriter
from connector.executor.offsets import Commit, Progress
from connector.executor.pending import Pending
from connector.executor.writer import Writer
from connector.kafka import journal, reading
from connector.kafka.journal import TopicOffset
from connector.kafka.offset_set import OffsetSet
from connector.kafka.ownership import Assignment, RawRecord
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

COMMIT_SECONDS = 0.2
CONFIRM_SECONDS = 2.0
# An attempt that stays open for long is written again when it lies so far back: a successor reads no more than that.
FAR_BACK = 100_000
# What a held command takes beside its bytes.
HELD_OVERHEAD = 1_000


class Waiting(NamedTuple):
    """A command that was read from Kafka, at `clock` (monotonic seconds), and not yet looked at."""

    name: str
    record: RawRecord
    weight: int
    clock: float


class Work(Protocol):
    """Executes one command for an owner."""

    async def __call__(self, owner: "Owner", command: Waiting) -> None:
        """Return when the command's result is durable."""


@dataclass
class _Attempt:
    """An attempt that is not finished: its last journal entry and where that stands, or at least comes."""

    entry: journal.Entry
    offset: int
    finishing: bool = False


class Owner:
    """One partition number of all command topics. `topics` maps each topic to its command's name.

    `hold` bounds the bytes of each topic's commands that are read and not finished, so that a topic which waits for
    Twilio's pace keeps no other off; `behind` is told how many commands of a topic are not finished.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        kafka: KafkaSettings,
        topics: Mapping[str, str],
        work: Work,
        hold: int,
        dedupe_window: timedelta,
        behind: Callable[[str, int], None] = lambda _command, _count: None,
    ) -> None:
        self.assignment = assignment
        self.media = MediaWriter(kafka, f"{assignment.transactions.transactional_id}-media")
        self._kafka = kafka
        self._topics = topics
        self._work = work
        self._hold = hold
        self._window = dedupe_window
        self._behind = behind
        self._lanes: Lanes[Waiting] = Lanes(self._execute, name=f"lane-{assignment.partition}")
        self._progress: dict[str, Progress] = {}
        self._attempts: dict[TopicOffset, _Attempt] = {}
        self._held = dict.fromkeys(topics, 0)
        self._full: set[str] = set()
        self._crowded: set[str] = set()
        self._committed: object = None
        self._committed_at = 0.0

    # --- life -----------------------------------------------------------------------------------------------------
    async def serve(self) -> None:
        """Own the partition until the assignment is left. Raises what ended it otherwise."""
        leaving = asyncio.create_task(self.assignment.leaving.wait(), name=f"leaving-{self.assignment.partition}")
        restoring = asyncio.create_task(self._restore(), name=f"restore-{self.assignment.partition}")
        tasks: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait({leaving, restoring}, return_when=asyncio.FIRST_COMPLETED)
            if restoring.done():
                tasks += self._start(restoring.result())
                await self._until_ended({leaving, *tasks})
                self.assignment.pause(self._topics)
                await self._until_drained(tasks)
                await self._commit()
        finally:
            await self._lanes.cancel()
            for task in (leaving, restoring, *tasks):
                task.cancel()
            await asyncio.gather(leaving, restoring, *tasks, return_exceptions=True)
            await self.media.close()

    def _start(self, end: int) -> list["asyncio.Task[None]"]:
        """Begin to read; `end` is the journal's."""
        since = partial(journal.since, self._kafka, self.assignment.partition)
        self._writer = Writer(self.assignment.transactions, journal=journal.topic_of(self._kafka), end=end, since=since)
        self.assignment.start_reading(
            {topic: progress.base for topic, progress in self._progress.items()}, self._deliver
        )
        return [
            asyncio.create_task(self._writer.run(), name=f"writer-{self.assignment.partition}"),
            asyncio.create_task(self._commit_regularly(), name=f"committer-{self.assignment.partition}"),
            asyncio.create_task(self._know_ids(end), name=f"dedupe-{self.assignment.partition}"),
        ]

    async def _until_ended(self, tasks: set["asyncio.Task[None] | asyncio.Task[bool]"]) -> None:
        """Return when the assignment is left. Raises what ended the owner otherwise."""
        watched: set[asyncio.Future[object]] = {*tasks, self._lanes.failure}  # type: ignore[arg-type]  # any results
        while not self.assignment.leaving.is_set():
            done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task is self._lanes.failure:
                    raise self._lanes.failure.result()
                task.result()

    async def _until_drained(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        """Finish what is in flight; without a writer nothing can be finished any more."""
        draining = asyncio.create_task(
            self._lanes.drain(self.assignment.drain_seconds), name=f"drain-{self.assignment.partition}"
        )
        try:
            await asyncio.wait({draining, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await draining
        finally:
            draining.cancel()

    async def _restore(self) -> int:
        """Read what the group and the journal say; returns the journal's end."""
        held = await self.assignment.committed()
        commits = {topic: (base, offsets.decode(base, text)) for topic, (base, text) in held.items()}
        known = [commit for _, commit in commits.values() if commit is not None]
        lines = journal.topic_of(self._kafka)
        bounds = await reading.bounds(self._kafka, [lines, *self._topics], self.assignment.partition)
        end = bounds[lines][1]
        # Without a commit all of the journal counts, unless no command is left that it could speak of.
        is_empty = not commits and all(bounds[topic][0] == bounds[topic][1] for topic in self._topics)
        low = end if is_empty else min((commit.low for commit in known), default=0)
        state = await journal.restore(self._kafka, self.assignment.partition, low=low, end=end)
        for topic in self._topics:
            base, commit = commits.get(topic) or (bounds[topic][0], None)
            self._progress[topic] = self._checked(
                topic, _progress(base, commit, state.finished[topic]), bounds[topic][1]
            )
        self._attempts = {
            (topic, offset): _Attempt(*attempt)
            for (topic, offset), attempt in state.open.items()
            if topic in self._topics and offset < bounds[topic][1]
        }
        digests = [commit.digest for commit in known if commit.digest is not None]
        self.dedupe = Dedupe(
            self._kafka, self.assignment.partition, window=self._window, digest_at=max(digests, default=None)
        )
        self.dedupe.resume(attempt.entry for attempt in self._attempts.values())
        if state.records:
            log.info(
                "commands restored",
                partition=self.assignment.partition,
                journal_records=state.records,
                in_doubt=len(self._attempts),
            )
        return end

    def _checked(self, topic: str, progress: Progress, end: int) -> Progress:
        """The progress, unless the topic is shorter than that: another one of its name, or one that has lost records.

        Nobody can tell which of its commands were executed, so only those run that are still to come.
        """
        if progress.end <= end:
            return progress
        log.error(
            "commands passed over", topic=topic, partition=self.assignment.partition, below=end, known=progress.end
        )
        return Progress(end)

    async def _know_ids(self, end: int) -> None:
        """Read the ids of the dedupe window; only commands with an id of their own wait for it."""
        await self.dedupe.load(end=end, keep=self._keep_digest)
        await asyncio.Event().wait()

    async def _keep_digest(self, digest: journal.Digest) -> None:
        record = journal.encode_digest(self._kafka.topic_prefix, digest, partition=self.assignment.partition)
        await self._writer.write([record], partial(self.dedupe.written, digest))

    # --- intake ---------------------------------------------------------------------------------------------------
    def _deliver(self, topic: str, records: Sequence[RawRecord]) -> None:
        progress = self._progress[topic]
        for record in records:
            if progress.deliver(record.offset):
                command = Waiting(self._topics[topic], record, _weight(record), time.monotonic())
                self._held[topic] += command.weight
                self._lanes.put(record.key, command)
        if self._held[topic] >= self._hold:
            self._full.add(topic)
            self.assignment.pause([topic])

    async def _execute(self, command: Waiting) -> None:
        await self._work(self, command)
        topic = command.record.topic
        self._held[topic] -= command.weight
        if topic in self._full and self._held[topic] <= self._hold // 2:
            self._full.discard(topic)
            if topic not in self._crowded:
                self.assignment.resume([topic])

    # --- what executing a command needs ---------------------------------------------------------------------------
    def waiting(self) -> AbstractContextManager[None]:
        """Around what a drain need not wait for. Raises Leaving when this owner drains already."""
        return self._lanes.waiting()

    async def wait(self, seconds: float) -> None:
        """Wait between attempts. Raises Leaving when this owner drains already."""
        with self._lanes.waiting():
            await asyncio.sleep(seconds)

    def open_attempt(self, command: Pending) -> journal.Entry | None:
        """The attempt whose answer nobody knows: a predecessor's."""
        attempt = self._attempts.get(command.topic_offset)
        return attempt.entry if attempt is not None else None

    async def attempt(self, command: Pending, entry: journal.Entry) -> None:
        """Make the attempt durable. Raises Superseded when the partition has another owner: do not send."""
        # Until it is known where it stands: not before the present end. An earlier attempt of it stays open meanwhile.
        self._attempts.setdefault(command.topic_offset, _Attempt(entry, self._writer.end))
        await self._write_attempt(entry)

    async def _write_attempt(self, entry: journal.Entry) -> None:
        def applied(offset: int) -> None:
            if entry.topic_offset in self._attempts:
                self._attempts[entry.topic_offset] = _Attempt(entry, offset)

        record = journal.encode(self._kafka.topic_prefix, entry, partition=self.assignment.partition)
        await self._writer.write([record], applied)

    async def withdraw(self, command: Pending) -> None:
        """Make it durable that the open attempt has certainly done nothing: whoever comes next just tries again."""
        attempt = self._attempts.get(command.topic_offset)
        if attempt is None:
            return
        attempt.finishing = True
        entry = replace(attempt.entry, state="withdrawn", at=now())
        record = journal.encode(self._kafka.topic_prefix, entry, partition=self.assignment.partition)

        def applied(_offset: int) -> None:
            self._attempts.pop(command.topic_offset, None)

        await self._writer.write([record], applied)

    async def write(self, records: Sequence[Record]) -> None:
        """Make records durable that end no command. Raises Superseded, Unwritable."""
        await self._writer.write(records)

    async def finish(self, command: Pending, records: Sequence[Record], entry: journal.Entry) -> None:
        """Make result and journal entry durable together; then the command is finished.

        Raises Superseded, and Unwritable when Kafka refuses a record for what it is: nothing is written then.
        """

        def applied(offset: int) -> None:
            if entry.explicit:
                self.dedupe.finished(entry, offset)
            self._attempts.pop(command.topic_offset, None)
            self._progress[command.topic].finish(command.offset)

        if command.topic_offset in self._attempts:
            self._attempts[command.topic_offset].finishing = True
        last = journal.encode(self._kafka.topic_prefix, entry, partition=self.assignment.partition)
        await self._writer.write([*records, last], applied)

    # --- committing -----------------------------------------------------------------------------------------------
    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._keep_journal_short()
            await self._commit()

    async def _keep_journal_short(self) -> None:
        """What a successor must read of the journal: a digest of the ids, and old attempts once more."""
        digest = self.dedupe.due(self._writer.end)
        if digest is not None:
            await self._keep_digest(digest)
        far = self._writer.end - FAR_BACK
        old = [attempt.entry for attempt in self._attempts.values() if attempt.offset < far and not attempt.finishing]
        await asyncio.gather(*(self._write_attempt(entry) for entry in old))

    async def _commit(self) -> None:
        low = min((attempt.offset for attempt in self._attempts.values()), default=self._writer.end)
        values: dict[str, tuple[int, str]] = {}
        for topic, progress in self._progress.items():
            metadata = progress.metadata(low=low, digest=self.dedupe.digest_at)
            self._note_crowded(topic, is_crowded=metadata is None)
            # A topic that is left out keeps its former commit, with the journal's low-water mark of that time.
            if metadata is not None:
                values[topic] = (progress.base, metadata)
            unread = max(0, (self.assignment.highwater(topic) or 0) - progress.end)
            self._behind(self._topics[topic], unread + progress.pending)
        idle = values == self._committed
        if not values or (idle and time.monotonic() - self._committed_at < CONFIRM_SECONDS):
            return
        if await self.assignment.commit(values):
            self._committed, self._committed_at = values, time.monotonic()
        elif not self.assignment.held and not self.assignment.leaving.is_set():
            raise Unavailable("The group does not accept this owner's commits.")

    def _note_crowded(self, topic: str, *, is_crowded: bool) -> None:
        """A topic with more holes than a commit can tell rests until there are fewer."""
        if is_crowded and topic not in self._crowded:
            self._crowded.add(topic)
            self.assignment.pause([topic])
        elif not is_crowded and topic in self._crowded:
            self._crowded.discard(topic)
            if topic not in self._full:
                self.assignment.resume([topic])


def _progress(base: int, commit: Commit | None, finished: OffsetSet) -> Progress:
    if commit is None:
        return Progress(base, finished=finished)
    return Progress(base, end=commit.end, pending=commit.pending, finished=finished)


def _weight(record: RawRecord) -> int:
    headers = sum(len(name) + len(raw or b"") for name, raw in record.headers)
    return HELD_OVERHEAD + len(record.key or b"") + len(record.value or b"") + headers
