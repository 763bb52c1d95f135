"""Odd JSON in Twilio's answers: what can be read is read, and can be written again; the rest raises one error."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import PerhapsExecuted, Unreadable
from connector.twilio.wire import DEEPEST, TOO_DEEP, Response, decode

HALF = "\ufffd"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (rb'{"body": "cut \ud83d"}', {"body": "cut " + HALF}),
        (rb'{"body": "\ude00 cut"}', {"body": HALF + " cut"}),
        (rb'{"body": "\ud83d\ud83d\ude00"}', {"body": HALF + "\U0001f600"}),
        (rb'{"body": "\\ud83d"}', {"body": r"\ud83d"}),
        (rb'{"\udead": 1}', {HALF: 1}),
        (b'{"body": "\xed\xa0\xbd"}', {"body": HALF * 3}),
        (b'{"body": "caf\xe9"}', {"body": "caf" + HALF}),
        (b'\xef\xbb\xbf{"a": "\xc3\xa9"}', {"a": "é"}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        ('{"a": "é"}'.encode("utf-32-be"), {"a": "é"}),
        (b'{"a": "line\nbreak\x00"}', {"a": "line\nbreak\x00"}),
        (b'{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
        (b'{"a": 1e999}', {"a": "1e999"}),
        (b'{"a": %s, "b": NaN}' % (b"9" * 5000), {"a": "9" * 5000, "b": "NaN"}),
        (b'{"a": [18446744073709551615, 18446744073709551616], "b": NaN}', None),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (rb'{"a": "\ud83d", "a": 2}', {"a": 2}),
    ],
)
def test_what_is_odd_is_read_and_can_be_written(body: bytes, value: Any) -> None:
    read = decode(body)
    assert value is None or read == value
    assert orjson.loads(orjson.dumps(read)) == read


@pytest.mark.parametrize("depth", [1_100, 100_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_only_what_nests_too_deeply_is_left_out(depth: int, brackets: tuple[bytes, bytes]) -> None:
    opening, closing = brackets
    deep = opening * depth + b"1" + closing * depth
    rows = decode(b'{"rows": [{"sid": "SM1"}, {"sid": "SM2", "deep": %s, "to": "]\\"}"}, {"sid": "SM3"}]}' % deep)[
        "rows"
    ]
    assert [row["sid"] for row in rows] == ["SM1", "SM2", "SM3"]
    assert rows[1]["to"] == ']"}'
    assert TOO_DEEP in orjson.dumps(rows[1]).decode()
    assert len(orjson.dumps(rows[1])) < 10 * DEEPEST


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b'{"messages": [{"sid": "SM1"}, {"si',
        b'{"messages": []} trailing',
        b'{"a": "\\ud83d',
        b"[" * 100_000,
        b'"' + b'\\"' * 100_000,
        b"\xff\xfe\xfd",
        b"\x00",
        b"\x1f\x8b\x08\x00",
        b"undefined",
        b"{'a': 1}",
    ],
)
def test_what_is_not_json_raises_one_error_that_says_why(body: bytes) -> None:
    response = Response(200, body, {"Content-Type": "text/html; charset=zzz", "Twilio-Request-Id": "RQ1"})
    with pytest.raises(
        Unreadable, match=r"^Twilio answered 200 with a body that is not JSON \(text/html\): .+\.$"
    ) as e:
        response.json()
    assert isinstance(e.value, PerhapsExecuted)
    assert e.value.label == str(e.value)
    assert (e.value.status, e.value.request_id) == (200, "RQ1")
    assert len(str(e.value)) < 200


@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_empty_body_is_none(body: bytes) -> None:
    assert Response(204, body, {}).json() is None


def test_a_header_is_text_that_can_be_written() -> None:
    response = Response(200, b"", {"Twilio-Request-Id": "RQ\udcff" + "x" * 30_000, "Content-Type": "text/\udcff"})
    assert (response.request_id or "").encode().startswith(b"RQ?x")
    assert len(response.request_id or "") == 200
    assert response.content_type.encode() == b"text/?"


_SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(_VALUES)
def test_beside_something_odd_everything_else_is_read_as_it_is(value: Any) -> None:
    if "Infinity" not in (text := json.dumps({"value": value, "odd": "\ud83d"})):
        assert decode(text.encode()) == {"value": value, "odd": HALF}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = decode(b'{"row": [' + body + b"]}")
    except ValueError:
        return
    orjson.dumps(value)
