"""Twilio's time, learnt from the `Date` of its answers: only Twilio's clock tells how old Twilio's rows are.

Our own clock counts until enough answers agree that it is wrong; a single odd date changes nothing. What is learnt
holds against a clock that is never set, so that a step of ours does not matter.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median

from connector.events import boot_seconds
from connector.telemetry import logger

log = logger(__name__)

SAMPLES = 15
# So many of the last answers, and more than half of them, must name about the same time.
AGREEING = 3
NEAR_SECONDS = 3.0
# Below this our own clock is as good: dates are whole seconds, and answers take their time.
TOLERATED_SECONDS = 2.0
WARN_SECONDS = 30.0
# An answer that takes so long tells the time too roughly.
SLOW_SECONDS = 4.0
# A Date is cut to whole seconds.
CUT_SECONDS = 0.5


class TwilioClock:
    """The clock of one connection; `own` gives our time in seconds since 1970, `boot` that of the clock never set."""

    def __init__(
        self, name: str, *, own: Callable[[], float] = time.time, boot: Callable[[], float] = boot_seconds
    ) -> None:
        self.boot = boot
        self._name = name
        self._own = own
        self._samples: deque[float] = deque(maxlen=SAMPLES)
        self._is_apart = False

    def note(self, date: datetime | None, *, sent: float) -> None:
        """An answer to a request that was sent at `sent`, by the clock never set, has come with this date."""
        came = self.boot()
        if date is None or came - sent > SLOW_SECONDS:
            return
        middle = (sent + came) / 2
        self._samples.append(date.timestamp() + CUT_SECONDS - middle)
        self._tell()

    @property
    def is_known(self) -> bool:
        """Whether enough answers agree."""
        return self._learnt() is not None

    @property
    def ahead(self) -> float | None:
        """By how many seconds Twilio's clock is ahead of ours (negative: behind); None while it is not known.

        0 as long as the difference is no more than the measure's own error.
        """
        learnt = self._learnt()
        if learnt is None:
            return None
        ahead = learnt + self.boot() - self._own()
        return round(ahead, 3) if abs(ahead) > TOLERATED_SECONDS else 0.0

    def own(self) -> datetime:
        """The time of this machine's clock, UTC, in milliseconds."""
        return datetime.fromtimestamp(round(self._own(), 3), UTC)

    def now(self) -> datetime:
        """Twilio's time as far as it is known, else ours; UTC, in milliseconds."""
        seconds = self._own() + (self.ahead or 0.0)
        return datetime.fromtimestamp(round(seconds, 3), UTC)

    def _learnt(self) -> float | None:
        """Twilio's time at zero of the clock never set."""
        if len(self._samples) < AGREEING:
            return None
        middle = median(self._samples)
        agreeing = sum(abs(sample - middle) <= NEAR_SECONDS for sample in self._samples)
        return middle if agreeing >= AGREEING and 2 * agreeing > len(self._samples) else None

    def _tell(self) -> None:
        ahead = self.ahead
        is_apart = ahead is not None and abs(ahead) > WARN_SECONDS
        if is_apart and not self._is_apart:
            log.warning(
                "clocks apart",
                connection=self._name,
                twilio_ahead_seconds=ahead,
                remedy="Set this machine's clock (NTP). Until then Twilio's time counts where it matters.",
            )
        elif self._is_apart and not is_apart:
            log.info("clocks together again", connection=self._name)
        self._is_apart = is_apart


def elapsed(since: datetime, present: datetime, *, error_seconds: float = NEAR_SECONDS) -> timedelta:
    """How long ago that was at least, by two readings of Twilio's clock."""
    return max(timedelta(0), present - since - timedelta(seconds=error_seconds))
