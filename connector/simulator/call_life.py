"""The life of a call: queued -> initiated -> ringing -> in-progress -> completed, or busy, no-answer, failed, canceled.

The resource has no status `initiated`; it exists only in callbacks, which carry a sequence number.
"""

import re
from typing import Any

from connector.simulator import debugger, events, recording_life
from connector.simulator.callbacks import Delivery
from connector.simulator.inbound import PLACE
from connector.simulator.rows import Call, Recording, RecordingPlan
from connector.simulator.state import State
from connector.simulator.times import rfc2822

PRICE = "-0.01300"
EVENT_OF = {"initiated": "initiated", "ringing": "ringing", "in-progress": "answered"}
SIP_CODE = {"completed": 200, "busy": 486, "no-answer": 487, "failed": 404, "canceled": 487}
RECORD_VERB = re.compile(r"<Record\b([^>]*)>")
ATTRIBUTE = re.compile(r"""(\w+)\s*=\s*["']([^"']*)["']""")
AMD_MILLISECONDS = 4221


def begin(state: State, row: Call) -> None:
    """Queue a call: calls beyond the account's rate wait, they are not refused (Twilio, voice/api/call-resource)."""
    if not state.settings.auto_advance:
        return
    wait = _reserve_slot(state, row)
    row.queue_time = int((wait + state.settings.dial_delay) * 1000)
    state.agenda.after(wait + state.settings.dial_delay, lambda: dial(state, row))


def _reserve_slot(state: State, row: Call) -> float:
    rate, store, now = state.settings.calls_per_second, state.stores[row.account_sid], state.now()
    if not rate:
        return 0.0
    start = max(now, store.next_call_at)
    store.next_call_at = start + 1 / rate
    return start - now


def dial(state: State, row: Call) -> None:
    """Start dialling: the call gets its start time, and the event `initiated` is reported."""
    if row.status != "queued" or _is_gone(state, row):
        return
    row.start = int(state.now())
    _touch(state, row)
    report(state, row, "initiated")
    if state.random.random() < state.settings.skip_ringing:
        state.agenda.after(state.settings.ring_delay, lambda: _pick_up(state, row))
    else:
        state.agenda.after(state.settings.ring_delay, lambda: _ring(state, row))


def _ring(state: State, row: Call) -> None:
    if row.status != "queued" or _is_gone(state, row):
        return
    change(state, row, "ringing")
    state.agenda.after(state.settings.answer_delay, lambda: _pick_up(state, row))


def _pick_up(state: State, row: Call) -> None:
    if row.is_final or row.status == "in-progress" or _is_gone(state, row):
        return
    change(state, row, "in-progress" if row.plan.outcome == "completed" else row.plan.outcome)
    if row.status == "in-progress":
        talk = min(state.settings.talk_seconds, row.plan.time_limit)
        state.agenda.after(talk, lambda: _hang_up(state, row))


def _hang_up(state: State, row: Call) -> None:
    if row.status == "in-progress" and not _is_gone(state, row):
        change(state, row, "completed")


def change(state: State, row: Call, status: str) -> None:
    """Set a status with everything that goes with it: times, duration, recording, AMD, callback, late price."""
    was_queued = row.status == "queued" and row.start is None
    row.status = status
    if status == "in-progress":
        _answered(state, row)
    if row.is_final:
        _ended(state, row)
    _touch(state, row)
    if not (was_queued and status == "canceled"):  # canceling a queued call is never called back
        report(state, row, status)


def _answered(state: State, row: Call) -> None:
    row.answered = state.now()
    row.start = row.start if row.start is not None else int(row.answered)
    if row.plan.detect_machine:
        _detect_machine(state, row)
    if row.plan.record and row.plan.recording is not None:
        recording_life.begin(state, row, row.plan.recording, source="OutboundAPI")
    follow_twiml(state, row, row.plan.twiml)
    if row.plan.url and state.settings.fetch_twiml:
        fetch_twiml(state, row)


def _ended(state: State, row: Call) -> None:
    if row.answered is not None:
        row.end = int(state.now())
        row.duration = state.settings.call_duration or max(1, round(state.now() - row.answered))
        recording_life.end_of_call(state, row)
        state.agenda.after(state.settings.price_delay, lambda: _charge(state, row))


def _charge(state: State, row: Call) -> None:
    row.price = PRICE
    if state.settings.price_updates_date:
        row.updated = int(state.now())


