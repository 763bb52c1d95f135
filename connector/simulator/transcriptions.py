"""Legacy transcriptions, per account and per recording: list without filters, fetch, delete.

Source: Twilio, voice/api/recording-transcription.
"""

from typing import Any

from connector.simulator.errors import not_found
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, rendering
from connector.simulator.rows import Transcription
from connector.simulator.times import rfc2822


@rendering
def render(row: Transcription) -> dict[str, Any]:
    """Write a transcription as `api.v2010.account.transcription`; the price is a number."""
    return {
        "account_sid": row.account_sid,
        "api_version": "2010-04-01",
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "duration": None if row.duration is None else str(row.duration),
        "price": row.price,
        "price_unit": "USD",
        "recording_sid": row.recording_sid,
        "sid": row.sid,
        "status": row.status,
        "transcription_text": row.text,
        "type": "fast",
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/Transcriptions/{row.sid}.json",
    }


@rendering
def _render_of_recording(row: Transcription) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{row.account_sid}/Recordings/{row.recording_sid}/Transcriptions/{row.sid}.json"
    return render(row) | {"uri": uri}


ACCOUNT = Listing(key="transcriptions", filters=(), render=render)
OF_RECORDING = Listing(key="transcriptions", filters=(), render=_render_of_recording)


def list_(request: Request) -> Reply:
    """List those of the account."""
    return page_2010(request, ACCOUNT, request.store.transcriptions)


def list_of_recording(request: Request) -> Reply:
    """List those of a recording that exists."""
    if request.sids[0] not in request.store.recordings.rows:
        raise not_found(request.path)
    return page_2010(request, OF_RECORDING, request.store.transcriptions, ("recording_sid", request.sids[0]))


def find(request: Request) -> Transcription:
    """Return the transcription of the path, which must belong to the recording in the path; refuses with 20404."""
    row = request.store.transcriptions.rows.get(request.sids[-1])
    parents = request.sids[:-1]
    if row is None or (parents and parents[0] != row.recording_sid):
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch one."""
    row = find(request)
    show = _render_of_recording if len(request.sids) > 1 else render
    return Reply(body=show(row), sid=row.sid, name="Transcription")


def delete(request: Request) -> Reply:
    """Delete one."""
    row = find(request)
    request.store.transcriptions.discard(row)
    return Reply(status=204, sid=row.sid)


OF = "Accounts/*/Recordings/*/Transcriptions"
ROUTES = (
    Route("ListTranscription", "GET", "Accounts/*/Transcriptions", list_, ACCOUNT.known),
    Route("FetchTranscription", "GET", "Accounts/*/Transcriptions/*", fetch),
    Route("DeleteTranscription", "DELETE", "Accounts/*/Transcriptions/*", delete),
    Route("ListRecordingTranscription", "GET", OF, list_of_recording, OF_RECORDING.known),
    Route("FetchRecordingTranscription", "GET", f"{OF}/*", fetch),
    Route("DeleteRecordingTranscription", "DELETE", f"{OF}/*", delete),
)
