"""How a command's end is written: result, reply, dead letter and journal entry, all of them or none.

As they are where Kafka takes them, else with less, down to records that always fit. Our own credentials are kept out of
what an endpoint answers: one may echo the headers of its request.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import orjson
from prometheus_client import Counter, Histogram

from connector.dead_letters.record import REPLAY_COUNT, dead_letter
from connector.dead_letters.record import TOPIC as DEAD_LETTERS
from connector.errors import Rejected, Unacknowledged, Unwritable
from connector.events import Envelope, Event, Headers, Record, encode, now, timestamp
from connector.executor import outcome as outcomes
from connector.executor.command import SPRING, TEXTS, Command, done
from connector.executor.outcome import LARGEST_RECORD, RECORD_BYTES, Outcome, too_large
from connector.state import journal
from connector.telemetry import metrics, tracing
from connector.telemetry.logs import logger

if TYPE_CHECKING:
    from connector.executor.execution import Execution

log = logger(__name__)

# Between tries while a topic of ours takes nothing.
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 10.0
# What a dead letter needs to be replayed; other headers are a stranger's.
NEEDED_HEADERS = frozenset(
    {"id", "ce_id", "correlation-id", "ce_correlationid", "traceparent", REPLAY_COUNT, *SPRING, *TEXTS}
)
LONGEST_NEEDED = 1024
RESULT_TYPE = "twilio.command.result.v1"
# Of a result that says no more than it must.
LONGEST_KEY = 1024
MASK = b"***"
# Shorter ones are placeholders of a test or a simulator: they would be found everywhere.
SHORTEST = 8

# The forms of a result, each smaller than the one before.
WHOLE, REDUCED, LAST = range(3)
# Those of a dead letter.
UNCHANGED, BARE, REASONS, NONE = range(4)

Write = Callable[[Sequence[Record]], Awaitable[object]]


# --- the records ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Withheld:
    """What must not be in a result, however it is escaped there."""

    pattern: re.Pattern[bytes] | None = None

    def out_of(self, document: bytes) -> bytes:
        """The JSON document with a mask in place of each secret."""
        return document if self.pattern is None else self.pattern.sub(MASK, document)


NOTHING = Withheld()


@lru_cache(maxsize=64)
def withheld(secrets: frozenset[str]) -> Withheld:
    """These secrets."""
    found = sorted((secret for secret in secrets if len(secret) >= SHORTEST), key=len, reverse=True)
    return Withheld(re.compile(b"|".join(map(_anyhow, found)))) if found else NOTHING


def _anyhow(secret: str) -> bytes:
    """A pattern of the secret as it is, and with its characters escaped as in JSON, URLs or HTML.

    What pads Base64 at its end says nothing, and may be missing.
    """
    return b"".join(_character(character) for character in secret.rstrip("="))


@lru_cache(maxsize=256)
def _character(character: str) -> bytes:
    if character.isascii() and character.isalnum():
        return character.encode()
    return b"(?:" + b"|".join(_ways(character)) + b")"


def _ways(character: str) -> Iterable[bytes]:
    number = ord(character)
    percent = "".join(f"%{byte:02x}" for byte in character.encode())
    yield re.escape(character.encode())
    yield re.escape(b"\\" + character.encode())
    yield rb"\\u(?i:%04x)" % number
    yield b"(?i:" + percent.encode() + b")"
    yield b"&#0*%d;" % number
    yield b"&#[xX]0*(?i:%x);" % number


def result_record(
    command: Command,
    answer: Outcome,
    *,
    finished: datetime,
    prefix: str,
    envelope: Envelope,
    withheld: Withheld = NOTHING,
) -> Record:
    """The result on its topic; what is `withheld` is not in it."""
    traceparent = (tracing.traceparent() if tracing.enabled else None) or command.traceparent
    document = {
        "command": {
            "id": command.id,
            "name": command.command,
            "topic": command.origin.topic,
            "partition": command.origin.partition,
            "offset": command.origin.offset,
        },
        "outcome": answer.outcome,
        "bundles": [orjson.Fragment(bundle) for bundle in answer.bundles],
        "page": answer.page,
        "last": answer.last,
        "error": answer.error,
        "attempts": answer.attempts,
        "reconciled": answer.reconciled,
        "started_at": answer.started_at or finished,
        "finished_at": finished,
        "request_id": answer.request_id,
    }
    data = withheld.out_of(orjson.dumps(document, option=orjson.OPT_UTC_Z))
    event = Event(
        id=command.id if answer.page == 0 else f"{command.id}#{answer.page}",
        source=f"/twilio/{answer.account_sid or '-'}/commands/{command.command}",
        type=RESULT_TYPE,
        subject=answer.sid or command.id,
        time=finished,
        data=data,
        dataschema=f"https://twilio-kafka.dev/schemas/results/{command.command}.json",
        extensions={
            "correlationid": command.correlation_id,
            "causationid": command.id,
            "recordedtime": timestamp(finished),
            "traceparent": traceparent,
        },
    )
    encoded = encode(event, f"{prefix}.results.{command.command}", None, envelope=envelope)
    headers = [*encoded.headers, ("correlation-id", command.correlation_id.encode()), *command.echoed]
    # The command's own partition: results of a key stay in the order of its commands, whatever partitioner the caller
    # has.
    record = Record(encoded.topic, command.key, encoded.value, headers, partition=command.partition)
    return record if size_of(record) <= LARGEST_RECORD else replace(record, key=None)


def reply_record(command: Command, result: Record) -> Record | None:
    """The result once more, on the reply topic where one was named."""
    if command.reply_to is None:
        return None
    return replace(result, topic=command.reply_to, partition=command.reply_partition)


def size_of(record: Record) -> int:
    """The bytes of a record, but for some that Kafka adds."""
    headers = sum(len(name.encode()) + len(raw) for name, raw in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def fitting(answer: Outcome) -> Outcome:
    """The answer, without what no record could hold: the body of a call-api, say."""
    size = sum(len(bundle) for bundle in answer.bundles)
    if len(answer.bundles) != 1 or size <= RECORD_BYTES:
        return answer
    return replace(answer, bundles=(), error=answer.error or too_large(size))


def least(answer: Outcome) -> Outcome:
    """The answer without bundles."""
    size = sum(len(bundle) for bundle in answer.bundles)
    return replace(answer, bundles=(), error=answer.error or (too_large(size) if size else None))


def last_resort(command: Command, result: Record) -> Record:
    """The result in some kilobytes, which any topic takes: it has a key, and headers of ours alone."""
    key = command.key if command.key is not None and len(command.key) <= LONGEST_KEY else command.id.encode()
    headers = [(name, raw) for name, raw in result.headers if name not in SPRING]
    return replace(result, key=key, headers=headers)


# --- what Kafka does not take ------------------------------------------------------------------------------------
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
    finished: datetime = field(default_factory=now)
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
            reply = reply_record(self.command, result) if self.is_replying else None
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
        form = {
            "finished": self.finished,
            "prefix": self.prefix,
            "envelope": self.envelope,
            "withheld": self.withheld,
        }
        answer = answer if self.result_form == WHOLE else least(answer)
        record = result_record(self.command, answer, **form)  # type: ignore[arg-type]  # one for each parameter
        return last_resort(self.command, record) if self.result_form == LAST else record

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


async def finish(execution: "Execution", *found: Outcome, letter: Rejected | None = None) -> None:
    """Write the result, all pages of it, the journal's entry and a dead letter: all of them, or none."""
    command, outcome = execution.command, found[-1]
    name = command.command
    entry = done(command, outcome, ahead=_ahead(execution))
    with _span(execution, outcome) if tracing.enabled else tracing.NOTHING:
        await write_end(execution, found, entry, letter=letter)
    exemplar = tracing.exemplar() if tracing.enabled else None
    _finished(name, outcome.outcome).inc(1, exemplar)
    _duration(name).observe(time.monotonic() - execution.clock, exemplar)
    log.info(
        "command finished",
        command=name,
        id=command.id,
        outcome=outcome.outcome,
        sid=outcome.sid,
        code=(outcome.error or {}).get("code"),
        attempts=execution.count,
    )


