"""What is left out of a command's end, step by step: the last records fit, whatever the command holds."""

import json
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.errors import NotExecuted, PerhapsExecuted, Refused, Rejected, Unacknowledged, Unwritable
from connector.events import Record, now
from connector.executor import outcome as results
from connector.executor.command import command_of, done
from connector.executor.finishing import Ending, result_record, size_of, withheld
from connector.executor.job import as_json, portion_of
from connector.executor.outcome import Outcome
from connector.resources import COMMANDS
from connector.state import journal
from connector.twilio.wire import decode, failure
from tests.result_schemas import check

LAST_BYTES = 16 * 1024
TOPICS = ("t.results.send-message", "t.dead-letters", "replies", None)
HUGE = st.sampled_from([0, 1, 300, 1_024, 100_000])
BYTES = st.builds(lambda part, count: part * count, st.binary(max_size=3), HUGE) | st.binary(max_size=40)
NAMES = st.sampled_from(
    ["id", "ce_id", "correlation-id", "kafka_correlationId", "kafka_replyTopic", "kafka_replyPartition", "reply-to"]
) | st.text(max_size=9)
HEADERS = st.lists(st.tuples(NAMES, st.none() | BYTES), max_size=6)
ERRORS = st.builds(
    lambda kind, message, count, more: kind(message * count, **more),
    st.sampled_from([Refused, NotExecuted, PerhapsExecuted]),
    st.text(max_size=5),
    HUGE,
    st.fixed_dictionaries(
        {
            "status": st.integers(0, 10**30) | st.sampled_from([400]),
            "code": st.none() | st.integers() | st.just("20001"),
            "more_info": st.none() | st.text() | st.just({"a": 1}),
            "request_id": st.none() | st.text(max_size=400),
        }
    ),
)


def ending(*, headers: Sequence[tuple[str, bytes | None]] = (), letter: bool = True, **more: Any) -> Ending:
    """The end of a command with these headers."""
    command = command_of(
        topic="t.commands.send-message",
        partition=0,
        offset=5,
        key=more.pop("key", b"key"),
        value=more.pop("value", b"{}"),
        headers=headers,
        milliseconds=0,
        command="send-message",
    )
    answers = more.pop("answers", [Outcome("rejected", error=results.error_of(Rejected("no")))])
    error = Rejected("x" * 5_000) if letter else None
    return Ending(command=command, answers=answers, letter=error, prefix="t", group="g", envelope="binary", **more)


def size(record: Record) -> int:
    return size_of(record)


ANSWERS = st.builds(
    lambda error, bundles: Outcome(
        "failed", bundles=bundles, error=results.error_of(error), request_id=error.request_id, sid=None
    ),
    ERRORS,
    st.lists(HUGE.map(lambda count: orjson.dumps("x" * count)), max_size=3),
)
ENDINGS = st.builds(
    lambda answer, **more: ending(answers=[answer], **more),
    ANSWERS,
    headers=HEADERS,
    key=st.none() | BYTES,
    value=st.none() | BYTES,
)


@settings(max_examples=25, deadline=None)
@given(ENDINGS, st.sampled_from(["binary", "structured"]), st.lists(st.sampled_from(TOPICS), max_size=12))
def test_whatever_a_command_holds_its_last_records_are_small(
    found: Ending, envelope: Any, refusals: list[str | None]
) -> None:
    found.envelope = envelope
    for topic in refusals:
        assert found.records()[0].topic == found.results_topic
        found.reduce(Unwritable("no", topic=topic))
    while found.reduce(Unwritable("no")):
        pass
    (last,) = found.records()
    assert last.key is not None
    assert size(last) < LAST_BYTES
    document = orjson.loads(last.value or b"")
    check(document.get("data", document))
    assert size(journal.encode("t", done(found.command, found.answers[0]), partition=0)) < LAST_BYTES


def test_what_is_refused_is_left_out_and_nothing_else() -> None:
    found = ending(headers=[("reply-to", b"replies"), ("foreign", b"x")])
    whole = found.records()
    assert [record.topic for record in whole] == ["t.results.send-message", "replies", "t.dead-letters"]
    assert found.reduce(Unwritable("no", topic="replies")) == "reply left out"
    assert found.records()[1:] == whole[2:]
    assert found.reduce(Unwritable("no", topic="t.dead-letters")) == "dead letter reduced"
    bare = found.records()[1]
    assert (bare.key, bare.value) == (b"key", b"{}")
    assert "foreign" not in dict(bare.headers)
    assert found.reduce(Unwritable("no", topic="t.dead-letters")) == "dead letter reduced"
    assert found.records()[1].value is None
    assert found.reduce(Unwritable("no", topic="t.dead-letters")) == "dead letter left out"
    assert found.reduce(Unwritable("no", topic="t.dead-letters")) is None
    assert found.reduce(Unwritable("no", topic="t.results.send-message")) == "result reduced"
    assert found.reduce(Unwritable("no", topic="t.results.send-message")) == "result reduced"
    assert found.reduce(Unwritable("no", topic="t.results.send-message")) is None
    assert len(found.records()) == 1


