"""Bundles and rows: what Twilio writes becomes what we publish, and what rows say about lists and requests."""

from datetime import UTC, datetime
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from twilio.base.version import Version
from twilio.rest import Client
from twilio.rest.api.v2010.account.call import CallInstance
from twilio.rest.api.v2010.account.conference import ConferenceInstance
from twilio.rest.api.v2010.account.conference.participant import ParticipantInstance
from twilio.rest.api.v2010.account.incoming_phone_number import IncomingPhoneNumberInstance
from twilio.rest.api.v2010.account.message import MessageInstance
from twilio.rest.api.v2010.account.message.media import MediaInstance
from twilio.rest.api.v2010.account.notification import NotificationInstance
from twilio.rest.api.v2010.account.recording import RecordingInstance
from twilio.rest.api.v2010.account.transcription import TranscriptionInstance
from twilio.rest.api.v2010.account.usage.record.daily import DailyInstance
from twilio.rest.conversations.v1.conversation import ConversationInstance
from twilio.rest.conversations.v1.conversation.message import MessageInstance as MessageInConversation
from twilio.rest.messaging.v1.service import ServiceInstance
from twilio.rest.monitor.v1.alert import AlertInstance
from twilio.rest.studio.v2.flow.execution import ExecutionInstance
from twilio.rest.verify.v2.service.verification import VerificationInstance
from twilio.rest.verify.v2.service.verification_check import VerificationCheckInstance
from twilio.rest.verify.v2.verification_attempt import VerificationAttemptInstance

from connector.resources import CALLBACKS, WATCHES
from connector.resources.alerts import Alert, AlertDetails
from connector.resources.calls import Call
from connector.resources.conferences import Conference
from connector.resources.conversation_messages import ConversationMessage
from connector.resources.conversations import Conversation
from connector.resources.fields import parse_time
from connector.resources.media import Media
from connector.resources.messages import Message
from connector.resources.messaging_services import MessagingService
from connector.resources.models import Bundle, camel, snake
from connector.resources.notifications import Notification, NotificationDetails
from connector.resources.participants import Participant
from connector.resources.phone_numbers import PhoneNumber
from connector.resources.recordings import Recording
from connector.resources.results import Outcome, Result
from connector.resources.rows import Watch
from connector.resources.studio_executions import StudioExecution
from connector.resources.transcriptions import Transcription
from connector.resources.usage_records import UsageRecordDaily
from connector.resources.verification_attempts import VerificationAttempt
from connector.resources.verifications import Verification, VerificationCheck
from connector.schemas.documents import examples
from connector.watcher.records import dated
from tests.watch_model import publication

OPENAPI = Path(__file__).parent / "contract" / "twilio_openapi.json"
SCHEMAS = orjson.loads(OPENAPI.read_bytes())["components"]["schemas"]
CALL, MESSAGE, RECORDING = (f"{prefix}{'a' * 32}" for prefix in ("CA", "SM", "RE"))

BUNDLES: list[tuple[type[Bundle], str, Any]] = [
    (Message, "api.v2010.account.message", MessageInstance),
    (Media, "api.v2010.account.message.media", MediaInstance),
    (Call, "api.v2010.account.call", CallInstance),
    (Recording, "api.v2010.account.recording", RecordingInstance),
    (Transcription, "api.v2010.account.transcription", TranscriptionInstance),
    (PhoneNumber, "api.v2010.account.incoming_phone_number", IncomingPhoneNumberInstance),
    (Notification, "api.v2010.account.notification", None),
    (NotificationDetails, "api.v2010.account.notification-instance", NotificationInstance),
    (Alert, "monitor.v1.alert", None),
    (AlertDetails, "monitor.v1.alert-instance", AlertInstance),
    (Conference, "api.v2010.account.conference", ConferenceInstance),
    (Conversation, "conversations.v1.conversation", ConversationInstance),
    (MessagingService, "messaging.v1.service", ServiceInstance),
    (VerificationAttempt, "verify.v2.verification_attempt", VerificationAttemptInstance),
    (ConversationMessage, "conversations.v1.conversation.conversation_message", MessageInConversation),
    (Verification, "verify.v2.service.verification", VerificationInstance),
    (Participant, "api.v2010.account.conference.participant", ParticipantInstance),
    (StudioExecution, "studio.v2.flow.execution", ExecutionInstance),
    (UsageRecordDaily, "api.v2010.account.usage.usage_record.usage_record_daily", DailyInstance),
    (VerificationCheck, "verify.v2.service.verification_check", VerificationCheckInstance),
]


