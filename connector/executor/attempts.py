"""A command's job, and the attempts at it until it is decided what it came to: here all of Twilio's answers meet.

Twilio answers 2xx               succeeded
Refused                          failed; done codes: succeeded; delay codes: again later, within their budget
BadCredentials                   again a few times, then failed: a rotated token is re-read meanwhile
NotExecuted                      again, with backoff, until it expires
PerhapsExecuted, repeatable      again
Unreadable, repeatable           again a few times, then failed; unknown where it may have changed something
PerhapsExecuted, a create        in doubt: reconciled -> succeeded; not found -> unknown, or sent again by policy
"""

import random
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from connector import telemetry
from connector.errors import (
    BadCredentials,
    ConnectorError,
    NotExecuted,
    PerhapsExecuted,
    PerhapsStored,
    Refused,
    Rejected,
    TwilioError,
    Unreadable,
)
from connector.events import boot_seconds, now
from connector.executor import doubt, finishing
from connector.executor import outcome as outcomes
from connector.executor.answers import ANSWERED, LIST_SECONDS, WALKED, Call, Portion, portion_of
from connector.executor.command import Command, attempting
from connector.executor.doubt import LEASE, Doubt
from connector.executor.finishing import NOTHING, withheld
from connector.executor.outcome import Outcome
from connector.resources.models import texts
from connector.resources.parameters import fill_callbacks, parse
from connector.resources.rows import Operation, Parameters, Request
from connector.state import journal
from connector.twilio.client import TwilioClient
from connector.twilio.pacing import backoff_seconds

if TYPE_CHECKING:
    from connector.executor.context import ExecutorContext
    from connector.executor.owner import Owner

log = telemetry.logger(__name__)

