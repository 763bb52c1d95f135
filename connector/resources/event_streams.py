"""Events of Twilio's Event Streams, taken by a webhook sink. Twilio: events/event-streams; facts: 9."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Text, Timestamp
from connector.resources.rows import Bundle, Callback


class StreamedEvent(Bundle):
    """A CloudEvent as Twilio made it, untouched; its `data` has the shape that its `dataschema` says."""

    id: Annotated[str, Field(description="Equal in repeated deliveries.")]
    source: str
    type: Annotated[str, Field(description="com.twilio.….")]
    specversion: str
    data: Any = None
    datacontenttype: Text = None
    dataschema: Text = None
    time: Timestamp = None


EVENTS = Callback(
    kind="events",
    resource="events",
    event_type="",
    bundle=StreamedEvent,
    key="id",
    identity=("id",),
    timed_by="time",
    cloudevents=True,
)

CALLBACKS = (EVENTS,)