def public(model: type[Bundle]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def published(model: type[Bundle], row: dict[str, Any]) -> Any:
    return orjson.loads(model.model_validate(row).json_bytes())


# --- bundles -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("model", "schema", "instance"), BUNDLES, ids=lambda item: getattr(item, "__name__", ""))
def test_a_bundle_has_every_field_of_twilios_openapi(model: type[Bundle], schema: str, instance: Any) -> None:
    del instance
    assert set(SCHEMAS[schema]["properties"]) <= public(model)


@pytest.mark.parametrize(
    ("model", "instance"), [(model, sdk) for model, _, sdk in BUNDLES if sdk], ids=lambda item: item.__name__
)
def test_a_bundle_has_every_field_that_the_official_sdk_reads(model: type[Bundle], instance: Any) -> None:
    row = examples()["bundles"][model.__name__]
    version = Version(Client("AC" + "0" * 32, "token").api, "2010-04-01")
    parents = ["x" for name in signature(instance).parameters if name not in {"version", "payload", "sid"}]
    read = {name.removesuffix("_") for name in vars(instance(version, row, *parents)) if not name.startswith("_")}
    assert read <= public(model)


def test_dates_are_published_in_utc_whatever_offset_twilio_writes() -> None:
    row = {"sid": CALL, "date_created": "Fri, 24 May 2019 18:44:46 +0100", "end_time": "2015-07-30T20:00:00Z"}
    found = published(Call, row)
    assert found["date_created"] == "2019-05-24T17:44:46Z"
    assert found["end_time"] == "2015-07-30T20:00:00Z"


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - timezones are drawn
def test_both_ways_of_writing_a_time_mean_the_same_moment(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    utc = moment.astimezone(UTC)
    assert parse_time(utc.strftime("%a, %d %b %Y %H:%M:%S +0000")) == utc
    assert parse_time(utc.isoformat()) == utc


def test_counts_and_durations_are_published_as_integers() -> None:
    found = published(Call, {"sid": CALL, "duration": "14", "queue_time": "0"})
    assert (found["duration"], found["queue_time"]) == (14, 0)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("-0.00750", "-0.00750"), (-0.05, "-0.05"), (0.00005, "0.00005"), (0, "0"), ("", None), (None, None)],
)
def test_prices_are_published_as_decimal_text(written: Any, expected: str | None) -> None:
    assert published(Transcription, {"sid": "TR", "price": written})["price"] == expected


def test_what_twilio_leaves_empty_is_published_as_null_but_a_redacted_body_stays_empty() -> None:
    assert (
        published(PhoneNumber, {"sid": "PN", "sms_application_sid": "", "voice_url": ""})["sms_application_sid"] is None
    )
    assert published(Message, {"sid": MESSAGE, "body": "", "messaging_service_sid": ""})["body"] == ""


def test_unknown_fields_and_values_of_twilio_pass_through() -> None:
    found = published(Message, {"sid": MESSAGE, "status": "teleported", "tags": {"a": [1, None]}})
    assert found["status"] == "teleported"
    assert found["tags"] == {"a": [1, None]}


def test_twilios_names_survive_although_python_cannot_use_them() -> None:
    found = published(Message, {"sid": MESSAGE, "from": "+15550100001"})
    assert found["from"] == "+15550100001"
    assert "from_" not in found


@pytest.mark.parametrize(
    "row", [{}, {"sid": None}, {"sid": MESSAGE, "num_media": "many"}, {"sid": MESSAGE, "date_sent": "x"}]
)
def test_a_row_that_is_no_message_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Message.model_validate(row)


# --- watches -----------------------------------------------------------------------------------------------------
def example(watch: Watch) -> dict[str, Any]:
    return dict(examples()["bundles"][watch.bundle.__name__])


@pytest.mark.parametrize("watch", WATCHES.values(), ids=WATCHES)
def test_a_watch_dates_its_rows_and_falls_back_to_their_creation(watch: Watch) -> None:
    row = example(watch)
    assert dated(row, watch) == parse_time(row[watch.created])
    assert watch.sorted_at(row) == parse_time(row[watch.sorted_by[0]])
    assert watch.sorted_at({watch.created: row[watch.created]}) == dated(row, watch)


@pytest.mark.parametrize("watch", WATCHES.values(), ids=WATCHES)
def test_a_version_changes_with_each_of_its_fields_and_with_no_other(watch: Watch) -> None:
    row = example(watch)
    version_of = publication(watch).fingerprint
    before = version_of(row)
    assert version_of({**row, "date_updated": "x", "uri": "x"}) == before
    assert set(watch.version) <= public(watch.bundle)
    for name in watch.version:
        assert version_of({**row, name: "something else"}) != before


