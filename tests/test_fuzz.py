"""Parsers of what strangers send, with anything at all: signature, form, events, paging, command records, headers."""

import asyncio
import os
from contextlib import suppress
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.errors import ConnectorError, InvalidRecord, Refused, Rejected, TwilioError
from connector.events import decode, now
from connector.executor.command import command_of
from connector.receiver import form, stream
from connector.receiver.form import Encoder
from connector.resources import CALLBACKS, COMMANDS
from connector.resources.commands import parse
from connector.twilio import paging
from connector.twilio.signature import Keys, compute, explain, verify
from connector.twilio.wire import Response, failure

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

TEXT = st.text(max_size=60)
WIRE = st.one_of(st.binary(max_size=200), st.text("a&=%+;\x00é🎉[]0", max_size=80).map(str.encode))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["id", "ce_id", "expires-at", "reply-to", "traceparent", "connection", "dlq.replay.count", "forwarded-from"]
        )
        | TEXT,
        st.none() | st.binary(max_size=300),
    ),
    max_size=8,
)
MARK = "content-of-a-stranger"
KEYS = Keys.of(["fictional-token"], {"key1": "fictional-secret"})


@fuzz
@given(WIRE)
def test_any_bytes_are_a_form_or_an_invalid_record(body: bytes) -> None:
    try:
        pairs = form.parse(body)
    except InvalidRecord:
        return
    assert len(pairs) <= form.MAX_FIELDS


@fuzz
@given(st.sampled_from(list(CALLBACKS.values())), st.lists(st.tuples(TEXT, TEXT), max_size=8), TEXT, TEXT)
def test_any_form_becomes_a_record_or_an_invalid_record(
    row: Any, pairs: list[tuple[str, str]], query: str, token: str
) -> None:
    encoder = Encoder.of(row, "t.topic", "binary")
    try:
        record = encoder.record(form.Form.of([(name, MARK + value) for name, value in pairs]), query=query, token=token)
    except InvalidRecord as error:
        assert MARK not in str(error)  # noqa: PT017 - one of two ends
        return
    assert decode(record.value, record.headers).id


@fuzz
@given(WIRE | JSON.map(orjson.dumps) | st.lists(JSON, max_size=3).map(orjson.dumps))
def test_any_body_is_events_or_an_invalid_record(body: bytes) -> None:
    try:
        found = stream.elements(body)
    except InvalidRecord:
        return
    stream.accounts(found)
    for element in found:
        assert stream.record(element, "t.events", recorded=now()).value


@fuzz
@given(TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=5), st.none() | TEXT, TEXT, st.none() | st.binary(max_size=50))
def test_no_signature_of_a_stranger_is_valid(
    url: str, pairs: list[tuple[str, str]], signature: str | None, setting: str, body: bytes | None
) -> None:
    assert not verify(url, pairs, signature, KEYS, settings=setting, body=body).valid
    assert not explain(url, pairs, signature or "", KEYS, settings=setting, body=body).valid


@fuzz
@given(st.lists(st.tuples(st.text("AbC", min_size=1, max_size=3), TEXT), max_size=5, unique_by=lambda pair: pair[0]))
def test_a_signature_holds_for_its_form_and_for_no_other(pairs: list[tuple[str, str]]) -> None:
    url = "https://hooks.example.com/callbacks/message-status"
    signature = compute(url, pairs, "fictional-token")
    assert verify(url, pairs, signature, KEYS).valid
    assert not verify(url, [*pairs, ("Zz", "x")], signature, KEYS).valid
    assert not verify(url + "x", pairs, signature, KEYS).valid


@fuzz
@given(
    st.none() | st.binary(max_size=20),
    st.none() | st.binary(max_size=60) | JSON.map(orjson.dumps),
    HEADERS,
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(sorted(COMMANDS)),
)
def test_any_record_is_a_command_or_rejected_with_a_sentence(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]], milliseconds: int, name: str
) -> None:
    command = command_of(
        topic=f"t.commands.{name}",
        partition=1,
        offset=2,
        key=key,
        value=value,
        headers=headers,
        milliseconds=milliseconds,
        command=name,
    )
    assert command.id
    try:
        _ = command.expires_at
        operation, parameters = parse(COMMANDS[name], value)
        operation.request(parameters)
    except Rejected as error:
        assert str(error)  # noqa: PT017 - one of two ends


@fuzz
@given(st.integers(100, 599), st.binary(max_size=80) | JSON.map(orjson.dumps), st.dictionaries(TEXT, TEXT, max_size=4))
def test_any_answer_of_twilio_has_a_class(status: int, body: bytes, headers: dict[str, str]) -> None:
    error = failure(status, body, headers)
    assert isinstance(error, ConnectorError)
    assert error.label


@fuzz
@given(JSON | st.dictionaries(st.sampled_from(["meta", "rows", "next_page_uri", "key", "next_page_url"]), JSON))
def test_any_page_is_rows_and_a_next_link_of_twilios_or_an_error_of_ours(document: Any) -> None:
    async def asked() -> Response:
        return Response(200, orjson.dumps(document), {})

    try:
        page, link = asyncio.run(paging._page(asked(), "rows"))
        target = paging._target(link, "https://api.twilio.com") if link else "/"
    except TwilioError as error:
        assert error.message  # noqa: PT017 - one of two ends
    else:
        assert all(isinstance(row, dict) for row in page.rows)
        assert target.startswith(("/", "?", "#"))


@fuzz
@given(st.sampled_from(["https://", "http://", "//", "/", "https://api.twilio.com", "ftp:"]), TEXT)
def test_a_next_link_leads_to_twilio_or_nowhere(start: str, rest: str) -> None:
    with suppress(Refused):
        paging._target(start + rest, "https://api.twilio.com")


@fuzz
@given(st.none() | st.binary(max_size=60) | JSON.map(orjson.dumps), HEADERS)
def test_any_record_is_an_event_or_an_invalid_record(
    value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    try:
        decode(value, headers)
    except InvalidRecord:
        return
