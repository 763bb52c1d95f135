"""Operations: the request that parameters make, what may be repeated, how an ambiguous create is looked up."""

from typing import Any

import orjson
import pytest

from connector.resources import COMMANDS
from connector.resources.commands import Operation
from connector.resources.models import AnyOf, AtMostOne, Needs, Something
from connector.resources.phone_numbers import BuyPhoneNumber
from connector.resources.place_call import PlaceCall
from connector.resources.recordings import DownloadRecording
from connector.resources.send_message import SendMessage

CALL, MESSAGE, RECORDING = (f"{prefix}{'a' * 32}" for prefix in ("CA", "SM", "RE"))


# --- requests ----------------------------------------------------------------------------------------------------
def operation(command: str, resource: str | None = None) -> Operation:
    return COMMANDS[command].operations[resource]


def test_a_form_repeats_the_key_of_a_list_and_writes_booleans_in_lower_case() -> None:
    parameters = SendMessage.model_validate(
        {
            "to": "+15550100002",
            "from": "Shop",
            "media_url": ["https://a.example/1", "https://a.example/2"],
            "smart_encoded": False,
        }
    )
    assert operation("send-message").request(parameters).form == (
        ("To", "+15550100002"),
        ("From", "Shop"),
        ("MediaUrl", "https://a.example/1"),
        ("MediaUrl", "https://a.example/2"),
        ("SmartEncoded", "false"),
    )


def test_recording_events_are_one_text_with_spaces_and_call_events_repeat_their_key() -> None:
    parameters = PlaceCall.model_validate(
        {
            "to": "+15550100002",
            "from": "+15550100001",
            "twiml": "<Response/>",
            "recording_status_callback_event": ["in-progress", "completed"],
            "status_callback_event": ["initiated", "completed"],
            "async_amd": True,
            "machine_detection": "enable",
        }
    )
    form = operation("place-call").request(parameters).form or ()
    assert ("RecordingStatusCallbackEvent", "in-progress completed") in form
    assert [value for name, value in form if name == "StatusCallbackEvent"] == ["initiated", "completed"]
    assert {("AsyncAmd", "true"), ("MachineDetection", "Enable")} <= set(form)


def test_times_are_sent_in_utc_and_objects_as_json() -> None:
    parameters = SendMessage.model_validate_json(
        orjson.dumps(
            {
                "to": "+15550100002",
                "messaging_service_sid": "MG" + "a" * 32,
                "content_sid": "HX" + "a" * 32,
                "content_variables": {"1": "ü"},
                "schedule_type": "fixed",
                "send_at": "2026-11-24T12:00:00+05:00",
            }
        )
    )
    form = dict(operation("send-message").request(parameters).form or ())
    assert form["SendAt"] == "2026-11-24T07:00:00Z"
    assert form["ContentVariables"] == '{"1":"ü"}'


def test_a_redaction_sends_the_empty_body() -> None:
    model = operation("update", "message").parameters
    request = operation("update", "message").request(
        model.model_validate({"resource": "message", "sid": MESSAGE, "body": ""})
    )
    assert request.form == (("Body", ""),)
    assert request.path == f"/2010-04-01/Accounts/{{AccountSid}}/Messages/{MESSAGE}.json"


@pytest.mark.parametrize(("limit", "size"), [(None, "1000"), (20, "20"), (5000, "1000")])
def test_a_list_asks_for_pages_no_larger_than_its_limit_or_twilios(limit: int | None, size: str) -> None:
    model = operation("list", "calls").parameters
    parameters = model.model_validate({"resource": "calls", "limit": limit})
    assert operation("list", "calls").request(parameters).query == (("PageSize", size),)


def test_inequalities_are_part_of_the_key() -> None:
    model = operation("list", "calls").parameters
    given = b'{"resource":"calls","start_time_after":"2026-11-23","end_time_before":"2026-11-24T01:00:00+01:00"}'
    query = operation("list", "calls").request(model.model_validate_json(given)).query
    assert query[:2] == (("StartTime>", "2026-11-23"), ("EndTime<", "2026-11-24T00:00:00Z"))


@pytest.mark.parametrize(
    ("resource", "parent", "path"),
    [
        ("transcriptions", {}, "/Transcriptions.json"),
        ("transcriptions", {"recording_sid": RECORDING}, f"/Recordings/{RECORDING}/Transcriptions.json"),
        ("notifications", {}, "/Notifications.json"),
        ("notifications", {"call_sid": CALL}, f"/Calls/{CALL}/Notifications.json"),
        ("media", {"message_sid": MESSAGE}, f"/Messages/{MESSAGE}/Media.json"),
    ],
)
def test_a_parent_chooses_the_list(resource: str, parent: dict[str, str], path: str) -> None:
    row = operation("list", resource)
    request = row.request(row.parameters.model_validate({"resource": resource, **parent}))
    assert request.path == f"/2010-04-01/Accounts/{{AccountSid}}{path}"
    assert [name for name, _ in request.query] == ["PageSize"]


def test_media_of_a_recording_is_addressed_by_its_sid_format_and_channels() -> None:
    row = operation("download-recording")
    request = row.request(DownloadRecording(sid=RECORDING, format="mp3", channels=2))
    assert request.path.endswith(f"/Recordings/{RECORDING}.mp3")
    assert request.query == (("RequestedChannels", "2"),)
    assert row.request(DownloadRecording(sid=RECORDING)).path.endswith(".wav")


def test_alerts_are_asked_for_at_the_monitor() -> None:
    row = operation("get", "alert")
    request = row.request(row.parameters.model_validate({"resource": "alert", "sid": "NO" + "a" * 32}))
    assert (request.host, request.path) == ("monitor", "/v1/Alerts/NO" + "a" * 32)


