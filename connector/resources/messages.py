"""Messages: watch, send, delete, status callbacks. Twilio: messaging/api/message-resource."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from connector.resources.fields import (
    Address,
    ApplicationSid,
    ContentSid,
    Count,
    MessageSid,
    MessagingServiceSid,
    Optional,
    Price,
    Text,
    Timestamp,
    Url,
)
from connector.resources.rows import ACCOUNT, Bundle, Callback, Operation, Parameters, Reconciliation, Watch

LIST = f"{ACCOUNT}/Messages.json"
ONE = f"{ACCOUNT}/Messages/{{sid}}.json"


class Message(Bundle):
    """A message, sent or received."""

    sid: str
    account_sid: Optional = None
    api_version: Optional = None
    body: Text = None
    date_created: Timestamp = None
    date_sent: Timestamp = None
    date_updated: Timestamp = None
    direction: Text = None
    error_code: Count = None
    error_message: Text = None
    from_: Annotated[Optional, Field(alias="from")] = None
    messaging_service_sid: Optional = None
    num_media: Count = None
    num_segments: Count = None
    price: Price = None
    price_unit: Text = None
    status: Text = None
    subresource_uris: dict[str, Any] | None = None
    to: Optional = None
    uri: Text = None


class MessageStatus(Bundle):
    """A status of an outbound message, as Twilio called it back. Arrival order is not guaranteed: rank statuses."""

    message_sid: str
    message_status: str
    account_sid: str
    api_version: Text = None
    error_code: Count = None
    from_: Annotated[Text, Field(alias="from")] = None
    messaging_service_sid: Optional = None
    raw_dlr_done_date: Annotated[Text, Field(description="YYMMDDhhmm, as the carrier reported it.")] = None
    sms_sid: Text = None
    sms_status: Text = None
    to: Text = None


class SendMessage(Parameters):
    """Parameters of `send-message`: Twilio's *Create a Message*."""

    to: Annotated[Address, Field(description="E.164 number or channel address such as whatsapp:+15551234567.")]
    from_: Annotated[
        Address | None,
        Field(alias="from", description="Number, short code, alphanumeric sender or channel address of the account."),
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
        dict[str, Any] | None, Field(description="Variables of the template; needs content_sid.")
    ] = None
    status_callback: Annotated[Url | None, Field(description="Left out: ours; null: none.")] = None
    application_sid: Annotated[ApplicationSid | None, Field(description="Status callbacks go to this application.")] = (
        None
    )
    max_price: Annotated[
        float | None, Field(ge=0, description="Obsolete since 2024: Twilio accepts and ignores it.")
    ] = None
    provide_feedback: Annotated[bool | None, Field(description="To be confirmed by the Feedback call.")] = None
    attempt: Annotated[int | None, Field(ge=1, description="Attempts made so far, this one included.")] = None
    validity_period: Annotated[
        int | None, Field(ge=1, le=36000, description="Seconds in Twilio's queue, 1 to 36,000 (90007).")
    ] = None
    force_delivery: Annotated[bool | None, Field(description="Reserved by Twilio.")] = None
    content_retention: Literal["retain", "discard"] | None = None
    address_retention: Literal["retain", "obfuscate"] | None = None
    smart_encoded: Annotated[bool | None, Field(description="Replace look-alike Unicode characters by GSM-7 ones.")] = (
        None
    )
    persistent_action: Annotated[
        list[str] | None, Field(min_length=1, description="For example a WhatsApp location.")
    ] = None
    traffic_type: Literal["free"] | None = None
    shorten_urls: Annotated[bool | None, Field(description="Needs a messaging service with link shortening.")] = None
    schedule_type: Annotated[Literal["fixed"] | None, Field(description="With send_at and messaging_service_sid.")] = (
        None
    )
    send_at: Annotated[datetime | None, Field(description="More than 300 s and at most 35 days ahead.")] = None
    send_as_mms: bool | None = None
    risk_check: Literal["enable", "disable"] | None = None
    fallback_from: Annotated[
        Address | None, Field(description="SMS sender when RCS cannot reach; needs messaging_service_sid.")
    ] = None

    @model_validator(mode="after")
    def _as_twilio_validates(self) -> Self:
        """Groups and dependencies (facts: 3.1; 21602, 21603, 21619, 35111, 35118, 21656, 21664-21666)."""
        if not (self.from_ or self.messaging_service_sid):
            raise ValueError("from or messaging_service_sid is needed")
        if self.content_sid is None and not self.body and not self.media_url:
            raise ValueError("one of body, media_url or content_sid is needed")
        if self.content_sid and (self.body or self.media_url):
            raise ValueError("content_sid excludes body and media_url")
        if self.content_variables is not None and not self.content_sid:
            raise ValueError("content_variables needs content_sid")
        if (self.send_at is None) != (self.schedule_type is None):
            raise ValueError("send_at and schedule_type 'fixed' belong together")
        if not self.messaging_service_sid:
            needing = [name for name in ("send_at", "shorten_urls", "fallback_from") if getattr(self, name)]
            if needing:
                raise ValueError(f"{needing[0]} needs messaging_service_sid")
        if self.fallback_from and self.from_:
            raise ValueError("fallback_from excludes from")
        return self


class DeleteMessage(Parameters):
    """Parameters of `delete` with resource `message`."""

    resource: Literal["message"]
    sid: Annotated[MessageSid, Field(description="SM… or MM….")]


WATCH = Watch(
    resource="messages",
    noun="message",
    path=LIST,
    items="messages",
    bundle=Message,
    sorted_by=("date_sent", "date_created"),
    since="DateSent>",
    before="DateSent<",
    filters={"to": "To", "from": "From"},
    retention=timedelta(days=400),
    version=("status", "price", "num_segments", "from", "error_code", "date_sent", "body"),
    final=frozenset({"delivered", "undelivered", "failed", "canceled", "received", "read"}),
    fetch=ONE,
    operation="ListMessage",
)

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
    reconciliation=Reconciliation(
        path=LIST,
        items="messages",
        filters={"to": "To", "from_": "From"},
        compared={"body": "body"},
        fixed={"direction": "outbound-api"},
    ),
)

# 20009: "Cannot delete this resource before it is complete" passes with time (facts: 3.1); 20404: it is gone already.
DELETE = Operation(
    name="DeleteMessage",
    parameters=DeleteMessage,
    method="DELETE",
    path=ONE,
    answer="none",
    repeatable=True,
    delay_codes=frozenset({20009}),
    done_codes=frozenset({20404}),
)

WATCHES = (WATCH,)
CALLBACKS = (STATUS,)
OPERATIONS = {"send-message": {None: SEND}, "delete": {"message": DELETE}}
