"""The life of a legacy transcription: in-progress -> completed or failed, with its callback.

Source: Twilio, voice/twiml/record.
"""

from connector.simulator.rows import Recording, Transcription
from connector.simulator.state import State

TEXT = "Hello, please call me back."
PRICE = -0.05
LENGTHS = (2, 120)  # seconds that can be transcribed (13617)


def begin(state: State, recording: Recording) -> Transcription:
    """Start transcribing; the text comes later."""
    now, sid = int(state.now()), state.new_sid("TR")
    row = Transcription(
        sid=sid,
        account_sid=recording.account_sid,
        created=now,
        updated=now,
        tie=state.new_tie(sid),
        recording_sid=recording.sid,
        duration=recording.duration,
        status="in-progress",
    )
    state.stores[recording.account_sid].transcriptions.add(row)
    state.agenda.after(state.settings.transcribe_delay, lambda: _finish(state, row, recording))
    return row


def _finish(state: State, row: Transcription, recording: Recording) -> None:
    change(state, row, "completed")
    _call_back(state, row, recording)


def change(state: State, row: Transcription, status: str) -> None:
    """Set a status with text and price."""
    row.status, row.updated = status, int(state.now())
    if status == "completed":
        row.text, row.price = TEXT, PRICE


def _call_back(state: State, row: Transcription, recording: Recording) -> None:
    base = f"{state.base_url}/2010-04-01/Accounts/{row.account_sid}"
    call = state.stores[row.account_sid].calls.rows.get(recording.call_sid or "")
    state.deliveries.send(
        kind="transcription-status",
        url=recording.plan.transcribe_callback or state.settings.transcription_url,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters={
            "TranscriptionSid": row.sid,
            "TranscriptionText": row.text or "",
            "TranscriptionStatus": row.status,
            "TranscriptionUrl": f"{base}/Transcriptions/{row.sid}",
            "RecordingSid": recording.sid,
            "RecordingUrl": f"{base}/Recordings/{recording.sid}",
            "CallSid": recording.call_sid,
            "AccountSid": row.account_sid,
            "From": call.from_ if call else None,
            "To": call.to if call else None,
            "CallStatus": call.status if call else None,
            "ApiVersion": "2010-04-01",
            "Direction": call.direction if call else None,
        },
    )