CREDENTIAL_TRIES = 3
# Of what Twilio has answered with a 2xx and nothing that can be used.
UNREADABLE_TRIES = 5
# For refusals that pass with time, such as deleting a message that is still being sent (20009).
DELAY_SECONDS_IN_ALL = 3600.0
DELAY_SECONDS = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)
# Bundles of a list that are held back, so that nearly every list becomes visible as a whole.
HELD_BYTES = 2 * 1024 * 1024
# An address with parameters has one of these, however it is escaped.
PERHAPS_ADDRESS = re.compile(rb"[=%&\\]|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class Job:
    """Operation, parameters, connection and request of a command; `alike` is what Twilio's list would tell apart."""

    command: Command
    operation: Operation
    parameters: Parameters
    client: TwilioClient
    request: Request
    expires_at: datetime | None
    repeatable: bool
    alike: str

    @property
    def expired(self) -> bool:
        """Whether it is not to be executed any more."""
        return self.expires_at is not None and self.client.clock.now() >= self.expires_at

    @property
    def seconds_left(self) -> float | None:
        """How long it is to be waited for at the most; None: as long as it takes."""
        return None if self.expires_at is None else (self.expires_at - self.client.clock.now()).total_seconds()


def prepare(context: "ExecutorContext", command: Command, refused: Rejected | None = None) -> Job:
    """The job of a command; `refused` is what is wrong with its reply topic.

    Raises Rejected with one sentence when it is not to be sent.
    """
    try:
        return _job(context, command, refused)
    except ConnectorError:
        raise
    except Exception as error:
        # Nothing that a caller may write is to stop those behind it.
        log.exception("command unreadable", command=command.command, id=command.id)
        raise Rejected(f"{command.command}: cannot be read ({type(error).__name__}).") from error


def _job(context: "ExecutorContext", command: Command, refused: Rejected | None) -> Job:
    if command.problem is not None:
        raise Rejected(command.problem)
    expires_at = command.expires_at if command.expires_text else None
    client = context.clients.get(command.connection)
    if client is None:
        known = ", ".join(sorted(context.clients))
        raise Rejected(f"header connection: {command.connection[:60]!r} is not configured; known: {known}.")
    if refused is not None:
        raise refused
    operation, parameters = parse(context.commands[command.command], command.value)
    if context.names_cause is not None and PERHAPS_ADDRESS.search(command.value or b""):
        # It would have Twilio sign that another command caused a callback.
        name = next((name for name, text in texts(parameters) if context.names_cause(text)), None)
        if name is not None:
            raise Rejected(
                f"{name} holds an address of the connector's with command, correlation or traceparent: leave them out, "
                "they are the connector's to set."
            )
    callback_url = context.callback_url
    if callback_url is not None:
        parameters = fill_callbacks(operation, parameters, lambda kind: callback_url(kind, command))
    return Job(
        command=command,
        operation=operation,
        parameters=parameters,
        client=client,
        request=operation.request(parameters),
        expires_at=expires_at,
        repeatable=operation.may_repeat(parameters),
        alike=operation.fingerprint(parameters),
    )


def unknown(command: Command, error: Mapping[str, Any], *, reason: str | None = None) -> Outcome:
    """The outcome of what may have been executed; it is logged."""
    log.warning("unknown", command=command.command, id=command.id, reason=reason)
    return Outcome("unknown", error=error)


class Attempts:
    """One command and what has been tried of it.

    `clock` is when it was read (monotonic seconds), `started` when its execution began. `count` tells how many attempts
    were made, `has_begun` whether one of them was journalled, `perhaps` whether one may have been executed.
    """

    def __init__(self, owner: "Owner", context: "ExecutorContext", command: Command, *, clock: float) -> None:
        self.owner = owner
        self.context = context
        self.command = command
        self.clock = clock
        self.started = now()
        self.count = 0
        self.perhaps = False
        self.has_begun = False
        self.withheld = NOTHING
        self._unreadable = 0
        self._began = self._attempted = boot_seconds()

    def prepare(self, refused: Rejected | None = None) -> Job:
        """The job of the command, whose secrets are withheld from then on. Raises Rejected."""
        job = prepare(self.context, self.command, refused)
        self.withheld = withheld(job.client.secrets)
        return job

    async def until_decided(self, job: Job) -> list[Outcome]:
        """Attempt until it is decided. The outcomes: one, or a list's last pages."""
        while not job.expired:
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

        What changes something is written down and awaited first, so that a superseded owner sends nothing; the lease
        check is the last statement before it.
        """
        async with self._turn(job):
            if job.expired:
                return [self._expired()]
            self.count += 1
            if job.request.method == "GET":
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
            # Once more when it is connected, directly before the socket: later a successor may have concluded.
            return await self._send(job, write_until=over)

    @asynccontextmanager
    async def _turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for Twilio's rate limit before taking a slot, so that a paced command does not block others."""
        # Each page of a list waits for its turn by itself.
        client = None if job.operation.answer == "many" else job.client
        slots = self.context.slots
        with self.owner.waiting():
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

    async def _send(self, job: Job, *, write_until: float | None = None) -> list[Outcome]:
        """The outcomes of one attempt, which is not written to the socket after a moment of the clock never set."""
        operation, seconds = job.operation, self.context.request_timeout.total_seconds()
        if operation.answer in WALKED:
            return await self._walk(job, seconds)
        response = await job.client.send(job.request, timeout_seconds=seconds, write_until=write_until)
        return [_succeeded(job, ANSWERED[operation.answer](job.client, operation, job.parameters, response))]

    async def _walk(self, job: Job, seconds: float) -> list[Outcome]:
        """The same of a list or a download. What is not returned was written on the way: a long list's first pages.

        A list that begins anew writes its pages anew; the later page of a number counts.
        """
        left = job.seconds_left
        call = Call(
            client=job.client,
            operation=job.operation,
            parameters=job.parameters,
            request=job.request,
            store=self.context.store,
            media=self.owner.media,
            timeout_seconds=seconds,
            within_seconds=LIST_SECONDS if left is None else min(LIST_SECONDS, left),
        )
        held: list[Outcome] = []
        page = size = 0
        found = WALKED[job.operation.answer](call)
        async with aclosing(found):
            async for portion in found:
                held.append(_succeeded(job, portion, page=page))
                page += 1
                size += sum(map(len, portion.bundles))
                if size > HELD_BYTES and len(held) > 1:
                    *pages, last = held
                    await finishing.write_pages(self, pages)
                    held, size = [last], sum(map(len, last.bundles))
        return held or [_succeeded(job, Portion(()))]

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
                return await self.resolve(job, doubt.own(self._attempted, settle=self.context.settle_time))
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
        left = job.seconds_left
        await self.owner.wait(seconds if left is None else min(seconds, max(0.0, left) + 0.001))

    async def _refused(self, job: Job, error: Refused) -> Outcome | None:
        """What a refusal comes to; None: try again, the wait is over."""
        operation = job.operation
        done = operation.done_codes | (operation.repeat_done_codes if self.perhaps else frozenset())
        if error.code in done or (error.status == 404 and 20404 in done):  # noqa: PLR2004 - 404 may come without a code
            return _succeeded(job, Portion((), request_id=error.request_id))
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

    # --- in doubt -------------------------------------------------------------------------------------------------
    async def after_predecessor(self, job: Job, entry: journal.Entry) -> Outcome | None:
        """What a predecessor's open attempt comes to; None: it may be sent again."""
        if job.repeatable or job.operation.reconciliation is None:
            await self.until_over(entry)
        if job.repeatable:
            return None
        return await self.resolve(job, self._predecessors(entry, more=self.context.settle_time))

    async def until_over(self, entry: journal.Entry) -> None:
        """Wait until a predecessor's attempt cannot be under way any more."""
        clock = self.context.clock_of(self.command)
        await self.owner.wait(self._predecessors(entry).seconds_left(clock))

    def _predecessors(self, entry: journal.Entry, *, more: timedelta = timedelta(0)) -> Doubt:
        """A predecessor's attempt: it is over when its lease and request are, and in Twilio's list so much later."""
        whole = LEASE + self.context.request_timeout + more
        return doubt.of_predecessor(entry, fenced=self.owner.began, whole=whole)

    async def resolve(self, job: Job, attempt: Doubt) -> Outcome | None:
        """Find out whether an attempt was executed; None: send again, because policy says so."""
        row = None
        if job.operation.reconciliation is not None:
            with telemetry.COMMANDS_IN_DOUBT.track_inprogress():
                async with self.context.claims.used():
                    row = await doubt.find(self.owner, self.context, job, attempt)
        if row is not None:
            log.info("reconciled", command=self.command.command, id=self.command.id, sid=row["sid"])
            return replace(_succeeded(job, portion_of(job.operation.bundle, row)), reconciled=True)
        if self.context.resend:
            return None
        return unknown(self.command, outcomes.UNKNOWN)


def _succeeded(job: Job, portion: Portion, *, page: int = 0) -> Outcome:
    return Outcome(
        "succeeded",
        bundles=portion.bundles,
        error=outcomes.left_out(portion.left_out, portion.missing) if portion.missing else None,
        request_id=portion.request_id,
        sid=portion.sid,
        account_sid=job.client.account_sid,
        page=page,
    )
