"""Media of messages: watch, get, list, delete. Twilio: messaging/api/media-resource."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from connector.resources import messages
from connector.resources.fields import Limit, MediaSid, MessageSid, Moment, Optional, Text, Timestamp
from connector.resources.operations import deleting, fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Parameters, Under, Watch, Wire

LIST = f"{ACCOUNT}/Messages/{{message_sid}}/Media.json"
ONE = f"{ACCOUNT}/Messages/{{message_sid}}/Media/{{sid}}.json"
Parent = Annotated[MessageSid, Field(description="The message that the media belong to.")]


class Media(Bundle):
    """A picture, sound or document of a message; `uri` without `.json` is its content and needs credentials."""

    sid: str
    account_sid: Optional = None
    content_type: Text = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    parent_sid: Annotated[Optional, Field(description="The message.")] = None
    uri: Text = None


class GetMedia(Parameters):
    """Parameters of `get` with resource `media`."""

    resource: Literal["media"]
    message_sid: Parent
    sid: Annotated[MediaSid, Field(description="ME….")]


class DeleteMedia(Parameters):
    """Parameters of `delete` with resource `media`."""

    resource: Literal["media"]
    message_sid: Parent
    sid: Annotated[MediaSid, Field(description="ME….")]


class ListMedia(Parameters):
    """Parameters of `list` with resource `media`."""

    resource: Literal["media"]
    message_sid: Parent
    date_created: Annotated[Moment | None, Field(description="Created on this day (UTC).")] = None
    date_created_before: Annotated[Moment | None, Wire("DateCreated<"), Field(description="Created before.")] = None
    date_created_after: Annotated[Moment | None, Wire("DateCreated>"), Field(description="Created on or after.")] = None
    limit: Limit = None


# A message that is sent moves to the top of its list, and its media are there by then. They never change.
WATCHES = (
    Watch(
        resource="message-media",
        noun="message-media",
        path=LIST.replace("message_sid", "parent"),
        items="media_list",
        bundle=Media,
        operation="ListMedia",
        under=Under(messages.WATCH, count="num_media", reach=timedelta(minutes=1)),
        newest_first=False,
        is_standard=False,
    ),
)
OPERATIONS = {
    "get": {"media": fetching("FetchMedia", GetMedia, ONE, Media)},
    "list": {"media": listing("ListMedia", ListMedia, LIST, "media_list", Media)},
    "delete": {"media": deleting("DeleteMedia", DeleteMedia, ONE)},
}
