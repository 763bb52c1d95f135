"""Recordings: watch, get, list, delete, download, status callbacks. Twilio: voice/api/recording."""

from typing import Annotated, Any, Literal

from pydantic import Field

from connector.resources.commands import Operation, Ready
from connector.resources.fields import (
    CallSid,
    ConferenceSid,
    Count,
    Limit,
    Moment,
    Optional,
    Price,
    RecordingSid,
    Text,
    Timestamp,
)
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Callback, Parameters, Watch, Wire

LIST = f"{ACCOUNT}/Recordings.json"
ONE = f"{ACCOUNT}/Recordings/{{sid}}.json"
# Built from the SID: `media_url` may lead to a foreign host (facts: 3.4).
MEDIA = f"{ACCOUNT}/Recordings/{{sid}}.{{format}}"
IncludeDeleted = Annotated[
    bool | None, Wire("IncludeSoftDeleted"), Field(description="Also deleted ones: Twilio keeps their data 40 days.")
]


class Recording(Bundle):
    """A recording's data; its media is fetched by `download-recording`."""

    sid: str
    account_sid: Optional = None
    api_version: Text = None
    call_sid: Annotated[Optional, Field(description="Always the parent call.")] = None
    channels: Count = None
    conference_sid: Optional = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    duration: Annotated[Count, Field(description="Seconds; null while in progress.")] = None
    encryption_details: Any = None
    error_code: Annotated[Count, Field(description="Only when absent.")] = None
    media_url: Annotated[Optional, Field(description="Without extension; needs Twilio's credentials.")] = None
    price: Price = None
    price_unit: Text = None
    source: Annotated[
        Text,
        Field(
            description="DialVerb, Conference, OutboundAPI, Trunking, RecordVerb, StartCallRecordingAPI or "
            "StartConferenceRecordingAPI."
        ),
    ] = None
    start_time: Timestamp = None
    status: Annotated[
        Text, Field(description="in-progress, paused, stopped, processing, completed, absent or deleted.")
    ] = None
    subresource_uris: dict[str, Any] | None = None
    uri: Text = None


class RecordingMedia(Bundle):
    """A downloaded recording: its chunks are on the topic `recording-media` under its SID, or at `url`."""

    sid: str
    content_type: Annotated[str, Field(description="audio/wav or audio/mpeg.")]
    size: Annotated[int, Field(description="Bytes.")]
    sha256: Annotated[str, Field(description="Of the whole file, hexadecimal.")]
    chunks: Annotated[int | None, Field(description="Records on the topic; null when stored elsewhere.")] = None
    url: Annotated[Text, Field(description="Where the object store has it; null when on the topic.")] = None


class GetRecording(Parameters):
    """Parameters of `get` with resource `recording`."""

    resource: Literal["recording"]
    sid: Annotated[RecordingSid, Field(description="RE….")]
    include_deleted: IncludeDeleted = None


class DeleteRecording(Parameters):
    """Parameters of `delete` with resource `recording`."""

    resource: Literal["recording"]
    sid: Annotated[RecordingSid, Field(description="RE….")]


class ListRecordings(Parameters):
    """Parameters of `list` with resource `recordings`."""

    resource: Literal["recordings"]
    call_sid: Annotated[CallSid | None, Field(description="Only recordings of this call.")] = None
    conference_sid: Annotated[ConferenceSid | None, Field(description="Only recordings of this conference.")] = None
    include_deleted: IncludeDeleted = None
    date_created: Annotated[Moment | None, Field(description="Created on this day (UTC).")] = None
    date_created_before: Annotated[Moment | None, Wire("DateCreated<"), Field(description="Created before.")] = None
    date_created_after: Annotated[Moment | None, Wire("DateCreated>"), Field(description="Created on or after.")] = None
    limit: Limit = None


class DownloadRecording(Parameters):
    """Parameters of `download-recording`."""

    sid: Annotated[RecordingSid, Field(description="RE….")]
    format: Annotated[Literal["wav", "mp3"], Field(description="wav: 128 kbit/s; mp3: 32 kbit/s.")] = "wav"
    channels: Annotated[
        int | None,
        Wire("RequestedChannels"),
        Field(ge=1, le=2, description="2 only for recordings made with two; left out: as recorded."),
    ] = None


class RecordingStatus(Bundle):
    """A step of a recording, as Twilio called it back."""

    recording_sid: str
    account_sid: str
    recording_status: Annotated[Text, Field(description="in-progress, completed or absent.")] = None
    call_sid: Annotated[Optional, Field(description="The parent call.")] = None
    conference_sid: Optional = None
    error_code: Annotated[Count, Field(description="0: no error.")] = None
    recording_channels: Count = None
    recording_duration: Annotated[Count, Field(description="Seconds; when completed.")] = None
    recording_source: Text = None
    recording_start_time: Timestamp = None
    recording_track: Annotated[Text, Field(description="inbound, outbound or both.")] = None
    recording_url: Annotated[Optional, Field(description="Without extension; needs Twilio's credentials.")] = None


WATCH = Watch(
    resource="recordings",
    noun="recording",
    path=LIST,
    items="recordings",
    bundle=Recording,
    since="DateCreated>",
    before="DateCreated<",
    filters={"call_sid": "CallSid", "conference_sid": "ConferenceSid", "include_deleted": "IncludeSoftDeleted"},
    version=("status", "duration", "price", "channels", "error_code"),
    final=frozenset({"completed", "absent", "deleted"}),
    fetch=ONE,
    operation="ListRecording",
)

STATUS = Callback(
    kind="recording-status",
    resource="recordings",
    event_type="twilio.recording.status.v1",
    bundle=RecordingStatus,
    key="recording_sid",
    identity=("recording_sid", "recording_status"),
)

GET = fetching("FetchRecording", GetRecording, ONE, Recording)
LISTING = listing("ListRecording", ListRecordings, LIST, "recordings", Recording)
DELETE = deleting("DeleteRecording", DeleteRecording, ONE)
DOWNLOAD = Operation(
    name="FetchRecordingMedia",
    parameters=DownloadRecording,
    method="GET",
    path=MEDIA,
    answer="binary",
    bundle=RecordingMedia,
    repeatable=True,
    ready=Ready(path=ONE, pending=frozenset({"in-progress", "paused", "stopped", "processing"})),
)

WATCHES = (WATCH,)
CALLBACKS = (STATUS,)
OPERATIONS = {
    "get": {"recording": GET},
    "list": {"recordings": LISTING},
    "delete": {"recording": DELETE},
    "download-recording": {None: DOWNLOAD},
}
