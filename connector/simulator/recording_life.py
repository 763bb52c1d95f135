"""The life of a recording: in-progress -> processing -> completed, perhaps a transcription.

Source: Twilio, voice/api/recording.
"""

from connector.simulator import transcription_life
from connector.simulator.rows import Call, Recording, RecordingPlan
from connector.simulator.state import State
from connector.simulator.times import rfc2822

PRICE = "-0.00250"
REPORTED = frozenset({"in-progress", "completed", "absent"})
RUNNING = frozenset({"in-progress", "paused"})


def begin(state: State, call: Call, plan: RecordingPlan, *, source: str) -> Recording:
    """Start recording a call; it is listed at once, without duration."""
    now, sid = state.now(), state.new_sid("RE")
    row = Recording(
        sid=sid,
        account_sid=call.account_sid,
        created=int(now),
        updated=int(now),
        visible_at=now + state.settings.visible_after + state.faults.hidden_for("CreateRecording"),
        tie=state.new_tie(sid),
        call_sid=call.parent_call_sid or call.sid,
        start=int(now),
        began=now,
        status="in-progress",
        source=source,
        channels=plan.channels,
        track=plan.track,
        plan=plan,
    )
    state.stores[call.account_sid].recordings.add(row)
    report(state, row)
    return row


def end_of_call(state: State, call: Call) -> None:
    """Stop what is still recording when the call ends."""
    for row in state.stores[call.account_sid].recordings.where("call_sid", call.sid):
        if row.status in RUNNING:
            stop(state, row)


def stop(state: State, row: Recording) -> None:
    """Stop recording: the media exists only after processing."""
    row.duration = state.settings.recording_seconds or max(1, round(state.now() - row.began))
    row.status, row.updated = "processing", int(state.now())
    state.agenda.after(state.settings.process_delay, lambda: _complete(state, row))


def _complete(state: State, row: Recording) -> None:
    if row.status != "processing":
        return
    change(state, row, "completed")
    if row.plan.transcribe or state.settings.transcribe:
        transcription_life.begin(state, row)


def change(state: State, row: Recording, status: str) -> None:
    """Set a status, call it back, and charge for a completed recording later."""
    row.status, row.updated = status, int(state.now())
    if status == "absent":
        row.duration, row.error_code = None, row.error_code or 16104
    report(state, row)
    if status == "completed":
        state.agenda.after(state.settings.price_delay, lambda: _charge(state, row))


def _charge(state: State, row: Recording) -> None:
    row.price = PRICE
    if state.settings.price_updates_date:
        row.updated = int(state.now())


def report(state: State, row: Recording) -> None:
    """Call back a status that was asked for; the default is only `completed`."""
    if row.status not in REPORTED or row.status not in row.plan.events:
        return
    state.deliveries.send(
        kind="recording-status",
        url=row.plan.callback,
        method=row.plan.callback_method,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters={
            "AccountSid": row.account_sid,
            "CallSid": row.call_sid,
            "ConferenceSid": row.conference_sid,
            "RecordingSid": row.sid,
            "RecordingUrl": url_of(state, row),
            "RecordingStatus": row.status,
            "RecordingDuration": row.duration if row.status == "completed" else None,
            "RecordingChannels": row.channels,
            "RecordingStartTime": rfc2822(row.start),
            "RecordingSource": row.source,
            "RecordingTrack": row.track,
            "ErrorCode": row.error_code or 0,
        },
    )


def url_of(state: State, row: Recording) -> str:
    """Return the media URL, without extension."""
    return f"{state.base_url}/2010-04-01/Accounts/{row.account_sid}/Recordings/{row.sid}"
