"""Bodies of Event Streams: found, cut and published as Twilio wrote them."""

import datetime as dt
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured_event
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import InvalidRecord
from connector.receiver.stream import accounts, elements, record

SAMPLES = Path(__file__).parent / "contract" / "callbacks"
RECORDED = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
ACCOUNT = "ACa42104b5c0081d28f69cc86620eae712"
OTHER = "AC" + "2" * 32
EVENT: dict[str, Any] = {"id": "EZ1", "source": "/2010-04-01/x", "type": "com.twilio.x", "specversion": "1.0"}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def body(*documents: Any) -> bytes:
    return json.dumps(list(documents)).encode()


def test_twilios_samples_are_read() -> None:
    single = elements((SAMPLES / "event_streams_single.json").read_bytes())
    batch = elements((SAMPLES / "event_streams_batch.json").read_bytes())
    assert [len(single), len(batch)] == [1, 2]
    assert single[0].attributes["id"] == batch[1].attributes["id"] == "EZ1b81e4268f8faffaafe3481b6c87cc8e"
    assert accounts(single) == accounts(batch) == {ACCOUNT}


@given(st.lists(VALUES, max_size=5), st.sampled_from([None, 2]), st.sampled_from([",", " ,\n\t"]))
def test_elements_are_cut_exactly_as_they_were_written(payloads: list[Any], indent: int | None, comma: str) -> None:
    written = [json.dumps({**EVENT, "data": payload}, indent=indent, ensure_ascii=False) for payload in payloads]
    found = elements(f" [ {comma.join(written)} ] ".encode())
    assert [element.raw.decode() for element in found] == written


def test_numbers_are_not_written_anew() -> None:
    raw = (
        b'{"id":"1","source":"s","type":"t","specversion":"1.0",'
        b'"data":{"price":0.10,"big":123456789012345678901,"e":1e3}}'
    )
    assert [element.raw for element in elements(b"[" + raw + b",\n" + raw + b"]")] == [raw, raw]
    assert elements(raw)[0].raw == raw


@pytest.mark.parametrize(
    "given_body",
    [
        b"",
        b"{",
        b"text",
        b"1",
        b"null",
        b'"text"',
        b"[1]",
        b"[[]]",
        b"{}",
        b"[NaN]",
        json.dumps({**EVENT, "data": float("inf")}).encode(),
        b"\xff",
        b"[" * 2000,
        body({**EVENT, "id": ""}),
        body({**EVENT, "id": 7}),
        body({**EVENT, "id": "EZ\ud83d"}),
        body(EVENT, {**EVENT, "type": None}),
        body({name: value for name, value in EVENT.items() if name != "source"}),
        body({**EVENT, "ID": "EZ2"}),
        body({**EVENT, "data": {"accountSid": "AC1", "account_sid": "AC1"}}),
        body({**EVENT, "data": {"accountSid": ["AC1"]}}),
        b'{"id":"1","id":"2","source":"s","type":"t","specversion":"1.0"}',
        b'{"id":"1","source":"s","type":"t","specversion":"1.0","data":[{"a":1,"a":1}]}',
    ],
)
def test_what_is_no_cloudevent_is_invalid(given_body: bytes) -> None:
    with pytest.raises(InvalidRecord):
        elements(given_body)


def test_an_empty_array_holds_nothing() -> None:
    assert elements(b" [ ] ") == []


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"data": {"accountSid": "AC1"}}, {"AC1"}),
        ({"data": {"account_sid": "AC1"}}, {"AC1"}),
        ({"source": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM1.json"}, {ACCOUNT}),
        ({"source": f"/2010-04-01/Accounts/{ACCOUNT}.json"}, {ACCOUNT}),
        ({"source": f"/2010-04-01/Accounts/{ACCOUNT}0/Messages"}, set()),
        ({"source": "/sinks/DG1", "data": [1]}, set()),
        ({"data": {"accountSid": 7}}, set()),
        ({"data": {"accountSid": "", "account_id": "AC1"}}, set()),
        ({"data": {"deep": [{"AccountSID": "AC1"}]}, "subject": f"a-{OTHER}"}, {"AC1", OTHER}),
        ({"data": {"accountSid": "AC1"}, "source": f"/{ACCOUNT}", "accountsid": "AC2"}, {"AC1", "AC2", ACCOUNT}),
        ({"source": f"/Accounts/{OTHER}/Accounts/{ACCOUNT}?a"}, {ACCOUNT, OTHER}),
        ({"data": {"accountSid": "AC1", "parentAccountSid": "AC2"}}, {"AC1"}),
    ],
)
def test_every_account_that_an_event_names_is_found(changes: dict[str, Any], found: set[str]) -> None:
    assert accounts(elements(body({**EVENT, **changes}))) == found


def test_twilios_attributes_are_untouched_in_value_and_headers() -> None:
    single = elements((SAMPLES / "event_streams_single.json").read_bytes())[0]
    made = record(single, "twilio.events", recorded=RECORDED)
    assert (made.key, made.value) == (b"EZ1b81e4268f8faffaafe3481b6c87cc8e", single.raw)
    headers = dict(made.headers)
    assert headers["ce_type"] == b"com.twilio.messaging.message.undelivered"
    assert headers["ce_time"] == b"2026-11-23T17:44:48.004Z"
    assert headers["ce_recordedtime"] == b"2026-11-24T12:00:00Z"
    assert not {name for name in headers if name in ("ce_data", "data")}


def test_the_cloudevents_library_reads_the_record() -> None:
    single = elements((SAMPLES / "event_streams_single.json").read_bytes())[0]
    made = record(single, "twilio.events", recorded=RECORDED)
    assert made.value is not None
    read = from_structured_event(KafkaMessage(headers=dict(made.headers), key=made.key, value=made.value))
    sent = orjson.loads(single.raw)
    assert read.get_attributes()["source"] == sent["source"]
    assert read.get_data() == sent["data"]


def test_odd_attribute_names_are_no_headers() -> None:
    odd = {**EVENT, "bad name": "x", "causationid": "x", "recordedtime": "x", "ok1": "\ud800", "UP": "x", "n": 1}
    made = record(elements(body(odd))[0], "t", recorded=RECORDED)
    assert {name for name, _ in made.headers} == {
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_specversion",
        "ce_recordedtime",
        "content-type",
        "ce_ok1",
    }
