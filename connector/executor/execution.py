"""One command's life: prepared, attempted, answered. This is where all outcomes meet.

Twilio answers 2xx               succeeded
Refused                          failed; done codes: succeeded; delay codes: again later, within their budget
BadCredentials                   again a few times, then failed: a rotated token is re-read meanwhile
NotExecuted                      again, with backoff, until it expires
PerhapsExecuted, repeatable      again
Unreadable, repeatable           again a few times, then failed; unknown where it may have changed something
PerhapsExecuted, a create        in doubt: reconciled -> succeeded; not found -> unknown, or sent again by policy
"""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import orjson

from connector import telemetry, tracing
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
from connector.events import Record, boot_seconds, now
from connector.executor import doubt, finishing
from connector.executor import outcome as outcomes
from connector.executor.answers import LIST_SECONDS, WALKED, Call, Portion, portion_of, portions
from connector.executor.command import forwarded_record, partition_of_command
from connector.executor.context import ExecutorContext, Job
from connector.executor.doubt import LEASE, Doubt
from connector.executor.finishing import Ending
from connector.executor.lanes import Leaving
from connector.executor.outcome import NOTHING, Outcome, withheld
from connector.executor.owner import Owner, Waiting
from connector.kafka import journal
from connector.twilio.client import MayWrite
from connector.twilio.pacing import backoff_seconds

log = telemetry.logger(__name__)

Found = TypeVar("Found")

CREDENTIAL_TRIES = 3
# Of what Twilio has answered with a 2xx and nothing that can be used.
UNREADABLE_TRIES = 5
# For refusals that pass with time, such as deleting a message that is still being sent (20009).
DELAY_SECONDS_IN_ALL = 3600.0
DELAY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
KAFKA_SECONDS = 0.25
UNFORWARDABLE = (
    "The record cannot be sent on to partition {partition}, where commands of its key or id are executed: Kafka "
    "refuses it there. Make it smaller, or send it there with the partitioner murmur2."
)
# Bundles of a list that are held back, so that nearly every list becomes visible as a whole.
HELD_BYTES = 2 * 1024 * 1024


