"""One command's life, read from top to bottom: what is known of it, its attempts, its result.

an open attempt of a predecessor?    what became of it is found out, then its result
elsewhere?                           sent on to the partition of its key or id
a repeat?                            the first one's result
perhaps executed, nothing tells?     unknown, unless it does no harm twice
not to be sent?                      rejected
otherwise                            attempted until it is decided (`attempts`), then its result
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeVar

from connector import telemetry, tracing
from connector.errors import Rejected, Superseded, Unacknowledged, Unavailable, Unwritable
from connector.executor import doubt, finishing, repeats
from connector.executor import outcome as outcomes
from connector.executor.attempts import Attempts, unknown
from connector.executor.command import (
    FORWARDED,
    SPRING_PARTITION,
    Command,
    Waiting,
    forwarded,
    forwarded_record,
    partition_of_command,
    partition_of_id,
    read,
)
from connector.executor.context import ExecutorContext
from connector.executor.lanes import Leaving
from connector.executor.outcome import Outcome
from connector.executor.owner import Owner
from connector.kafka.ownership import Assignment
from connector.state import journal

log = telemetry.logger(__name__)

Found = TypeVar("Found")

KAFKA_SECONDS = 0.25
UNFORWARDABLE = (
    "The record cannot be sent on to partition {partition}, where commands of its key or id are executed: Kafka "
    "refuses it there. Make it smaller, or send it there with the partitioner murmur2."
)
# Commands that are read and not finished, of the whole process: the more, the longer the others of a partition go on
# while one key has much to do. Each topic has its share.
HELD_BYTES = 48 * 1024 * 1024
IN_FLIGHT_BYTES = 4096


class Executor:
    """An owner for each partition number that the group assigns to this process.

    It executes the commands of `topics`: those that callers write to, and the one through which they are sent on.
    """

    def __init__(self, context: ExecutorContext, *, max_in_flight: int, dedupe_window: timedelta) -> None:
        self.topics = {**context.topics, f"{context.prefix}.{FORWARDED}": FORWARDED}
        self._context = context
        # What is in flight must be held in any case.
        self._hold = max(HELD_BYTES // len(self.topics), max_in_flight * IN_FLIGHT_BYTES) // context.kafka.partitions
        self._window = dedupe_window

    async def serve(self, assignment: Assignment) -> None:
        """Own one partition number until the group takes it away. Raises what ended it otherwise."""
        owner = Owner(
            assignment,
            kafka=self._context.kafka,
            topics=self.topics,
            work=partial(execute, self._context),
            hold=self._hold,
            dedupe_window=self._window,
            present=self._context.now,
            learn_time=self._context.learn_time,
            behind=partial(self._context.note_behind, assignment.partition),
        )
        try:
            await owner.serve()
        finally:
            for command in self.topics.values():
                self._context.note_behind(assignment.partition, command, 0)


async def execute(context: ExecutorContext, owner: Owner, waiting: Waiting) -> None:
    """Execute one command; return when its result is durable.

    A command that meets a mistake of ours ends alone; its owner ends when it can or may write nothing more.
    """
    command = read(waiting.record, waiting.name, context.topics)
    attempts = Attempts(owner, context, command, clock=waiting.clock)
    with _span(command) if tracing.enabled else tracing.NOTHING:
        try:
            await Execution(owner, context, attempts).run()
        except (Superseded, Unavailable, Unwritable, Leaving):
            raise
        except Exception as error:
            log.exception("command broken", command=command.command, id=command.id)
            message = f"The connector has met a mistake of its own ({type(error).__name__}); its log tells which."
            await _break(attempts, message)


def _span(command: Command) -> tracing.Scope:
    attributes: tracing.Attributes = {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": command.topic,
        "messaging.destination.partition.id": str(command.partition),
        "messaging.kafka.offset": command.offset,
        "twilio_kafka.command.id": command.id,
    }
    return tracing.span(f"process {command.topic}", kind="consumer", parent=command.traceparent, attributes=attributes)


async def _break(attempts: Attempts, message: str) -> None:
    if not attempts.count and not attempts.perhaps:
        await finishing.reject(attempts, Rejected(message))
        return
    name: outcomes.OutcomeName = "unknown" if attempts.perhaps or attempts.has_begun else "failed"
    await finishing.finish(attempts, Outcome(name, error=outcomes.connector_error(message)))


class Execution:
    """The steps of one command; `attempts` holds it and what has been tried."""

    def __init__(self, owner: Owner, context: ExecutorContext, attempts: Attempts) -> None:
        self._owner = owner
        self._context = context
        self._attempts = attempts

    @property
    def _command(self) -> Command:
        """The command; a reply topic that nothing may be written to is taken from it."""
        return self._attempts.command

    async def run(self) -> None:
        """Return when the command's result is durable."""
        owner, context, attempts, command = self._owner, self._context, self._attempts, self._attempts.command
        if command.origin.topic not in context.topics:
            await self._pass_over()
            return
        entry = owner.open_attempt(command)
        if entry is not None:
            await finishing.finish(attempts, *await self._answer_in_doubt(entry))
            return
        attempts.perhaps = is_forgotten = owner.is_doubtful(command)
        if await (self._was_answered() if is_forgotten else self._forwarded()):
            return
        refused = await self._refused_reply() if command.reply_to is not None else None
        first = await owner.dedupe.first(command, owner.waiting)
        if first is not None:
            await self._finish_repeat(first)
            return
        if is_forgotten and not _is_reading(context, command):
            await finishing.finish(attempts, *await self._answer_forgotten())
            return
        try:
            job = self._attempts.prepare(refused)
        except Rejected as error:
            await finishing.reject(attempts, error)
            return
        await finishing.finish(attempts, *await attempts.until_decided(job))

    async def _pass_over(self) -> None:
        """A record that a stranger wrote among the forwarded commands: kept as a dead letter, never executed."""
        command, prefix = self._command, self._context.prefix
        error = Rejected(f"It was not sent on by the connector. Write commands to {prefix}.commands.….")
        log.error("forwarded command unreadable", position="/".join(map(str, command.position)))
        telemetry.DEAD_LETTERS.labels("command").inc()
        await finishing.write_end(self._attempts, (), finishing.done(command, Outcome("rejected")), letter=error)

    # --- a predecessor's attempt ----------------------------------------------------------------------------------
    async def _answer_in_doubt(self, entry: journal.Entry) -> list[Outcome]:
        """The outcomes of a command that a predecessor may have sent: never `rejected`, whatever the settings."""
        self._attempts.perhaps = True
        await self._refused_reply()
        try:
            job = self._attempts.prepare()
        except Rejected as error:
            await self._attempts.until_over(entry)
            gone = self._command.is_gone
            return [
                unknown(self._command, outcomes.RECORD_GONE if gone else outcomes.UNKNOWN, reason=f"{error!s:.200}")
            ]
        resolved = await self._attempts.after_predecessor(job, entry)
        return [resolved] if resolved is not None else await self._attempts.until_decided(job)

    # --- what nothing is known of ---------------------------------------------------------------------------------
    async def _was_answered(self) -> bool:
        """Whether a command of which the journal knows nothing more has its result: then that is all it gets."""
        command = self._command
        ended = await self._owner.dedupe.answer_of(command, self._owner.waiting)
        if ended is not None:
            entry = replace(finishing.done(command, Outcome("succeeded")), outcome=ended.outcome, sid=ended.sid)
            await self._owner.finish(command, [], replace(entry, at=ended.at))
        return ended is not None

    async def _answer_forgotten(self) -> list[Outcome]:
        """The outcomes of a command that may have been executed, though nothing tells: a create is not sent."""
        try:
            job = self._attempts.prepare()
        except Rejected as error:
            return [unknown(self._command, outcomes.FORGOTTEN, reason=f"{error!s:.200}")]
        return (
            await self._attempts.until_decided(job) if job.repeatable else [unknown(self._command, outcomes.FORGOTTEN)]
        )

    # --- elsewhere ------------------------------------------------------------------------------------------------
    async def _forwarded(self) -> bool:
        """Whether the command was sent on, in its order, to the partition where commands of its key or id meet."""
        command, context = self._command, self._context
        partition = partition_of_command(command, context.kafka.partitions)
        if command.origin != command.position or partition == command.partition:
            return False
        # Its id may have been executed here, when commands were not sent on or there were other partitions.
        first = await self._owner.dedupe.first(command, self._owner.waiting, begin=False)
        if first is not None:
            await self._finish_repeat(first)
            return True
        pause = doubt.FIRST_LOOK_SECONDS
        record = forwarded_record(command, prefix=context.prefix, partition=partition)
        while True:
            try:
                await self._owner.finish(command, [record], forwarded(command))
            except Unacknowledged as error:
                # While Kafka does not take it there, only its key waits.
                log.warning("command waits to be sent on", id=command.id, reason=f"{error!r:.200}")
            except Unwritable as error:
                log.warning("command not sent on", id=command.id, reason=f"{error!r:.200}")
                await finishing.reject(self._attempts, Rejected(UNFORWARDABLE.format(partition=partition)))
                return True
            else:
                self._note_forwarded()
                return True
            await self._owner.wait(pause)
            pause = min(pause * 2, doubt.LONGEST_LOOK_SECONDS)

    def _note_forwarded(self) -> None:
        """Say once for each topic that its commands take a detour, and how they need not."""
        command, misplaced = self._command, self._context.misplaced
        if command.key is not None and command.topic not in misplaced:
            misplaced.add(command.topic)
            log.warning(
                "commands sent on",
                topic=command.topic,
                reason="Their producer has another partitioner: they are executed in order, after a detour.",
                remedy="partitioner=murmur2_random",
            )

    # --- a repeat, a reply ----------------------------------------------------------------------------------------
    async def _finish_repeat(self, first: journal.Entry) -> None:
        """Answer a command whose id was seen before: with the first result's bundles."""
        ask = partial(repeats.first_bundles, self._context.kafka, self._command, first)
        bundles = await self._answered("first result waits", ask)
        await finishing.finish(self._attempts, Outcome("duplicate", bundles=bundles, sid=first.sid))

    async def _refused_reply(self) -> Rejected | None:
        """What is wrong with the reply topic that the command names; then nothing is written there."""
        command = self._command
        found = await self._answered("reply topic waits", self._replied)
        refused = found if isinstance(found, Rejected) else None
        self._attempts.command = replace(command, reply_to=None) if isinstance(found, Rejected) else found
        return refused

    async def _replied(self) -> Command | Rejected:
        """The command, with the partition of its reply where it needs one; or why nothing may be written there.

        Raises Unavailable.
        """
        command, context = self._command, self._context
        topic, partition = command.reply_to, command.reply_partition
        if topic is None:
            return command
        if topic.startswith((f"{context.prefix}.", "__")):
            whose = "Kafka" if topic.startswith("__") else "the connector"
            return Rejected(f"header reply-to: topic {topic[:120]!r} is one of {whose}'s own.")
        if not any(fnmatchcase(topic, pattern) for pattern in context.reply_topics):
            return Rejected(
                f"header reply-to: topic {topic[:120]!r} is not allowed; add a pattern to commands.reply_topics."
            )
        # A record for a topic that does not exist would end the transaction of everybody.
        count = await self._owner.assignment.transactions.partitions_of(topic)
        if not count:
            return Rejected(f"header reply-to: topic {topic[:120]!r} does not exist.")
        if partition is not None and partition >= count:
            return Rejected(f"header {SPRING_PARTITION}: topic {topic[:120]!r} has {count} partitions, from 0.")
        # Without a key each page of a list would lie in a partition of its own.
        is_scattered = partition is None and command.key is None
        return replace(command, reply_partition=partition_of_id(command.id, count)) if is_scattered else command

    async def _answered(self, waits: str, ask: Callable[[], Awaitable[Found]]) -> Found:
        """What Kafka says, as soon as it does; until then the log says what waits."""
        while True:
            try:
                return await ask()
            except Unavailable as error:
                log.info(waits, id=self._command.id, reason=f"{error!r:.120}")
            await self._owner.wait(KAFKA_SECONDS)


def _is_reading(context: ExecutorContext, command: Command) -> bool:
    """Whether nothing that this command may ask for changes anything."""
    operations = context.commands[command.command].operations.values()
    return all(operation.method == "GET" and operation.repeats is None for operation in operations)
