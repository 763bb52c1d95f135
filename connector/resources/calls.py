"""Calls: watch, get, list, update, delete, status callbacks. Twilio: voice/api/call-resource."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, StringConstraints

from connector.resources.commands import Operation
from connector.resources.fields import (
    CallbackUrl,
    CallSid,
    Count,
    Filter,
    Limit,
    Method,
    Moment,
    Optional,
    Price,
    Text,
    Timestamp,
    Url,
)
from connector.resources.models import AnyOf, AtMostOne, Needs, Rule, Something
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Callback, Parameters, Watch, Wire

LIST = f"{ACCOUNT}/Calls.json"
ONE = f"{ACCOUNT}/Calls/{{sid}}.json"
Status = Literal["queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"]
Twiml = Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class Call(Bundle):
    """A call, made or received."""

    sid: str
    account_sid: Optional = None
    answered_by: Annotated[Text, Field(description="human, machine_start, … with machine detection.")] = None
    api_version: Text = None
    caller_name: Text = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    direction: Annotated[Text, Field(description="inbound, outbound-api, outbound-dial or a trunking direction.")] = (
        None
    )
    duration: Annotated[Count, Field(description="Seconds; null unless the call was answered and has ended.")] = None
    end_time: Annotated[Timestamp, Field(description="Null if the call did not complete.")] = None
    forwarded_from: Text = None
    from_: Annotated[Text, Field(alias="from")] = None
    from_formatted: Text = None
    group_sid: Optional = None
    parent_call_sid: Optional = None
    phone_number_sid: Optional = None
    price: Price = None
    price_unit: Text = None
    queue_time: Annotated[Count, Field(description="Milliseconds before the call was placed.")] = None
    start_time: Annotated[Timestamp, Field(description="Null until dialled.")] = None
    status: Annotated[
        Text, Field(description="queued, ringing, in-progress, completed, busy, failed, no-answer or canceled.")
    ] = None
    stir_verstat: Text = None
    subresource_uris: dict[str, Any] | None = None
    to: Text = None
    to_formatted: Text = None
    trunk_sid: Optional = None
    uri: Text = None


class GetCall(Parameters):
    """Parameters of `get` with resource `call`."""

    resource: Literal["call"]
    sid: Annotated[CallSid, Field(description="CA….")]


class DeleteCall(Parameters):
    """Parameters of `delete` with resource `call`: its recordings stay."""

    resource: Literal["call"]
    sid: Annotated[CallSid, Field(description="CA….")]


class ListCalls(Parameters):
    """Parameters of `list` with resource `calls`."""

    resource: Literal["calls"]
    to: Annotated[Filter | None, Field(description="Number, SIP address, client identifier or SIM SID.")] = None
    from_: Annotated[Filter | None, Field(alias="from", description="As `to`.")] = None
    parent_call_sid: Annotated[CallSid | None, Field(description="Only calls that this call spawned.")] = None
    status: Annotated[Status | None, Field(description="Only calls in this state.")] = None
    start_time: Annotated[Moment | None, Field(description="Started on this day (UTC).")] = None
    start_time_before: Annotated[Moment | None, Wire("StartTime<"), Field(description="Started before.")] = None
    start_time_after: Annotated[Moment | None, Wire("StartTime>"), Field(description="Started on or after.")] = None
    end_time: Annotated[Moment | None, Field(description="Ended on this day (UTC).")] = None
    end_time_before: Annotated[Moment | None, Wire("EndTime<"), Field(description="Ended before.")] = None
    end_time_after: Annotated[Moment | None, Wire("EndTime>"), Field(description="Ended on or after.")] = None
    limit: Limit = None


class UpdateCall(Parameters):
    """Parameters of `update` with resource `call`: redirect it, or end it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Something(besides=("resource", "sid")),
        AtMostOne(("url", "twiml")),
        Needs("method", "url"),
        Needs("status_callback_method", "status_callback"),
        Needs("fallback_method", "fallback_url"),
    )

    resource: Literal["call"]
    sid: Annotated[CallSid, Field(description="CA….")]
    url: Annotated[Url | None, Field(description="TwiML to go on with.")] = None
    twiml: Annotated[Twiml | None, Field(description="TwiML to go on with, at most 4,000 characters.")] = None
    method: Annotated[Method | None, Field(description="How to request url; POST unless given.")] = None
    status: Annotated[
        Literal["canceled", "completed"] | None,
        Field(description="canceled: only while queued or ringing; completed: hang up."),
    ] = None
    fallback_url: Annotated[Url | None, Field(description="TwiML if url fails.")] = None
    fallback_method: Annotated[Method | None, Field(description="How to request fallback_url.")] = None
    status_callback: Annotated[CallbackUrl | None, Field(description="Takes effect only together with url.")] = None
    status_callback_method: Annotated[Method | None, Field(description="How to request status_callback.")] = None
    time_limit: Annotated[int | None, Field(ge=1, description="Longest duration in seconds.")] = None


class EndCall(Parameters):
    """Parameters of `end-call`: hang up, or stop a call that has not been answered."""

    sid: Annotated[CallSid, Field(description="CA….")]
    status: Annotated[
        Literal["completed", "canceled"],
        Field(description="completed: end it in any state; canceled: only while queued or ringing."),
    ] = "completed"


