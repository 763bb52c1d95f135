"""Forms as events: parsing, identity, causes, and what does not fit."""

import datetime as dt
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary_event, from_structured_event
from hypothesis import example, given
from hypothesis import strategies as st

from connector.errors import InvalidRecord
from connector.events import encode
from connector.receiver.form import Form, address, event, identity, names_cause, parse
from connector.resources import CALLBACKS

SAMPLES = Path(__file__).parent / "contract" / "callbacks"
RECORDED = dt.datetime(2026, 11, 24, 12, 0, 0, 5000, tzinfo=dt.UTC)
ACCOUNT = "ACa42104b5c0081d28f69cc86620eae712"
STATUS = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("AccountSid", "AC1")]
FORM = Form.of(STATUS)
ROW = CALLBACKS["message-status"]


# --- parsing ---
@given(st.lists(st.tuples(st.text(), st.text())))
@example([("a b", "c+d%"), ("", "x"), ("é", "🎉")])
def test_what_was_encoded_is_read_in_order_with_blanks_and_repetitions(pairs: list[tuple[str, str]]) -> None:
    pairs = [(name, value) for name, value in pairs if (name + value).isprintable()]
    assert parse(urlencode(pairs).encode()) == pairs


@given(st.text(st.sampled_from("aé=&%+;20fFzZ "), max_size=60))
def test_whatever_comes_is_read_as_the_standard_library_does(text: str) -> None:
    assert parse(text.encode()) == parse_qsl(text, keep_blank_values=True)


@pytest.mark.parametrize("body", [b"a=\xff", b"\xc3(", b"&".join([b"a=1"] * 1001)])
def test_what_is_not_utf8_or_too_much_is_invalid(body: bytes) -> None:
    with pytest.raises(InvalidRecord):
        parse(body)


# --- events ---
@pytest.mark.parametrize(
    ("kind", "sample", "resource", "key", "moment"),
    [
        ("message-status", "message_status_callback", "messages", "SM6acfc4481e963a3bfbedebd43db6781f", None),
        ("call-status", "call_status_callback", "calls", "CAcfbfe0103d5e535174dbac7f83c53942", "2026-11-23T17:00:19Z"),
        ("recording-status", "recording_status_callback", "recordings", "REd5af4da3b204238098451b455624e8ee", None),
        ("amd-status", "amd_status_callback", "calls", "CAcfbfe0103d5e535174dbac7f83c53942", None),
        ("inbound-message", "inbound_message", "messages", "MMf9920ae56576333c177c4782e780930a", None),
    ],
)
def test_twilios_forms_become_events(kind: str, sample: str, resource: str, key: str, moment: str | None) -> None:
    pairs = parse((SAMPLES / f"{sample}.form").read_bytes())
    made = event(CALLBACKS[kind], Form.of(pairs), recorded=RECORDED)
    assert (made.source, made.subject) == (f"/twilio/{ACCOUNT}/{resource}", key)
    assert made.type == CALLBACKS[kind].event_type
    assert made.time == (dt.datetime.fromisoformat(moment) if moment else RECORDED)
    assert made.dataschema is not None
    assert made.dataschema.endswith(f"/events/{CALLBACKS[kind].topic}.json")
    data = orjson.loads(made.data)
    assert data["account_sid"] == ACCOUNT
    assert len(data) >= len(pairs)


def test_integer_fields_are_integers_and_the_rest_is_text() -> None:
    pairs = parse((SAMPLES / "call_status_callback.form").read_bytes())
    data = orjson.loads(event(CALLBACKS["call-status"], Form.of(pairs), recorded=RECORDED).data)
    assert (data["call_duration"], data["sequence_number"], data["sip_response_code"]) == (14, 3, 200)
    assert (data["from"], data["to_zip"], data["timestamp"]) == ("+15550100001", "94937", "2026-11-23T17:00:19Z")


def test_unknown_fields_pass_through_in_snake_case() -> None:
    data = orjson.loads(
        event(ROW, Form.of([*STATUS, ("NewTwilioField2", "x"), ("SipHeader_X-A", "")]), recorded=RECORDED).data
    )
    assert data["new_twilio_field2"] == "x"
    assert data["sip_header_x-a"] == ""


