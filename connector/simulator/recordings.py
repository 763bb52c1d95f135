"""Recordings: per account, per call and per conference, each with its own schema; live control; media.

Source: Twilio, voice/api/recording.
"""

from collections.abc import Callable
from typing import Any

from connector.simulator import audio, recording_life
from connector.simulator.calls import recording_plan
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Dates, Equal, Test
from connector.simulator.paging import Listing, page_2010
from connector.simulator.redirects import redirected
from connector.simulator.routes import Reply, Request, Route, names, rendering
from connector.simulator.rows import Recording
from connector.simulator.times import DAY_SECONDS, rfc2822

CURRENT = "Twilio.CURRENT"
SOFT_DELETED_DAYS = 40
STEREO = 2
UPDATES = ("stopped", "paused", "in-progress")
LIVE = frozenset({"in-progress", "paused"})
KNOWN_CREATE = names(
    "RecordingStatusCallbackEvent", "RecordingStatusCallback", "RecordingStatusCallbackMethod", "Trim",
    "RecordingChannels", "RecordingTrack",
)  # fmt: skip
SUBRESOURCES = {"add_on_results": "AddOnResults", "transcriptions": "Transcriptions"}
KNOWN_UPDATE = names("Status", "PauseBehavior")


def _common(row: Recording, path: str) -> dict[str, Any]:
    return {
        "account_sid": row.account_sid,
        "api_version": "2010-04-01",
        "call_sid": row.call_sid,
        "conference_sid": row.conference_sid,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "start_time": rfc2822(row.start),
        "duration": None if row.duration is None else str(row.duration),
        "sid": row.sid,
        "price": row.price,
        "price_unit": "USD",
        "status": row.status,
        "channels": row.channels,
        "source": row.source,
        "error_code": row.error_code,
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/{path}/{row.sid}.json",
        "encryption_details": None,
    }


@rendering
def render(row: Recording) -> dict[str, Any]:
    """Write a recording as `api.v2010.account.recording`; the media URL is completed when it is answered."""
    uri = f"/2010-04-01/Accounts/{row.account_sid}/Recordings/{row.sid}"
    return _common(row, "Recordings") | {
        "subresource_uris": {
            "add_on_results": f"{uri}/AddOnResults.json",
            "transcriptions": f"{uri}/Transcriptions.json",
        },
        "media_url": uri,
    }


@rendering
def render_of_call(row: Recording) -> dict[str, Any]:
    """Write a recording as `api.v2010.account.call.call_recording`: with a track, and the price a number."""
    shown = _common(row, f"Calls/{row.call_sid}/Recordings")
    return shown | {"track": row.track, "price": None if row.price is None else float(row.price)}


@rendering
def render_of_conference(row: Recording) -> dict[str, Any]:
    """Write a recording as `api.v2010.account.conference.conference_recording`."""
    return _common(row, f"Conferences/{row.conference_sid}/Recordings")


def _shows_deleted(row: Recording, wanted: str) -> bool:
    return row.deleted_at is None or wanted.lower() == "true"


ACCOUNT = Listing(
    key="recordings",
    filters=(
        Dates("DateCreated", "created", sorts=True),
        Equal("CallSid", "call_sid"),
        Equal("ConferenceSid", "conference_sid"),
        Test("IncludeSoftDeleted", _shows_deleted, always=True),
    ),
    render=render,
)
NOT_DELETED = Test("", _shows_deleted, always=True)
OF_CALL = Listing(
    key="recordings",
    filters=(Dates("DateCreated", "created", sorts=True, precise=False), NOT_DELETED),
    render=render_of_call,
)
OF_CONFERENCE = Listing(
    key="recordings",
    filters=(Dates("DateCreated", "created", sorts=True, precise=False), NOT_DELETED),
    render=render_of_conference,
)


def list_(request: Request) -> Reply:
    """List those of the account; deleted ones on request, for 40 days."""
    request.parameters.boolean("IncludeSoftDeleted")
    _forget_old(request)
    reply = page_2010(request, ACCOUNT, request.store.recordings)
    for row in reply.body["recordings"]:
        row["media_url"] = _absolute(request, row["media_url"])
    return reply


def _forget_old(request: Request) -> None:
    oldest = request.state.now() - SOFT_DELETED_DAYS * DAY_SECONDS
    for row in [r for r in request.store.deleted_recordings if (r.deleted_at or 0) < oldest]:
        request.store.deleted_recordings.remove(row)
        request.store.recordings.discard(row)


def list_of_call(request: Request) -> Reply:
    """List those of a call."""
    return page_2010(request, OF_CALL, request.store.recordings, ("call_sid", request.sids[0]))


def list_of_conference(request: Request) -> Reply:
    """List those of a conference."""
    return page_2010(request, OF_CONFERENCE, request.store.recordings, ("conference_sid", request.sids[0]))


def find(request: Request) -> Recording:
    """Return the recording of the path, which must belong to the parent in the path; refuses with 20404."""
    sid, store = request.sids[-1], request.store
    row = _current(request) if sid == CURRENT else store.recordings.rows.get(sid)
    parents = request.sids[:-1]
    if row is None or (parents and parents[0] not in {row.call_sid, row.conference_sid}):
        raise not_found(request.path)
    if not _shows_deleted(row, request.parameters.get("IncludeSoftDeleted")):
        raise not_found(request.path)
    return row


def _current(request: Request) -> Recording | None:
    running = [r for r in request.store.recordings.where("call_sid", request.sids[0]) if r.status in LIVE]
    return running[-1] if running else None


