"""How a command's end is written: as it is where Kafka takes it, else with less, down to records that always fit."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client import Counter, Histogram

from connector import telemetry, tracing
from connector.dead_letters.record import REPLAY_COUNT, dead_letter
from connector.dead_letters.record import TOPIC as DEAD_LETTERS
from connector.errors import Rejected, Unacknowledged, Unwritable
from connector.events import Envelope, Headers, Record
from connector.executor import outcome as outcomes
from connector.executor.command import SPRING, TEXTS, Command
from connector.executor.outcome import NOTHING, Outcome, Withheld

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


async def write(ending: Ending, write_records: Write) -> None:
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


def note(command: Command, answer: Outcome, *, attempts: int, clock: float) -> None:
    """Count and log the end of a command that was read at `clock` (monotonic seconds)."""
    exemplar = tracing.exemplar()
    _finished(command.command, answer.outcome).inc(1, exemplar)
    _duration(command.command).observe(time.monotonic() - clock, exemplar)
    log.info(
        "command finished",
        command=command.command,
        id=command.id,
        outcome=answer.outcome,
        sid=answer.sid,
        code=(answer.error or {}).get("code"),
        attempts=attempts,
    )


@lru_cache(maxsize=256)
def _finished(command: str, outcome: str) -> Counter:
    return telemetry.COMMANDS.labels(command, outcome)


@lru_cache(maxsize=64)
def _duration(command: str) -> Histogram:
    return telemetry.COMMAND_SECONDS.labels(command)