def test_a_topic_that_takes_nothing_at_all_costs_no_content() -> None:
    found = ending()
    whole = [(record.key, record.value) for record in found.records()]
    assert found.reduce(Unwritable("no", topic="t.results.send-message", is_of_topic=True)) is None
    assert found.reduce(Unacknowledged("silence", topic="t.results.send-message")) is None
    assert found.reduce(Unacknowledged("silence", topic="t.dead-letters")) is None
    assert found.reduce(Unacknowledged("silence")) is None
    assert found.records()[1] == found.records()[1]
    assert found.records()[1].value == whole[1][1]
    assert found.reduce(Unwritable("no", topic="t.dead-letters", is_of_topic=True)) == "dead letter left out"


def test_silence_costs_a_reply() -> None:
    found = ending(headers=[("reply-to", b"replies")], letter=False)
    assert found.reduce(Unacknowledged("silence")) == "reply left out"
    assert found.reduce(Unacknowledged("silence")) is None


# --- results fit their schemas ----------------------------------------------------------------------------------------
def dumps(value: Any) -> bytes:
    """JSON with what JSON does not know: NaN, integers of any size, halves of surrogate pairs."""
    return json.dumps(value).encode()


ROWS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.just("Mon, 23 Nov 2026 17:00:00 +0000"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
OPERATIONS = [
    (name, operation)
    for name, command in COMMANDS.items()
    for operation in command.operations.values()
    if operation.bundle
]


@pytest.mark.parametrize(("name", "operation"), OPERATIONS, ids=lambda item: getattr(item, "name", item))
def test_whatever_twilio_answers_the_result_fits_its_schema(name: str, operation: Any) -> None:
    fields = [info.alias or field for field, info in operation.bundle.model_fields.items()]
    rows = st.dictionaries(st.sampled_from(fields), ROWS, max_size=6).map(lambda row: {"sid": "SM" + "0" * 32, **row})

    @settings(max_examples=30, deadline=None)
    @given(rows | ROWS)
    def fits(row: Any) -> None:
        document = decode(dumps(row))
        portion = portion_of(operation.bundle, document)
        error = results.left_out(portion.left_out, portion.missing) if portion.missing else None
        answer = Outcome("succeeded", bundles=portion.bundles, sid=portion.sid, error=error)
        checked(name, answer)

    fits()


@settings(max_examples=100, deadline=None)
@given(st.integers(300, 599), st.binary(max_size=60) | ROWS.map(lambda value: dumps({"code": value, "message": value})))
def test_whatever_twilio_refuses_with_the_result_fits_its_schema(status: int, body: bytes) -> None:
    error = failure(status, body, {"Twilio-Request-Id": "RQ\x00" + "x" * 900})
    answer = Outcome("failed", error=results.error_of(error), request_id=error.request_id)
    checked("send-message", answer)
    raw = orjson.dumps(error.body)
    checked("call-api", Outcome("failed", bundles=[raw], error=results.error_of(error)))


@given(st.binary(max_size=60) | ROWS.map(dumps))
def test_whatever_an_endpoint_answers_is_json_in_the_result(body: bytes) -> None:
    checked("call-api", Outcome("succeeded", bundles=[as_json(body)]))


def checked(name: str, answer: Outcome) -> None:
    command = command_of(
        topic=f"t.commands.{name}",
        partition=0,
        offset=5,
        key=None,
        value=b"{}",
        headers=(),
        milliseconds=0,
        command=name,
    )
    record = result_record(command, answer, finished=now(), prefix="t", envelope="binary")
    check(orjson.loads(record.value or b""))


# --- our own credentials ----------------------------------------------------------------------------------------------
SECRETS = frozenset({"QUM6dG9rZW4/+w==", "0123456789abcdef"})


@pytest.mark.parametrize(
    "echoed",
    [
        "QUM6dG9rZW4/+w==",
        "QUM6dG9rZW4/+w",
        "QUM6dG9rZW4%2F%2bw%3D%3D",
        r"QUM6dG9rZW4\/+w==",
        r"QUM6dG9rZW4\u002f\u002Bw\u003d\u003d",
        "QUM6dG9rZW4&#47;&#x2B;w",
        "a 0123456789abcdef b",
    ],
)
def test_a_secret_is_masked_however_it_is_escaped(echoed: str) -> None:
    shown = withheld(SECRETS).out_of(b'{"a":"' + echoed.encode() + b'","b":"w"}')
    assert b"***" in shown
    assert b"QUM6" not in shown
    assert b"0123456789abcdef" not in shown
    assert shown.endswith(b'","b":"w"}')


def test_what_is_no_secret_stays_and_a_short_one_is_a_placeholder() -> None:
    document = b'{"a":"QUM6dG9rZW4","b":"0123456789","c":"token"}'
    assert withheld(SECRETS | {"token", ""}).out_of(document) == document