@pytest.mark.parametrize("pairs", [[], STATUS[1:], [("MessageSid", ""), *STATUS[1:]], [*STATUS, ("ErrorCode", "many")]])
def test_a_form_that_does_not_fit_names_the_fields_and_not_their_content(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRecord, match=r"message_sid|error_code") as caught:
        event(ROW, Form.of(pairs), recorded=RECORDED)
    assert "many" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "correlation", "causation"),
    [
        ("", None, None),
        ("other=1", None, None),
        ("command=a%2F0%2F7", "a/0/7", "a/0/7"),
        ("command=c&correlation=order%20%C3%A9", "order é", "c"),
        ("correlation=only", "only", None),
        ("command=&correlation=", None, None),
    ],
)
def test_our_parameters_say_what_caused_the_event(query: str, correlation: str | None, causation: str | None) -> None:
    extensions = event(ROW, FORM, recorded=RECORDED, query=query).extensions
    assert extensions["recordedtime"] == "2026-11-24T12:00:00.005000Z"
    assert (extensions.get("correlationid"), extensions.get("causationid")) == (correlation, causation)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(st.characters(exclude_categories=["Cs"])))
def test_the_address_that_we_hand_out_leads_back_to_the_command(command: str, correlation: str) -> None:
    url = address("https://hooks.example.com/", "message-status", command=command, correlation=correlation)
    base, _, query = url.partition("?")
    assert base == "https://hooks.example.com/callbacks/message-status"
    assert url.isascii()
    assert not set("'\"<> #") & set(query)
    extensions = event(ROW, FORM, recorded=RECORDED, query=query).extensions
    assert (extensions["causationid"], extensions["correlationid"]) == (command, correlation or command)


def test_overrides_are_a_fragment() -> None:
    url = address("https://h.example", "call-status", command="c", correlation="c", overrides="rc=3&rp=all")
    assert url == "https://h.example/callbacks/call-status?command=c#rc=3&rp=all"


@pytest.mark.parametrize(
    "query", ["command=a&command=b", "command=a&%63ommand=a", "correlation=%FF&command=a", "traceparent=&traceparent="]
)
def test_an_address_that_we_cannot_have_made_says_nothing(query: str) -> None:
    with pytest.raises(InvalidRecord, match="address is not ours"):
        event(ROW, FORM, recorded=RECORDED, query=query)


@pytest.mark.parametrize("query", ["Command=b&command=a", "tag=1&tag=2&command=a", "tag=%FF&command=a", "command=a&#"])
def test_other_parameters_of_an_address_decide_nothing(query: str) -> None:
    assert event(ROW, FORM, recorded=RECORDED, query=query).extensions["causationid"] == "a"


def test_the_replacement_character_is_a_character_like_any_other() -> None:
    url = address("https://h.example", "call-status", command="a\ufffdb", correlation="a\ufffdb")
    assert event(ROW, FORM, recorded=RECORDED, query=url.partition("?")[2]).extensions["causationid"] == "a\ufffdb"


# --- addresses of ours that a command holds ---
HOST = "https://hooks.example.com/prefix"


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.example.com/prefix/callbacks/message-status?command=other",
        "https://hooks.example.com:443/callbacks/message-status?tag=1&correlation=other",
        "HTTPS://HOOKS.EXAMPLE.COM/prefix/callbacks/message-status?traceparent=00-1",
        "https://user:word@hooks.example.com./callbacks/call-status?command=other#rc=3",
        "https://hooks.example.com/callbacks/call-status?comm%61nd=other",
        "https://hooks.exampl%65.com/callbacks/call-status?command=other",
        "https://hooks\uff0eexample\u3002com/callbacks/call-status?command=other",
        "https://hoo\u00adks.ex\uff41mple.com/callbacks/call-status?command=other",
        '<Response><Dial action="https://hooks.example.com/callbacks/call-status?a=1&amp;command=other"/></Response>',
        "<Redirect>https://hooks.example.com/callbacks/call-status?a=1&#38;comm&#x61;nd=other</Redirect>",
        "<Redirect><![CDATA[https://hooks.example.com/callbacks/call-status?command=other]]></Redirect>",
        "/Messages.json?StatusCallback=https%3A%2F%2Fhooks.example.com%2Fcallbacks%2Fmessage-status%3Fcommand%3Dother",
        r'{"url":"https:\/\/hooks.example.com\/callbacks\/call-status?\u0063ommand=other"}',
        r'{"twiml":"<Dial action=\"https://hooks.example.com/callbacks/call-status?x=1&amp;command=other\"/>"}',
    ],
)
def test_an_address_of_ours_that_names_a_cause_is_known_however_it_is_written(text: str) -> None:
    assert names_cause(HOST, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://hooks.example.com/prefix/callbacks/message-status",
        "https://hooks.example.com/prefix/callbacks/message-status?tag=command",
        "https://hooks.example.com/prefix/callbacks/message-status?mycommand=1&a=command=",
        "https://elsewhere.example.com/status?command=order&correlation=7",
        "50 % & more: hooks.example.com, then https://elsewhere.example.com/?command=1",
        "caf\u00e9 \\ hooks",
    ],
)
def test_other_addresses_and_texts_are_the_callers_own(text: str) -> None:
    assert not names_cause(HOST, text)


