"""Every kind of callback as Twilio sends it, with the typed fields that the record must have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.simulator import ACCOUNT_SID
from tests.specification.furnished import OURS, THEIRS, new

MESSAGE, CALL, RECORDING, TRANSCRIPTION = (new(prefix, 0xCB) for prefix in ("SM", "CA", "RE", "TR"))
API = f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT_SID}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """A form of a kind, and the event that it becomes on `topic`, keyed by `key`, with (among others) `fields`."""

    kind: str
    form: Mapping[str, str]
    topic: str
    key: str
    type: str
    resource: str
    fields: Mapping[str, Any]
    time: str | None = None


FORMS = (
    Called(
        kind="message-status",
        form={
            "SmsSid": MESSAGE,
            "SmsStatus": "undelivered",
            "MessageStatus": "undelivered",
            "To": THEIRS,
            "MessageSid": MESSAGE,
            "AccountSid": ACCOUNT_SID,
            "From": OURS,
            "ApiVersion": "2010-04-01",
            "ErrorCode": "30007",
            "RawDlrDoneDate": "2611231744",
            "ANewField": "as it came",
        },
        topic="message-status",
        key=MESSAGE,
        type="twilio.message.status.v1",
        resource="messages",
        fields={
            "message_sid": MESSAGE,
            "message_status": "undelivered",
            "error_code": 30007,
            "a_new_field": "as it came",
        },
    ),
    Called(
        kind="call-status",
        form={
            "CallSid": CALL,
            "AccountSid": ACCOUNT_SID,
            "From": OURS,
            "To": THEIRS,
            "CallStatus": "completed",
            "Direction": "outbound-api",
            "Duration": "1",
            "CallDuration": "14",
            "SipResponseCode": "200",
            "Timestamp": "Mon, 23 Nov 2026 17:00:19 +0000",
            "SequenceNumber": "3",
        },
        topic="call-status",
        key=CALL,
        type="twilio.call.status.v1",
        resource="calls",
        fields={
            "call_status": "completed",
            "call_duration": 14,
            "duration": 1,
            "sip_response_code": 200,
            "sequence_number": 3,
            "timestamp": "2026-11-23T17:00:19Z",
        },
        time="2026-11-23T17:00:19Z",
    ),
    Called(
        kind="recording-status",
        form={
            "AccountSid": ACCOUNT_SID,
            "CallSid": CALL,
            "RecordingSid": RECORDING,
            "RecordingUrl": f"{API}/Recordings/{RECORDING}",
            "RecordingStatus": "completed",
            "RecordingDuration": "12",
            "RecordingChannels": "1",
            "RecordingStartTime": "Mon, 23 Nov 2026 17:00:06 +0000",
            "ErrorCode": "0",
        },
        topic="recording-status",
        key=RECORDING,
        type="twilio.recording.status.v1",
        resource="recordings",
        fields={
            "recording_status": "completed",
            "recording_duration": 12,
            "recording_channels": 1,
            "recording_start_time": "2026-11-23T17:00:06Z",
            "error_code": 0,
        },
    ),
    Called(
        kind="amd-status",
        form={
            "CallSid": CALL,
            "AccountSid": ACCOUNT_SID,
            "AnsweredBy": "machine_start",
            "MachineDetectionDuration": "4221",
        },
        topic="amd-status",
        key=CALL,
        type="twilio.call.answered-by.v1",
        resource="calls",
        fields={"answered_by": "machine_start", "machine_detection_duration": 4221},
    ),
    Called(
        kind="transcription-status",
        form={
            "TranscriptionSid": TRANSCRIPTION,
            "TranscriptionText": "Hello",
            "TranscriptionStatus": "completed",
            "RecordingSid": RECORDING,
            "CallSid": CALL,
            "AccountSid": ACCOUNT_SID,
        },
        topic="transcription-status",
        key=TRANSCRIPTION,
        type="twilio.transcription.status.v1",
        resource="transcriptions",
        fields={"transcription_text": "Hello", "transcription_status": "completed", "recording_sid": RECORDING},
    ),
    Called(
        kind="inbound-message",
        form={
            "ToCountry": "US",
            "MessageSid": MESSAGE,
            "SmsStatus": "received",
            "Body": "Grüße & thanks 🎉 100%",
            "NumMedia": "1",
            "NumSegments": "1",
            "AccountSid": ACCOUNT_SID,
            "From": THEIRS,
            "To": OURS,
            "MediaContentType0": "image/jpeg",
            "MediaUrl0": f"{API}/Messages/{MESSAGE}/Media/{new('ME', 1)}",
        },
        topic="inbound-messages",
        key=MESSAGE,
        type="twilio.message.received.v1",
        resource="messages",
        fields={
            "body": "Grüße & thanks 🎉 100%",
            "num_media": 1,
            "media_url0": f"{API}/Messages/{MESSAGE}/Media/{new('ME', 1)}",
        },
    ),
)


def streamed(identity: str) -> dict[str, Any]:
    """An event as Event Streams has it."""
    return {
        "specversion": "1.0",
        "type": "com.twilio.messaging.message.delivered",
        "source": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{MESSAGE}.json",
        "id": identity,
        "dataschema": "https://events-schemas.twilio.com/Messaging.MessageStatus/8",
        "datacontenttype": "application/json",
        "time": "2026-11-23T17:44:55.000Z",
        "data": {"messageSid": MESSAGE, "accountSid": ACCOUNT_SID, "numberOfSegments": 1, "price": 0.00750},
    }
