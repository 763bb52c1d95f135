"""Placing a call. Twilio: voice/api/call-resource, voice/answering-machine-detection."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from connector.resources.calls import LIST, Call, Twiml
from connector.resources.commands import Operation, Reconciliation
from connector.resources.fields import (
    Address,
    ApplicationSid,
    ByocSid,
    CallbackUrl,
    Method,
    Sender,
    Shape,
    Url,
)
from connector.resources.models import AnyOf, AtMostOne, Rule
from connector.resources.rows import Parameters, Wire

Digits = Annotated[str, StringConstraints(max_length=32), Shape(r"^[0-9A-D#*wW]+$", "made of 0-9, A-D, #, *, w and W")]


def _detection(value: Any) -> Any:
    """As earlier descriptions of Twilio's API and switches write it."""
    if isinstance(value, bool):
        return "Enable" if value else None
    return "Enable" if value == "enable" else value


class PlaceCall(Parameters):
    """Parameters of `place-call`: Twilio's *Create a Call*."""

    # facts: 3.3; Twilio ignores twiml beside url, and the callbacks beside application_sid
    rules: ClassVar[tuple[Rule, ...]] = (
        AnyOf(("url", "twiml", "application_sid")),
        AtMostOne(("url", "twiml", "application_sid")),
    )

    to: Annotated[Address, Field(description="E.164 number, SIP address or client:identifier.")]
    from_: Annotated[
        Sender,
        Field(alias="from", description="A number of the account or a verified caller ID; a client or SIP address."),
    ]
    url: Annotated[Url | None, Field(description="Address of the TwiML that runs the call.")] = None
    method: Annotated[Method | None, Field(description="How to request url; POST unless given.")] = None
    fallback_url: Annotated[Url | None, Field(description="TwiML if url fails.")] = None
    fallback_method: Annotated[Method | None, Field(description="How to request fallback_url.")] = None
    twiml: Annotated[Twiml | None, Field(description="The TwiML itself, at most 4,000 characters.")] = None
    application_sid: Annotated[
        ApplicationSid | None,
        Field(description="The application that runs the call; its own callbacks replace those given here."),
    ] = None
    status_callback: Annotated[CallbackUrl | None, Field(description="Left out: ours; null: none.")] = None
    status_callback_method: Annotated[Method | None, Field(description="How to request status_callback.")] = None
    status_callback_event: Annotated[
        list[Literal["initiated", "ringing", "answered", "completed"]] | None,
        Field(
            min_length=1, description="Which steps are called back; only completed unless given, all four with ours."
        ),
    ] = None
    byoc: Annotated[ByocSid | None, Field(description="Trunk of one's own carrier.")] = None
    send_digits: Annotated[
        Digits | None,
        Field(description="Keys to press once answered, at most 32: 0-9 A-D # *, w waits 0.5 s, W 1 s."),
    ] = None
    timeout: Annotated[int | None, Field(ge=1, le=600, description="Seconds to let it ring; 60 unless given.")] = None
    trim: Annotated[
        Literal["trim-silence", "do-not-trim"] | None, Field(description="Silence at the ends of the recording.")
    ] = None
    caller_id: Annotated[
        Sender | None, Field(description="Number, SIP address or client identifier that is shown.")
    ] = None
    sip_auth_username: Annotated[str | None, Field(description="For a SIP address.")] = None
    sip_auth_password: Annotated[str | None, Field(description="For a SIP address. Never logged.")] = None
    record: Annotated[bool | None, Field(description="Whether the call is recorded.")] = None
    recording_channels: Annotated[Literal["mono", "dual"] | None, Field(description="mono unless given.")] = None
    recording_track: Annotated[
        Literal["inbound", "outbound", "both"] | None, Field(description="Which side is recorded.")
    ] = None
    recording_status_callback: Annotated[
        CallbackUrl | None, Field(description="With record. Left out: ours; null: none.")
    ] = None
    recording_status_callback_method: Annotated[
        Method | None, Field(description="How to request recording_status_callback.")
    ] = None
    recording_status_callback_event: Annotated[
        list[Literal["in-progress", "completed", "absent"]] | None,
        Wire(join=" "),
        Field(min_length=1, description="Which steps are called back; only completed unless given, all with ours."),
    ] = None
    recording_configuration_id: Annotated[
        str | None, Field(description="Twilio's SDK knows it, its OpenAPI does not yet.")
    ] = None
    machine_detection: Annotated[
        Literal["Enable", "DetectMessageEnd"] | None,
        BeforeValidator(
            _detection, json_schema_input_type=Literal["Enable", "DetectMessageEnd", "enable", True, False] | None
        ),
        Field(description="Whether and how an answering machine is looked for; `enable` and true mean Enable."),
    ] = None
    machine_detection_timeout: Annotated[int | None, Field(ge=3, le=59, description="Seconds; 30 unless given.")] = None
    machine_detection_speech_threshold: Annotated[
        int | None, Field(ge=1000, le=6000, description="Milliseconds; 2,400 unless given.")
    ] = None
    machine_detection_speech_end_threshold: Annotated[
        int | None, Field(ge=500, le=5000, description="Milliseconds; 1,200 unless given.")
    ] = None
    machine_detection_silence_timeout: Annotated[
        int | None, Field(ge=2000, le=10000, description="Milliseconds; 5,000 unless given.")
    ] = None
    async_amd: Annotated[bool | None, Field(description="Detect in the background, while the TwiML already runs.")] = (
        None
    )
    async_amd_status_callback: Annotated[
        CallbackUrl | None, Field(description="With async_amd. Left out: ours; null: none.")
    ] = None
    async_amd_status_callback_method: Annotated[
        Method | None, Field(description="How to request async_amd_status_callback.")
    ] = None
    call_reason: Annotated[str | None, Field(description="Shown with branded calls.")] = None
    call_token: Annotated[
        str | None, Field(description="Of an inbound call, to forward it with its caller's number.")
    ] = None
    time_limit: Annotated[int | None, Field(ge=1, description="Longest duration in seconds.")] = None
    client_notification_url: Annotated[Url | None, Field(description="Gets a push notification of the call.")] = None
    passports: Annotated[str | None, Field(description="Twilio's SDK knows it, its OpenAPI does not yet.")] = None


PLACE = Operation(
    name="CreateCall",
    parameters=PlaceCall,
    method="POST",
    path=LIST,
    bundle=Call,
    callbacks={
        "status_callback": "call-status",
        "recording_status_callback": "recording-status",
        "async_amd_status_callback": "amd-status",
    },
    callback_needs={"recording_status_callback": "record", "async_amd_status_callback": "async_amd"},
    callback_defaults={
        "status_callback": {"status_callback_event": ["initiated", "ringing", "answered", "completed"]},
        "recording_status_callback": {"recording_status_callback_event": ["in-progress", "completed", "absent"]},
    },
    unless=frozenset({"application_sid"}),
    reconciliation=Reconciliation(
        path=LIST,
        items="calls",
        filters={"to": "To", "from_": "From"},
        compared={"to": "to"},
        fixed={"direction": "outbound-api"},
        # A caller ID may be shown instead of the number that calls.
        unfiltered={"from_": "caller_id"},
    ),
)

OPERATIONS = {"place-call": {None: PLACE}}