def _detect_machine(state: State, row: Call) -> None:
    found = state.settings.answered_by
    if row.plan.detect_machine == "DetectMessageEnd" and found == "machine_start":
        found = "machine_end_beep"
    if not row.plan.asynchronous:
        row.answered_by = found
        return
    if not row.plan.amd_callback:
        debugger.alert(state, row.account_sid, error_code=21262, resource_sid=row.sid, log_level="warning")
    state.agenda.after(state.settings.amd_delay, lambda: _report_machine(state, row, found))


def _report_machine(state: State, row: Call, found: str) -> None:
    row.answered_by = found
    row.updated = int(state.now())
    form = {"CallSid": row.sid, "AccountSid": row.account_sid, "AnsweredBy": found}
    form["MachineDetectionDuration"] = str(AMD_MILLISECONDS)
    state.deliveries.send(
        kind="amd-status",
        url=row.plan.amd_callback,
        method=row.plan.amd_method,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters=form,
    )


def report(state: State, row: Call, status: str) -> None:
    """Call back one event, if it was asked for; the sequence counts the events of the call."""
    event = EVENT_OF.get(status, "completed")
    number, row.sequence = row.sequence, row.sequence + 1
    events.report_call(state, row, event)
    if event not in row.plan.events:
        return
    state.deliveries.send(
        kind="call-status",
        url=row.plan.callback,
        method=row.plan.callback_method,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters=voice_form(row, status) | _progress(state, row, event, number),
    )


def voice_form(row: Call, status: str) -> dict[str, Any]:
    """Return the fields that every voice webhook has (Twilio, voice/api/call-resource, voice/twiml)."""
    form: dict[str, Any] = {"CallSid": row.sid, "AccountSid": row.account_sid, "From": row.from_, "To": row.to}
    form |= {"CallStatus": status, "ApiVersion": "2010-04-01", "Direction": row.direction}
    form |= {"ForwardedFrom": row.forwarded_from, "CallerName": row.caller_name, "ParentCallSid": row.parent_call_sid}
    form |= {"Caller": row.from_, "Called": row.to}
    for role in ("Called", "To", "Caller", "From"):
        form |= {f"{role}{name}": value for name, value in PLACE.items()}
    return form


def _progress(state: State, row: Call, event: str, number: int) -> dict[str, Any]:
    form: dict[str, Any] = {}
    if event == "completed":
        seconds = row.duration or 0
        form |= {"Duration": -(-seconds // 60), "CallDuration": seconds, "SipResponseCode": SIP_CODE[row.status]}
        if (recording := _recording_of(state, row)) is not None:
            form |= {
                "RecordingUrl": recording_life.url_of(state, recording),
                "RecordingSid": recording.sid,
                "RecordingDuration": recording.duration,
            }
    return form | {
        "Timestamp": rfc2822(int(state.now())),
        "CallbackSource": "call-progress-events",
        "SequenceNumber": number,
    }


def _recording_of(state: State, row: Call) -> Recording | None:
    found = state.stores[row.account_sid].recordings.where("call_sid", row.sid) if row.plan.record else []
    return found[-1] if found else None


def fetch_twiml(state: State, row: Call) -> None:
    """Ask the call's Url for TwiML, as Twilio does when the call is answered."""
    state.deliveries.send(
        kind="voice",
        url=row.plan.url,
        method=row.plan.url_method,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters=voice_form(row, "in-progress"),
        on_answer=lambda delivery: _follow_answer(state, row, delivery),
    )


def _follow_answer(state: State, row: Call, delivery: Delivery) -> None:
    follow_twiml(state, row, delivery.answer)


def follow_twiml(state: State, row: Call, twiml: str) -> None:
    """Follow the only verb that leaves a trace in the API: `<Record>`, with transcription if asked for."""
    if row.status != "in-progress" or (verb := RECORD_VERB.search(twiml)) is None:
        return
    given = dict(ATTRIBUTE.findall(verb.group(1)))
    plan = RecordingPlan(
        callback=given.get("recordingStatusCallback", ""),
        callback_method=given.get("recordingStatusCallbackMethod", "POST"),
        events=frozenset(given.get("recordingStatusCallbackEvent", "completed").split()),
        transcribe=given.get("transcribe") == "true" or "transcribeCallback" in given,
        transcribe_callback=given.get("transcribeCallback", ""),
    )
    recording_life.begin(state, row, plan, source="RecordVerb")


def _touch(state: State, row: Call) -> None:
    row.updated = int(state.now())
    state.stores[row.account_sid].calls.touch(row)


def _is_gone(state: State, row: Call) -> bool:
    return row.sid not in state.stores[row.account_sid].calls.rows
