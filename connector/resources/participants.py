"""Participants of conferences: a watch. Twilio: voice/api/conference-participant-resource; OpenAPI: ListParticipant."""

from typing import Annotated

from pydantic import Field

from connector.resources import conferences
from connector.resources.fields import Count, Optional, Switch, Text, Timestamp
from connector.resources.rows import ACCOUNT, BOOLEANS, SINCE, Bundle, Under, Watch


class Participant(Bundle):
    """A call that is in a conference."""

    call_sid: str
    account_sid: Optional = None
    call_sid_to_coach: Annotated[Optional, Field(description="Whom it coaches: only that participant hears it.")] = None
    coaching: Annotated[Switch, Field(description="Whether it coaches another participant.")] = None
    conference_sid: Optional = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    end_conference_on_exit: Annotated[Switch, Field(description="Whether the conference ends when it leaves.")] = None
    hold: Annotated[Switch, Field(description="Whether it waits on hold.")] = None
    label: Annotated[Text, Field(description="The account's own name of it.")] = None
    muted: Annotated[Switch, Field(description="Whether the others do not hear it.")] = None
    queue_time: Annotated[Count, Field(description="Milliseconds in a queue before it was called.")] = None
    start_conference_on_enter: Annotated[Switch, Field(description="Whether the conference starts when it enters.")] = (
        None
    )
    status: Annotated[Text, Field(description="queued, connecting, ringing, connected, complete or failed.")] = None
    uri: Text = None


# A conference goes from init to completed, so that these queries, in this order, miss none that changes meanwhile.
RUNNING = tuple((("Status", status),) for status in ("init", "in-progress"))
ENDED = (("Status", "completed"), ("DateUpdated>", SINCE))
WATCHES = (
    Watch(
        resource="participants",
        noun="participant",
        path=f"{ACCOUNT}/Conferences/{{parent}}/Participants.json",
        items="participants",
        bundle=Participant,
        filters={"muted": "Muted", "hold": "Hold", "coaching": "Coaching"},
        choices=dict.fromkeys(("muted", "hold", "coaching"), BOOLEANS),
        late_filters=("muted", "hold", "coaching"),
        version=("status", "muted", "hold", "coaching", "call_sid_to_coach", "label"),
        final=frozenset({"complete", "failed"}),
        fetch=f"{ACCOUNT}/Conferences/{{conference_sid}}/Participants/{{call_sid}}.json",
        operation="ListParticipant",
        key=("conference_sid", "call_sid"),
        under=Under(conferences.WATCH, queries=(*RUNNING, ENDED)),
        newest_first=False,
        is_standard=False,
    ),
)
