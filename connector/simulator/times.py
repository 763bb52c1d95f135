"""Dates as Twilio writes and reads them: RFC 2822 on the 2010 API, ISO 8601 on the newer domains, seconds inside."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from functools import lru_cache

DAY_SECONDS = 86_400
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*")


@dataclass(frozen=True, slots=True)
class Moment:
    """A date of a filter: epoch seconds, and whether only a day was given."""

    second: int
    day_only: bool

    @property
    def day(self) -> int:
        """The first second of its day, UTC."""
        return self.second - self.second % DAY_SECONDS


@lru_cache(maxsize=65_536)
def rfc2822(second: int | None) -> str | None:
    """Epoch seconds as `Fri, 24 May 2019 17:44:46 +0000`."""
    return None if second is None else format_datetime(datetime.fromtimestamp(second, UTC))


@lru_cache(maxsize=65_536)
def iso8601(second: int | None) -> str | None:
    """Epoch seconds as `2015-07-30T20:00:00Z`."""
    return None if second is None else datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(value: str) -> Moment:
    """Read a day, an ISO date-time (without offset: UTC) or an RFC 2822 date; raises ValueError."""
    if _DAY.fullmatch(value):
        return Moment(int(datetime.fromisoformat(value).replace(tzinfo=UTC).timestamp()), day_only=True)
    read = datetime.fromisoformat(value) if _MOMENT.fullmatch(value) else parsedate_to_datetime(value)
    return Moment(int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()), day_only=False)