@pytest.mark.parametrize(
    ("resource", "final", "open_"),
    [
        ("messages", {"delivered", "undelivered", "failed", "canceled", "received", "read"}, {"queued", "sent"}),
        ("calls", {"completed", "busy", "failed", "no-answer", "canceled"}, {"queued", "ringing", "in-progress"}),
        ("recordings", {"completed", "absent", "deleted"}, {"in-progress", "paused", "stopped", "processing"}),
        ("transcriptions", {"completed", "failed"}, {"in-progress"}),
    ],
)
def test_a_row_is_final_when_twilio_will_not_change_it(resource: str, final: set[str], open_: set[str]) -> None:
    watch = WATCHES[resource]
    assert all(watch.is_final({"status": status}) for status in final)
    assert not any(watch.is_final({"status": status}) for status in open_)


def test_alerts_never_change_and_are_limited_by_twilio() -> None:
    watch = WATCHES["alerts"]
    assert watch.is_final({})
    assert watch.event_types == ("twilio.alert.created.v1",)
    assert (watch.host, watch.cap, watch.seconds) == ("monitor", 10_000, True)
    assert watch.retention is not None
    assert watch.retention.days == 30


@pytest.mark.parametrize("watch", WATCHES.values(), ids=WATCHES)
def test_an_event_type_names_the_resource(watch: Watch) -> None:
    assert watch.event_types[0] == f"twilio.{watch.noun}.created.v1"
    assert watch.topic == watch.resource


# --- callbacks ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", CALLBACKS)
def test_a_callback_is_keyed_identified_and_dated_by_fields_that_it_has(kind: str) -> None:
    row = CALLBACKS[kind]
    assert {row.key, *row.identity, *filter(None, [row.timed_by])} <= public(row.bundle)
    assert row.key in examples()["bundles"][row.bundle.__name__]


def test_form_fields_get_names_like_those_of_the_api() -> None:
    names = {
        "MessageSid": "message_sid",
        "RawDlrDoneDate": "raw_dlr_done_date",
        "SipResponseCode": "sip_response_code",
        "ReferralCtwaClid": "referral_ctwa_clid",
        "MediaUrl0": "media_url0",
        "From": "from",
    }
    assert {name: snake(name) for name in names} == names


@given(st.lists(st.from_regex(r"\A[a-z][a-z0-9]*\Z"), min_size=1, max_size=4).map("_".join))
def test_snake_undoes_camel_unless_a_part_is_one_letter_or_ends_in_a_digit(name: str) -> None:
    parts = name.split("_")
    if all(len(part) > 1 and not part[-1].isdigit() for part in parts):
        assert snake(camel(name)) == name


def test_numbers_in_forms_are_published_as_integers() -> None:
    found = published(CALLBACKS["call-status"].bundle, examples()["bundles"]["CallStatus"])
    assert (found["call_duration"], found["sequence_number"], found["sip_response_code"]) == (14, 3, 200)
    assert found["timestamp"] == "2026-11-23T17:00:19Z"


def test_further_media_and_arbitrary_fields_of_an_inbound_message_pass_through() -> None:
    row = {**examples()["bundles"]["InboundMessage"], "media_url1": "https://x.example/1", "brand_new": "yes"}
    found = published(CALLBACKS["inbound-message"].bundle, row)
    assert (found["media_url1"], found["brand_new"], found["num_media"]) == ("https://x.example/1", "yes", 1)


def test_only_inbound_messages_are_answered_with_twiml_and_only_event_streams_send_cloudevents() -> None:
    assert [row.kind for row in CALLBACKS.values() if row.twiml] == ["inbound-message"]
    assert [row.kind for row in CALLBACKS.values() if row.cloudevents] == ["events"]


# --- results -----------------------------------------------------------------------------------------------------
def test_a_result_has_the_fields_and_outcomes_of_the_contract() -> None:
    assert list(Result.model_fields) == [
        *("command", "outcome", "bundles", "page", "last", "error", "attempts", "reconciled"),
        *("started_at", "finished_at", "request_id"),
    ]
    assert [str(outcome) for outcome in Outcome] == [
        *("succeeded", "failed", "rejected", "expired", "duplicate", "unknown"),
    ]


def test_the_executors_outcomes_are_those_of_the_schema() -> None:
    from connector.executor import outcome as results  # noqa: PLC0415 - the only test here that knows an engine

    assert set(get_args(results.OutcomeName)) == {str(outcome) for outcome in Outcome}
