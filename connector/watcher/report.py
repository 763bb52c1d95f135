"""What a watch tells: one log line per poll that published, one per transition, and its metrics. No content of rows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from connector.errors import ConnectorError, InvalidRecord, TwilioError
from connector.events import now, timestamp
from connector.state.control import Answer
from connector.telemetry import metrics
from connector.telemetry.logs import logger
from connector.watcher.advance import Advance
from connector.watcher.cursor import LONGEST_REASON, Cursor, Failing

TELL_AGAIN_SECONDS = 60.0
SUCCEEDED = frozenset({"published", "idle"})

log = logger(__name__)

# The watch of a name may end after its successor began, in the same process: only the present one has an age.
_present: dict[str, "Report"] = {}


class Report:
    """The voice of one watch. `failing`: since when and why it stands still, None when it does not."""

    def __init__(self, name: str, *, interval: timedelta) -> None:
        self.name = name
        self._interval = interval
        self.failing: Failing | None = None
        self._tell_again_at = 0.0
        self.written_at = time.monotonic()
        self._log = log.bind(watch=name)
        self._conditions: set[str] = set()
        self._is_odd_dated = False

    @contextmanager
    def measured(self, is_paused: Callable[[], bool], *, age: timedelta) -> Iterator[None]:
        """Show the age of the cursor, the lag and whether it is paused while the watch runs here.

        Until the first write the cursor is as old as the predecessor left it (`age`), so that a watch that is taken
        over again and again without a write is seen.
        """
        _present[self.name] = self
        began = self.written_at
        inherited = max(0.0, age.total_seconds())

        def cursor_age() -> float:
            return time.monotonic() - self.written_at + (inherited if self.written_at == began else 0.0)

        metrics.WATCH_CURSOR_AGE.labels(self.name).set_function(cursor_age)
        metrics.WATCH_PAUSED.labels(self.name).set_function(is_paused)
        metrics.WATCH_INTERVAL.labels(self.name).set(self._interval.total_seconds())
        try:
            yield
        finally:
            if _present.get(self.name) is self:
                del _present[self.name]
                metrics.WATCH_CURSOR_AGE.remove(self.name)
                metrics.WATCH_LAG.remove(self.name)
                metrics.WATCH_PAUSED.remove(self.name)
                metrics.WATCH_INTERVAL.remove(self.name)

    def counted(self, outcome: str) -> None:
        """One more poll; told after failures when it succeeded."""
        metrics.WATCH_POLLS.labels(self.name, outcome).inc()
        if outcome in SUCCEEDED and self.failing is not None:
            self._log.info("polling works again", reason=self.failing.why, since=timestamp(self.failing.since))
            self.failing = None

    def _published(self, step: Advance, dead_letters: int) -> None:
        """What has been published, by SIDs and counts."""
        events = len(step.fresh) - dead_letters
        metrics.WATCH_PUBLISHED.labels(self.name).inc(events)
        if dead_letters:
            metrics.DEAD_LETTERS.labels("watch").inc(dead_letters)
        self._log.info(
            "published",
            events=events,
            dead_letters=dead_letters,
            first=step.fresh[0].sid,
            last=step.fresh[-1].sid,
            waiting=step.is_waiting,
        )

    def started(self, cursor: Cursor) -> None:
        """The watch has no cursor yet."""
        self._log.info("watch starts anew", since=timestamp(cursor.since))

    def catching_up(self, before: Cursor, begun: Cursor) -> None:
        """The watch is far back; what Twilio does not keep for so long is left out."""
        if begun.since > before.since:
            self._log.warning(
                "the start is beyond Twilio's retention, older records cannot be had",
                asked=timestamp(before.since),
                start=timestamp(begun.since),
            )
        if begun.catch_up is not None:
            self._log.info("catching up", since=timestamp(begun.since), until=timestamp(begun.catch_up.until))

    def advanced(self, before: Cursor, step: Advance, *, dead_letters: int, lag: timedelta) -> None:
        """What a step has published, how old the oldest record is that it has not, and what changes with it."""
        if step.fresh:
            self._published(step, dead_letters)
        metrics.WATCH_LAG.labels(self.name).set(max(0.0, lag.total_seconds()))
        if before.catch_up is not None and step.cursor.catch_up is None:
            self._log.info("caught up", until=timestamp(step.cursor.since))
        self.condition("more records within the overlap than a cursor holds: it is shortened", holds=step.is_shrunk)
        self.condition("more open records than are followed: the oldest are given up", holds=step.unfollowed > 0)

    def condition(self, sentence: str, *, holds: bool) -> None:
        """Warn when something begins, and say so when it is over."""
        if holds and sentence not in self._conditions:
            self._conditions.add(sentence)
            self._log.warning(sentence)
        elif not holds and sentence in self._conditions:
            self._conditions.discard(sentence)
            self._log.info("over", condition=sentence)

    def walked(self, *, is_capped: bool, off: timedelta | None) -> None:
        """Whether a walk showed all there is; and by how much the date of Twilio's last answer was off."""
        self.condition("Twilio shows a part of a second's records: set filters", holds=is_capped)
        if off is not None and not self._is_odd_dated:
            self._log.warning(
                "odd date in an answer of Twilio's",
                ahead_seconds=off.total_seconds(),
                remedy="The earlier clock counts. If it lasts, set this machine's clock (NTP), or look at the proxy.",
            )
        elif off is None and self._is_odd_dated:
            self._log.info("dates of Twilio's answers are as expected again")
        self._is_odd_dated = off is not None

    def turned_back(self, before: Cursor, after: Cursor) -> None:
        """The cursor was ahead of every clock."""
        self._log.error(
            "the cursor was ahead of Twilio's clock and of ours: it is turned back",
            polled_at=timestamp(before.polled_at),
            since=timestamp(after.since),
            remedy="What was created while the clocks were wrong may be missing: rewind the watch to that time.",
        )

    def retention_is_shorter(self, margin: timedelta) -> None:
        """Twilio refused a date that should have been within its retention."""
        self._log.warning("Twilio's retention is shorter than known", days=margin.days)

    def asked(self, answer: Answer) -> None:
        """Somebody asked for something at run time."""
        self._log.info("asked", action=answer.action, done=answer.done, answer=answer.message)

    def failed(self, why: str, *, since: datetime | None = None) -> None:
        """The watch stands still, where it is known: since an earlier moment; told when the reason is new."""
        is_new = self.failing is None or (why != self.failing.why and time.monotonic() >= self._tell_again_at)
        self.failing = Failing(self.failing.since if self.failing else since or now(), why[:LONGEST_REASON])
        if is_new:
            self._tell_again_at = time.monotonic() + TELL_AGAIN_SECONDS
            self._log.warning("polling fails", reason=why, since=timestamp(self.failing.since))

    def broke(self, error: BaseException) -> None:
        """Our own code has failed; told with its traceback when it is new."""
        if self.failing is None:
            self._log.error("watch failed", exc_info=error)

    def left_out(self, sid: str, why: str) -> None:
        """Kafka takes no record of a row, not even its dead letter."""
        self._log.error("row left out", sid=sid, reason=why)


def reason_of(error: Exception, watch: str, *, is_cursor: bool) -> str:
    """Why a watch stands still, without content; `is_cursor`: its cursor cannot be read."""
    match error:
        case TwilioError():
            return error.label
        case InvalidRecord() if is_cursor:
            return f"{error} Update the connector, or go on from a time: twilio-kafka watches rewind {watch} --to …"
        case ConnectorError():
            return str(error)
    return f"{type(error).__name__} in the connector: its log has the traceback."
