"""Notifications of calls, read-only: per account and per call."""

from typing import Any

from connector.simulator.debugger import more_info
from connector.simulator.errors import not_found
from connector.simulator.filters import Dates, Equal
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, rendering
from connector.simulator.rows import Notification
from connector.simulator.times import rfc2822


@rendering
def render(row: Notification) -> dict[str, Any]:
    """Write a notification as `api.v2010.account.notification`."""
    return {
        "account_sid": row.account_sid,
        "api_version": "2010-04-01",
        "call_sid": row.call_sid,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(row.updated),
        "error_code": row.error_code,
        "log": row.log,
        "message_date": rfc2822(row.message_date if row.message_date is not None else row.created),
        "message_text": row.message_text,
        "more_info": more_info(row.error_code),
        "request_method": row.request_method,
        "request_url": row.request_url,
        "sid": row.sid,
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/Notifications/{row.sid}.json",
    }


@rendering
def _render_of_call(row: Notification) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{row.account_sid}/Calls/{row.call_sid}/Notifications/{row.sid}.json"
    return render(row) | {"uri": uri}


FILTERS = (Equal("Log", "log"), Dates("MessageDate", "message_date", precise=False))
ACCOUNT = Listing(key="notifications", filters=FILTERS, render=render)
OF_CALL = Listing(key="notifications", filters=FILTERS, render=_render_of_call)


def list_(request: Request) -> Reply:
    """List those of the account."""
    return page_2010(request, ACCOUNT, request.store.notifications)


def list_of_call(request: Request) -> Reply:
    """List those of a call that exists."""
    if request.sids[0] not in request.store.calls.rows:
        raise not_found(request.path)
    return page_2010(request, OF_CALL, request.store.notifications, ("call_sid", request.sids[0]))


def fetch(request: Request) -> Reply:
    """Fetch one, with request and response."""
    row = request.store.notifications.rows.get(request.sids[-1])
    if row is None or (len(request.sids) > 1 and row.call_sid != request.sids[0]):
        raise not_found(request.path)
    show = _render_of_call if len(request.sids) > 1 else render
    details = {
        "request_variables": row.request_variables,
        "response_headers": row.response_headers,
        "response_body": row.response_body,
    }
    return Reply(body=show(row) | details, sid=row.sid, name="Notification")


OF = "Accounts/*/Calls/*/Notifications"
ROUTES = (
    Route("ListNotification", "GET", "Accounts/*/Notifications", list_, ACCOUNT.known),
    Route("FetchNotification", "GET", "Accounts/*/Notifications/*", fetch),
    Route("ListCallNotification", "GET", OF, list_of_call, OF_CALL.known),
    Route("FetchCallNotification", "GET", f"{OF}/*", fetch),
)
