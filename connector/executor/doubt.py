"""An attempt whose answer is not known: how long it may still come to something, and the search for what it made."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from connector import telemetry
from connector.errors import BadCredentials, Refused, TwilioError, Unavailable, Unreadable
from connector.events import boot_seconds
from connector.executor import reconcile
from connector.executor.job import Job
from connector.kafka import journal
from connector.twilio.clock import TwilioClock, elapsed

if TYPE_CHECKING:
    from connector.executor.owner import Owner
    from connector.executor.process import Process

log = telemetry.logger(__name__)

FIRST_LOOK_SECONDS = 0.25
LONGEST_LOOK_SECONDS = 10.0
# A list that Twilio answers, and that cannot be read.
UNREADABLE_LOOKS = 10
# Of looking for it after it must have shown, while Twilio does not answer.
SEARCH_SECONDS = 6 * 3600.0
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
            return self.entry.moment
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


async def find(owner: "Owner", process: "Process", job: Job, doubt: Doubt) -> reconcile.Row | None:
    """Look in Twilio's list until something is found, or until nothing can appear any more.

    A search that cannot be carried out ends as well: when Twilio refuses it, or answers what cannot be read too often,
    or does not answer for hours.
    """
    clock, pause, unreadable = job.client.clock, FIRST_LOOK_SECONDS, 0
    gives_up = doubt.ends + SEARCH_SECONDS
    while True:
        is_final = doubt.seconds_left(clock) <= 0
        try:
            with owner.waiting():
                row, decided = await process.look(job, doubt.moment(clock), final=is_final)
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
        left = doubt.seconds_left(clock)
        await owner.wait(pause if left <= 0 else min(pause, left))
        pause = min(pause * 2, LONGEST_LOOK_SECONDS)
