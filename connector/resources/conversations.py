"""Conversations of the default service: a watch. Twilio: conversations/api/conversation-resource; OpenAPI: v1."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Optional, Text, Timestamp
from connector.resources.rows import Bundle, Watch


class Conversation(Bundle):
    """A conversation of several participants over several channels."""

    sid: str
    account_sid: Optional = None
    attributes: Annotated[Text, Field(description="JSON text of the account's own.")] = None
    bindings: Annotated[dict[str, Any] | None, Field(description="Of e-mail.")] = None
    chat_service_sid: Annotated[Optional, Field(description="The Conversations service.")] = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    friendly_name: Text = None
    links: Annotated[dict[str, Any] | None, Field(description="Addresses of what belongs to it.")] = None
    messaging_service_sid: Optional = None
    state: Annotated[Text, Field(description="initializing, inactive, active or closed.")] = None
    timers: Annotated[dict[str, Any] | None, Field(description="When it becomes inactive and closed.")] = None
    unique_name: Annotated[Text, Field(description="The account's own name of it.")] = None
    url: Text = None


# PageSize: at most 100. StartDate is to be a midnight; with it the list is newest first, which nothing here relies on.
WATCH = Watch(
    resource="conversations",
    noun="conversation",
    path="/v1/Conversations",
    items="conversations",
    bundle=Conversation,
    since="StartDate",
    before="EndDate",
    midnights=True,
    filters={"state": "State"},
    choices={"state": ("active", "inactive", "closed")},
    page_size=100,
    version=("state", "friendly_name", "attributes"),
    final=frozenset({"closed"}),
    status="state",
    fetch="/v1/Conversations/{sid}",
    host="conversations",
    operation="ListConversation",
    newest_first=False,
    is_standard=False,
)

WATCHES = (WATCH,)
