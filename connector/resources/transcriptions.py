"""Transcriptions (legacy `TR…`): watch, get, list, delete, callbacks. Twilio: voice/api/recording-transcription."""

from typing import Annotated, Literal

from pydantic import Field

from connector.resources.fields import (
    Count,
    Limit,
    Optional,
    Price,
    RecordingSid,
    Text,
    Timestamp,
    TranscriptionSid,
)
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Callback, Parameters, Watch

LIST = f"{ACCOUNT}/Transcriptions.json"
ONE = f"{ACCOUNT}/Transcriptions/{{sid}}.json"
OF_RECORDING = f"{ACCOUNT}/Recordings/{{recording_sid}}/Transcriptions.json"


class Transcription(Bundle):
    """The text of a recording made with `<Record transcribe>`."""

    sid: str
    account_sid: Optional = None
    api_version: Text = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    duration: Annotated[Count, Field(description="Seconds.")] = None
    price: Price = None
    price_unit: Text = None
    recording_sid: Optional = None
    status: Annotated[Text, Field(description="in-progress, completed or failed.")] = None
    transcription_text: Annotated[Text, Field(description="Null until completed.")] = None
    type: Text = None
    uri: Text = None


class GetTranscription(Parameters):
    """Parameters of `get` with resource `transcription`."""

    resource: Literal["transcription"]
    sid: Annotated[TranscriptionSid, Field(description="TR….")]


class DeleteTranscription(Parameters):
    """Parameters of `delete` with resource `transcription`."""

    resource: Literal["transcription"]
    sid: Annotated[TranscriptionSid, Field(description="TR….")]


class ListTranscriptions(Parameters):
    """Parameters of `list` with resource `transcriptions`: Twilio offers no filter but the recording."""

    resource: Literal["transcriptions"]
    recording_sid: Annotated[RecordingSid | None, Field(description="Only transcriptions of this recording.")] = None
    limit: Limit = None


class TranscriptionStatus(Bundle):
    """A finished transcription, as Twilio called it back (`transcribeCallback` of `<Record>`)."""

    transcription_sid: str
    account_sid: str
    transcription_status: Annotated[Text, Field(description="completed or failed.")] = None
    api_version: Text = None
    call_sid: Optional = None
    call_status: Text = None
    direction: Text = None
    forwarded_from: Text = None
    from_: Annotated[Text, Field(alias="from")] = None
    recording_sid: Optional = None
    recording_url: Optional = None
    to: Text = None
    transcription_text: Text = None
    transcription_url: Optional = None


WATCH = Watch(
    resource="transcriptions",
    noun="transcription",
    path=LIST,
    items="transcriptions",
    bundle=Transcription,
    version=("status", "transcription_text", "duration", "price"),
    final=frozenset({"completed", "failed"}),
    fetch=ONE,
    operation="ListTranscription",
)

STATUS = Callback(
    kind="transcription-status",
    resource="transcriptions",
    event_type="twilio.transcription.status.v1",
    bundle=TranscriptionStatus,
    key="transcription_sid",
    identity=("transcription_sid", "transcription_status"),
)

GET = fetching("FetchTranscription", GetTranscription, ONE, Transcription)
LISTING = listing(
    "ListTranscription",
    ListTranscriptions,
    LIST,
    "transcriptions",
    Transcription,
    nested={"recording_sid": OF_RECORDING},
)
DELETE = deleting("DeleteTranscription", DeleteTranscription, ONE)

WATCHES = (WATCH,)
CALLBACKS = (STATUS,)
OPERATIONS = {
    "get": {"transcription": GET},
    "list": {"transcriptions": LISTING},
    "delete": {"transcription": DELETE},
}
