"""The commands of one partition number, over all command topics, while this process holds it.

Fence, restore, then read; attempts are written at once, results and their ends through one writer; finished offsets are
committed a few times a second with what a successor must know. On leaving: finish what is in flight, commit, return.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from connector.errors import Unacknowledged, Unavailable, Unwritable
from connector.events import Record, boot_seconds, now
from connector.executor import restoring, under_way
from connector.executor.command import Command, LostRecord, Waiting, lost_record
from connector.executor.dedupe import Dedupe
from connector.executor.media import MediaWriter
from connector.executor.restoring import Restored
from connector.executor.under_way import Committer, Lanes, Leaving, Progress, Rhythm
from connector.executor.writer import Attempts, Writer
from connector.kafka import reading
from connector.kafka.ownership import Assignment, RawRecord
from connector.settings import KafkaSettings
from connector.state import checkpoints, journal
from connector.state.checkpoints import Commits
from connector.state.journal import TopicOffset
from connector.telemetry.logs import logger

log = logger(__name__)

CHECKPOINT_SECONDS = 1.0
REFUSED_CHECKPOINT_SECONDS = 60.0
LAST_CHECKPOINT_SECONDS = 2.0
# Of a topic in a checkpoint, in characters: it tells of every command that may be held, however they lie.
CHECKPOINT_LIMIT = 64 * 1024
# What a held command takes beside its bytes.
HELD_OVERHEAD = 1_000
# How often it is asked whether the records of open attempts are still there.
LOST_SECONDS = 10.0
# Without any change, how often that and the digest of the ids are looked at.
QUIET_KEEP_SECONDS = 5.0
# An attempt that stays open for long is written again when it lies so far back: a successor reads no more than that.
FAR_BACK = 100_000


@dataclass
class _Attempt:
    """An attempt that is not finished: its last journal entry and where that stands, or at least comes."""

    entry: journal.Entry
    offset: int
    # The next entry of its command is on its way, and this one must not come after it.
    finishing: bool = False


class Owner:
    """One partition number of all command topics. `topics` maps each topic to its command's name.

    `hold` bounds the bytes of each topic's commands that are read and not finished, so that a topic which waits for
    Twilio's pace keeps no other off. `present` is the time that all processes go by, which `learn_time` finds out.
    """

    def __init__(
        self,
        assignment: Assignment,
        *,
        kafka: KafkaSettings,
        topics: Mapping[str, str],
        work: Callable[["Owner", Waiting], Awaitable[None]],
        hold: int,
        dedupe_window: timedelta,
        present: Callable[[], datetime] = now,
        learn_time: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.assignment = assignment
        # When predecessors were fenced.
        self.began = boot_seconds()
        identity = assignment.transactions.transactional_id
        self.attempts = Attempts(kafka, f"{identity}-attempts", assignment.partition)
        self.media = MediaWriter(kafka, f"{identity}-media")
        self._kafka = kafka
        self._topics = topics
        self._work = work
        self._hold = hold
        self._window = dedupe_window
        self._present = present
        self._learn_time = learn_time
        self._lanes: Lanes[Waiting] = Lanes(partial(work, self), done=self._ended, name=f"lane-{assignment.partition}")
        # Around what a drain need not wait for. Raises Leaving when this owner drains already.
        self.waiting = self._lanes.waiting
        self._progress: dict[str, Progress] = {}
        self._attempts: dict[TopicOffset, _Attempt] = {}
        self._held = dict.fromkeys(topics, 0)
        self._full: set[str] = set()
        self._awaited: dict[str, deque[int]] = {topic: deque() for topic in topics}
        # Wakes those who commit and keep: something was delivered or written.
        self._rhythm = Rhythm(under_way.COMMIT_SECONDS)
        self._committer = Committer(assignment, self._rhythm, self._finished)
        self._kept_at = self._looked_at = 0.0

    # --- life -----------------------------------------------------------------------------------------------------
    async def serve(self) -> None:
        """Own the partition until the assignment is left. Raises what ended it otherwise."""
        leaving = asyncio.create_task(self.assignment.leaving.wait(), name=f"leaving-{self.assignment.partition}")
        restored = asyncio.create_task(self._restore(), name=f"restore-{self.assignment.partition}")
        tasks: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait({leaving, restored}, return_when=asyncio.FIRST_COMPLETED)
            if restored.done():
                tasks += self._start(restored.result())
                await self._until_ended({leaving, *tasks})
                self.assignment.pause(self._topics)
                await self._until_drained(tasks)
                # Nothing that is kept regularly may come after the last checkpoint.
                serving, *_ = tasks
                serving.cancel()
                await asyncio.wait({serving})
                await self._committer.commit()
                await self._keep_last_checkpoint()
        finally:
            await self._lanes.cancel()
            for task in (leaving, restored, *tasks):
                task.cancel()
            await asyncio.gather(leaving, restored, *tasks, return_exceptions=True)
            await asyncio.gather(self.attempts.close(), self.media.close())

    def _start(self, restored: Restored) -> list["asyncio.Task[None]"]:
        """Begin to write, and then to read."""
        entries, partition = journal.topic_of(self._kafka), self.assignment.partition
        since = self.attempts.since
        self._writer = Writer(
            self.assignment.transactions, journal=entries, end=restored.end, since=since, written=self._rhythm.changed
        )
        return [
            asyncio.create_task(self._serve(restored), name=f"committer-{partition}"),
            asyncio.create_task(self._writer.run(), name=f"writer-{partition}"),
            asyncio.create_task(self._know_ids(restored.end), name=f"dedupe-{partition}"),
            asyncio.create_task(self.media.end_predecessor(), name=f"media-{partition}"),
        ]

    async def _serve(self, restored: Restored) -> None:
        """Answer what is lost, keep what was found, then read, commit and keep until cancelled."""
        self._checkpoint = restored.checkpoint
        try:
            await self._answer_former(restored.former)
        except Leaving:
            return
        await self._keep_checkpoint()
        for entry in restored.lost:
            self._deliver_lost(entry)
        self.assignment.start_reading(
            {topic: progress.base for topic, progress in self._progress.items()}, self._deliver
        )
        tasks = [
            asyncio.create_task(self._committer.run(), name=f"commits-{self.assignment.partition}"),
            asyncio.create_task(self._keep_regularly(), name=f"keeper-{self.assignment.partition}"),
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

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
        drain = self._lanes.drain(self.assignment.drain_seconds)
        draining = asyncio.create_task(drain, name=f"drain-{self.assignment.partition}")
        try:
            await asyncio.wait({draining, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await draining
        finally:
            draining.cancel()

    async def _restore(self) -> Restored:
        """Fence the predecessor, then read what group, checkpoint and journal say."""
        await self.attempts.open()
        self.began = boot_seconds()
        restored = await restoring.restore(self._kafka, self.assignment, self._topics)
        self._progress.update(restored.progress)
        self._attempts = {place: _Attempt(*attempt) for place, attempt in restored.attempts.items()}
        lost = {entry.topic_offset for entry in restored.lost}
        for topic, offset in sorted(self._attempts.keys() - lost):
            self._awaited[topic].append(offset)
        self.dedupe = Dedupe(
            self._kafka,
            self.assignment.partition,
            window=self._window,
            digest_at=restored.digest_at,
            present=self._present,
            lost=restored.lost_ids,
            is_forgotten=bool(restored.checkpoint.doubtful),
        )
        self.dedupe.resume([*(attempt.entry for attempt in self._attempts.values()), *restored.former])
        return restored

    async def _know_ids(self, end: int) -> None:
        """Read the ids of the dedupe window; only commands with an id of their own wait for it."""
        if self._learn_time is not None:
            await self._learn_time()
        await self.dedupe.load(end=end, keep=self._keep_digest)
        await asyncio.Event().wait()

    async def _keep_digest(self, digest: journal.Digest) -> None:
        record = journal.encode_digest(self._kafka.topic_prefix, digest, partition=self.assignment.partition)
        await self._writer.write([record], partial(self.dedupe.written, digest))

    # --- intake ---------------------------------------------------------------------------------------------------
    def _deliver(self, topic: str, records: Sequence[RawRecord]) -> None:
        self._rhythm.changed()
        progress, awaited = self._progress[topic], self._awaited[topic]
        for record in records:
            if record.offset < progress.position:
                self._lanes.fail(
                    Unavailable(f"{topic} begins anew at {record.offset}: it is another topic, or shorter.")
                )
                return
            while awaited and awaited[0] <= record.offset:
                offset = awaited.popleft()
                if offset < record.offset:
                    self._deliver_lost(self._attempts[topic, offset].entry)
            if progress.deliver(record.offset):
                self._put(topic, record)
        if self._held[topic] >= self._hold:
            self._full.add(topic)
            self.assignment.pause([topic])

    def _put(self, topic: str, record: RawRecord | LostRecord) -> None:
        headers = sum([len(name) + len(raw or b"") for name, raw in record.headers])
        weight = HELD_OVERHEAD + len(record.key or b"") + len(record.value or b"") + headers
        self._held[topic] += weight
        self._lanes.put(record.key, self._waiting(record, weight))

    def _waiting(self, record: RawRecord | LostRecord, weight: int) -> Waiting:
        topic, offset = record.topic, record.offset
        attempt = self._attempts.get((topic, offset))
        entry = attempt.entry if attempt is not None else None
        is_doubtful = self._is_doubtful(topic, offset)
        return Waiting(self._topics[topic], record, weight, time.monotonic(), entry, is_doubtful)

    def _is_doubtful(self, topic: str, offset: int) -> bool:
        """Whether a command may have been executed, though nothing that is left says so."""
        return offset < self._checkpoint.doubtful.get(topic, 0)

    def _deliver_lost(self, entry: journal.Entry) -> None:
        """A command whose record is gone while its attempt is open: the attempt stands for it."""
        log.warning("command record is gone", topic=entry.topic, offset=entry.offset, id=entry.id)
        self._put(entry.topic, lost_record(entry, self.assignment.partition))

    async def _answer_former(self, attempts: Sequence[journal.Entry]) -> None:
        """Answer what was open in a topic of the same name, before anything of the present one is read."""
        for entry in attempts:
            self._attempts[entry.topic_offset] = _Attempt(entry, self._writer.end)
        records = [lost_record(entry, self.assignment.partition) for entry in attempts]
        await asyncio.gather(*(self._work(self, self._waiting(record, 0)) for record in records))

    async def _find_lost(self) -> None:
        """Records may go without others coming after them."""
        if not any(self._awaited.values()) or time.monotonic() - self._looked_at < LOST_SECONDS:
            return
        self._looked_at = time.monotonic()
        with suppress(Unavailable):
            bounds = await reading.bounds(self._kafka, self._topics, self.assignment.partition)
            for topic, awaited in self._awaited.items():
                while awaited and awaited[0] < bounds[topic][0]:
                    self._deliver_lost(self._attempts[topic, awaited.popleft()].entry)

    def _ended(self, command: Waiting) -> None:
        """A command is finished: there is room for others of its topic."""
        topic = command.record.topic
        self._held[topic] -= command.weight
        if topic in self._full and self._held[topic] <= self._hold // 2:
            self._full.discard(topic)
            self.assignment.resume([topic])

    # --- what executing a command needs ---------------------------------------------------------------------------
    async def wait(self, seconds: float) -> None:
        """Wait between attempts. Raises Leaving when this owner drains already."""
        with self._lanes.waiting():
            await asyncio.sleep(seconds)

    def lag(self, topic: str) -> int:
        """How many commands of a topic are not finished, as far as the last fetch knows."""
        if (progress := self._progress.get(topic)) is None:
            return 0
        return self.assignment.unread(topic, progress.end) + progress.pending

    async def attempt(self, command: Command, entry: journal.Entry) -> None:
        """Make the attempt durable. Raises Superseded when the partition has another owner: do not send."""
        # Until it is known where it stands: not before the present end. An earlier attempt of it stays open meanwhile.
        before = self._attempts.setdefault(command.topic_offset, _Attempt(entry, self._writer.end))
        before.finishing = True
        offset = await self.attempts.write(self._record(entry))
        self._attempts[command.topic_offset] = _Attempt(entry, max(before.offset, offset))

    async def withdraw(self, command: Command) -> None:
        """Make it durable that the open attempt has certainly done nothing: the successor just tries again."""
        attempt = self._attempts.get(command.topic_offset)
        if attempt is None:
            return
        attempt.finishing = True
        entry = replace(attempt.entry, state="withdrawn", at=now())

        def applied(_offset: int) -> None:
            self._attempts.pop(command.topic_offset, None)

        await self._writer.write([self._record(entry)], applied)

    def write(self, records: Sequence[Record]) -> Awaitable[int]:
        """Make records durable that end no command. Raises Superseded, Unwritable."""
        return self._writer.write(records)

    def finish(self, command: Command, records: Sequence[Record], entry: journal.Entry) -> Awaitable[int]:
        """Make result and journal entry durable together; then the command is finished.

        Raises Superseded, and Unwritable when Kafka refuses a record for what it is: nothing is written then.
        """
        if command.topic_offset in self._attempts:
            self._attempts[command.topic_offset].finishing = True
        written = [*records, self._record(entry)]
        latest = entry.latest if entry.names_id else None

        def applied(offset: int) -> None:
            if command.explicit:
                self.dedupe.finished(command, offset, latest)
            self._attempts.pop(command.topic_offset, None)
            self._progress[command.topic].finish(command.offset)

        return self._writer.write(written, applied)

    def _record(self, entry: journal.Entry) -> Record:
        return journal.encode(self._kafka.topic_prefix, entry, partition=self.assignment.partition)

    # --- keeping --------------------------------------------------------------------------------------------------
    async def _keep_regularly(self) -> None:
        """Write what a successor begins with, and look for what is lost.

        Kafka may be slow with both; the group gets its commits all the same, and does not take the partition away.
        """
        kept = -1
        while True:
            await self._rhythm.turn(quiet=QUIET_KEEP_SECONDS)
            await self._keep_journal_short()
            if (fence := await self.attempts.keep_regularly()) is not None:
                self._writer.pass_over(fence)
            await self._find_lost()
            changes = self._rhythm.changes
            if changes != kept and time.monotonic() - self._kept_at >= CHECKPOINT_SECONDS:
                try:
                    await self._keep_checkpoint()
                    kept = changes
                except (Unwritable, Unacknowledged):
                    # The former one still holds: it tells less, and nothing wrong. All writes wait for each try.
                    self._kept_at = time.monotonic() + REFUSED_CHECKPOINT_SECONDS

    async def _keep_journal_short(self) -> None:
        """What a successor must read of the journal: a digest of the ids, and old attempts once more."""
        digest = self.dedupe.due(self._writer.end)
        if digest is not None:
            await self._keep_digest(digest)
        far = self._writer.end - FAR_BACK
        for place in [*self._attempts]:
            attempt = self._attempts.get(place)
            if attempt is not None and attempt.offset < far and not attempt.finishing:
                # In a transaction: so it comes before the end of its command.
                attempt.offset = await self._writer.write([self._record(attempt.entry)])

    def _finished(self) -> Commits:
        """What is to be committed; nothing before a checkpoint has told what was found to be in doubt.

        No commit may seem to know better than that.
        """
        if not self._kept_at:
            return {}
        return self._known({**self.assignment.offsets}, limit=under_way.METADATA_LIMIT)

    async def _keep_checkpoint(self, *, is_final: bool = False) -> None:
        """Write what outlives the group's offsets and the journal, if it has changed."""
        known = self._known(self._checkpoint.commits, limit=CHECKPOINT_LIMIT)
        doubtful = {
            topic: below for topic, below in self._checkpoint.doubtful.items() if self._progress[topic].base < below
        }
        checkpoint = replace(self._checkpoint, commits=known, doubtful=doubtful, is_final=is_final)
        if checkpoint != self._checkpoint:
            record = checkpoints.encode(self._kafka.topic_prefix, checkpoint, partition=self.assignment.partition)
            await self._writer.write([record])
            self._checkpoint = checkpoint
        self._kept_at = time.monotonic()

    async def _keep_last_checkpoint(self) -> None:
        """After an orderly stop nothing is in doubt, however long the rest is. Kafka may be away by now."""
        if self._kept_at:
            with suppress(TimeoutError, Unwritable, Unacknowledged):
                async with asyncio.timeout(LAST_CHECKPOINT_SECONDS):
                    await self._keep_checkpoint(is_final=not self._attempts)
                    # That was after the journal's last marker: the next start may be after its retention.
                    await self._keep_checkpoint(is_final=not self._attempts)

    def _known(self, former: Commits, *, limit: int) -> Commits:
        # An attempt may stand behind the end of another command that is being written and is not known to be durable.
        low = min([self._writer.end, *(attempt.offset for attempt in self._attempts.values())])
        return under_way.known(self._progress, former, low=low, digest=self.dedupe.digest_at, limit=limit)
