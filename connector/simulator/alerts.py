"""Monitor alerts on `/v1/Alerts`: `meta` paging with absolute URLs, 30 days, 10,000 per query.

Source: Twilio, usage/monitor-alert.
"""

from typing import Any

from connector.simulator.debugger import more_info
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Bounds, Equal
from connector.simulator.paging import Listing, page_v1
from connector.simulator.routes import Reply, Request, Route, rendering
from connector.simulator.rows import Alert
from connector.simulator.times import DAY_SECONDS, iso8601, parse

LEVELS = ("error", "warning", "notice", "debug")


@rendering
def render(row: Alert) -> dict[str, Any]:
    """Write an alert as `monitor.v1.alert`; `url` is completed when it is answered."""
    return {
        "account_sid": row.account_sid,
        "alert_text": row.text,
        "api_version": "2010-04-01",
        "date_created": iso8601(row.created),
        "date_generated": iso8601(row.second),
        "date_updated": iso8601(row.updated),
        "error_code": row.error_code,
        "log_level": row.log_level,
        "more_info": more_info(row.error_code),
        "request_method": row.request_method,
        "request_url": row.request_url,
        "resource_sid": row.resource_sid,
        "sid": row.sid,
        "url": f"/v1/Alerts/{row.sid}",
        "service_sid": row.service_sid,
    }


LISTING = Listing(
    key="alerts",
    filters=(Equal("LogLevel", "log_level"), Bounds("StartDate", "EndDate")),
    render=render,
)


def list_(request: Request) -> Reply:
    """List newest first by date generated; a start beyond 30 days is refused."""
    settings, now = request.state.settings, request.state.now()
    request.parameters.choice("LogLevel", LEVELS)
    _check_start(request, now - (settings.alert_days + 1) * DAY_SECONDS)
    reply = page_v1(request, LISTING, request.store.alerts, cap=settings.alert_cap, days=settings.alert_days)
    for row in reply.body["alerts"]:
        row["url"] = request.base_url + row["url"]
    return reply


def _check_start(request: Request, oldest: float) -> None:
    value = request.parameters.get("StartDate")
    try:
        too_old = bool(value) and parse(value).second < oldest
    except (ValueError, TypeError) as error:
        raise refusal(20001, message="Invalid StartDate") from error
    if too_old:
        raise refusal(20001, message="StartDate must be within the last 30 days")


def fetch(request: Request) -> Reply:
    """Fetch one, with request and response."""
    row = request.store.alerts.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    shown = render(row) | {
        "url": request.base_url + f"/v1/Alerts/{row.sid}",
        "request_variables": row.request_variables,
        "response_body": row.response_body,
        "response_headers": row.response_headers,
        "request_headers": row.request_headers,
    }
    return Reply(body=shown, sid=row.sid)


ROUTES = (
    Route("ListAlert", "GET", "v1/Alerts", list_, LISTING.known),
    Route("FetchAlert", "GET", "v1/Alerts/*", fetch),
)
