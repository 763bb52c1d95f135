"""When a watch polls next: sooner while there is traffic, later the longer Twilio fails. Pure."""

import zlib
from datetime import timedelta

from connector.errors import BadCredentials, TwilioError

QUICKEST = 4
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
UNAUTHORIZED_IN_A_ROW = 3
JITTER = 0.1
_GOLDEN = 0.618034


class Pace:
    """Seconds to wait after each poll. They differ from watch to watch, so that watches do not poll in step."""

    def __init__(self, name: str, interval: timedelta) -> None:
        self.failures = 0
        self._longest = interval.total_seconds()
        self._present = self._longest
        self._phase = zlib.crc32(name.encode()) / 2**32

    def after_poll(self, *, published: bool, took: float = 0.0) -> float:
        """The interval, down to a quarter of it while there is something to publish, and to what the poll took.

        So a list that takes Twilio long to give is not asked for all the time.
        """
        self.failures = 0
        factor = 0.5 if published else 2.0
        self._present = min(max(self._present * factor, self._longest / QUICKEST), self._longest)
        return self._jittered(min(max(self._present, took), self._longest))

    def after_failure(self, error: Exception) -> float:
        """Twice as long after each failure; wrong credentials, once they are certain, are tried once a minute."""
        self.failures += 1
        if isinstance(error, BadCredentials) and self.failures >= UNAUTHORIZED_IN_A_ROW:
            return self._jittered(LONGEST_RETRY_SECONDS)
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(self.failures - 1, 10), LONGEST_RETRY_SECONDS)
        asked = error.retry_after if isinstance(error, TwilioError) else None
        return max(self._jittered(delay), asked or 0.0)

    def _jittered(self, seconds: float) -> float:
        """Not longer, and up to a tenth shorter."""
        self._phase = (self._phase + _GOLDEN) % 1
        return seconds * (1 - JITTER * self._phase)