@given(st.text())
def test_the_address_that_we_hand_out_would_be_known(command: str) -> None:
    url = address(HOST, "message-status", command=command.encode(errors="replace").decode(), correlation="c")
    assert names_cause(HOST, url)


# --- ambiguity ---
@pytest.mark.parametrize(
    ("pairs", "accounts"),
    [
        ([("AccountSid", "A"), ("Body", "x")], ["A"]),
        ([("accountSid", "A")], ["A"]),
        ([("Body", "x")], [None]),
        ([("Body", "x"), ("Body", "x")], [None]),
        ([("AccountSid", "A"), ("AccountSid", "A")], ["A", "A"]),
        ([("AccountSid", "A"), ("AccountSid", "B")], ["A", "B"]),
    ],
)
def test_every_account_that_a_form_names_is_found(pairs: list[tuple[str, str]], accounts: list[str | None]) -> None:
    assert list(Form.of(pairs).accounts) == accounts


@pytest.mark.parametrize("other", ["account_sid", "accountSid", "Account_Sid", "accountSID", "ACCOUNT_SID"])
def test_an_account_has_one_name(other: str) -> None:
    for value in ("A", "B"):
        with pytest.raises(InvalidRecord, match="account_sid has two names"):
            _ = Form.of([("AccountSid", "A"), (other, value)]).accounts


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("MediaUrl0", "a"), ("media_url0", "a")], "media_url0 has two names"),
        ([("SipHeader_X-A", "a"), ("SipHeader_x-a", "b")], "has two names"),
        ([("Digits", "1"), ("Digits", "2")], "digits has two values"),
    ],
)
def test_a_field_has_one_name_and_one_value(pairs: list[tuple[str, str]], reason: str) -> None:
    for order in (pairs, pairs[::-1]):
        with pytest.raises(InvalidRecord, match=reason):
            Form.of(order).refuse_ambiguous()


def test_a_field_may_be_repeated_as_it_is() -> None:
    Form.of([("Digits", "1"), ("Body", "x"), ("Digits", "1")]).refuse_ambiguous()


def test_a_key_that_is_not_text_is_invalid() -> None:
    with pytest.raises(InvalidRecord, match="message_sid is empty or not text"):
        event(ROW, Form.of(parse(b"AccountSid=AC1&MessageSid=SM%FF&MessageStatus=sent")), recorded=RECORDED)


# --- identity ---
@pytest.mark.parametrize(
    ("token", "carried"),
    [("23024bfe752eff1d", "23024bfe752eff1d"), *((t, None) for t in (None, "", "x" * 201, "ä", "a\nb"))],
)
def test_twilios_token_is_carried_and_only_what_is_signed_identifies(token: str | None, carried: str | None) -> None:
    made = event(ROW, FORM, recorded=RECORDED, token=token)
    assert made.extensions["twilioidempotencytoken"] == carried
    assert made.id == identity("message-status", Form.of(list(reversed(STATUS))).distinct)
    assert len(made.id) == 32


@given(
    st.lists(st.tuples(st.text(st.sampled_from("ab\0,"), max_size=4), st.text(st.sampled_from("ab\0,"), max_size=4))),
    st.lists(st.tuples(st.text(st.sampled_from("ab\0,"), max_size=4), st.text(st.sampled_from("ab\0,"), max_size=4))),
)
def test_different_forms_have_different_identities(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    mine, others = Form.of(one).distinct, Form.of(other).distinct
    assert (identity("k", mine) == identity("k", others)) is (set(one) == set(other))
    assert identity("k", mine) != identity("l", mine)


# --- an independent reader ---
@pytest.mark.parametrize("envelope", ["binary", "structured"])
def test_the_cloudevents_library_reads_the_record(envelope: str) -> None:
    made = event(ROW, FORM, recorded=RECORDED, query="command=c", token="t1")
    record = encode(made, "twilio.message-status", made.subject, envelope=envelope)  # type: ignore[arg-type]  # parametrised
    assert record.value is not None
    message = KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value)
    read = (from_binary_event if envelope == "binary" else from_structured_event)(message)
    assert read.get_attributes()["id"] == made.id
    assert read.get_attributes()["twilioidempotencytoken"] == "t1"
    assert read.get_attributes()["causationid"] == "c"
    data: Any = read.get_data()
    assert (json.loads(data) if isinstance(data, bytes | str) else data)["message_status"] == "sent"
