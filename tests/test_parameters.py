"""The value of a command, read: what is accepted, and the one sentence that says what is not."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import Rejected
from connector.resources import COMMANDS
from connector.resources.commands import Operation, parse
from connector.resources.rows import Parameters
from tests.json_values import ANYTHING, ODD

CALL, MESSAGE = (f"{prefix}{'a' * 32}" for prefix in ("CA", "SM"))
SERVICE = "MG" + "a" * 32
MESSAGE_OUT = {"to": "+15550100002", "from": "+15550100001", "body": "hi"}
CALL_OUT = {"to": "+15550100002", "from": "+15550100001", "url": "https://voice.example.com"}


def read(name: str, value: Any) -> tuple[Operation, Parameters]:
    return parse(COMMANDS[name], value if isinstance(value, bytes | None) else orjson.dumps(value))


def refusal(name: str, value: Any) -> str:
    with pytest.raises(Rejected) as refused:
        read(name, value)
    return str(refused.value)


# --- reading -----------------------------------------------------------------------------------------------------
def test_the_resource_chooses_the_operation() -> None:
    operation, parameters = read("get", {"resource": "call", "sid": CALL})
    assert operation.name == "FetchCall"
    assert getattr(parameters, "sid", None) == CALL


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (None, "send-message: the value is empty; it must be a JSON object."),
        (b"", "send-message: the value is empty; it must be a JSON object."),
        (b"{to", "send-message: the value is not JSON"),
        (b"\xff\xfe", "send-message: the value is not JSON"),
        (b"[]", "send-message: the value must be a JSON object."),
        (b"null", "send-message: the value must be a JSON object."),
    ],
)
def test_a_value_that_is_no_object_is_rejected(value: bytes | None, sentence: str) -> None:
    assert refusal("send-message", value).startswith(sentence)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({}, "delete: resource is missing, one of call, media, message, phone-number, recording or transcription."),
        ({"resource": "messages"}, "delete: resource is unknown, did you mean message?"),
        ({"resource": 7}, "delete: resource is unknown, one of call, media, "),
    ],
)
def test_an_unknown_resource_is_rejected_with_the_known_ones(value: Any, sentence: str) -> None:
    assert refusal("delete", value).startswith(sentence)


@pytest.mark.parametrize(
    ("field", "suggestion"),
    [
        ("bdy", "body"),
        ("StatusCallback", "status_callback"),
        ("mediaUrl", "media_url"),
        ("messaging_service", "messaging_service_sid"),
        ("from_", "from"),
    ],
)
def test_an_unknown_field_is_rejected_with_the_nearest_known_name(field: str, suggestion: str) -> None:
    sentence = refusal("send-message", {**MESSAGE_OUT, field: "x"})
    assert sentence == f"send-message: {field} is unknown, did you mean {suggestion}?"


def test_a_field_that_resembles_none_is_rejected_without_a_guess() -> None:
    assert refusal("send-message", {**MESSAGE_OUT, "qqq": 1}) == "send-message: qqq is unknown."


def test_all_faults_are_named_in_one_sentence() -> None:
    sentence = refusal("send-message", {"to": 5, "from": "+1", "body": "x" * 1601, "validity_period": 0})
    for part in (
        "to must be text",
        "from is not an E.164",
        "body is longer than 1600",
        "validity_period is less than 1",
    ):
        assert part in sentence


def sentence_about(name: str, value: bytes) -> str | None:
    try:
        parse(COMMANDS[name], value)
    except Rejected as error:
        return str(error)
    return None


@given(st.sampled_from(sorted(COMMANDS)), st.one_of(st.binary(max_size=40), ANYTHING.map(orjson.dumps)))
def test_whatever_comes_is_read_or_rejected(name: str, value: bytes) -> None:
    assert (sentence_about(name, value) or f"{name}: ").startswith(f"{name}: ")


SECRET = "+15550109999"
FIELDS = ("to", "from", "body", "url", "media_url", "sip_auth_password", "caller_id", "phone_number", "headers", "sid")
HOLDING = st.sampled_from([f"x {SECRET} x", [SECRET], {"a": SECRET}, {"a": f"{SECRET}\n"}, f"{SECRET}0000"])


@given(
    st.sampled_from(["send-message", "place-call", "buy-phone-number", "call-api"]),
    st.dictionaries(st.sampled_from(FIELDS), HOLDING | ODD, max_size=5),
)
def test_a_rejection_never_quotes_what_a_field_holds(name: str, value: dict[str, Any]) -> None:
    assert SECRET[1:] not in (sentence_about(name, orjson.dumps(value)) or "")


# --- as Twilio validates -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"from": None}, "from or messaging_service_sid is needed"),
        ({"body": None}, "body, media_url or content_sid is needed"),
        ({"body": ""}, "body, media_url or content_sid is needed"),
        ({"content_sid": "HX" + "a" * 32}, "content_sid and body exclude each other"),
        ({"content_variables": {}}, "content_variables needs content_sid"),
        ({"send_at": "2026-12-01T00:00:00Z"}, "send_at needs schedule_type"),
        ({"schedule_type": "fixed"}, "schedule_type needs send_at"),
        ({"shorten_urls": True}, "shorten_urls needs messaging_service_sid"),
        ({"fallback_from": "+15550100003"}, "fallback_from needs messaging_service_sid"),
        ({"media_url": ["https://m.example.com/1"] * 11}, "media_url has more than 10 entries"),
        ({"media_url": []}, "media_url has fewer than 1 entries"),
        ({"media_url": ["ftp://m.example.com"]}, "media_url[0] is not an absolute http or https URL"),
        (
            {"status_callback": "https://my_host.example.com"},
            "status_callback is not an absolute http",
        ),
        ({"validity_period": 36001}, "validity_period is greater than 36000"),
        ({"validity_period": "60"}, "validity_period must be an integer"),
        ({"smart_encoded": "true"}, "smart_encoded must be true or false"),
        ({"risk_check": "maybe"}, "risk_check is not 'enable' or 'disable'"),
        ({"messaging_service_sid": "MG1"}, "messaging_service_sid is not a SID: MG and 32 hexadecimal digits"),
        ({"send_at": "2026-12-01T00:00:00"}, "send_at lacks its offset from UTC"),
        ({"to": "hello world"}, "to is not an E.164 number"),
        ({"to": "+1555010000212345"}, "to is not an E.164 number"),
        ({"to": "whatsapp:+0"}, "to is not an E.164 number"),
        ({"from": "Far Too Long Name"}, "from is not an E.164 number"),
    ],
)
def test_a_message_that_twilio_would_refuse_is_rejected(change: dict[str, Any], sentence: str) -> None:
    assert f"send-message: {sentence}" in refusal("send-message", {**MESSAGE_OUT, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"body": "x" * 1600},
        {"media_url": ["https://m_e.example.com/1"] * 10},
        {"to": "whatsapp:+15550100002"},
        {"to": "rcs:brand_agent"},
        {"to": "5550100002"},
        {"from": "Parcel Shop"},
        {"from": "12345"},
        {"from": "DE" + "a" * 32},
        {"messaging_service_sid": SERVICE},
        {"from": None, "messaging_service_sid": SERVICE, "fallback_from": "+15550100003"},
        {"body": None, "content_sid": "HX" + "a" * 32, "content_variables": {"1": "x"}},
        {"send_at": "2026-12-01T00:00:00+01:00", "schedule_type": "fixed", "messaging_service_sid": SERVICE},
        {"max_price": 0.5, "message_intent": "otp"},
        {"shorten_urls": False},
    ],
)
def test_a_message_that_twilio_accepts_is_accepted(change: dict[str, Any]) -> None:
    read("send-message", {**MESSAGE_OUT, **change})


@pytest.mark.parametrize("written", [{"1": "ü", "2": 5}, '{"1": "ü", "2": 5}', ' {"1": "\\u00fc", "2": 5}\n'])
def test_content_variables_are_an_object_or_its_json_text(written: Any) -> None:
    given_ = {**MESSAGE_OUT, "body": None, "content_sid": "HX" + "a" * 32, "content_variables": written}
    operation, parameters = read("send-message", given_)
    assert dict(operation.request(parameters).form or ())["ContentVariables"] == '{"1":"ü","2":5}'


@pytest.mark.parametrize("written", ["", "null", "[]", "5", "{", "'{}'", "{'1': 'x'}", ["{}"], 5])
def test_content_variables_that_are_neither_are_rejected(written: Any) -> None:
    given_ = {**MESSAGE_OUT, "body": None, "content_sid": "HX" + "a" * 32, "content_variables": written}
    assert "content_variables is neither an object nor the JSON text of one" in refusal("send-message", given_)


def test_content_variables_that_cannot_be_written_are_rejected() -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    given_ = {**MESSAGE_OUT, "body": None, "content_sid": "HX" + "a" * 32, "content_variables": deep}
    assert refusal("send-message", given_) == "send-message: content_variables nests too deeply."


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"url": None}, "url, twiml or application_sid is needed"),
        ({"twiml": "<Response/>"}, "url and twiml exclude each other"),
        ({"application_sid": "AP" + "a" * 32}, "url and application_sid exclude each other"),
        ({"url": None, "twiml": "x" * 4001}, "twiml is longer than 4000 characters"),
        ({"send_digits": "1" * 33}, "send_digits is longer than 32 characters"),
        ({"send_digits": "1x"}, "send_digits is not made of 0-9, A-D, #, *, w and W"),
        ({"timeout": 601}, "timeout is greater than 600"),
        ({"machine_detection_timeout": 2}, "machine_detection_timeout is less than 3"),
        ({"machine_detection_timeout": 60}, "machine_detection_timeout is greater than 59"),
        ({"machine_detection_speech_threshold": 999}, "machine_detection_speech_threshold is less than 1000"),
        (
            {"machine_detection_speech_end_threshold": 5001},
            "machine_detection_speech_end_threshold is greater than 5000",
        ),
        ({"machine_detection_silence_timeout": 1999}, "machine_detection_silence_timeout is less than 2000"),
        ({"machine_detection": "perhaps"}, "machine_detection is not 'Enable' or 'DetectMessageEnd'"),
        ({"status_callback_event": ["started"]}, "status_callback_event[0] is not 'initiated', 'ringing'"),
        ({"recording_channels": "stereo"}, "recording_channels is not 'mono' or 'dual'"),
        ({"trim": "yes"}, "trim is not 'trim-silence' or 'do-not-trim'"),
        ({"method": "PUT"}, "method is not 'GET' or 'POST'"),
        ({"from": None}, "from must be text"),
    ],
)
def test_a_call_that_twilio_would_refuse_is_rejected(change: dict[str, Any], sentence: str) -> None:
    assert f"place-call: {sentence}" in refusal("place-call", {**CALL_OUT, **change})


@pytest.mark.parametrize(
    ("written", "sent"), [("Enable", "Enable"), ("enable", "Enable"), (True, "Enable"), (False, None), (None, None)]
)
def test_machine_detection_is_understood_as_older_descriptions_write_it(written: Any, sent: str | None) -> None:
    operation, parameters = read("place-call", {**CALL_OUT, "machine_detection": written})
    assert dict(operation.request(parameters).form or ()).get("MachineDetection") == sent


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("buy-phone-number", {}, "phone_number or area_code is needed"),
        (
            "buy-phone-number",
            {"phone_number": "+14155550100", "area_code": "415"},
            "phone_number and area_code",
        ),
        ("buy-phone-number", {"area_code": "4155"}, "area_code is not an area code"),
        ("buy-phone-number", {"area_code": "415", "friendly_name": "x" * 65}, "friendly_name is longer than 64"),
        (
            "buy-phone-number",
            {"area_code": "415", "voice_fallback_url": "https://v.example"},
            "voice_fallback_url needs voice_url",
        ),
        ("update", {"resource": "message", "sid": MESSAGE}, "nothing is to be changed"),
        ("update", {"resource": "message", "sid": MESSAGE, "body": "new"}, "body is not ''"),
        ("update", {"resource": "call", "sid": CALL, "status": "ringing"}, "status is not 'canceled' or 'completed'"),
        ("update", {"resource": "call", "sid": CALL, "method": "GET"}, "method needs url"),
        ("get", {"resource": "media", "sid": "ME" + "a" * 32}, "message_sid is missing"),
        ("get", {"resource": "message", "sid": CALL}, "sid is not a SID: SM or MM and 32 hexadecimal digits"),
        ("list", {"resource": "calls", "status": "initiated"}, "status is not 'queued'"),
        ("list", {"resource": "calls", "limit": 0}, "limit is less than 1"),
        (
            "list",
            {"resource": "calls", "start_time": "yesterday"},
            "start_time is neither a day (2026-11-24)",
        ),
        ("list", {"resource": "alerts", "start_date": "2026-11-24T12:00:00"}, "start_date lacks its offset from UTC"),
        ("list", {"resource": "notifications", "message_date": "2026-11-24T12:00:00Z"}, "message_date must be a day"),
        ("download-recording", {"sid": "RE" + "a" * 32, "format": "ogg"}, "format is not 'wav' or 'mp3'"),
        ("download-recording", {"sid": "RE" + "a" * 32, "channels": 3}, "channels is greater than 2"),
        ("call-api", {"url": "https://api.twilio.com/x"}, "url is not a path"),
        ("call-api", {"url": "//evil.example/x"}, "url is not a path"),
        ("call-api", {"url": "/x\\@evil.example"}, "url is not a path"),
        ("call-api", {"url": "/x", "method": "TRACE"}, "method is not 'GET', 'POST'"),
        ("call-api", {"url": "/x", "headers": {"aUTHORIZATION": "x"}}, "headers must not hold aUTHORIZATION"),
        ("call-api", {"url": "/x", "headers": {"Host": "x"}}, "headers must not hold Host"),
        (
            "call-api",
            {"url": "/x", "headers": {"X-A": "a\r\nAuthorization: x"}},
            "headers must not hold control",
        ),
        ("call-api", {"url": "/x", "body": 5}, "body is neither an object nor a text"),
    ],
)
def test_parameters_that_make_no_sense_are_rejected(name: str, value: Any, sentence: str) -> None:
    assert f"{name}: {sentence}" in refusal(name, value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"persistent_action": [1] * 30_000},
            "persistent_action[0] must be text; persistent_action[1] must be text … and 29,998 more.",
        ),
        ({"persistent_action": ["fine"] * 30 + [1] * 300}, "there are 300 mistakes."),
        ({f"field_{number}": 1 for number in range(1000)}, "field_0 is unknown; field_1 is unknown … and 998 more."),
        ({f"field_{number}": 1 for number in range(11)}, "field_0 is unknown; field_1 is unknown … and 9 more."),
        ({"x" * 900_000: 1}, "a field is unknown."),
        ({"\x1b]0;title\x07": 1}, "a field is unknown."),
    ],
)
def test_what_is_said_about_many_or_large_mistakes_is_bounded(change: dict[str, Any], sentence: str) -> None:
    assert refusal("send-message", {**MESSAGE_OUT, **change}) == f"send-message: {sentence}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("get", {"resource": "x" * 900_000}),
        ("get", {"resource": [["x" * 900_000]]}),
        ("call-api", {"url": "/", "headers": {"x" * 900_000: 1}}),
        ("call-api", {"url": "/", "headers": {f"{number}" * 9_000: 1 for number in range(90)}}),
    ],
)
def test_a_name_that_is_content_is_not_shown_and_what_is_said_is_bounded(name: str, value: Any) -> None:
    said = refusal(name, value)
    assert "xxx" not in said
    assert len(said.encode()) < 500


# --- call-api ----------------------------------------------------------------------------------------------------
def test_an_api_call_sends_an_object_as_a_form_and_a_text_as_it_is() -> None:
    operation, parameters = read(
        "call-api",
        {
            "url": "/x?a=%2F",
            "method": "POST",
            "query": {"b": [1, True, None, [2]]},
            "body": {"C": ["d", "é"], "E": None},
            "strict": False,
        },
    )
    request = operation.request(parameters)
    assert (request.path, request.query) == ("/x?a=%2F", (("b", "1"), ("b", "true"), ("b", "[2]")))
    assert request.form == (("C", "d"), ("C", "é"))
    headers = {"content-type": "application/json"}
    operation, parameters = read(
        "call-api", {"url": "/x", "method": "PUT", "headers": headers, "body": '{"é":1}', "strict": False}
    )
    request = operation.request(parameters)
    assert (request.method, request.form, request.body) == ("PUT", None, '{"é":1}'.encode())
    assert request.headers == (("content-type", "application/json"),)


def test_an_api_call_by_get_drops_its_body_because_twilio_refuses_one() -> None:
    operation, parameters = read("call-api", {"url": "/x", "body": {"a": "b"}, "strict": False})
    request = operation.request(parameters)
    assert (request.method, request.form, request.body) == ("GET", None, None)


# --- our callbacks -----------------------------------------------------------------------------------------------
def filled(name: str, value: dict[str, Any]) -> dict[str, Any]:
    operation, parameters = read(name, value)
    completed = operation.fill_callbacks(
        parameters, lambda kind: f"https://hooks.example.com/callbacks/{kind}?command=1"
    )
    return {name: item for name, item in completed if "callback" in name and item is not None}


def test_a_message_without_a_callback_gets_ours() -> None:
    assert filled("send-message", MESSAGE_OUT) == {
        "status_callback": "https://hooks.example.com/callbacks/message-status?command=1"
    }


@pytest.mark.parametrize("given_", [{"status_callback": None}, {"application_sid": "AP" + "a" * 32}])
def test_a_message_that_opts_out_or_has_an_application_gets_none(given_: dict[str, Any]) -> None:
    assert filled("send-message", {**MESSAGE_OUT, **given_}) == {}


def test_a_message_with_a_callback_of_its_own_keeps_it() -> None:
    own = {"status_callback": "https://own.example.com"}
    assert filled("send-message", {**MESSAGE_OUT, **own}) == own


def test_a_call_gets_ours_for_all_steps_and_for_what_it_asks_for() -> None:
    assert set(filled("place-call", CALL_OUT)) == {"status_callback", "status_callback_event"}
    everything = filled("place-call", {**CALL_OUT, "record": True, "async_amd": True})
    assert everything == {
        "status_callback": "https://hooks.example.com/callbacks/call-status?command=1",
        "status_callback_event": ["initiated", "ringing", "answered", "completed"],
        "recording_status_callback": "https://hooks.example.com/callbacks/recording-status?command=1",
        "recording_status_callback_event": ["in-progress", "completed", "absent"],
        "async_amd_status_callback": "https://hooks.example.com/callbacks/amd-status?command=1",
    }


def test_a_call_keeps_the_steps_that_it_chose() -> None:
    found = filled("place-call", {**CALL_OUT, "status_callback_event": ["completed"]})
    assert found["status_callback_event"] == ["completed"]


def test_a_call_that_opts_out_asks_for_no_steps() -> None:
    assert filled("place-call", {**CALL_OUT, "status_callback": None}) == {}


def test_filled_parameters_are_new_and_the_given_ones_unchanged() -> None:
    operation, parameters = read("send-message", MESSAGE_OUT)
    operation.fill_callbacks(parameters, lambda kind: f"https://hooks.example.com/{kind}")
    assert getattr(parameters, "status_callback", None) is None