class Execution:
    """Executes one command for its owner; `process` is what all owners of this process share."""

    def __init__(self, owner: Owner, waiting: Waiting, process: ExecutorContext) -> None:
        record = waiting.record
        self._owner = owner
        self._process = process
        self._clock = waiting.clock
        self._started = now()
        self._attempts = 0
        self._perhaps = False
        self._has_begun = False
        self._unreadable = 0
        self._withheld = NOTHING
        self._began = self._attempted = boot_seconds()
        self._command = process.read(record, waiting.name)

    async def run(self) -> None:
        """Return when the command's result is durable."""
        command = self._command
        with tracing.span(
            f"process {command.topic}",
            kind="consumer",
            parent=command.traceparent,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.destination.name": command.topic,
                "messaging.destination.partition.id": str(command.partition),
                "messaging.kafka.offset": command.offset,
                "twilio_kafka.command.id": command.id,
            },
        ):
            await self._run_or_break()

    async def _run_or_break(self) -> None:
        """A command that meets a mistake of ours ends alone; its owner ends when it can or may write nothing more."""
        try:
            await self._run()
        except (Superseded, Unavailable, Unwritable, Leaving):
            raise
        except Exception as error:
            log.exception("command broken", command=self._command.command, id=self._command.id)
            await self._break(error)

    async def _break(self, error: Exception) -> None:
        message = f"The connector has met a mistake of its own ({type(error).__name__}); its log tells which."
        if not self._attempts and not self._perhaps:
            await self._reject(Rejected(message))
            return
        outcome: outcomes.OutcomeName = "unknown" if self._perhaps or self._has_begun else "failed"
        await self._finish(Outcome(outcome, error=outcomes.connector_error(message)))

    async def _run(self) -> None:
        if self._command.origin.topic not in self._process.topics:
            await self._pass_over()
            return
        entry = self._owner.open_attempt(self._command)
        if entry is not None:
            await self._finish(*await self._answer_in_doubt(entry))
            return
        self._perhaps = is_forgotten = self._owner.is_doubtful(self._command)
        if await (self._was_answered() if is_forgotten else self._forwarded()):
            return
        refused = await self._refused_reply()
        first = await self._owner.dedupe.first(self._command, self._owner.waiting)
        if first is not None:
            await self._finish_repeat(first)
            return
        if is_forgotten and not self._process.is_reading(self._command):
            await self._finish(*await self._answer_forgotten())
            return
        try:
            job = self._prepare(refused)
        except Rejected as error:
            await self._reject(error)
            return
        await self._finish(*await self._answer(job))

    async def _pass_over(self) -> None:
        """A record that a stranger wrote among the forwarded commands: kept as a dead letter, never executed."""
        error = Rejected(f"It was not sent on by the connector. Write commands to {self._process.prefix}.commands.….")
        log.error("forwarded command unreadable", position="/".join(map(str, self._command.position)))
        telemetry.DEAD_LETTERS.labels("command").inc()
        await self._write_end(self._ending((), letter=error), outcomes.done(self._command, Outcome("rejected")))

    def _prepare(self, refused: Rejected | None = None) -> Job:
        """Raises Rejected."""
        job = self._process.prepare(self._command, refused)
        self._withheld = withheld(job.client.secrets)
        return job

    async def _refused_reply(self) -> Rejected | None:
        """What is wrong with the reply topic that the command names; then nothing is written there."""
        partitions_of = self._owner.assignment.transactions.partitions_of
        refused = await self._answered(
            "reply topic waits", lambda: self._process.refused_reply(self._command, partitions_of)
        )
        if refused is not None:
            self._command = replace(self._command, reply_to=None)
        return refused

    async def _answer_in_doubt(self, entry: journal.Entry) -> list[Outcome]:
        """The answers to a command that a predecessor may have sent: never `rejected`, whatever the settings."""
        self._perhaps = True
        await self._refused_reply()
        try:
            job = self._prepare()
        except Rejected as error:
            await self._until_over(entry)
            gone = self._command.is_gone
            return [self._unknown(outcomes.RECORD_GONE if gone else outcomes.UNKNOWN, reason=f"{error!s:.200}")]
        resolved = await self._after_predecessor(job, entry)
        return [resolved] if resolved is not None else await self._answer(job)

    async def _was_answered(self) -> bool:
        """Whether a command of which the journal knows nothing more has its result: then that is all it gets."""
        ended = await self._owner.dedupe.answer_of(self._command, self._owner.waiting)
        if ended is not None:
            entry = replace(outcomes.done(self._command, Outcome("succeeded")), outcome=ended.outcome, sid=ended.sid)
            await self._owner.finish(self._command, [], replace(entry, at=ended.at))
        return ended is not None

    async def _answer_forgotten(self) -> list[Outcome]:
        """The answers to a command that may have been executed, though nothing tells: a create is not sent."""
        try:
            job = self._prepare()
        except Rejected as error:
            return [self._unknown(outcomes.FORGOTTEN, reason=f"{error!s:.200}")]
        return await self._answer(job) if job.repeatable else [self._unknown(outcomes.FORGOTTEN)]

    def _unknown(self, error: Mapping[str, Any], *, reason: str | None = None) -> Outcome:
        log.warning("unknown", command=self._command.command, id=self._command.id, reason=reason)
        return Outcome("unknown", error=error)

    def _predecessors(self, entry: journal.Entry, *, more: timedelta = timedelta(0)) -> Doubt:
        """A predecessor's attempt: it is over when its lease and request are, and in Twilio's list so much later."""
        whole = LEASE + self._process.request_timeout + more
        return doubt.of_predecessor(entry, fenced=self._owner.began, whole=whole)

    async def _until_over(self, entry: journal.Entry) -> None:
        """Wait until a predecessor's attempt cannot be under way any more."""
        clock = self._process.clock_of(self._command)
        await self._owner.wait(self._predecessors(entry).seconds_left(clock))

    async def _forwarded(self) -> bool:
        """Whether the command was sent on, in its order, to the partition where commands of its key or id meet."""
        command, process = self._command, self._process
        partition = partition_of_command(command, process.kafka.partitions)
        if command.origin != command.position or partition == command.partition:
            return False
        # Its id may have been executed here, when commands were not sent on or there were other partitions.
        first = await self._owner.dedupe.first(command, self._owner.waiting, begin=False)
        if first is not None:
            await self._finish_repeat(first)
            return True
        record = forwarded_record(command, prefix=process.prefix, partition=partition)
        try:
            await self._send_on(record)
        except Unwritable as error:
            log.warning("command not sent on", id=command.id, reason=f"{error!r:.200}")
            await self._reject(Rejected(UNFORWARDABLE.format(partition=partition)))
            return True
        process.note_forwarded(command)
        return True

    async def _send_on(self, record: Record) -> None:
        """Write the command where it belongs. While Kafka does not take it there, only its key waits."""
        pause = doubt.FIRST_LOOK_SECONDS
        while True:
            try:
                await self._owner.finish(self._command, [record], outcomes.forwarded(self._command))
            except Unacknowledged as error:
                log.warning("command waits to be sent on", id=self._command.id, reason=f"{error!r:.200}")
            else:
                return
            await self._owner.wait(pause)
            pause = min(pause * 2, doubt.LONGEST_LOOK_SECONDS)

    async def _finish_repeat(self, first: journal.Entry) -> None:
        ask = partial(self._process.first_answer, self._command, first)
        await self._finish(await self._answered("first result waits", ask))

    async def _answered(self, waits: str, ask: Callable[[], Awaitable[Found]]) -> Found:
        """What Kafka says, as soon as it does; until then the log says what waits."""
        while True:
            try:
                return await ask()
            except Unavailable as error:
                log.info(waits, id=self._command.id, reason=f"{error!r:.120}")
            await self._owner.wait(KAFKA_SECONDS)

    # --- attempts -------------------------------------------------------------------------------------------------
    async def _answer(self, job: Job) -> list[Outcome]:
        """The answers: one, or a list's last portions."""
        while not job.expired:
            try:
                return await self._attempt(job)
            except TwilioError as error:
                answer = await self._after(job, error)
                if answer is not None:
                    return [answer]
        # What may have been executed has not expired unexecuted.
        return [Outcome("unknown", error=outcomes.UNKNOWN) if self._perhaps else outcomes.EXPIRED_ANSWER]

    async def _after_predecessor(self, job: Job, entry: journal.Entry) -> Outcome | None:
        """What a predecessor's open attempt comes to; None: it may be sent again."""
        if job.repeatable or job.operation.reconciliation is None:
            await self._until_over(entry)
        if job.repeatable:
            return None
        return await self._resolve(job, self._predecessors(entry, more=self._process.settle_time))

    async def _after(self, job: Job, error: TwilioError) -> Outcome | None:
        """What an attempt without a 2xx comes to; None: try again, the wait is over."""
        match error:
            case BadCredentials() if self._attempts < CREDENTIAL_TRIES:
                await self._later(job, error, backoff_seconds(self._attempts, error.retry_after))
            case Refused():
                return await self._refused(job, error)
            case PerhapsExecuted() if not job.repeatable:
                self._perhaps = True
                return await self._resolve(job, doubt.own(self._attempted, settle=self._process.settle_time))
            case _:
                # Reading leaves nothing in doubt, except whether Kafka has stored the media that were read.
                is_reading = job.request.method == "GET" and not isinstance(error, PerhapsStored)
                self._perhaps |= isinstance(error, PerhapsExecuted) and not is_reading
                self._unreadable += isinstance(error, Unreadable)
                if self._unreadable >= UNREADABLE_TRIES:
                    return self._given_up(error)
                await self._later(job, error, backoff_seconds(self._attempts, error.retry_after))
        return None

    def _given_up(self, error: TwilioError) -> Outcome:
        """The answer when Twilio's cannot be used, however often it is asked for."""
        outcome: outcomes.OutcomeName = "unknown" if self._perhaps else "failed"
        return Outcome(outcome, error=outcomes.error_of(error, retryable=True), request_id=error.request_id)

    async def _attempt(self, job: Job) -> list[Outcome]:
        """Send once.

        What changes something is written down and awaited first, so that a superseded owner sends nothing; the lease
        check is the last statement before it.
        """
        async with self._turn(job):
            if job.expired:
                return [Outcome("unknown", error=outcomes.UNKNOWN) if self._perhaps else outcomes.EXPIRED_ANSWER]
            self._attempts += 1
            if job.request.method == "GET":
                # Reading does no harm twice: a drain does not wait for it.
                with self._owner.waiting():
                    return await self._send(job)
            leased = boot_seconds()
            over = leased + (LEASE + self._process.request_timeout).total_seconds()
            entry = outcomes.attempting(self._command, alike=job.alike, ahead=job.client.clock.ahead)
            self._attempted = leased
            self._has_begun = True
            await self._owner.attempt(self._command, entry)
            if boot_seconds() - leased > LEASE.total_seconds():
                raise NotExecuted("The attempt's lease ran out before it began.")
            # Once more when it is connected, directly before the socket: later a successor may have concluded.
            return await self._send(job, may_write=lambda: boot_seconds() < over)

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for Twilio's rate limit before taking a slot, so that a paced command does not block others."""
        client = None if job.operation.answer in WALKED else job.client
        slots = self._process.slots
        with self._owner.waiting():
            if client is not None:
                await client.enter(job.request, within=job.seconds_left)
            try:
                await slots.acquire()
            except BaseException:
                if client is not None:
                    client.leave()
                raise
        telemetry.COMMANDS_IN_FLIGHT.inc()
        try:
            yield
        finally:
            telemetry.COMMANDS_IN_FLIGHT.dec()
            slots.release()
            if client is not None:
                client.leave()

    async def _send(self, job: Job, *, may_write: MayWrite | None = None) -> list[Outcome]:
        """The answers of one attempt. Those that are not returned were written on the way: a long list's first pages.

        A list that begins anew writes its pages anew; the later page of a number counts.
        """
        process = self._process
        call = Call(
            client=job.client,
            operation=job.operation,
            parameters=job.parameters,
            request=job.request,
            store=process.store,
            media=self._owner.media,
            timeout_seconds=process.request_timeout.total_seconds(),
            within_seconds=LIST_SECONDS if job.seconds_left is None else min(LIST_SECONDS, job.seconds_left),
            may_write=may_write,
        )
        held: list[Outcome] = []
        page = size = 0
        found = portions(call)
        async with aclosing(found):
            async for portion in found:
                held.append(self._succeeded(job, portion, page=page))
                page += 1
                size += sum(len(bundle) for bundle in portion.bundles)
                if size > HELD_BYTES and len(held) > 1:
                    *pages, last = held
                    await self._write_pages(pages)
                    held, size = [last], sum(len(bundle) for bundle in last.bundles)
        return held or [self._succeeded(job, Portion(()))]

    async def _later(self, job: Job, error: TwilioError, seconds: float) -> None:
        """Wait before the next attempt, not longer than the command is valid.

        Whoever takes over meanwhile must know whether the last one may have done anything.
        """
        self._note_wait(error)
        if not self._perhaps and not isinstance(error, PerhapsExecuted):
            await self._owner.withdraw(self._command)
        if job.seconds_left is not None:
            seconds = min(seconds, max(0.0, job.seconds_left) + 0.001)
        await self._owner.wait(seconds)

    def _note_wait(self, error: TwilioError) -> None:
        """Log why a command waits: not for one failure, and more seldom the longer it takes."""
        if self._attempts > 1 and self._attempts.bit_count() == 1:
            command = self._command
            log.info(
                "command waits", command=command.command, id=command.id, attempts=self._attempts, reason=error.label
            )

    async def _refused(self, job: Job, error: Refused) -> Outcome | None:
        """What a refusal comes to; None: try again, the wait is over."""
        done = job.operation.done_codes | (job.operation.repeat_done_codes if self._perhaps else frozenset())
        if error.code in done or (error.status == 404 and 20404 in done):  # noqa: PLR2004 - 404 may come without a code
            return self._succeeded(job, Portion((), request_id=error.request_id))
        if self._perhaps and not job.repeatable:
            # A former attempt may have been executed; that this one was not says nothing about it.
            return Outcome("unknown", error=outcomes.UNKNOWN, request_id=error.request_id)
        if error.code in job.operation.delay_codes and boot_seconds() - self._began < DELAY_SECONDS_IN_ALL:
            step = min(self._attempts - 1, len(DELAY_SECONDS) - 1)
            await self._later(job, error, DELAY_SECONDS[step] * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            return None
        if self._perhaps and job.request.method != "GET":
            # It is refused, perhaps because the former attempt was executed.
            return Outcome("unknown", error=outcomes.error_of(error), request_id=error.request_id)
        return self._failed(job, error)

    # --- in doubt -------------------------------------------------------------------------------------------------
    async def _resolve(self, job: Job, attempt: Doubt) -> Outcome | None:
        """Find out whether an attempt was executed; None: send again, because policy says so."""
        row = None
        if job.operation.reconciliation is not None:
            with telemetry.COMMANDS_IN_DOUBT.track_inprogress():
                async with self._process.claims.used():
                    row = await doubt.find(self._owner, self._process, job, attempt)
        if row is not None:
            log.info("reconciled", command=self._command.command, id=self._command.id, sid=row["sid"])
            return replace(self._succeeded(job, portion_of(job.operation.bundle, row)), reconciled=True)
        if self._process.resend:
            return None
        return self._unknown(outcomes.UNKNOWN)

    # --- the end --------------------------------------------------------------------------------------------------
    def _succeeded(self, job: Job, portion: Portion, *, page: int = 0) -> Outcome:
        return Outcome(
            "succeeded",
            bundles=portion.bundles,
            error=outcomes.left_out(portion.left_out, portion.missing) if portion.missing else None,
            request_id=portion.request_id,
            sid=portion.sid,
            account_sid=job.client.account_sid,
            page=page,
        )

    def _failed(self, job: Job, error: Refused) -> Outcome:
        said = job.operation.answer == "raw" and error.body
        bundles = (orjson.dumps(error.body),) if said else ()
        return Outcome("failed", bundles=bundles, error=outcomes.error_of(error), request_id=error.request_id)

    async def _reject(self, error: Rejected) -> None:
        telemetry.DEAD_LETTERS.labels("command").inc()
        await self._finish(Outcome("rejected", error=outcomes.error_of(error)), letter=error)

    def _complete(self, answer: Outcome, *, last: bool) -> Outcome:
        return replace(outcomes.fitting(answer), attempts=self._attempts, started_at=self._started, last=last)

    def _ending(self, answers: Sequence[Outcome], *, letter: Rejected | None = None) -> Ending:
        process = self._process
        return Ending(
            command=self._command,
            answers=answers,
            letter=letter,
            prefix=process.prefix,
            group=process.group,
            envelope=process.envelope,
            withheld=self._withheld,
        )

    async def _write_pages(self, answers: Sequence[Outcome]) -> None:
        """Write the first pages of a long list. Where they cannot be replied with, the last ones are not either."""
        ending = self._ending([self._complete(answer, last=False) for answer in answers])
        await finishing.write(ending, self._owner.write)
        if not ending.is_replying:
            self._command = replace(self._command, reply_to=None)

    async def _finish(self, *answers: Outcome, letter: Rejected | None = None) -> None:
        """Write the result, all pages of it, the journal's entry and a dead letter: all of them, or none."""
        command = self._command
        *pages, answer = answers
        entry = outcomes.done(command, answer, ahead=self._process.clock_of(command).ahead)
        found = [self._complete(page, last=False) for page in pages]
        ending = self._ending([*found, self._complete(answer, last=True)], letter=letter)
        with tracing.span(f"send {self._process.prefix}.results.{command.command}", kind="producer") as span:
            span.note(messaging__system="kafka", twilio_kafka__outcome=answer.outcome, twilio__sid=answer.sid)
            await self._write_end(ending, entry)
        finishing.note(command, answer, attempts=self._attempts, clock=self._clock)

    async def _write_end(self, ending: Ending, entry: journal.Entry) -> None:
        async def write(records: Sequence[Record]) -> None:
            await self._owner.finish(self._command, records, entry)

        await finishing.write(ending, write)