def fetch(request: Request) -> Reply:
    """Fetch metadata."""
    row = find(request)
    shown = render(row)
    return Reply(body=shown | {"media_url": _absolute(request, shown["media_url"])}, sid=row.sid, name="Recording")


def _absolute(request: Request, url: str) -> str:
    """Complete a media URL, unless it was replaced by one at the customer's own storage."""
    return request.base_url + url if url.startswith("/") else url


def fetch_of_call(request: Request) -> Reply:
    """Fetch metadata in the form of a call's recording."""
    row = find(request)
    return Reply(body=render_of_call(row), sid=row.sid, name="Recording")


def fetch_of_conference(request: Request) -> Reply:
    """Fetch metadata in the form of a conference's recording."""
    row = find(request)
    return Reply(body=render_of_conference(row), sid=row.sid, name="Recording")


def create(request: Request) -> Reply:
    """Start recording a call in progress."""
    call = request.store.calls.rows.get(request.sids[0])
    if call is None:
        raise not_found(request.path)
    if call.status != "in-progress":
        raise refusal(21220, message="Requested resource is not eligible for recording: the call is not in progress")
    plan = recording_plan(request.parameters)
    row = recording_life.begin(request.state, call, plan, source="StartCallRecordingAPI")
    return Reply(status=201, body=render_of_call(row), sid=row.sid, name="Recording")


def _update(request: Request, show: Callable[[Recording], dict[str, Any]]) -> Reply:
    row = find(request)
    status = request.parameters.choice("Status", UPDATES)
    if not status:
        raise refusal(20001, message="Status is required")
    if row.status not in LIVE:
        raise refusal(21220, message=f"The recording is {row.status}")
    if status == "stopped":
        recording_life.stop(request.state, row)
    else:
        row.status, row.updated = status, int(request.state.now())
    return Reply(body=show(row) | ({"status": "stopped"} if status == "stopped" else {}), sid=row.sid, name="Recording")


def update_of_call(request: Request) -> Reply:
    """Stop, pause or resume the recording of a call."""
    return _update(request, render_of_call)


def update_of_conference(request: Request) -> Reply:
    """Stop, pause or resume the recording of a conference."""
    return _update(request, render_of_conference)


def delete(request: Request) -> Reply:
    """Delete a completed recording: the media is gone, the metadata stays for 40 days."""
    row = find(request)
    if row.status not in {"completed", "absent"}:
        raise refusal(20009)
    row.status, row.deleted_at, row.updated = "deleted", request.state.now(), int(request.state.now())
    request.store.deleted_recordings.append(row)
    return Reply(status=204, sid=row.sid)


def media(request: Request) -> Reply:
    """Stream the media: WAV unless `.mp3` is asked for; 404 until completed, 400 when there are not two channels."""
    row = find(request)
    if row.status != "completed":
        raise not_found(request.path)
    if request.state.settings.media_redirect:
        return redirected(request, row.sid)
    return content(row, request.suffix, request.parameters.get("RequestedChannels"))


def content(row: Recording, suffix: str, requested: str = "") -> Reply:
    """Return the media of a recording as a stream."""
    if requested not in {"", "1", "2"} or (requested == "2" and row.channels < STEREO):
        raise refusal(20001, message="RequestedChannels: dual channel media is not available for this recording")
    channels, seconds = int(requested or row.channels), row.duration or 1
    if suffix == ".mp3":
        stream, length, kind = audio.mp3(seconds, channels), audio.mp3_length(seconds), "audio/mpeg"
    else:
        stream, length, kind = audio.wav(seconds, channels), audio.wav_length(seconds, channels), "audio/x-wav"
    return Reply(stream=stream, length=length, content_type=kind, sid=row.sid)


OF_A_CALL = "Accounts/*/Calls/*/Recordings"
OF_A_CONFERENCE = "Accounts/*/Conferences/*/Recordings"
ROUTES = (
    Route("ListRecording", "GET", "Accounts/*/Recordings", list_, ACCOUNT.known),
    Route("FetchRecording", "GET", "Accounts/*/Recordings/*", fetch, names("IncludeSoftDeleted")),
    Route("FetchRecordingMedia", "GET", "Accounts/*/Recordings/*:media", media, names("RequestedChannels", "Download")),
    Route("DeleteRecording", "DELETE", "Accounts/*/Recordings/*", delete),
    Route("ListCallRecording", "GET", OF_A_CALL, list_of_call, OF_CALL.known),
    Route("CreateCallRecording", "POST", OF_A_CALL, create, KNOWN_CREATE),
    Route("FetchCallRecording", "GET", f"{OF_A_CALL}/*", fetch_of_call),
    Route("UpdateCallRecording", "POST", f"{OF_A_CALL}/*", update_of_call, KNOWN_UPDATE),
    Route("DeleteCallRecording", "DELETE", f"{OF_A_CALL}/*", delete),
    Route("ListConferenceRecording", "GET", OF_A_CONFERENCE, list_of_conference, OF_CONFERENCE.known),
    Route("FetchConferenceRecording", "GET", f"{OF_A_CONFERENCE}/*", fetch_of_conference),
    Route("UpdateConferenceRecording", "POST", f"{OF_A_CONFERENCE}/*", update_of_conference, KNOWN_UPDATE),
    Route("DeleteConferenceRecording", "DELETE", f"{OF_A_CONFERENCE}/*", delete),
)
