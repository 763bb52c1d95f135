"""One command's life: prepared, attempted, answered. This is where all outcomes meet.

Twilio answers 2xx               succeeded
Refused                          failed; done codes: succeeded; delay codes: again later, within their budget
BadCredentials                   again a few times, then failed: a rotated token is re-read meanwhile
NotExecuted                      again, with backoff, until it expires
PerhapsExecuted, repeatable      again
PerhapsExecuted, a create        in doubt: reconciled -> succeeded; not found -> unknown, or sent again by policy
"""

import random
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from connector import telemetry
from connector.errors import (
    BadCredentials,
    NotExecuted,
    PerhapsExecuted,
    Refused,
    Rejected,
    TwilioError,
)
from connector.events import Record, now
from connector.executor import reconcile, results
from connector.executor.answers import Call, Portion, bundle_bytes, portions
from connector.executor.job import Job
from connector.executor.owner import Owner
from connector.executor.pending import Pending
from connector.executor.process import Process
from connector.executor.results import Answer
from connector.twilio.client import backoff_seconds

log = telemetry.logger(__name__)

# How long an attempt that was written down may take to begin. A successor waits this and the HTTP timeout before it
# concludes anything.
LEASE_SECONDS = 2.0
HTTP_SECONDS = 10.0
CREDENTIAL_TRIES = 3
# For refusals that pass with time, such as deleting a message that is still being sent (20009).
DELAY_BUDGET = timedelta(hours=1)
DELAY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 10.0


