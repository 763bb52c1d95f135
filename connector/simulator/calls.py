"""Calls: create, list, fetch, update (cancel, end, redirect), delete, events (Twilio, voice/api/call-resource)."""

from dataclasses import replace
from typing import Any

from connector.simulator import call_life, call_rules
from connector.simulator.addresses import address, formatted, is_web_url
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Dates, Equal
from connector.simulator.form import Form
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, names, rendering
from connector.simulator.rows import Call, CallEvent, CallPlan, RecordingPlan
from connector.simulator.times import rfc2822

KNOWN_CREATE = names(
    "To", "From", "Method", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackEvent",
    "StatusCallbackMethod", "SendDigits", "Timeout", "Record", "RecordingChannels", "RecordingStatusCallback",
    "RecordingStatusCallbackMethod", "SipAuthUsername", "SipAuthPassword", "MachineDetection",
    "MachineDetectionTimeout", "RecordingStatusCallbackEvent", "Trim", "CallerId", "MachineDetectionSpeechThreshold",
    "MachineDetectionSpeechEndThreshold", "MachineDetectionSilenceTimeout", "AsyncAmd", "AsyncAmdStatusCallback",
    "AsyncAmdStatusCallbackMethod", "Byoc", "CallReason", "CallToken", "RecordingTrack", "TimeLimit",
    "ClientNotificationUrl", "Url", "Twiml", "ApplicationSid", "RecordingConfigurationId", "Passports",
)  # fmt: skip
KNOWN_UPDATE = names(
    "Url", "Method", "Status", "FallbackUrl", "FallbackMethod", "StatusCallback", "StatusCallbackMethod", "Twiml",
    "TimeLimit",
)  # fmt: skip
SUBRESOURCES = {
    "events": "Events", "notifications": "Notifications", "payments": "Payments", "recordings": "Recordings",
    "siprec": "Siprec", "streams": "Streams", "transcriptions": "Transcriptions",
    "user_defined_message_subscriptions": "UserDefinedMessageSubscriptions",
    "user_defined_messages": "UserDefinedMessages",
}  # fmt: skip
SECRETS = frozenset({"SipAuthPassword"})


@rendering
def render(row: Call) -> dict[str, Any]:
    """Write a call as `api.v2010.account.call`."""
    uri = f"/2010-04-01/Accounts/{row.account_sid}/Calls/{row.sid}"
    return {
        "sid": row.sid,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "parent_call_sid": row.parent_call_sid,
        "account_sid": row.account_sid,
        "to": row.to,
        "to_formatted": formatted(row.to),
        "from": row.from_,
        "from_formatted": formatted(row.from_),
        "phone_number_sid": row.phone_number_sid,
        "status": row.status,
        "start_time": rfc2822(row.start),
        "end_time": rfc2822(row.end),
        "duration": None if row.duration is None else str(row.duration),
        "price": row.price,
        "price_unit": "USD",
        "direction": row.direction,
        "answered_by": row.answered_by,
        "api_version": "2010-04-01",
        "forwarded_from": row.forwarded_from,
        "group_sid": None,
        "caller_name": row.caller_name,
        "queue_time": str(row.queue_time),
        "trunk_sid": None,
        "uri": f"{uri}.json",
        "subresource_uris": {name: f"{uri}/{path}.json" for name, path in SUBRESOURCES.items()},
    }


LISTING = Listing(
    key="calls",
    filters=(
        Equal("To", "to"),
        Equal("From", "from_"),
        Equal("ParentCallSid", "parent_call_sid"),
        Equal("Status", "status"),
        Dates("StartTime", "start", sorts=True),
        Dates("EndTime", "end"),
    ),
    render=render,
)


def create(request: Request) -> Reply:
    """Accept a call; a repeated request is a second call (Twilio, api/errors/20500)."""
    call_rules.check(request)
    form, state, now = request.parameters, request.state, request.state.now()
    sid = state.new_sid("CA")
    row = Call(
        sid=sid,
        account_sid=request.account.sid,
        created=int(now),
        updated=int(now),
        visible_at=now + state.settings.visible_after + state.faults.hidden_for(request.operation),
        tie=state.new_tie(sid),
        to=address(form.get("To")),
        from_=address(form.get("From")),
        phone_number_sid=request.store.number_sid(address(form.get("From"))),
        plan=_plan(request, form),
    )
    reply = Reply(status=201, body=render(row), sid=row.sid, name="Call")
    if not request.account.test:
        request.store.calls.add(row)
        _note_event(request, row)
        call_life.begin(state, row)
    return reply


def _plan(request: Request, form: Form) -> CallPlan:
    """Read what was asked for; with ApplicationSid the callback parameters are silently ignored.

    Source: Twilio, voice/api/call-resource.
    """
    state, application = request.state, request.store.applications.rows.get(form.get("ApplicationSid"))
    plan = CallPlan(
        outcome=_outcome(request, address(form.get("To"))),
        callback=form.get("StatusCallback"),
        callback_method=form.get("StatusCallbackMethod", "POST"),
        events=frozenset(form.all("StatusCallbackEvent")) or frozenset({"completed"}),
        url=form.get("Url"),
        url_method=form.get("Method", "POST"),
        twiml="" if form.get("Url") else form.get("Twiml"),
        time_limit=int(form.get("TimeLimit", "14400")),
        record=form.boolean("Record") or state.settings.record_all_calls,
        recording=recording_plan(form),
        detect_machine="" if form.get("SendDigits") else form.get("MachineDetection"),
        amd_callback=form.get("AsyncAmdStatusCallback"),
        amd_method=form.get("AsyncAmdStatusCallbackMethod", "POST"),
        asynchronous=form.get("AsyncAmd") == "true",
    )
    if application is None:
        return plan
    given = application.values
    return replace(
        plan,
        callback=given.get("status_callback") or "",
        callback_method=given.get("status_callback_method") or "POST",
        events=frozenset({"completed"}),
        url=given.get("voice_url") or "",
        url_method=given.get("voice_method") or "POST",
    )


