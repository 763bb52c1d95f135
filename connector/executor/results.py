"""What a finished command leaves: result, reply, dead letter and journal entry, as records. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import orjson

from connector import tracing
from connector.errors import Rejected, TwilioError
from connector.events import Envelope, Event, Record, encode, now, timestamp
from connector.executor.forwarding import origin_text
from connector.executor.lost_records import traces
from connector.executor.pending import Pending
from connector.kafka import journal
from connector.kafka.dead_letters import dead_letter

Outcome = Literal["succeeded", "failed", "rejected", "expired", "duplicate", "unknown"]

RESULT_TYPE = "twilio.command.result.v1"
# Every record stays below this, whatever a list holds.
RECORD_BYTES = 512 * 1024 - 16 * 1024
LONGEST_KEY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to. `bundles` are JSON; `sid` is the one that it made, `account_sid` whose it is."""

    outcome: Outcome
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
    """The `error` member of a result."""
    if isinstance(error, TwilioError):
        return {
            "kind": "twilio",
            "code": error.code,
            "message": error.message,
            "http_status": error.status or None,
            "more_info": error.more_info,
            "retryable": retryable,
        }
    return _own_error("invalid" if isinstance(error, Rejected) else "connector", str(error), retryable=retryable)


def _own_error(kind: str, message: str, *, retryable: bool = False) -> dict[str, Any]:
    return {
        "kind": kind,
        "code": None,
        "message": message,
        "http_status": None,
        "more_info": None,
        "retryable": retryable,
    }


EXPIRED = _own_error("expired", "The command's expires-at passed before it could be executed.", retryable=True)
EXPIRED_ANSWER = Answer("expired", error=EXPIRED)
RECORD_GONE = _own_error(
    "in-doubt",
    "The request may have been sent. Its answer is lost, and so is the command's record, so that nothing can be looked "
    "up: do not assume either way.",
)
FORGOTTEN = _own_error(
    "in-doubt",
    "Whether it was executed before is not known: the group's offsets and the journal have lost it. It was not sent "
    "now: do not assume either way.",
)
UNKNOWN = _own_error(
    "in-doubt",
    "The request was sent, its answer was lost, and Twilio does not show what it made: do not assume either way.",
)


def fitting(answer: Answer) -> Answer:
    """The answer, without what no record could hold: the body of a call-api, say."""
    size = sum(len(bundle) for bundle in answer.bundles)
    if len(answer.bundles) != 1 or size <= RECORD_BYTES:
        return answer
    return replace(answer, bundles=(), error=answer.error or too_large(size))


def too_large(size: int) -> dict[str, Any]:
    """The `error` of a result whose bundles were left out."""
    return _own_error("too-large", f"Twilio's answer has {size} bytes, a record holds {RECORD_BYTES}: it is left out.")


def subject(bundles: Sequence[bytes], default: str) -> str:
    """The SID of a single bundle, else the command's id."""
    if len(bundles) == 1:
        found = orjson.loads(bundles[0])
        if isinstance(found, dict) and isinstance(found.get("sid"), str):
            return str(found["sid"])
    return default


def result_records(command: Pending, answer: Answer, *, prefix: str, envelope: Envelope) -> list[Record]:
    """The result on its topic, and once more on the reply topic where one was named."""
    finished = now()
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
        "started_at": timestamp(answer.started_at or finished),
        "finished_at": timestamp(finished),
        "request_id": answer.request_id,
    }
    event = Event(
        id=command.id if answer.page == 0 else f"{command.id}#{answer.page}",
        source=f"/twilio/{answer.account_sid or '-'}/commands/{command.command}",
        type=RESULT_TYPE,
        subject=answer.sid or subject(answer.bundles, command.id),
        time=finished,
        data=orjson.dumps(document),
        dataschema=f"https://twilio-kafka.dev/schemas/results/{command.command}.json",
        extensions={
            "correlationid": command.correlation_id,
            "causationid": command.id,
            "recordedtime": timestamp(finished),
            "traceparent": tracing.traceparent() or command.traceparent,
        },
    )
    encoded = encode(event, f"{prefix}.results.{command.command}", None, envelope=envelope)
    headers = [*encoded.headers, ("correlation-id", command.correlation_id.encode()), *command.echoed]
    # The command's own partition: results of a key stay in the order of its commands, whatever partitioner the caller
    # has.
    results = [Record(encoded.topic, command.key, encoded.value, headers, partition=command.partition)]
    if command.reply_to:
        results.append(Record(command.reply_to, command.key, encoded.value, headers, partition=command.reply_partition))
    return results


def rejected_record(command: Pending, error: BaseException, *, prefix: str, group: str, whole: bool = True) -> Record:
    """The dead letter of a command that is never sent; without its key and value when Kafka would not take them."""
    return dead_letter(
        prefix,
        key=command.key if whole else None,
        value=command.value if whole else None,
        headers=command.headers,
        error=error,
        stage="command",
        topic=command.origin.topic,
        partition=command.origin.partition,
        offset=command.origin.offset,
        group=group,
        occurred=command.received,
    )


def least_record(command: Pending, answer: Answer, *, prefix: str, envelope: Envelope) -> Record:
    """The result when Kafka has refused it as it was: without bundles, and for nobody else."""
    size = sum(len(bundle) for bundle in answer.bundles)
    least = replace(answer, bundles=(), error=answer.error or (too_large(size) if size else None))
    record = result_records(command, least, prefix=prefix, envelope=envelope)[0]
    return record if len(record.key or b"") <= LONGEST_KEY else replace(record, key=None)


def forwarded(command: Pending) -> journal.Entry:
    """The journal entry of a command that is executed elsewhere."""
    return replace(done(command, Answer("succeeded")), outcome="forwarded")


def attempting(command: Pending, *, alike: str) -> journal.Entry:
    """The journal entry that precedes a create."""
    return _entry(command, state="attempting", alike=alike, **traces(command))


def done(command: Pending, answer: Answer) -> journal.Entry:
    """The journal entry that goes with the final result."""
    return _entry(command, state="done", outcome=answer.outcome, sid=answer.sid)


def _entry(command: Pending, **more: Any) -> journal.Entry:
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