class RedirectCall(Parameters):
    """Parameters of `redirect-call`: the call goes on with other TwiML."""

    rules: ClassVar[tuple[Rule, ...]] = (
        AnyOf(("url", "twiml")),
        AtMostOne(("url", "twiml")),
        Needs("method", "url"),
        Needs("fallback_url", "url"),
        Needs("fallback_method", "fallback_url"),
    )

    sid: Annotated[CallSid, Field(description="CA….")]
    url: Annotated[Url | None, Field(description="TwiML to go on with.")] = None
    twiml: Annotated[Twiml | None, Field(description="TwiML to go on with, at most 4,000 characters.")] = None
    method: Annotated[Method | None, Field(description="How to request url; POST unless given.")] = None
    fallback_url: Annotated[Url | None, Field(description="TwiML if url fails.")] = None
    fallback_method: Annotated[Method | None, Field(description="How to request fallback_url.")] = None


class CallStatus(Bundle):
    """A step of a call, as Twilio called it back. Steps may arrive in any order: sort by `sequence_number`."""

    call_sid: str
    account_sid: str
    call_status: Annotated[
        Text,
        Field(description="queued, initiated, ringing, in-progress, completed, busy, failed, no-answer, canceled."),
    ] = None
    api_version: Text = None
    call_duration: Annotated[Count, Field(description="Seconds; at the end.")] = None
    callback_source: Text = None
    called: Text = None
    called_city: Text = None
    called_country: Text = None
    called_state: Text = None
    called_zip: Text = None
    caller: Text = None
    caller_city: Text = None
    caller_country: Text = None
    caller_name: Text = None
    caller_state: Text = None
    caller_zip: Text = None
    direction: Text = None
    duration: Annotated[Count, Field(description="Whole minutes; at the end.")] = None
    forwarded_from: Text = None
    from_: Annotated[Text, Field(alias="from")] = None
    from_city: Text = None
    from_country: Text = None
    from_state: Text = None
    from_zip: Text = None
    parent_call_sid: Optional = None
    recording_duration: Annotated[Count, Field(description="Seconds.")] = None
    recording_sid: Optional = None
    recording_url: Optional = None
    sequence_number: Annotated[Count, Field(description="From 0.")] = None
    sip_response_code: Count = None
    stir_status: Text = None
    timestamp: Timestamp = None
    to: Text = None
    to_city: Text = None
    to_country: Text = None
    to_state: Text = None
    to_zip: Text = None


class AnsweringMachineStatus(Bundle):
    """Who answered a call: the result of asynchronous answering machine detection."""

    call_sid: str
    account_sid: str
    answered_by: Annotated[
        Text,
        Field(
            description="human, fax, unknown, machine_start, machine_end_beep, machine_end_silence, machine_end_other."
        ),
    ] = None
    machine_detection_duration: Annotated[Count, Field(description="Milliseconds.")] = None


def _ends(parameters: Parameters) -> bool:
    """An update to an end state may be repeated; a redirection starts its TwiML again."""
    return getattr(parameters, "url", None) is None and getattr(parameters, "twiml", None) is None


WATCH = Watch(
    resource="calls",
    noun="call",
    path=LIST,
    items="calls",
    bundle=Call,
    sorted_by=("start_time", "date_created"),
    since="StartTime>",
    before="StartTime<",
    filters={"to": "To", "from": "From", "parent_call_sid": "ParentCallSid", "status": "Status"},
    choices={"status": get_args(Status)},
    retention=timedelta(days=395),  # 13 months (facts: 4.3)
    version=("status", "price", "duration", "start_time", "end_time", "answered_by"),
    final=frozenset({"completed", "busy", "failed", "no-answer", "canceled"}),
    fetch=ONE,
    operation="ListCall",
)

STATUS = Callback(
    kind="call-status",
    resource="calls",
    event_type="twilio.call.status.v1",
    bundle=CallStatus,
    key="call_sid",
    identity=("call_sid", "sequence_number", "call_status"),
    timed_by="timestamp",
)

AMD_STATUS = Callback(
    kind="amd-status",
    resource="calls",
    event_type="twilio.call.answered-by.v1",
    bundle=AnsweringMachineStatus,
    key="call_sid",
    identity=("call_sid", "answered_by"),
)

GET = fetching("FetchCall", GetCall, ONE, Call)
LISTING = listing("ListCall", ListCalls, LIST, "calls", Call)
# 21220: the call is not in a state for it; after a lost answer that means that it has ended already (facts: 7.4).
UPDATE = Operation(
    name="UpdateCall",
    parameters=UpdateCall,
    method="POST",
    path=ONE,
    bundle=Call,
    repeats=_ends,
    repeat_done_codes=frozenset({21220}),
)
END = Operation(
    name="UpdateCall",
    parameters=EndCall,
    method="POST",
    path=ONE,
    bundle=Call,
    repeatable=True,
    repeat_done_codes=frozenset({21220}),
)
# Sent again it would begin its TwiML anew.
REDIRECT = Operation(name="UpdateCall", parameters=RedirectCall, method="POST", path=ONE, bundle=Call)
DELETE = deleting("DeleteCall", DeleteCall, ONE)

WATCHES = (WATCH,)
CALLBACKS = (STATUS, AMD_STATUS)
OPERATIONS = {
    "get": {"call": GET},
    "list": {"calls": LISTING},
    "update": {"call": UPDATE},
    "delete": {"call": DELETE},
    "end-call": {None: END},
    "redirect-call": {None: REDIRECT},
}
