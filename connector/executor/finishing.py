"""How a command's end is written: as it is where Kafka takes it, else with less, down to records that always fit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from connector import telemetry, tracing
from connector.dead_letters.record import REPLAY_COUNT, dead_letter
from connector.dead_letters.record import TOPIC as DEAD_LETTERS
from connector.errors import Rejected, Unacknowledged, Unwritable
from connector.events import Envelope, Headers, Record
from connector.executor import outcome as outcomes
from connector.executor.command import SPRING, TEXTS, Command
from connector.executor.outcome import NOTHING, Outcome, Withheld
from connector.state import journal

if TYPE_CHECKING:
    from connector.executor.attempts import Attempts

log = telemetry.logger(__name__)

# Between tries while a topic of ours takes nothing.
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
# What a dead letter needs to be replayed; other headers are a stranger's.
NEEDED_HEADERS = frozenset(
    {"id", "ce_id", "correlation-id", "ce_correlationid", "traceparent", REPLAY_COUNT, *SPRING, *TEXTS}
)
LONGEST_NEEDED = 1024

# The forms of a result, each smaller than the one before.
WHOLE, REDUCED, LAST = range(3)
# Those of a dead letter.
UNCHANGED, BARE, REASONS, NONE = range(4)

Write = Callable[[Sequence[Record]], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Ending:
    """What is to be written: `answers` are results, the last one of them or pages of a list, `letter` why it is dead.

    Each reduction makes a record smaller. The last ones have some kilobytes, whatever the command holds.
    """

    command: Command
    answers: Sequence[Outcome]
    prefix: str
    group: str
    envelope: Envelope
    letter: BaseException | None = None
    withheld: Withheld = NOTHING
    is_replying: bool = field(init=False)
    result_form: int = WHOLE
    letter_form: int = UNCHANGED
    results_topic: str = field(init=False)
    letters_topic: str = field(init=False)

    def __post_init__(self) -> None:
        self.is_replying = self.command.reply_to is not None and bool(self.answers)
        self.results_topic = f"{self.prefix}.results.{self.command.command}"
        self.letters_topic = f"{self.prefix}.{DEAD_LETTERS}"

    def records(self) -> list[Record]:
        """The records, as they are to be tried now."""
        found: list[Record] = []
        for answer in self.answers:
            result = self._result(answer)
            reply = outcomes.reply_record(self.command, result) if self.is_replying else None
            found += [result, reply] if reply else [result]
        if self.letter is not None and self.letter_form != NONE:
            found.append(self._letter(self.letter))
        return found

    def reduce(self, error: Unwritable | Unacknowledged) -> str | None:
        """Leave out what Kafka does not take, and say what that is; None: there is nothing more to leave out."""
        if self.is_replying and error.topic in (self.command.reply_to, None):
            self.is_replying = False
            return "reply left out"
        if isinstance(error, Unacknowledged):
            # A topic of ours that is silent speaks again.
            return None
        if self.letter is not None and self.letter_form < NONE and error.topic in (self.letters_topic, None):
            return self._reduce_letter(error)
        if self.result_form < LAST and not error.is_of_topic and error.topic in (self.results_topic, None):
            self.result_form += 1
            return "result reduced"
        return None

    def _reduce_letter(self, error: Unwritable) -> str:
        self.letter_form = NONE if error.is_of_topic else self.letter_form + 1
        if error.topic is None:
            self.result_form = min(self.result_form + 1, LAST)
        return "dead letter left out" if self.letter_form == NONE else "dead letter reduced"

    def _result(self, answer: Outcome) -> Record:
        form = {"prefix": self.prefix, "envelope": self.envelope, "withheld": self.withheld}
        answer = answer if self.result_form == WHOLE else outcomes.least(answer)
        record = outcomes.result_record(self.command, answer, **form)  # type: ignore[arg-type]  # one for each parameter
        return outcomes.last_resort(self.command, record) if self.result_form == LAST else record

    def _letter(self, error: BaseException) -> Record:
        """The dead letter of a command that is never sent: as it came, without a stranger's headers, or its reasons."""
        command, form = self.command, self.letter_form
        if form == REASONS:
            error = Rejected(f"Without its record, which Kafka does not take here: {error}")
        return dead_letter(
            self.prefix,
            key=command.id.encode() if form == REASONS else command.key,
            value=None if form == REASONS else command.value,
            headers=command.headers if form == UNCHANGED else _needed(command),
            error=error,
            stage="command",
            topic=command.origin.topic,
            partition=command.origin.partition,
            offset=command.origin.offset,
            group=self.group,
            occurred=command.received,
        )


