"""Sending a message, and what Twilio calls back about it. Twilio: messaging/api/message-resource."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from connector.resources.commands import Operation, Reconciliation
from connector.resources.fields import (
    Address,
    ApplicationSid,
    CallbackUrl,
    ContentSid,
    Count,
    JsonObject,
    MessagingServiceSid,
    Optional,
    Sender,
    Text,
    Url,
)
from connector.resources.messages import LIST, Message
from connector.resources.models import AnyOf, AtMostOne, Needs, Rule
from connector.resources.rows import Bundle, Callback, Parameters

Intent = Literal[
    "otp",
    "notifications",
    "marketing",
    "fraud",
    "security",
    "customercare",
    "delivery",
    "education",
    "polling",
    "announcements",
    "events",
]


class SendMessage(Parameters):
    """Parameters of `send-message`: Twilio's *Create a Message*."""

    # facts: 3.1; codes 21602, 21603, 21656, 21664-21666, 35111, 35118
    rules: ClassVar[tuple[Rule, ...]] = (
        AnyOf(("from", "messaging_service_sid")),
        AnyOf(("body", "media_url", "content_sid")),
        AtMostOne(("content_sid", "body")),
        AtMostOne(("content_sid", "media_url")),
        Needs("content_variables", "content_sid"),
        Needs("send_at", "schedule_type"),
        Needs("schedule_type", "send_at"),
        Needs("schedule_type", "messaging_service_sid"),
        Needs("shorten_urls", "messaging_service_sid"),
        Needs("fallback_from", "messaging_service_sid"),
        AtMostOne(("fallback_from", "from")),
    )

    to: Annotated[Address, Field(description="E.164 number or channel address such as whatsapp:+15551234567.")]
    from_: Annotated[
        Sender | None,
        Field(
            alias="from",
            description="Number, short code, alphanumeric sender or channel address of the account; with a messaging "
            "service left out, or one sender of its pool.",
        ),
    ] = None
    messaging_service_sid: Annotated[
        MessagingServiceSid | None, Field(description="Chooses the sender from its pool.")
    ] = None
    body: Annotated[
        str | None, StringConstraints(max_length=1600), Field(description="At most 1,600 characters (21617).")
    ] = None
    media_url: Annotated[
        list[Url] | None, Field(min_length=1, max_length=10, description="At most 10 media (21623), 5 MB in all.")
    ] = None
    content_sid: Annotated[
        ContentSid | None, Field(description="Content template; then leave out body and media_url.")
    ] = None
    content_variables: Annotated[
        JsonObject | None,
        Field(description="Variables of the template, as an object or as its JSON text; needs content_sid."),
    ] = None
    status_callback: Annotated[CallbackUrl | None, Field(description="Left out: ours; null: none.")] = None
    application_sid: Annotated[
        ApplicationSid | None, Field(description="Status callbacks go to this application's message_status_callback.")
    ] = None
    max_price: Annotated[
        float | None, Field(ge=0, description="Obsolete since 2024: Twilio accepts and ignores it.")
    ] = None
    provide_feedback: Annotated[
        bool | None, Field(description="To be confirmed by Twilio's Feedback call (`call-api`).")
    ] = None
    attempt: Annotated[int | None, Field(ge=1, description="Attempts made so far, this one included.")] = None
    validity_period: Annotated[
        int | None, Field(ge=1, le=36000, description="Seconds in Twilio's queue, 1 to 36,000 (90007).")
    ] = None
    force_delivery: Annotated[bool | None, Field(description="Reserved by Twilio.")] = None
    content_retention: Annotated[
        Literal["retain", "discard"] | None, Field(description="Whether Twilio keeps the body.")
    ] = None
    address_retention: Annotated[
        Literal["retain", "obfuscate"] | None, Field(description="Whether Twilio keeps the recipient's number.")
    ] = None
    smart_encoded: Annotated[bool | None, Field(description="Replace look-alike Unicode characters by GSM-7 ones.")] = (
        None
    )
    persistent_action: Annotated[
        list[str] | None, Field(min_length=1, description="For example a WhatsApp location.")
    ] = None
    traffic_type: Annotated[Literal["free"] | None, Field(description="Free-to-end-user traffic.")] = None
    shorten_urls: Annotated[bool | None, Field(description="Needs a messaging service with link shortening.")] = None
    schedule_type: Annotated[
        Literal["fixed"] | None, Field(description="With send_at and messaging_service_sid (35118).")
    ] = None
    send_at: Annotated[
        AwareDatetime | None, Field(description="More than 300 s and at most 35 days ahead (35114, 35115).")
    ] = None
    send_as_mms: Annotated[bool | None, Field(description="One MMS, with or without media.")] = None
    risk_check: Annotated[Literal["enable", "disable"] | None, Field(description="disable: skip risk checks.")] = None
    fallback_from: Annotated[
        Sender | None, Field(description="SMS sender when RCS cannot reach; needs messaging_service_sid.")
    ] = None
    message_intent: Annotated[
        Intent | None, Field(description="What the message is for. Twilio's SDK knows it, its OpenAPI does not yet.")
    ] = None


class MessageStatus(Bundle):
    """A status of an outbound message, as Twilio called it back. Arrival order is not guaranteed: rank statuses."""

    message_sid: str
    message_status: str
    account_sid: str
    api_version: Text = None
    channel_install_sid: Optional = None
    channel_prefix: Text = None
    channel_status_message: Text = None
    error_code: Annotated[Count, Field(description="When failed or undelivered.")] = None
    event_type: Annotated[Text, Field(description="READ, on channels that report it.")] = None
    from_: Annotated[Text, Field(alias="from")] = None
    messaging_service_sid: Optional = None
    raw_dlr_done_date: Annotated[Text, Field(description="YYMMDDhhmm, as the carrier reported it.")] = None
    sms_sid: Text = None
    sms_status: Text = None
    to: Text = None


STATUS = Callback(
    kind="message-status",
    resource="messages",
    event_type="twilio.message.status.v1",
    bundle=MessageStatus,
    key="message_sid",
    identity=("message_sid", "message_status"),
)

SEND = Operation(
    name="CreateMessage",
    parameters=SendMessage,
    method="POST",
    path=LIST,
    bundle=Message,
    callbacks={"status_callback": "message-status"},
    unless=frozenset({"application_sid"}),
    # A service's sender is null at first; a body that Twilio rewrites or forgets cannot be compared (facts: 8).
    reconciliation=Reconciliation(
        path=LIST,
        items="messages",
        filters={"to": "To", "from_": "From"},
        compared={"body": "body"},
        fixed={"direction": "outbound-api"},
        unfiltered={"from_": "messaging_service_sid"},
        blurred={"body": {"smart_encoded": True, "shorten_urls": True, "content_retention": "discard"}},
    ),
)

CALLBACKS = (STATUS,)
OPERATIONS = {"send-message": {None: SEND}}
