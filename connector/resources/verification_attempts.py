"""Attempts of Verify: a watch. Twilio: verify/api/list-verification-attempts; OpenAPI: verify_v2."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Optional, Text, Timestamp
from connector.resources.rows import Bundle, Watch


class VerificationAttempt(Bundle):
    """A code that Verify has sent."""

    sid: str
    account_sid: Optional = None
    channel: Annotated[Text, Field(description="sms, call, email, whatsapp or rbm.")] = None
    channel_data: Annotated[
        dict[str, Any] | None, Field(description="What the channel tells: number, carrier, country, status.")
    ] = None
    conversion_status: Annotated[
        Text, Field(description="converted once the code was given back, else unconverted.")
    ] = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    price: Annotated[dict[str, Any] | None, Field(description="value, as decimal text, and currency.")] = None
    service_sid: Annotated[Optional, Field(description="The Verify service.")] = None
    url: Text = None
    verification_sid: Annotated[Optional, Field(description="The verification that it belongs to.")] = None


# Neither order nor whether "after" takes its own second along is documented: the walk survives either.
WATCHES = (
    Watch(
        resource="verification-attempts",
        noun="verification-attempt",
        path="/v2/Attempts",
        items="attempts",
        bundle=VerificationAttempt,
        since="DateCreatedAfter",
        before="DateCreatedBefore",
        seconds=True,
        filters={
            "to": "ChannelData.To",
            "country": "Country",
            "channel": "Channel",
            "service_sid": "VerifyServiceSid",
            "verification_sid": "VerificationSid",
            "conversion_status": "Status",
        },
        choices={
            "channel": ("sms", "call", "email", "whatsapp", "rbm"),
            "conversion_status": ("converted", "unconverted"),
        },
        version=("conversion_status",),
        final=frozenset({"converted"}),
        status="conversion_status",
        fetch="/v2/Attempts/{sid}",
        host="verify",
        operation="ListVerificationAttempt",
        newest_first=False,
        is_standard=False,
    ),
)
