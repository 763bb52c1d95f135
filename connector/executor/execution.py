"""One command's life, read from top to bottom: what is known of it, its attempts, its result.

an open attempt of a predecessor?    what became of it is found out, then its result
elsewhere?                           sent on to the partition of its key or id
a repeat?                            the first one's result
perhaps executed, nothing tells?     unknown, unless it does no harm twice
not to be sent?                      rejected
otherwise                            attempted until it is decided, then its result

Here all of Twilio's answers meet:

Twilio answers 2xx               succeeded
Refused                          failed; done codes: succeeded; delay codes: again later, within their budget
BadCredentials                   again a few times, then failed: a rotated token is re-read meanwhile
NotExecuted                      again, with backoff, until it expires
PerhapsExecuted, repeatable      again
Unreadable, repeatable           again a few times, then failed; unknown where it may have changed something
PerhapsExecuted, a create        in doubt: reconciled -> succeeded; not found -> unknown, or sent again by policy
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import orjson

from connector.errors import (
    BadCredentials,
    NotExecuted,
    PerhapsExecuted,
    PerhapsStored,
    Refused,
    Rejected,
    Superseded,
    TwilioError,
    Unacknowledged,
    Unavailable,
    Unreadable,
    Unwritable,
)
from connector.events import boot_seconds, now
from connector.executor import doubt, finishing, repeats
from connector.executor import outcome as outcomes
from connector.executor.command import (
    Command,
    Waiting,
    attempting,
    done,
    forwarded,
    forwarded_record,
    partition_of_command,
    read,
)
from connector.executor.doubt import LEASE, unknown
from connector.executor.job import ANSWERED, Job, Portion, is_reading, prepare, replied, succeeded, walked
from connector.executor.outcome import Outcome
from connector.executor.owner import Owner
from connector.executor.under_way import Leaving
from connector.state import journal
from connector.telemetry import metrics, tracing
from connector.telemetry.logs import logger
from connector.twilio.pacing import backoff_seconds

if TYPE_CHECKING:
    from connector.executor.context import ExecutorContext

log = logger(__name__)

Found = TypeVar("Found")

KAFKA_SECONDS = 0.25
UNFORWARDABLE = (
    "The record cannot be sent on to partition {partition}, where commands of its key or id are executed: Kafka "
    "refuses it there. Make it smaller, or send it there with the partitioner murmur2."
)
CREDENTIAL_TRIES = 3
# Of what Twilio has answered with a 2xx and nothing that can be used.
UNREADABLE_TRIES = 5
# For refusals that pass with time, such as deleting a message that is still being sent (20009).
DELAY_SECONDS_IN_ALL = 3600.0
DELAY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)


async def execute(context: "ExecutorContext", owner: Owner, waiting: Waiting) -> None:
    """Execute one command; return when its result is durable.

    A command that meets a mistake of ours ends alone; its owner ends when it can or may write nothing more.
    """
    command, started = read(waiting.record, waiting.name, context.topics), now()
    execution = Execution(context, owner, command, clock=waiting.clock, started=started)
    with _span(command) if tracing.enabled else tracing.NOTHING:
        try:
            await execution.run(waiting)
        except (Superseded, Unavailable, Unwritable, Leaving):
            raise
        except Exception as error:
            log.exception("command broken", command=command.command, id=command.id)
            message = f"The connector has met a mistake of its own ({type(error).__name__}); its log tells which."
            await execution.end_broken(message)


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


class Execution:
    """One command: its steps, and what has been tried of it.

    `command` loses a reply topic that nothing may be written to. `clock` is when it was read (monotonic seconds),
    `started` when its execution began. `count` tells how many attempts were made, `has_begun` whether one of them was
    journalled, `perhaps` whether one may have been executed.
    """

    def __init__(
        self, context: "ExecutorContext", owner: Owner, command: Command, *, clock: float, started: datetime
    ) -> None:
        self.owner = owner
        self.context = context
        self.command = command
        self.clock = clock
        self.started = started
        self.count = 0
        self.perhaps = False
        self.has_begun = False
        self._unreadable = 0
        self._began = self._attempted = boot_seconds()

    async def run(self, waiting: Waiting) -> None:
        """Return when the command's result is durable."""
        owner, context, command = self.owner, self.context, self.command
        if command.origin.topic not in context.topics:
            await self._pass_over()
            return
        if waiting.attempt is not None:
            await finishing.finish(self, *await self._answer_in_doubt(waiting.attempt))
            return
        self.perhaps = is_forgotten = waiting.is_doubtful
        if await (self._was_answered() if is_forgotten else self._forwarded()):
            return
        refused = await self._refused_reply() if command.reply_to is not None else None
        first = await owner.dedupe.first(command, owner.waiting)
        if first is not None:
            await self._finish_repeat(first)
            return
        if is_forgotten and not is_reading(context, command):
            await finishing.finish(self, *await self._answer_forgotten())
            return
        try:
            job = prepare(context, command, refused)
        except Rejected as error:
            await finishing.reject(self, error)
            return
        await finishing.finish(self, *await self._until_decided(job))

    async def _pass_over(self) -> None:
        """A record that a stranger wrote among the forwarded commands: kept as a dead letter, never executed."""
        command, prefix = self.command, self.context.prefix
        error = Rejected(f"It was not sent on by the connector. Write commands to {prefix}.commands.….")
        log.error("forwarded command unreadable", position="/".join(map(str, command.position)))
        metrics.DEAD_LETTERS.labels("command").inc()
        await finishing.write_end(self, (), done(command, Outcome("rejected")), letter=error)

    # --- a predecessor's attempt ----------------------------------------------------------------------------------
    async def _answer_in_doubt(self, entry: journal.Entry) -> list[Outcome]:
        """The outcomes of a command that a predecessor may have sent: never `rejected`, whatever the settings."""
        self.perhaps = True
        await self._refused_reply()
        try:
            job = prepare(self.context, self.command)
        except Rejected as error:
            await doubt.until_over(self, entry)
            gone = self.command.is_gone
            return [unknown(self.command, outcomes.RECORD_GONE if gone else outcomes.UNKNOWN, reason=f"{error!s:.200}")]
        resolved = await doubt.after_predecessor(self, job, entry)
        return [resolved] if resolved is not None else await self._until_decided(job)

    # --- what nothing is known of ---------------------------------------------------------------------------------
    async def _was_answered(self) -> bool:
        """Whether a command of which the journal knows nothing more has its result: then that is all it gets."""
        command = self.command
        ended = await self.owner.dedupe.answer_of(command, self.owner.waiting)
        if ended is not None:
            entry = replace(done(command, Outcome("succeeded")), outcome=ended.outcome, sid=ended.sid)
            await self.owner.finish(command, [], replace(entry, at=ended.at))
        return ended is not None

    async def _answer_forgotten(self) -> list[Outcome]:
        """The outcomes of a command that may have been executed, though nothing tells: a create is not sent."""
        try:
            job = prepare(self.context, self.command)
        except Rejected as error:
            return [unknown(self.command, outcomes.FORGOTTEN, reason=f"{error!s:.200}")]
        return await self._until_decided(job) if job.repeatable else [unknown(self.command, outcomes.FORGOTTEN)]

    # --- elsewhere ------------------------------------------------------------------------------------------------
    async def _forwarded(self) -> bool:
        """Whether the command was sent on, in its order, to the partition where commands of its key or id meet."""
        command, context = self.command, self.context
        partition = partition_of_command(command, context.kafka.partitions)
        if command.origin != command.position or partition == command.partition:
            return False
        # Its id may have been executed here, when commands were not sent on or there were other partitions.
        first = await self.owner.dedupe.first(command, self.owner.waiting, begin=False)
        if first is not None:
            await self._finish_repeat(first)
            return True
        pause = doubt.FIRST_LOOK_SECONDS
        record = forwarded_record(command, prefix=context.prefix, partition=partition)
        while True:
            try:
                await self.owner.finish(command, [record], forwarded(command))
            except Unacknowledged as error:
                # While Kafka does not take it there, only its key waits.
                log.warning("command waits to be sent on", id=command.id, reason=f"{error!r:.200}")
            except Unwritable as error:
                log.warning("command not sent on", id=command.id, reason=f"{error!r:.200}")
                await finishing.reject(self, Rejected(UNFORWARDABLE.format(partition=partition)))
                return True
            else:
                context.note_forwarded(command)
                return True
            await self.owner.wait(pause)
            pause = min(pause * 2, doubt.LONGEST_LOOK_SECONDS)

    # --- a repeat, a reply ----------------------------------------------------------------------------------------
    async def _finish_repeat(self, first: journal.Entry) -> None:
        """Answer a command whose id was seen before: with the first result's bundles."""
        ask = partial(repeats.first_bundles, self.context.kafka, self.command, first)
        bundles = await self._answered("first result waits", ask)
        await finishing.finish(self, Outcome("duplicate", bundles=bundles, sid=first.sid))

    async def _refused_reply(self) -> Rejected | None:
        """What is wrong with the reply topic that the command names; then nothing is written there."""
        command = self.command
        ask = partial(replied, self.context, command, self.owner.assignment.transactions.partitions_of)
        found = await self._answered("reply topic waits", ask)
        refused = found if isinstance(found, Rejected) else None
        self.command = replace(command, reply_to=None) if isinstance(found, Rejected) else found
        return refused

    async def _answered(self, waits: str, ask: Callable[[], Awaitable[Found]]) -> Found:
        """What Kafka says, as soon as it does; until then the log says what waits."""
        while True:
            try:
                return await ask()
            except Unavailable as error:
                log.info(waits, id=self.command.id, reason=f"{error!r:.120}")
            await self.owner.wait(KAFKA_SECONDS)

    # --- attempts -------------------------------------------------------------------------------------------------
    async def _until_decided(self, job: Job) -> list[Outcome]:
        """Attempt until it is decided. The outcomes: one, or a list's last pages."""
        while not _is_expired(job):
            try:
                return await self.attempt(job)
            except TwilioError as error:
                outcome = await self._after(job, error)
                if outcome is not None:
                    return [outcome]
        return [self._expired()]

    def _expired(self) -> Outcome:
        """The outcome of what is too late now; what may have been executed has not expired unexecuted."""
        return Outcome("unknown", error=outcomes.UNKNOWN) if self.perhaps else outcomes.EXPIRED_ANSWER

    async def attempt(self, job: Job) -> list[Outcome]:
        """Send once.

        What changes something is written down and awaited first: the broker refuses a superseded owner, and where it
        has forgotten whom to refuse, the group does not know that one. Lease and membership are checked last.
        """
        assignment, is_reading = self.owner.assignment, job.request.method == "GET"
        while not is_reading and boot_seconds() >= assignment.known_until and not _is_expired(job):
            # What could not be sent need not be written down.
            await self.owner.wait(KAFKA_SECONDS)
        async with self._turn(job):
            if _is_expired(job):
                return [self._expired()]
            self.count += 1
            if is_reading:
                # Reading does no harm twice: a drain does not wait for it.
                with self.owner.waiting():
                    return await self._send(job)
            leased = boot_seconds()
            over = leased + (LEASE + self.context.request_timeout).total_seconds()
            entry = attempting(self.command, alike=job.alike, ahead=job.client.clock.ahead)
            self._attempted = leased
            self.has_begun = True
            await self.owner.attempt(self.command, entry)
            if boot_seconds() - leased > LEASE.total_seconds():
                raise NotExecuted("The attempt's lease ran out before it began.")
            known_until = assignment.known_until
            if boot_seconds() >= known_until:
                raise NotExecuted("The group may have given its partition to another owner.")
            # Once more when it is connected, directly before the socket: later a successor may have concluded.
            return await self._send(job, write_until=min(over, known_until))

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for Twilio's rate limit before taking a slot, so that a paced command does not block others."""
        # Each page of a list waits for its turn by itself.
        client = None if job.operation.answer == "many" else job.client
        slots, left = self.context.slots, _seconds_left(job)
        with self.owner.waiting():
            if client is not None:
                await client.enter(job.request, within=left)
            try:
                await slots.acquire()
            except BaseException:
                if client is not None:
                    client.leave()
                raise
        metrics.COMMANDS_IN_FLIGHT.inc()
        try:
            yield
        finally:
            metrics.COMMANDS_IN_FLIGHT.dec()
            slots.release()
            if client is not None:
                client.leave()

    async def _send(self, job: Job, *, write_until: float | None = None) -> list[Outcome]:
        """The outcomes of one attempt, which is not written to the socket after a moment of the clock never set."""
        client, operation, seconds = job.client, job.operation, self.context.request_timeout.total_seconds()
        if operation.answer not in ANSWERED:
            return await walked(self, job, timeout_seconds=seconds, left=_seconds_left(job))
        response = await client.send(job.request, timeout_seconds=seconds, write_until=write_until)
        portion = ANSWERED[operation.answer](client, operation, job.parameters, response)
        return [succeeded(client, portion)]

    # --- without a 2xx --------------------------------------------------------------------------------------------
    async def _after(self, job: Job, error: TwilioError) -> Outcome | None:
        """What an attempt without a 2xx comes to; None: try again, the wait is over."""
        match error:
            case BadCredentials() if self.count < CREDENTIAL_TRIES:
                await self._later(job, error, backoff_seconds(self.count, error.retry_after))
            case Refused():
                return await self._refused(job, error)
            case PerhapsExecuted() if not job.repeatable:
                self.perhaps = True
                return await doubt.resolve(self, job, doubt.own(self._attempted, settle=self.context.settle_time))
            case _:
                # Reading leaves nothing in doubt, except whether Kafka has stored the media that were read.
                is_reading = job.request.method == "GET" and not isinstance(error, PerhapsStored)
                self.perhaps |= isinstance(error, PerhapsExecuted) and not is_reading
                self._unreadable += isinstance(error, Unreadable)
                if self._unreadable >= UNREADABLE_TRIES:
                    # Twilio's answer cannot be used, however often it is asked for.
                    name: outcomes.OutcomeName = "unknown" if self.perhaps else "failed"
                    said = outcomes.error_of(error, retryable=True)
                    return Outcome(name, error=said, request_id=error.request_id)
                await self._later(job, error, backoff_seconds(self.count, error.retry_after))
        return None

    async def _later(self, job: Job, error: TwilioError, seconds: float) -> None:
        """Wait before the next attempt, not longer than the command is valid.

        Whoever takes over meanwhile must know whether the last one may have done anything.
        """
        if self.count > 1 and self.count.bit_count() == 1:
            # Not for one failure, and more seldom the longer it takes.
            name, command_id = self.command.command, self.command.id
            log.info("command waits", command=name, id=command_id, attempts=self.count, reason=error.label)
        if not self.perhaps and not isinstance(error, PerhapsExecuted):
            await self.owner.withdraw(self.command)
        left = _seconds_left(job)
        await self.owner.wait(seconds if left is None else min(seconds, max(0.0, left) + 0.001))

    async def _refused(self, job: Job, error: Refused) -> Outcome | None:
        """What a refusal comes to; None: try again, the wait is over."""
        operation = job.operation
        codes = operation.done_codes | (operation.repeat_done_codes if self.perhaps else frozenset())
        if error.code in codes or (error.status == 404 and 20404 in codes):  # noqa: PLR2004 - 404 may come without a code
            return succeeded(job.client, Portion((), request_id=error.request_id))
        if self.perhaps and not job.repeatable:
            # A former attempt may have been executed; that this one was not says nothing about it.
            return Outcome("unknown", error=outcomes.UNKNOWN, request_id=error.request_id)
        if error.code in operation.delay_codes and boot_seconds() - self._began < DELAY_SECONDS_IN_ALL:
            step = min(self.count - 1, len(DELAY_SECONDS) - 1)
            await self._later(job, error, DELAY_SECONDS[step] * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            return None
        if self.perhaps and job.request.method != "GET":
            # It is refused, perhaps because the former attempt was executed.
            return Outcome("unknown", error=outcomes.error_of(error), request_id=error.request_id)
        bundles = (orjson.dumps(error.body),) if operation.answer == "raw" and error.body else ()
        return Outcome("failed", bundles=bundles, error=outcomes.error_of(error), request_id=error.request_id)

    async def end_broken(self, message: str) -> None:
        """End a command that has met a mistake of ours: as what is known of it says."""
        if not self.count and not self.perhaps:
            await finishing.reject(self, Rejected(message))
            return
        name: outcomes.OutcomeName = "unknown" if self.perhaps or self.has_begun else "failed"
        await finishing.finish(self, Outcome(name, error=outcomes.connector_error(message)))


def _seconds_left(job: Job) -> float | None:
    """How long it is to be waited for at the most; None: as long as it takes."""
    return None if job.expires_at is None else (job.expires_at - job.client.clock.now()).total_seconds()


def _is_expired(job: Job) -> bool:
    """Whether it is not to be executed any more."""
    return job.expires_at is not None and job.client.clock.now() >= job.expires_at
