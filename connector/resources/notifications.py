"""Notifications (legacy log entries): get, list. Twilio: usage/api/notification."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from connector.resources.fields import CallSid, Limit, NotificationSid, Optional, Text, Timestamp
from connector.resources.operations import fetching, listing
from connector.resources.rows import ACCOUNT, Bundle, Parameters, Wire

LIST = f"{ACCOUNT}/Notifications.json"
ONE = f"{ACCOUNT}/Notifications/{{sid}}.json"
OF_CALL = f"{ACCOUNT}/Calls/{{call_sid}}/Notifications.json"
ONE_OF_CALL = f"{ACCOUNT}/Calls/{{call_sid}}/Notifications/{{sid}}.json"


class Notification(Bundle):
    """An error or warning of a call, from the time before alerts."""

    sid: str
    account_sid: Optional = None
    api_version: Text = None
    call_sid: Optional = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    error_code: Annotated[Text, Field(description="Twilio's error code, as text.")] = None
    log: Annotated[Text, Field(description="0: error, 1: warning, as text.")] = None
    message_date: Timestamp = None
    message_text: Annotated[Text, Field(description="Form-encoded details.")] = None
    more_info: Text = None
    request_method: Optional = None
    request_url: Optional = None
    uri: Text = None


class NotificationDetails(Notification):
    """A notification with the request and the response that caused it, which only `get` shows."""

    request_variables: Text = None
    response_body: Text = None
    response_headers: Text = None


class GetNotification(Parameters):
    """Parameters of `get` with resource `notification`."""

    resource: Literal["notification"]
    sid: Annotated[NotificationSid, Field(description="NO….")]
    call_sid: Annotated[CallSid | None, Field(description="The call that it belongs to; may be left out.")] = None


class ListNotifications(Parameters):
    """Parameters of `list` with resource `notifications`."""

    resource: Literal["notifications"]
    call_sid: Annotated[CallSid | None, Field(description="Only notifications of this call.")] = None
    log: Annotated[int | None, Field(ge=0, le=1, description="0: errors, 1: warnings.")] = None
    message_date: Annotated[date | None, Field(description="Of this day (UTC).")] = None
    message_date_before: Annotated[date | None, Wire("MessageDate<"), Field(description="Before this day.")] = None
    message_date_after: Annotated[date | None, Wire("MessageDate>"), Field(description="On or after this day.")] = None
    limit: Limit = None


GET = fetching("FetchNotification", GetNotification, ONE, NotificationDetails, nested={"call_sid": ONE_OF_CALL})
LISTING = listing(
    "ListNotification", ListNotifications, LIST, "notifications", Notification, nested={"call_sid": OF_CALL}
)

OPERATIONS = {"get": {"notification": GET}, "list": {"notifications": LISTING}}