def recording_plan(form: Form) -> RecordingPlan:
    """Read the recording parameters of a call or of a recording of it."""
    return RecordingPlan(
        callback=form.get("RecordingStatusCallback"),
        callback_method=form.get("RecordingStatusCallbackMethod", "POST"),
        events=call_rules.recording_events(form),
        channels=2 if form.get("RecordingChannels") == "dual" else 1,
        track=form.get("RecordingTrack", "both"),
    )


def _outcome(request: Request, to: str) -> str:
    settings = request.state.settings
    if fixed := settings.outcome_by_number.get(to):
        return fixed
    weights = settings.call_outcomes
    return request.state.random.choices(list(weights), list(weights.values()))[0]


def _note_event(request: Request, row: Call) -> None:
    sid = request.state.new_sid("EV")
    parameters = {name: value for name, value in request.parameters.pairs if name not in SECRETS}
    response = {"response_code": "201", "request_duration": 1, "content_type": "application/json"}
    request.store.call_events.add(
        CallEvent(
            sid=sid,
            account_sid=row.account_sid,
            created=row.created,
            updated=row.created,
            tie=request.state.new_tie(sid),
            call_sid=row.sid,
            request={"method": "POST", "url": request.base_url + request.path, "parameters": parameters},
            response=response | {"response_body": "", "date_created": rfc2822(row.created)},
        )
    )


def list_(request: Request) -> Reply:
    """List newest first by start time."""
    return page_2010(request, LISTING, request.store.calls)


def find(request: Request) -> Call:
    """Return the call of the path; refuses with 20404."""
    row = request.store.calls.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch one."""
    row = find(request)
    return Reply(body=render(row), sid=row.sid, name="Call")


def update(request: Request) -> Reply:
    """Cancel, end or redirect; refuses with 21220 in the wrong state."""
    row, form, state = find(request), request.parameters, request.state
    status = form.choice("Status", ("canceled", "completed"))
    if form.get("Url") and form.get("Twiml"):
        raise refusal(20001, message="Url and Twiml are exclusive")
    if status:
        _end(request, row, status)
    elif form.get("Url") or form.get("Twiml"):
        _redirect(request, row, form)
    if limit := form.get("TimeLimit"):
        row.plan = replace(row.plan, time_limit=int(limit))
    row.updated = int(state.now())
    return Reply(body=render(row), sid=row.sid, name="Call")


def _end(request: Request, row: Call, status: str) -> None:
    if row.is_final or (status == "canceled" and row.status not in {"queued", "ringing"}):
        raise refusal(21220, message=f"Invalid call state: the call is {row.status}")
    call_life.change(request.state, row, "canceled" if row.answered is None else status)


def _redirect(request: Request, row: Call, form: Form) -> None:
    if row.status != "in-progress":
        raise refusal(21220, message=f"Call is not in-progress but {row.status}. Cannot redirect.")
    if (url := form.get("Url")) and not is_web_url(url):
        raise refusal(21205)
    changes: dict[str, Any] = {"url": form.get("Url"), "twiml": form.get("Twiml")}
    if form.get("Url") and form.get("StatusCallback"):  # takes effect only together with Url
        changes |= {"callback": form.get("StatusCallback"), "callback_method": form.get("StatusCallbackMethod", "POST")}
    row.plan = replace(row.plan, **changes)
    call_life.follow_twiml(request.state, row, form.get("Twiml"))
    if form.get("Url") and request.state.settings.fetch_twiml:
        call_life.fetch_twiml(request.state, row)


def delete(request: Request) -> Reply:
    """Delete it with its events; refuses with 20009 while it is in progress."""
    row = find(request)
    if request.state.settings.early_delete == "refuse" and not row.is_final:
        raise refusal(20009)
    request.store.calls.discard(row)
    for event in request.store.call_events.where("call_sid", row.sid):
        request.store.call_events.discard(event)
    return Reply(status=204, sid=row.sid)


EVENTS = Listing(key="events", filters=(), render=lambda row: {"request": row.request, "response": row.response})


def list_events(request: Request) -> Reply:
    """List the HTTP requests concerning a call."""
    find(request)
    return page_2010(request, EVENTS, request.store.call_events, ("call_sid", request.sids[0]))


ROUTES = (
    Route("ListCall", "GET", "Accounts/*/Calls", list_, LISTING.known),
    Route("CreateCall", "POST", "Accounts/*/Calls", create, KNOWN_CREATE, test_credentials=True),
    Route("FetchCall", "GET", "Accounts/*/Calls/*", fetch),
    Route("UpdateCall", "POST", "Accounts/*/Calls/*", update, KNOWN_UPDATE),
    Route("DeleteCall", "DELETE", "Accounts/*/Calls/*", delete),
    Route("ListCallEvent", "GET", "Accounts/*/Calls/*/Events", list_events, EVENTS.known),
)