# --- safe to repeat? ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["get", "list", "delete"])
def test_reading_and_deleting_may_be_repeated(name: str) -> None:
    assert all(row.repeatable for row in COMMANDS[name].operations.values())


@pytest.mark.parametrize("name", ["send-message", "place-call", "buy-phone-number"])
def test_a_create_may_not_be_repeated_and_can_be_looked_up(name: str) -> None:
    row = operation(name)
    assert not row.repeatable
    assert row.reconciliation is not None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"status": "completed"}, True),
        ({"time_limit": 60}, True),
        ({"url": "https://a.example"}, False),
        ({"twiml": "<R/>"}, False),
    ],
)
def test_ending_a_call_may_be_repeated_and_redirecting_it_may_not(change: dict[str, Any], expected: bool) -> None:  # noqa: FBT001 - a table
    row = operation("update", "call")
    assert row.may_repeat(row.parameters.model_validate({"resource": "call", "sid": CALL, **change})) is expected


@pytest.mark.parametrize(
    ("method", "expected"), [("GET", True), ("PUT", True), ("DELETE", True), ("POST", False), ("PATCH", False)]
)
def test_an_api_call_may_be_repeated_when_its_method_is_idempotent(method: str, expected: bool) -> None:  # noqa: FBT001 - a table
    row = operation("call-api")
    assert row.may_repeat(row.parameters.model_validate({"url": "/x", "method": method, "strict": False})) is expected


@pytest.mark.parametrize("resource", COMMANDS["delete"].operations)
def test_deleting_what_is_gone_is_done_and_what_is_too_young_waits(resource: str) -> None:
    row = operation("delete", str(resource))
    assert 20404 in row.done_codes
    assert 20009 in row.delay_codes


# --- reconciliation ----------------------------------------------------------------------------------------------
def sent(**fields: Any) -> SendMessage:
    return SendMessage.model_validate({"to": "+15550100002", "from": "+15550100001", "body": "hi", **fields})


def shown(**fields: Any) -> dict[str, Any]:
    return {"sid": MESSAGE, "direction": "outbound-api", "body": "hi", "to": "+15550100002", **fields}


def test_a_message_is_looked_up_by_recipient_and_sender_and_recognised_by_its_body() -> None:
    row = operation("send-message").reconciliation
    assert row is not None
    assert row.query(sent()) == (("To", "+15550100002"), ("From", "+15550100001"))
    assert row.matches(sent(), shown())
    assert not row.matches(sent(), shown(body="other"))
    assert not row.matches(sent(), shown(direction="inbound"))


def test_a_services_message_is_looked_up_by_recipient_alone() -> None:
    row = operation("send-message").reconciliation
    assert row is not None
    assert row.query(sent(messaging_service_sid="MG" + "a" * 32)) == (("To", "+15550100002"),)


@pytest.mark.parametrize(
    "blur",
    [
        {"smart_encoded": True},
        {"content_retention": "discard"},
        {"shorten_urls": True, "messaging_service_sid": "MG" + "a" * 32},
    ],
)
def test_a_body_that_twilio_rewrites_or_forgets_is_not_compared(blur: dict[str, Any]) -> None:
    row = operation("send-message").reconciliation
    assert row is not None
    assert row.matches(sent(**blur), shown(body="rewritten"))


def test_a_body_that_twilio_keeps_is_compared() -> None:
    row = operation("send-message").reconciliation
    assert row is not None
    assert not row.matches(sent(content_retention="retain", smart_encoded=False), shown(body="other"))


def test_a_call_with_another_caller_id_is_looked_up_by_the_called_alone() -> None:
    row = operation("place-call").reconciliation
    call = {"to": "+15550100002", "from": "+15550100001", "url": "https://a.example"}
    assert row is not None
    assert row.query(PlaceCall.model_validate(call)) == (("To", "+15550100002"), ("From", "+15550100001"))
    with_caller = PlaceCall.model_validate({**call, "caller_id": "+15550100009"})
    assert row.query(with_caller) == (("To", "+15550100002"),)


def test_a_bought_number_is_looked_up_by_itself_or_its_area() -> None:
    row = operation("buy-phone-number").reconciliation
    assert row is not None
    assert row.query(BuyPhoneNumber(phone_number="+14155550100")) == (("PhoneNumber", "+14155550100"),)
    assert row.query(BuyPhoneNumber(area_code="415")) == (("PhoneNumber", "+1415*******"),)
    assert row.matches(BuyPhoneNumber(phone_number="+14155550100"), {"phone_number": "+14155550100"})
    assert not row.matches(BuyPhoneNumber(area_code="415", friendly_name="a"), {"friendly_name": "b"})


# --- rules -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rule", "values", "sentence"),
    [
        (AnyOf(("a", "b", "c")), {"a": None, "b": ""}, "a, b or c is needed"),
        (AnyOf(("a", "b")), {"b": 0}, None),
        (AtMostOne(("a", "b", "c")), {"a": 1, "c": 1}, "a and c exclude each other"),
        (AtMostOne(("a", "b")), {"a": 1, "b": None}, None),
        (Needs("a", "b"), {"a": True}, "a needs b"),
        (Needs("a", "b"), {"a": False}, None),
        (Something(("sid",)), {"sid": "x", "a": None}, "nothing is to be changed: give at least one parameter"),
        (Something(("sid",)), {"sid": "x", "a": ""}, None),
    ],
)
def test_a_broken_rule_says_so(
    rule: AnyOf | AtMostOne | Needs | Something, values: dict[str, Any], sentence: str | None
) -> None:
    assert rule.broken(values) == sentence
