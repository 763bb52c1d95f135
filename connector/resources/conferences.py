"""Conferences: a watch. Twilio: voice/api/conference-resource; OpenAPI: ListConference of api_v2010."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Optional, Text, Timestamp
from connector.resources.rows import ACCOUNT, Bundle, Watch


class Conference(Bundle):
    """A conference call."""

    sid: str
    account_sid: Optional = None
    api_version: Text = None
    call_sid_ending_conference: Annotated[Optional, Field(description="The call that ended it.")] = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    friendly_name: Text = None
    reason_conference_ended: Annotated[
        Optional, Field(description="Such as conference-ended-via-api or last-participant-left.")
    ] = None
    region: Annotated[Text, Field(description="Where it was mixed.")] = None
    status: Annotated[Text, Field(description="init, in-progress or completed.")] = None
    subresource_uris: dict[str, Any] | None = None
    uri: Text = None


# The order of the list is not documented, so that the date filters bound what a poll reads.
WATCH = Watch(
    resource="conferences",
    noun="conference",
    path=f"{ACCOUNT}/Conferences.json",
    items="conferences",
    bundle=Conference,
    since="DateCreated>",
    before="DateCreated<",
    filters={"friendly_name": "FriendlyName", "status": "Status"},
    choices={"status": ("init", "in-progress", "completed")},
    version=("status",),
    final=frozenset({"completed"}),
    fetch=f"{ACCOUNT}/Conferences/{{sid}}.json",
    operation="ListConference",
    newest_first=False,
    is_standard=False,
)

WATCHES = (WATCH,)
