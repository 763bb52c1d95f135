"""An attempt whose answer is not known: how long it may still come to something, and the search for what it made."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from connector.errors import BadCredentials, Refused, TwilioError, Unavailable, Unreadable
from connector.events import boot_seconds
from connector.executor import outcome as outcomes
from connector.executor.command import Command
from connector.executor.job import Job, portion_of, succeeded
from connector.executor.outcome import Outcome
from connector.resources.commands import Operation
from connector.resources.fields import parse_time
from connector.resources.rows import Parameters, Request
from connector.state import journal
from connector.state.claims import Seen
from connector.telemetry import metrics
from connector.telemetry.logs import logger
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock, elapsed
from connector.twilio.paging import pages

if TYPE_CHECKING:
    from connector.executor.context import ExecutorContext
    from connector.executor.execution import Execution
    from connector.executor.owner import Owner

log = logger(__name__)

# Clocks of Twilio and ours may differ by this, and Twilio's times are whole seconds.
SKEW = timedelta(seconds=5)
# Lists are newest first; what we look for was made within the last minutes.
MAX_PAGES = 20

Row = Mapping[str, Any]
# How long an attempt that was written down may take to begin. A successor waits this and the request's timeout before
# it concludes anything.
LEASE = timedelta(seconds=2)
FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 10.0
# A list that Twilio answers, and that cannot be read.
UNREADABLE_LOOKS = 10
# Of looking for it after it must have shown, while Twilio does not answer.
SEARCH_SECONDS = 6 * 3600.0
# So much longer it is looked for while Twilio's time is being learnt: by the wrong one nothing is found.
LEARN_SECONDS = 10.0
LEARN_LOOK_SECONDS = 1.0
# Two clocks, each of them known to be about Twilio's.
ERROR_SECONDS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An attempt in doubt.

    `attempted` is when it was made, at the latest, and `ends` when it can come to nothing more, both by the clock never
    set; `whole` is how many seconds after the attempt that is. `entry` is a predecessor's: its own clock has written
    when it was.
    """

    attempted: float
    ends: float
    whole: float
    entry: journal.Entry | None = None

    def moment(self, clock: TwilioClock) -> datetime:
        """When it was made, by Twilio's clock as far as that is known."""
        if self.entry is not None:
            return self.entry.moment_by(clock.ahead)
        return clock.now() - timedelta(seconds=boot_seconds() - self.attempted)

    def seconds_left(self, clock: TwilioClock) -> float:
        """How long it may still come to something.

        A predecessor was fenced before its successor has begun, whatever the clocks say. They only tell how much longer
        ago the attempt was, if both processes knew Twilio's.
        """
        left = self.ends - boot_seconds()
        if self.entry is not None and self.entry.ahead is not None and clock.is_known:
            age = elapsed(self.entry.moment, clock.now(), error_seconds=ERROR_SECONDS).total_seconds()
            left = min(left, self.whole - age)
        return max(0.0, left)


def own(attempted: float, *, settle: timedelta) -> Doubt:
    """An attempt of this process whose answer was lost just now."""
    present = boot_seconds()
    seconds = settle.total_seconds()
    return Doubt(attempted=attempted, ends=present + seconds, whole=present - attempted + seconds)


def of_predecessor(entry: journal.Entry, *, fenced: float, whole: timedelta) -> Doubt:
    """An open attempt of a predecessor, which was fenced at that time by the clock never set."""
    seconds = whole.total_seconds()
    return Doubt(attempted=fenced, ends=fenced + seconds, whole=seconds, entry=entry)


class Look(NamedTuple):
    """What was found; `decided` tells whether another look could find more."""

    row: Row | None
    decided: bool


async def look(context: "ExecutorContext", job: Job, attempted_at: datetime, *, final: bool) -> Look:
    """What Twilio's list shows now of what an attempt may have made.

    What is found may belong to another command that looks alike: as long as one of those is under way its answer is
    waited for, and one that is in doubt as well until the look is `final`. Raises TwilioError, Unavailable.
    """
    latest = attempted_at + LEASE + context.request_timeout + context.settle_time
    found = await candidates(job.client, job.operation, job.parameters, since=attempted_at - SKEW, until=latest)
    if not found:
        return Look(None, decided=final)
    me = job.command.position
    # After the list: the command that made what it shows has written its attempt down before.
    view = await context.claims.view(attempted_at)
    clock = job.client.clock
    alike = view.others(me, job.alike).items()
    others = {place: one for place, one in alike if one.entry.moment_by(clock.ahead) <= latest}
    if any(_may_be_under_way(context, one, clock) for one in others.values()) or (others and not final):
        return Look(None, decided=False)
    # By what the journals say of both, so that the others' owners count alike.
    mine = view.attempts[me].entry.moment if me in view.attempts else attempted_at
    before = sum((one.entry.moment, place) < (mine, me) for place, one in others.items())
    return Look(choose(found, claimed=view.taken(me), rank=before), decided=final)


def _may_be_under_way(context: "ExecutorContext", attempt: Seen, clock: TwilioClock) -> bool:
    """Whether another command's open attempt may still get its answer: it was made before it was seen here."""
    whole = LEASE + context.request_timeout
    return of_predecessor(attempt.entry, fenced=attempt.seen, whole=whole).seconds_left(clock) > 0


