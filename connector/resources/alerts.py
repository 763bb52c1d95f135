"""Alerts of Twilio's Monitor: watch, get, list. Twilio: usage/monitor-alert."""

from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field

from connector.resources.fields import AlertSid, Limit, Moment, Optional, Text, Timestamp
from connector.resources.operations import fetching, listing
from connector.resources.rows import Bundle, Parameters, Watch

LIST = "/v1/Alerts"
ONE = "/v1/Alerts/{sid}"
LogLevel = Literal["error", "warning", "notice", "debug"]


class Alert(Bundle):
    """An error or warning that Twilio logged for the account."""

    sid: str
    account_sid: Optional = None
    alert_text: Annotated[Text, Field(description="Form-encoded details.")] = None
    api_version: Text = None
    date_created: Timestamp = None
    date_generated: Timestamp = None
    date_updated: Timestamp = None
    error_code: Annotated[Text, Field(description="Twilio's error code, as text.")] = None
    log_level: Annotated[Text, Field(description="error, warning, notice or debug.")] = None
    more_info: Text = None
    request_method: Optional = None
    request_url: Optional = None
    resource_sid: Annotated[Optional, Field(description="What the alert is about.")] = None
    service_sid: Optional = None
    url: Text = None


class AlertDetails(Alert):
    """An alert with the request and the response that caused it, which only `get` shows."""

    request_headers: Text = None
    request_variables: Text = None
    response_body: Text = None
    response_headers: Text = None


class GetAlert(Parameters):
    """Parameters of `get` with resource `alert`."""

    resource: Literal["alert"]
    sid: Annotated[AlertSid, Field(description="NO….")]


class ListAlerts(Parameters):
    """Parameters of `list` with resource `alerts`: the last 30 days, at most 10,000 per query."""

    resource: Literal["alerts"]
    log_level: Annotated[LogLevel | None, Field(description="Only alerts of this level.")] = None
    start_date: Annotated[Moment | None, Field(description="Generated on or after.")] = None
    end_date: Annotated[Moment | None, Field(description="Generated on or before.")] = None
    limit: Limit = None


WATCH = Watch(
    resource="alerts",
    noun="alert",
    path=LIST,
    items="alerts",
    bundle=Alert,
    sorted_by=("date_generated", "date_created"),
    since="StartDate",
    before="EndDate",
    seconds=True,
    filters={"log_level": "LogLevel", "start_date": "StartDate", "end_date": "EndDate"},
    choices={"log_level": get_args(LogLevel)},
    retention=timedelta(days=30),
    fetch=ONE,
    cap=10_000,
    host="monitor",
    operation="ListAlert",
)

GET = fetching("FetchAlert", GetAlert, ONE, AlertDetails, host="monitor")
LISTING = listing("ListAlert", ListAlerts, LIST, "alerts", Alert, host="monitor")

WATCHES = (WATCH,)
OPERATIONS = {"get": {"alert": GET}, "list": {"alerts": LISTING}}