class Execution:
    """Executes one command for its owner; `process` is what all owners of this process share."""

    def __init__(self, owner: Owner, command: Pending, process: Process) -> None:
        self._owner = owner
        self._command = command
        self._process = process
        self._started = now()
        self._clock = time.monotonic()
        self._attempts = 0
        self._perhaps = False
        self._attempted_at = self._started

    async def run(self) -> None:
        """Return when the command's result is durable."""
        if self._owner.was_finished(self._command):
            return
        first = await self._owner.first_of_id(self._command)
        if first is not None:
            await self._finish(await self._process.first_answer(self._command, first))
            return
        try:
            job = await self._process.prepare(self._command, self._owner.seat.transactions.has_topic)
        except Rejected as error:
            await self._reject(error)
            return
        await self._finish(await self._answer(job))

    # --- attempts -------------------------------------------------------------------------------------------------
    async def _answer(self, job: Job) -> Answer:
        doubt = self._owner.open_attempt(self._command)
        if doubt is not None and not job.repeatable:
            running = timedelta(seconds=LEASE_SECONDS + HTTP_SECONDS)
            resolved = await self._resolve(job, doubt.at, settled=doubt.at + running + self._process.settle_time)
            if resolved is not None:
                return resolved
        while not job.expired:
            try:
                return await self._attempt(job)
            except TwilioError as error:
                answer = await self._after(job, error)
                if answer is not None:
                    return answer
        return Answer("expired", error=results.EXPIRED)

    async def _after(self, job: Job, error: TwilioError) -> Answer | None:
        """What an attempt without a 2xx comes to; None: try again, the wait is over."""
        match error:
            case BadCredentials() if self._attempts < CREDENTIAL_TRIES:
                await self._later(job, backoff_seconds(self._attempts, error.retry_after))
            case Refused():
                return await self._refused(job, error)
            case PerhapsExecuted() if not job.repeatable:
                self._perhaps = True
                return await self._resolve(job, self._attempted_at, settled=now() + self._process.settle_time)
            case _:
                self._perhaps |= isinstance(error, PerhapsExecuted)
                await self._later(job, backoff_seconds(self._attempts, error.retry_after))
        return None

    async def _attempt(self, job: Job) -> Answer:
        """Send once. A create is written down and awaited first; the lease check is the last statement before it."""
        async with self._process.slots, job.client.slot(job.request):
            if self._owner.seat.leaving.is_set():
                await self._owner.wait(0.001)
            if job.expired:
                return Answer("expired", error=results.EXPIRED)
            self._attempts += 1
            telemetry.COMMANDS_IN_FLIGHT.inc()
            try:
                if job.repeatable:
                    return await self._send(job)
                with self._process.similar(job.alike):
                    leased = boot_seconds()
                    entry = results.attempting(self._command, alike=job.alike)
                    self._attempted_at = entry.at
                    await self._owner.attempt(self._command, entry)
                    if boot_seconds() - leased > LEASE_SECONDS:
                        raise NotExecuted("The attempt's lease ran out before it began.")
                    return await self._send(job)
            finally:
                telemetry.COMMANDS_IN_FLIGHT.dec()

    async def _send(self, job: Job) -> Answer:
        """The answer of one attempt; all but the last portion of a long one are written on the way."""
        page = 0
        held: Portion | None = None
        call = Call(
            job.client, job.operation, job.parameters, job.request, self._process.store, self._owner.media, HTTP_SECONDS
        )
        async for portion in portions(call):
            if held is not None:
                await self._owner.write(self._records(self._succeeded(job, held, page=page, last=False)))
                page += 1
            held = portion
        return self._succeeded(job, held or Portion(()), page=page)

    async def _later(self, job: Job, seconds: float) -> None:
        """Wait before the next attempt, not longer than the command is valid."""
        if job.expires_at is not None:
            seconds = min(seconds, max(0.0, (job.expires_at - datetime.now(UTC)).total_seconds()) + 0.001)
        await self._owner.wait(seconds)

    async def _refused(self, job: Job, error: Refused) -> Answer | None:
        """What a refusal comes to; None: try again, the wait is over."""
        done = job.operation.done_codes | (job.operation.repeat_done_codes if self._perhaps else frozenset())
        if error.code in done or (error.status == 404 and 20404 in done):  # noqa: PLR2004 - 404 may come without a code
            return self._succeeded(job, Portion((), request_id=error.request_id))
        if error.code in job.operation.delay_codes and now() - self._started < DELAY_BUDGET:
            step = min(self._attempts - 1, len(DELAY_SECONDS) - 1)
            await self._later(job, DELAY_SECONDS[step] * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            return None
        return self._failed(job, error)

    # --- in doubt -------------------------------------------------------------------------------------------------
    async def _resolve(self, job: Job, attempted_at: datetime, *, settled: datetime) -> Answer | None:
        """Find out whether an attempt was executed; None: send again, because policy says so.

        `settled` is when what was made must be in Twilio's list: a predecessor's lease and request, too, are over then.
        """
        with telemetry.COMMANDS_IN_DOUBT.track_inprogress():
            row = await self._find(job, attempted_at, settled=settled) if job.operation.reconciliation else None
        if row is not None:
            log.info("reconciled", command=self._command.command, id=self._command.id, sid=row["sid"])
            bundle = bundle_bytes(job.operation.bundle, row)
            return self._succeeded(job, Portion((bundle,)), reconciled=True)
        if self._process.resend:
            return None
        log.warning("unknown", command=self._command.command, id=self._command.id)
        return Answer("unknown", error=results.UNKNOWN)

    async def _find(self, job: Job, attempted_at: datetime, *, settled: datetime) -> reconcile.Row | None:
        """Look until something is found, or until nothing can appear any more.

        While another attempt of this process looks alike, the choice waits for its answer: what is found may be its.
        """
        pause = FIRST_LOOK_SECONDS
        while True:
            final = now() >= settled
            try:
                found = await reconcile.candidates(job.client, job.operation, job.parameters, attempted_at=attempted_at)
                if found and (final or not self._process.has_similar(job.alike)):
                    row = await self._process.claim(found, since=attempted_at)
                    if row is not None:
                        return row
                if final:
                    return None
            except TwilioError as error:
                log.info("reconciliation waits", id=self._command.id, reason=error.label)
            left = (settled - now()).total_seconds()
            await self._owner.wait(pause if left <= 0 else min(pause, left))
            pause = min(pause * 2, LONGEST_LOOK_SECONDS)

    # --- the end --------------------------------------------------------------------------------------------------
    def _succeeded(
        self, job: Job, portion: Portion, *, page: int = 0, last: bool = True, reconciled: bool = False
    ) -> Answer:
        sid = results.subject(portion.bundles, "") or None
        if sid is not None and not job.repeatable:
            self._process.note_claim(sid)
        return Answer(
            "succeeded",
            bundles=portion.bundles,
            request_id=portion.request_id,
            sid=sid,
            account_sid=job.client.account_sid,
            reconciled=reconciled,
            page=page,
            last=last,
        )

    def _failed(self, job: Job, error: Refused) -> Answer:
        said = job.operation.answer == "raw" and error.body
        bundles = (orjson.dumps(error.body),) if said else ()
        return Answer("failed", bundles=bundles, error=results.error_of(error), request_id=error.request_id)

    async def _reject(self, error: Rejected) -> None:
        process = self._process
        letter = results.rejected_record(self._command, error, prefix=process.prefix, group=process.group)
        telemetry.DEAD_LETTERS.labels("command").inc()
        await self._finish(Answer("rejected", error=results.error_of(error)), letter)

    def _records(self, answer: Answer) -> list[Record]:
        complete = replace(answer, attempts=self._attempts, started_at=self._started)
        process = self._process
        return results.result_records(self._command, complete, prefix=process.prefix, envelope=process.envelope)

    async def _finish(self, answer: Answer, *more: Record) -> None:
        command = self._command
        entry = results.done(command, answer)
        await self._owner.finish(command, answer, [*self._records(answer), *more], entry)
        telemetry.COMMANDS.labels(command.command, answer.outcome).inc()
        telemetry.COMMAND_SECONDS.labels(command.command).observe(time.monotonic() - self._clock)
        log.info(
            "command finished",
            command=command.command,
            id=command.id,
            outcome=answer.outcome,
            sid=answer.sid,
            code=(answer.error or {}).get("code"),
            attempts=self._attempts,
        )


def boot_seconds() -> float:
    """A clock that also counts while the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
