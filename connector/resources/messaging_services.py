"""Messaging services: a watch. Twilio: messaging/api/service-resource; OpenAPI: messaging_v1."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Count, Optional, Switch, Text, Timestamp
from connector.resources.rows import Bundle, Watch


class MessagingService(Bundle):
    """A pool of senders with what they have in common."""

    sid: str
    account_sid: Optional = None
    area_code_geomatch: Annotated[Switch, Field(description="Whether senders of the recipient's area are chosen.")] = (
        None
    )
    date_created: Timestamp = None
    date_updated: Timestamp = None
    fallback_method: Annotated[Optional, Field(description="GET or POST, for fallback_url.")] = None
    fallback_to_long_code: Annotated[Switch, Field(description="Whether a long number follows a short code.")] = None
    fallback_url: Annotated[Optional, Field(description="Called when inbound_request_url fails.")] = None
    friendly_name: Text = None
    inbound_method: Annotated[Optional, Field(description="GET or POST, for inbound_request_url.")] = None
    inbound_request_url: Annotated[Optional, Field(description="Called for a message that comes in.")] = None
    links: Annotated[dict[str, Any] | None, Field(description="Addresses of what belongs to it.")] = None
    mms_converter: Annotated[Switch, Field(description="Whether MMS become links where they cannot be sent.")] = None
    scan_message_content: Annotated[Text, Field(description="inherit, enable or disable.")] = None
    smart_encoding: Annotated[Switch, Field(description="Whether look-alike Unicode is replaced.")] = None
    status_callback: Annotated[Optional, Field(description="Called with each status of its messages.")] = None
    sticky_sender: Annotated[Switch, Field(description="Whether a recipient always sees the same sender.")] = None
    synchronous_validation: Annotated[Switch, Field(description="Reserved by Twilio.")] = None
    url: Text = None
    us_app_to_person_registered: Annotated[Switch, Field(description="Whether a campaign is registered for it.")] = None
    use_inbound_webhook_on_number: Annotated[Switch, Field(description="Whether a number's own webhook is called.")] = (
        None
    )
    usecase: Annotated[Text, Field(description="What its messages are for.")] = None
    validity_period: Annotated[Count, Field(description="Seconds in Twilio's queue.")] = None


# The list has no date filters, and an account has few services: each poll reads them all.
WATCHES = (
    Watch(
        resource="messaging-services",
        noun="messaging-service",
        path="/v1/Services",
        items="services",
        bundle=MessagingService,
        version=(
            *("friendly_name", "inbound_request_url", "inbound_method", "fallback_url", "fallback_method"),
            *("status_callback", "sticky_sender", "mms_converter", "smart_encoding", "scan_message_content"),
            *("fallback_to_long_code", "area_code_geomatch", "validity_period", "usecase"),
            *("us_app_to_person_registered", "use_inbound_webhook_on_number"),
        ),
        fetch="/v1/Services/{sid}",
        host="messaging",
        operation="ListService",
        newest_first=False,
        is_standard=False,
    ),
)
