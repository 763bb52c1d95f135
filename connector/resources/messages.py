"""Messages: watch, get, list, update, delete. Twilio: messaging/api/message-resource."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from connector.resources.commands import Operation
from connector.resources.fields import (
    Count,
    Filter,
    Limit,
    MessageSid,
    Moment,
    Optional,
    Price,
    Text,
    Timestamp,
)
from connector.resources.models import Rule, Something
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Parameters, Watch, Wire

LIST = f"{ACCOUNT}/Messages.json"
ONE = f"{ACCOUNT}/Messages/{{sid}}.json"
Sid = Annotated[MessageSid, Field(description="SM… or MM….")]


class Message(Bundle):
    """A message, sent or received."""

    sid: str
    account_sid: Optional = None
    api_version: Optional = None
    body: Annotated[Text, Field(description="Empty after a redaction.")] = None
    date_created: Timestamp = None
    date_sent: Annotated[Timestamp, Field(description="Null until sent.")] = None
    date_updated: Timestamp = None
    direction: Annotated[Text, Field(description="inbound, outbound-api, outbound-call or outbound-reply.")] = None
    error_code: Annotated[Count, Field(description="Why it failed or was not delivered.")] = None
    error_message: Text = None
    from_: Annotated[
        Optional, Field(alias="from", description="Null until a messaging service has chosen the sender.")
    ] = None
    messaging_service_sid: Optional = None
    num_media: Count = None
    num_segments: Count = None
    price: Price = None
    price_unit: Text = None
    status: Annotated[
        Text,
        Field(
            description="accepted, scheduled, queued, sending, sent, delivered, undelivered, failed, read, canceled, "
            "receiving, received or partially_delivered."
        ),
    ] = None
    subresource_uris: dict[str, Any] | None = None
    to: Optional = None
    uri: Text = None


class GetMessage(Parameters):
    """Parameters of `get` with resource `message`."""

    resource: Literal["message"]
    sid: Sid


class DeleteMessage(Parameters):
    """Parameters of `delete` with resource `message`."""

    resource: Literal["message"]
    sid: Sid


class ListMessages(Parameters):
    """Parameters of `list` with resource `messages`."""

    resource: Literal["messages"]
    to: Annotated[Filter | None, Field(description="Recipient: number or channel address.")] = None
    from_: Annotated[Filter | None, Field(alias="from", description="Sender: number or channel address.")] = None
    date_sent: Annotated[Moment | None, Field(description="Sent on this day (UTC).")] = None
    date_sent_before: Annotated[
        Moment | None, Wire("DateSent<"), Field(description="Sent on or before midnight of this day.")
    ] = None
    date_sent_after: Annotated[Moment | None, Wire("DateSent>"), Field(description="Sent on or after.")] = None
    limit: Limit = None


class UpdateMessage(Parameters):
    """Parameters of `update` with resource `message`: redact it, or cancel a scheduled one."""

    rules: ClassVar[tuple[Rule, ...]] = (Something(besides=("resource", "sid")),)

    resource: Literal["message"]
    sid: Sid
    body: Annotated[Literal[""] | None, Field(description="Only the empty text: removes the body for good.")] = None
    status: Annotated[Literal["canceled"] | None, Field(description="Cancels a scheduled message.")] = None


class CancelMessage(Parameters):
    """Parameters of `cancel-message`: a scheduled message is not sent."""

    sid: Sid
    status: Annotated[Literal["canceled"], Field(description="What it becomes; no other value.")] = "canceled"


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

GET = fetching("FetchMessage", GetMessage, ONE, Message)
LISTING = listing("ListMessage", ListMessages, LIST, "messages", Message)
UPDATE = Operation(
    name="UpdateMessage", parameters=UpdateMessage, method="POST", path=ONE, bundle=Message, repeatable=True
)
CANCEL = Operation(
    name="UpdateMessage", parameters=CancelMessage, method="POST", path=ONE, bundle=Message, repeatable=True
)
DELETE = deleting("DeleteMessage", DeleteMessage, ONE)

WATCHES = (WATCH,)
OPERATIONS = {
    "get": {"message": GET},
    "list": {"messages": LISTING},
    "update": {"message": UPDATE},
    "delete": {"message": DELETE},
    "cancel-message": {None: CANCEL},
}
