"""What a command came to, and what that leaves: result, reply and journal entry, as records. Pure.

Our own credentials are kept out of what an endpoint answers: one may echo the headers of its request.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import orjson

from connector import tracing
from connector.bounds import MESSAGE_BYTES, WORD_BYTES, bounded, listed
from connector.errors import Rejected, TwilioError
from connector.events import Envelope, Event, Record, encode, now, timestamp
from connector.executor.command import SPRING, Command, origin_text, traces
from connector.state import journal

MASK = b"***"
# Shorter ones are placeholders of a test or a simulator: they would be found everywhere.
SHORTEST = 8


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


OutcomeName = Literal["succeeded", "failed", "rejected", "expired", "duplicate", "unknown"]

RESULT_TYPE = "twilio.command.result.v1"
# Every record of results stays below this; what a list or an answer may hold of it, beside all else.
LARGEST_RECORD = 512 * 1024
RECORD_BYTES = LARGEST_RECORD - 16 * 1024
# Of a result that says no more than it must.
LONGEST_KEY = 1024
# Twilio's codes have five or six digits; JSON's readers disagree about numbers of more than fifteen.
LARGEST_CODE = 999_999_999


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command came to. `bundles` are JSON; `sid` is the one that it made, `account_sid` whose it is."""

    outcome: OutcomeName
    bundles: Sequence[bytes] = ()
    error: Mapping[str, Any] | None = None
    attempts: int = 0
    reconciled: bool = False
    request_id: str | None = None
    sid: str | None = None
    account_sid: str | None = None
    started_at: datetime | None = None
    page: int = 0
    last: bool = True


def error_of(error: BaseException, *, retryable: bool = False) -> dict[str, Any]:
    """The `error` member of a result: bounded, and of the types that its schema names."""
    if isinstance(error, TwilioError):
        return _error(
            "twilio" if error.status else "connector",
            error.message,
            code=_number(error.code),
            http_status=_number(error.status) or None,
            more_info=bounded(error.more_info, WORD_BYTES) if isinstance(error.more_info, str) else None,
            retryable=retryable,
        )
    return _error("invalid" if isinstance(error, Rejected) else "connector", str(error), retryable=retryable)


def _error(kind: str, message: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
    found = {
        "kind": kind,
        "code": None,
        "message": bounded(str(message), MESSAGE_BYTES),
        "http_status": None,
        "more_info": None,
        "retryable": retryable,
    }
    return found | more


def _number(number: object) -> int | None:
    return number if type(number) is int and 0 <= number <= LARGEST_CODE else None


EXPIRED = _error("expired", "The command's expires-at passed before it could be executed.", retryable=True)
EXPIRED_ANSWER = Outcome("expired", error=EXPIRED)
RECORD_GONE = _error(
    "in-doubt",
    "The request may have been sent. Its answer is lost, and so is the command's record, so that nothing can be looked "
    "up: do not assume either way.",
)
FORGOTTEN = _error(
    "in-doubt",
    "Whether it was executed before is not known: the group's offsets and the journal have lost it. It was not sent "
    "now: do not assume either way.",
)
UNKNOWN = _error(
    "in-doubt",
    "The request was sent, its answer was lost, and Twilio does not show what it made: do not assume either way.",
)


def fitting(answer: Outcome) -> Outcome:
    """The answer, without what no record could hold: the body of a call-api, say."""
    size = sum(len(bundle) for bundle in answer.bundles)
    if len(answer.bundles) != 1 or size <= RECORD_BYTES:
        return answer
    return replace(answer, bundles=(), error=answer.error or too_large(size))


def too_large(size: int) -> dict[str, Any]:
    """The `error` of a result whose bundles were left out."""
    return _error("too-large", f"Twilio's answer has {size} bytes, a record holds {RECORD_BYTES}: it is left out.")


def connector_error(message: str) -> dict[str, Any]:
    """The `error` of a result that says what the connector itself has met."""
    return _error("connector", message, retryable=True)


def left_out(sentences: Sequence[str], total: int) -> dict[str, Any]:
    """The `error` of a result without `total` of Twilio's rows; the sentences say which, and why."""
    return _error("left-out", f"Left out of bundles: {listed(list(sentences), total)}.")


def result_record(
    command: Command, answer: Outcome, *, prefix: str, envelope: Envelope, withheld: Withheld = NOTHING
) -> Record:
    """The result on its topic; what is `withheld` is not in it."""
    finished = now()
    written, started = timestamp(finished), timestamp(answer.started_at or finished)
    traceparent = tracing.traceparent() or command.traceparent
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
        "started_at": started,
        "finished_at": written,
        "request_id": bounded(answer.request_id, WORD_BYTES) if answer.request_id else None,
    }
    event = Event(
        id=command.id if answer.page == 0 else f"{command.id}#{answer.page}",
        source=f"/twilio/{answer.account_sid or '-'}/commands/{command.command}",
        type=RESULT_TYPE,
        subject=answer.sid or command.id,
        time=finished,
        data=withheld.out_of(orjson.dumps(document)),
        dataschema=f"https://twilio-kafka.dev/schemas/results/{command.command}.json",
        extensions={
            "correlationid": command.correlation_id,
            "causationid": command.id,
            "recordedtime": written,
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


def least(answer: Outcome) -> Outcome:
    """The answer without bundles."""
    size = sum(len(bundle) for bundle in answer.bundles)
    return replace(answer, bundles=(), error=answer.error or (too_large(size) if size else None))


def last_resort(command: Command, result: Record) -> Record:
    """The result in some kilobytes, which any topic takes: it has a key, and headers of ours alone."""
    key = command.key if command.key is not None and len(command.key) <= LONGEST_KEY else command.id.encode()
    headers = [(name, raw) for name, raw in result.headers if name not in SPRING]
    return replace(result, key=key, headers=headers)


def forwarded(command: Command) -> journal.Entry:
    """The journal entry of a command that is executed elsewhere."""
    return replace(done(command, Outcome("succeeded")), outcome="forwarded")


def attempting(command: Command, *, alike: str, ahead: float | None = None) -> journal.Entry:
    """The journal entry that precedes a create; `ahead` is what is known of Twilio's clock."""
    return _entry(command, state="attempting", alike=alike, ahead=ahead, **traces(command))


def done(command: Command, answer: Outcome, *, ahead: float | None = None) -> journal.Entry:
    """The journal entry that goes with the final result; `ahead` is what is known of Twilio's clock."""
    return _entry(command, state="done", outcome=answer.outcome, sid=answer.sid, ahead=ahead)


def _entry(command: Command, **more: Any) -> journal.Entry:
    was_sent_on = command.origin != command.position
    return journal.Entry(
        topic=command.topic,
        offset=command.offset,
        id=command.id,
        at=now(),
        explicit=command.explicit,
        is_gone=command.is_gone,
        sent_to=origin_text(command.origin, command.milliseconds) if was_sent_on else None,
        **more,
    )


def pages_of(bundles: Sequence[bytes]) -> list[list[bytes]]:
    """Bundles in portions that fit a record; one empty portion for no bundle at all."""
    portions: list[list[bytes]] = [[]]
    size = 0
    for bundle in bundles:
        if portions[-1] and size + len(bundle) > RECORD_BYTES:
            portions.append([])
            size = 0
        portions[-1].append(bundle)
        size += len(bundle) + 1
    return portions
