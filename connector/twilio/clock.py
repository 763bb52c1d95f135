"""Twilio's time, learnt from the `Date` of its answers: only Twilio's clock tells how old Twilio's rows are.

An answer whose date is that of our own clock is believed at once: two clocks that agree are right. Any other time is
believed when most answers have named it for a while, so that a few seconds of odd dates change nothing. What is learnt
holds against a clock that is never set, so that a step of ours does not matter.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from statistics import median

from connector.events import boot_seconds
from connector.telemetry.logs import logger

log = logger(__name__)

# One answer a second counts, so that a burst is not heard louder than the rest.
SAMPLE_SECONDS = 1.0
SAMPLES = 40
# Older answers say nothing about now, if there are enough others.
OLD_SECONDS = 90.0
# So many of them, and so large a part, must name about the same time: for APART_SECONDS where it is not that of our own
# clock, for CHANGED_SECONDS where another one is known.
AGREEING = 3
AGREEING_PART = 2 / 3
NEAR_SECONDS = 3.0
APART_SECONDS = 5.0
CHANGED_SECONDS = 30.0
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
        self._samples: deque[tuple[float, float]] = deque(maxlen=SAMPLES)
        # Twilio's time at zero of the clock never set.
        self._learnt: float | None = None
        self._is_apart = False

    def note(self, date: datetime | None, *, sent: float) -> None:
        """An answer to a request that was sent at `sent`, by the clock never set, has come with this date."""
        came = self.boot()
        if date is None or came - sent > SLOW_SECONDS:
            return
        zero = date.timestamp() + CUT_SECONDS - (sent + came) / 2
        if self._learnt is None and abs(zero + came - self._own()) <= NEAR_SECONDS:
            self._samples.clear()
            self._learnt = zero
        elif self._samples and came - self._samples[-1][0] < SAMPLE_SECONDS:
            return
        self._samples.append((came, zero))
        while len(self._samples) > AGREEING and came - self._samples[0][0] > OLD_SECONDS:
            self._samples.popleft()
        self._learn()
        self._tell()

    @property
    def is_known(self) -> bool:
        """Whether Twilio's time has been learnt."""
        return self._learnt is not None

    @property
    def is_learning(self) -> bool:
        """Whether answers have named a time that is not believed yet."""
        return self._learnt is None and bool(self._samples)

    @property
    def ahead(self) -> float | None:
        """By how many seconds Twilio's clock is ahead of ours (negative: behind); None while it is not known.

        0 as long as the difference is no more than the measure's own error.
        """
        if self._learnt is None:
            return None
        ahead = self._learnt + self.boot() - self._own()
        return round(ahead, 3) if abs(ahead) > TOLERATED_SECONDS else 0.0

    def own(self) -> datetime:
        """The time of this machine's clock, UTC, in milliseconds."""
        return datetime.fromtimestamp(round(self._own(), 3), UTC)

    def now(self) -> datetime:
        """Twilio's time as far as it is known, else ours; UTC, in milliseconds."""
        seconds = self._own() + (self.ahead or 0.0)
        return datetime.fromtimestamp(round(seconds, 3), UTC)

    def _learn(self) -> None:
        """Believe what most of the last answers have named for long enough."""
        middle = median(zero for _, zero in self._samples)
        agreeing = [came for came, zero in self._samples if abs(zero - middle) <= NEAR_SECONDS]
        if len(agreeing) < max(AGREEING, AGREEING_PART * len(self._samples)):
            return
        if agreeing[-1] - agreeing[0] >= (APART_SECONDS if self._learnt is None else CHANGED_SECONDS):
            self._learnt = middle

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


@lru_cache(maxsize=64)
def parse_date(text: str | None) -> datetime | None:
    """The moment that a header names, as HTTP or ISO 8601 write it, UTC; None when there is none or it cannot be read.

    Answers of a second share it.
    """
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text) if text[0].isdigit() else parsedate_to_datetime(text)
        # The zone -0000 is none to Python, which would take the machine's.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
