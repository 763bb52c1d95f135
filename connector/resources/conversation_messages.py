"""Messages of conversations: watch, send. Twilio: conversations/api/conversation-message-resource."""

from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import AwareDatetime, Field, StringConstraints

from connector.resources import conversations
from connector.resources.commands import Operation, Reconciliation
from connector.resources.fields import ContentSid, JsonObject, MediaSid, Optional, Text, Timestamp, sid
from connector.resources.models import Needs, Rule
from connector.resources.rows import Bundle, Parameters, Request, Under, Watch

LIST = "/v1/Conversations/{conversation_sid}/Messages"
NEWEST_FIRST = (("Order", "desc"),)  # the list is oldest first unless asked
WEBHOOKS = "X-Twilio-Webhook-Enabled"


class ConversationMessage(Bundle):
    """A message in a conversation."""

    sid: str
    account_sid: Optional = None
    attributes: Annotated[Text, Field(description="JSON, as text.")] = None
    author: Text = None
    body: Text = None
    content_sid: Optional = None
    conversation_sid: Optional = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    delivery: Any = None
    index: int | None = None
    links: dict[str, Any] | None = None
    media: list[Any] | None = None
    participant_sid: Optional = None
    url: Text = None


class SendToConversation(Parameters):
    """Parameters of `send-to-conversation`: all of its participants get it."""

    rules: ClassVar[tuple[Rule, ...]] = (Needs("content_variables", "content_sid"),)
    unsent: ClassVar[frozenset[str]] = frozenset({"webhook_enabled"})

    conversation_sid: Annotated[Annotated[str, sid("CH")], Field(description="CH….")]
    author: Annotated[str | None, Field(description="Who says it; system unless given.")] = None
    body: Annotated[str | None, StringConstraints(max_length=1600), Field(description="At most 1,600 characters.")] = (
        None
    )
    media_sid: Annotated[MediaSid | None, Field(description="Media that was uploaded before, ME….")] = None
    content_sid: Annotated[ContentSid | None, Field(description="Content template.")] = None
    content_variables: Annotated[JsonObject | None, Field(description="Of the template; needs content_sid.")] = None
    attributes: Annotated[JsonObject | None, Field(description="Kept with the message.")] = None
    subject: Annotated[str | None, Field(max_length=256, description="Of the message.")] = None
    date_created: Annotated[AwareDatetime | None, Field(description="For what is brought in from elsewhere.")] = None
    date_updated: Annotated[AwareDatetime | None, Field(description="For what is brought in from elsewhere.")] = None
    webhook_enabled: Annotated[
        bool | None, Field(description="Whether the conversation's webhooks are called; not unless true.")
    ] = None


def request(operation: Operation, parameters: Parameters) -> Request:
    """The request; whether webhooks are called is a header."""
    made = replace(operation, build=None).request(parameters)
    enabled = getattr(parameters, "webhook_enabled", None)
    return made if enabled is None else replace(made, headers=((WEBHOOKS, "true" if enabled else "false"),))


SEND = Operation(
    name="CreateConversationMessage",
    parameters=SendToConversation,
    method="POST",
    path=LIST,
    bundle=ConversationMessage,
    host="conversations",
    build=request,
    # One that is given another date is not found.
    reconciliation=Reconciliation(
        path=LIST,
        items="messages",
        filters={},
        compared={"conversation_sid": "conversation_sid", "author": "author", "body": "body"},
        order=NEWEST_FIRST,
        page_size=100,
    ),
)

WATCHES = (
    Watch(
        resource="conversation-messages",
        noun="conversation-message",
        path=LIST.replace("conversation_sid", "parent"),
        items="messages",
        bundle=ConversationMessage,
        page_size=100,
        version=("body", "attributes", "author", "media", "delivery"),
        fetch=f"{LIST}/{{sid}}",
        host="conversations",
        operation="ListConversationMessage",
        key=("conversation_sid", "sid"),
        under=Under(conversations.WATCH, order=NEWEST_FIRST),
        newest_first=False,
        is_standard=False,
    ),
)
OPERATIONS = {"send-to-conversation": {None: SEND}}