def _span(execution: "Execution", outcome: Outcome) -> tracing.Scope:
    attributes = {"messaging.system": "kafka", "twilio_kafka.outcome": outcome.outcome}
    attributes |= {"twilio.sid": outcome.sid} if outcome.sid else {}
    name = f"send {execution.context.prefix}.results.{execution.command.command}"
    return tracing.span(name, kind="producer", attributes=attributes)


def _ahead(execution: "Execution") -> float | None:
    """By how many seconds Twilio's clock is ahead of ours, as far as any connection knows; the command's own first."""
    context = execution.context
    client = context.clients.get(execution.command.connection)
    ahead = client.clock.ahead if client is not None else None
    return context.clock_of(execution.command).ahead if ahead is None else ahead


async def reject(execution: "Execution", error: Rejected) -> None:
    """Write the result of a command that is not to be sent, and its dead letter."""
    metrics.DEAD_LETTERS.labels("command").inc()
    await finish(execution, Outcome("rejected", error=outcomes.error_of(error)), letter=error)


async def write_end(
    execution: "Execution", found: Sequence[Outcome], entry: journal.Entry, *, letter: Rejected | None = None
) -> None:
    """Make the last results, the journal's entry and a dead letter durable: all of them, or none."""
    ended = [_complete(execution, outcome, last=outcome is found[-1]) for outcome in found]
    ending = _ending(execution, ended, entry.at, letter=letter)
    await _write(ending, lambda records: execution.owner.finish(execution.command, records, entry))


async def write_pages(execution: "Execution", pages: Sequence[Outcome]) -> None:
    """Write the first pages of a long list. Where they cannot be replied with, the last ones are not either."""
    ending = _ending(execution, [_complete(execution, page, last=False) for page in pages], now())
    await _write(ending, execution.owner.write)
    if not ending.is_replying:
        execution.command = replace(execution.command, reply_to=None)


def _complete(execution: "Execution", outcome: Outcome, *, last: bool) -> Outcome:
    return replace(fitting(outcome), attempts=execution.count, started_at=execution.started, last=last)


def _ending(
    execution: "Execution", found: Sequence[Outcome], finished: datetime, *, letter: Rejected | None = None
) -> Ending:
    context, command = execution.context, execution.command
    client = context.clients.get(command.connection)
    return Ending(
        command=command,
        answers=found,
        finished=finished,
        letter=letter,
        prefix=context.prefix,
        group=context.group,
        envelope=context.envelope,
        withheld=withheld(client.secrets) if client is not None else NOTHING,
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
    return metrics.COMMANDS.labels(command, outcome)


@lru_cache(maxsize=64)
def _duration(command: str) -> Histogram:
    return metrics.COMMAND_SECONDS.labels(command)