def _needed(command: Command) -> Headers:
    """The last of each header that the command needs."""
    named = {name: raw or b"" for name, raw in command.headers if name in NEEDED_HEADERS}
    return [(name, raw) for name, raw in named.items() if len(raw) <= LONGEST_NEEDED]


async def finish(attempts: "Attempts", *found: Outcome, letter: Rejected | None = None) -> None:
    """Write the result, all pages of it, the journal's entry and a dead letter: all of them, or none."""
    command, outcome = attempts.command, found[-1]
    name = command.command
    entry = outcomes.done(command, outcome, ahead=attempts.context.ahead(command))
    with tracing.span(f"send {attempts.context.prefix}.results.{name}", kind="producer") as span:
        span.note(messaging__system="kafka", twilio_kafka__outcome=outcome.outcome, twilio__sid=outcome.sid)
        await write_end(attempts, found, entry, letter=letter)
    exemplar = tracing.exemplar()
    _finished(name, outcome.outcome).inc(1, exemplar)
    _duration(name).observe(time.monotonic() - attempts.clock, exemplar)
    log.info(
        "command finished",
        command=name,
        id=command.id,
        outcome=outcome.outcome,
        sid=outcome.sid,
        code=(outcome.error or {}).get("code"),
        attempts=attempts.count,
    )


async def reject(attempts: "Attempts", error: Rejected) -> None:
    """Write the result of a command that is not to be sent, and its dead letter."""
    telemetry.DEAD_LETTERS.labels("command").inc()
    await finish(attempts, Outcome("rejected", error=outcomes.error_of(error)), letter=error)


async def write_end(
    attempts: "Attempts", found: Sequence[Outcome], entry: journal.Entry, *, letter: Rejected | None = None
) -> None:
    """Make the last results, the journal's entry and a dead letter durable: all of them, or none."""
    ended = [_complete(attempts, outcome, last=outcome is found[-1]) for outcome in found]
    ending = _ending(attempts, ended, letter=letter)
    await _write(ending, lambda records: attempts.owner.finish(attempts.command, records, entry))


async def write_pages(attempts: "Attempts", pages: Sequence[Outcome]) -> None:
    """Write the first pages of a long list. Where they cannot be replied with, the last ones are not either."""
    ending = _ending(attempts, [_complete(attempts, page, last=False) for page in pages])
    await _write(ending, attempts.owner.write)
    if not ending.is_replying:
        attempts.command = replace(attempts.command, reply_to=None)


def _complete(attempts: "Attempts", outcome: Outcome, *, last: bool) -> Outcome:
    return replace(outcomes.fitting(outcome), attempts=attempts.count, started_at=attempts.started, last=last)


def _ending(attempts: "Attempts", found: Sequence[Outcome], *, letter: Rejected | None = None) -> Ending:
    context = attempts.context
    return Ending(
        command=attempts.command,
        answers=found,
        letter=letter,
        prefix=context.prefix,
        group=context.group,
        envelope=context.envelope,
        withheld=attempts.withheld,
    )


async def _write(ending: Ending, write_records: Write) -> None:
    """Return when the records are durable, with less in them where Kafka does not take all.

    While Kafka takes not even the least of a result it is tried again: only this command waits for that. Raises what
    `write_records` raises for other reasons, and what the journal does not take.
    """
    pause = 0.0
    while True:
        try:
            await write_records(ending.records())
        except (Unwritable, Unacknowledged) as error:
            if error.topic not in (None, ending.results_topic, ending.letters_topic, ending.command.reply_to):
                raise
            without = ending.reduce(error)
            if without or not pause:
                log.warning(without or "result waits", id=ending.command.id, reason=f"{error!r:.200}")
            if without:
                continue
        else:
            return
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS) or PAUSE_SECONDS
        await asyncio.sleep(pause)


@lru_cache(maxsize=256)
def _finished(command: str, outcome: str) -> Counter:
    return telemetry.COMMANDS.labels(command, outcome)


@lru_cache(maxsize=64)
def _duration(command: str) -> Histogram:
    return telemetry.COMMAND_SECONDS.labels(command)