async def find(owner: "Owner", context: "ExecutorContext", job: Job, doubt: Doubt) -> Row | None:
    """Look in Twilio's list until something is found, or until nothing can appear any more.

    A search that cannot be carried out ends as well: when Twilio refuses it, or answers what cannot be read too often,
    or does not answer for hours.
    """
    clock, pause, unreadable = job.client.clock, FIRST_LOOK_SECONDS, 0
    gives_up = doubt.ends + SEARCH_SECONDS
    while True:
        is_over = doubt.seconds_left(clock) <= 0
        is_learning = is_over and clock.is_learning and boot_seconds() < doubt.ends + LEARN_SECONDS
        is_final = is_over and not is_learning
        try:
            with owner.waiting():
                row, decided = await look(context, job, doubt.moment(clock), final=is_final)
            if row is not None or decided:
                return row
        except (TwilioError, Unavailable) as error:
            reason = error.label if isinstance(error, TwilioError) else f"{error!r:.120}"
            log.info("reconciliation waits", id=job.command.id, reason=reason)
            unreadable += isinstance(error, Unreadable)
            is_refused = isinstance(error, Refused) and not isinstance(error, BadCredentials)
            is_vain = is_refused or unreadable >= UNREADABLE_LOOKS or boot_seconds() >= gives_up
            if is_final and is_vain and not isinstance(error, Unavailable):
                return None
        left = doubt.seconds_left(clock) or (LEARN_LOOK_SECONDS if is_learning else LONGEST_LOOK_SECONDS)
        await owner.wait(min(pause, left))
        pause = min(pause * 2, LONGEST_LOOK_SECONDS)


async def after_predecessor(execution: "Execution", job: Job, entry: journal.Entry) -> Outcome | None:
    """What a predecessor's open attempt comes to; None: it may be sent again."""
    if job.repeatable or job.operation.reconciliation is None:
        await until_over(execution, entry)
    if job.repeatable:
        return None
    return await resolve(execution, job, _predecessors(execution, entry, more=execution.context.settle_time))


async def until_over(execution: "Execution", entry: journal.Entry) -> None:
    """Wait until a predecessor's attempt cannot be under way any more."""
    clock = execution.context.clock_of(execution.command)
    await execution.owner.wait(_predecessors(execution, entry).seconds_left(clock))


def _predecessors(execution: "Execution", entry: journal.Entry, *, more: timedelta = timedelta(0)) -> Doubt:
    """A predecessor's attempt: it is over when its lease and request are, and in Twilio's list so much later."""
    whole = LEASE + execution.context.request_timeout + more
    return of_predecessor(entry, fenced=execution.owner.began, whole=whole)


async def resolve(execution: "Execution", job: Job, attempt: Doubt) -> Outcome | None:
    """Find out whether an attempt was executed; None: send again, because policy says so."""
    row, command, context = None, execution.command, execution.context
    if job.operation.reconciliation is not None:
        with metrics.COMMANDS_IN_DOUBT.track_inprogress():
            async with context.claims.used():
                row = await find(execution.owner, context, job, attempt)
    if row is not None:
        log.info("reconciled", command=command.command, id=command.id, sid=row["sid"])
        return replace(succeeded(job.client, portion_of(job.operation.bundle, row)), reconciled=True)
    return None if context.resend else unknown(command, outcomes.UNKNOWN)


def unknown(command: Command, error: Mapping[str, Any], *, reason: str | None = None) -> Outcome:
    """The outcome of what may have been executed; it is logged."""
    log.warning("unknown", command=command.command, id=command.id, reason=reason)
    return Outcome("unknown", error=error)


def choose(found: Iterable[Row], *, claimed: Collection[str], rank: int = 0) -> Row | None:
    """The oldest that no other command has claimed; None when there is none.

    `rank` is how many commands in doubt, which look alike, come before: theirs are the oldest then.
    """
    dated = ((moment, row["sid"], row) for row in found if (moment := created(row)) is not None)
    free = sorted((one for one in dated if one[1] not in claimed), key=lambda one: one[:2])
    return free[rank][2] if rank < len(free) else None


def created(row: Row) -> datetime | None:
    """When Twilio created a row; None when the row does not say."""
    text = row.get("date_created")
    try:
        return parse_time(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def is_candidate(row: object, *, since: datetime, until: datetime) -> bool:
    """Whether a list's row has a SID and was created in this time.

    A row without a readable date is not one: adopting what may be older would call another message this command's.
    """
    if not isinstance(row, dict) or not isinstance(row.get("sid"), str) or not row["sid"]:
        return False
    moment = created(row)
    return moment is not None and since <= moment <= until


async def candidates(
    client: TwilioClient, operation: Operation, parameters: Parameters, *, since: datetime, until: datetime
) -> Sequence[Row]:
    """What Twilio's list shows now that was created in this time and may come from these parameters.

    No date filter: rows that are not yet sent have no date (facts, section 8). Raises TwilioError.
    """
    row = operation.reconciliation
    if row is None:
        return ()
    earliest = since.replace(microsecond=0)
    request = Request(
        method="GET",
        path=row.list_path(parameters),
        query=row.asked(parameters),
        host=operation.host,
        operation=f"List{operation.name}",
    )
    found: list[Row] = []
    walked = 0
    walk = pages(client, request, items=row.items)
    async with aclosing(walk):
        async for page in walk:
            recent = [item for item in page.rows if is_candidate(item, since=earliest, until=until)]
            found += [item for item in recent if row.matches(parameters, item)]
            walked += 1
            if _is_older(page.rows, earliest) or walked == MAX_PAGES:
                break
    return found


def _is_older(rows: Sequence[object], earliest: datetime) -> bool:
    """Whether a page leads back beyond this moment: all of its dated rows are older, and there is one."""
    moments = [moment for row in rows if isinstance(row, dict) and (moment := created(row)) is not None]
    return bool(moments) and max(moments) < earliest
