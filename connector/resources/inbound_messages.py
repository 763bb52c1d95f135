"""Inbound messages, as Twilio calls them in. Twilio: messaging/guides/webhook-request."""

from typing import Annotated

from pydantic import ConfigDict, Field

from connector.resources.fields import Count, Optional, Text
from connector.resources.rows import Bundle, Callback


class InboundMessage(Bundle):
    """A message that someone sent to one of the account's numbers or channels.

    Media are references that need Twilio's credentials: `media_url0`, `media_content_type0` and so on.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "patternProperties": {
                "^media_url[0-9]+$": {"type": "string"},
                "^media_content_type[0-9]+$": {"type": "string"},
            }
        }
    )

    message_sid: str
    account_sid: str
    address: Text = None
    api_version: Text = None
    body: Text = None
    button_payload: Text = None
    button_text: Text = None
    button_type: Text = None
    channel_metadata: Annotated[Text, Field(description="JSON as text.")] = None
    flow_data: Text = None
    forwarded: Text = None
    frequently_forwarded: Text = None
    from_: Annotated[Text, Field(alias="from")] = None
    from_city: Text = None
    from_country: Text = None
    from_state: Text = None
    from_zip: Text = None
    interactive_data: Text = None
    label: Text = None
    latitude: Text = None
    list_id: Text = None
    list_title: Text = None
    longitude: Text = None
    messaging_service_sid: Optional = None
    num_media: Count = None
    num_segments: Count = None
    opt_out_type: Annotated[Text, Field(description="STOP, START or HELP with Advanced Opt-Out.")] = None
    original_replied_message_sender: Text = None
    original_replied_message_sid: Optional = None
    profile_name: Text = None
    referral_body: Text = None
    referral_ctwa_clid: Text = None
    referral_headline: Text = None
    referral_media_content_type: Text = None
    referral_media_id: Text = None
    referral_media_url: Text = None
    referral_num_media: Count = None
    referral_source_id: Text = None
    referral_source_type: Text = None
    referral_source_url: Text = None
    sms_message_sid: Text = None
    sms_sid: Text = None
    sms_status: Text = None
    to: Text = None
    to_city: Text = None
    to_country: Text = None
    to_state: Text = None
    to_zip: Text = None
    wa_id: Text = None


INBOUND = Callback(
    kind="inbound-message",
    resource="messages",
    event_type="twilio.message.received.v1",
    bundle=InboundMessage,
    key="message_sid",
    identity=("message_sid",),
    twiml=True,
    into="inbound-messages",
)

CALLBACKS = (INBOUND,)
