"""Lists that are only read: rows are filled in, and shown by a template of their JSON.

Source of the fields and filters: Twilio's OpenAPI, api_v2010, conversations_v1, messaging_v1, studio_v2, verify_v2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from connector.simulator.collection import Collection
from connector.simulator.errors import not_found
from connector.simulator.filters import Bounds, Dates, Equal, Filter, Test
from connector.simulator.paging import Listing, page_2010, page_v1
from connector.simulator.routes import Reply, Request, Route, rendering
from connector.simulator.rows import Plain
from connector.simulator.times import iso8601, rfc2822

Render = Callable[[Plain], dict[str, Any]]
DATED = (Dates("DateCreated", "created", sorts=True), Dates("DateUpdated", "updated"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One list. `path` is a route; a list under a parent shows the rows of the SID before its last segment."""

    operation: str
    path: str
    key: str
    render: Render
    filters: tuple[Filter, ...] = ()
    is_2010: bool = True
    most: int = 1000
    is_fetched: bool = True

    @property
    def has_parent(self) -> bool:
        """Whether the path names another instance than the account."""
        return self.path.count("*") - self.is_2010 - self.path.startswith("Accounts/*/Usage") > 0


def _dates(row: Plain) -> dict[str, Any]:
    return {"date_created": rfc2822(row.created), "date_updated": rfc2822(row.updated)}


def _iso(row: Plain) -> dict[str, Any]:
    return {"date_created": iso8601(row.created), "date_updated": iso8601(row.updated)}


def _account(row: Plain, path: str) -> str:
    return f"/2010-04-01/Accounts/{row.account_sid}/{path}.json"


def _queue(row: Plain) -> dict[str, Any]:
    own = {"sid": row.sid, "account_sid": row.account_sid, "friendly_name": row.name, "current_size": 0}
    return own | _dates(row) | {"average_wait_time": 0, "max_size": 100, "uri": _account(row, f"Queues/{row.sid}")}


def _member(row: Plain) -> dict[str, Any]:
    own = {"call_sid": row.sid, "date_enqueued": rfc2822(row.created), "position": 1, "wait_time": 0}
    return own | {"queue_sid": row.parent, "uri": _account(row, f"Queues/{row.parent}/Members/{row.sid}")}


def conference(row: Plain) -> dict[str, Any]:
    """A conference as the 2010 API shows it."""
    path = f"Conferences/{row.sid}"
    return {
        **_dates(row),
        "account_sid": row.account_sid,
        "api_version": "2010-04-01",
        "call_sid_ending_conference": None,
        "friendly_name": row.name,
        "reason_conference_ended": "last-participant-left" if row.status == "completed" else None,
        "region": "us1",
        "sid": row.sid,
        "status": row.status or "in-progress",
        "subresource_uris": {name.lower(): _account(row, f"{path}/{name}") for name in ("Participants", "Recordings")},
        "uri": _account(row, path),
    }


def participant(row: Plain) -> dict[str, Any]:
    """A participant as the 2010 API shows it."""
    return {
        **_dates(row),
        "account_sid": row.account_sid,
        "call_sid": row.sid,
        "call_sid_to_coach": None,
        "coaching": False,
        "conference_sid": row.parent,
        "end_conference_on_exit": False,
        "hold": False,
        "label": row.name or None,
        "muted": False,
        "queue_time": "0",
        "start_conference_on_enter": True,
        "status": row.status or "connected",
        "uri": _account(row, f"Conferences/{row.parent}/Participants/{row.sid}"),
    }


def _usage(row: Plain) -> dict[str, Any]:
    day = (iso8601(row.created) or "")[:10]
    return {
        "account_sid": row.account_sid,
        "api_version": "2010-04-01",
        "as_of": f"{iso8601(row.updated) or ''}"[:19] + "+00:00",
        "category": row.name,
        "count": row.status or "1",
        "count_unit": "messages",
        "description": "Usage",
        "end_date": day,
        "price": 0.0075,
        "price_unit": "usd",
        "start_date": day,
        "subresource_uris": {"daily": _account(row, "Usage/Records/Daily")},
        "uri": _account(row, f"Usage/Records/Daily.json?Category={row.name}"),
        "usage": row.status or "1",
        "usage_unit": "messages",
    }


def _attempt(row: Plain) -> dict[str, Any]:
    return {
        **_iso(row),
        "account_sid": row.account_sid,
        "channel": "sms",
        "channel_data": {"to": "+15550100002", "message_status": "delivered", "country": "US"},
        "conversion_status": row.status or "unconverted",
        "price": {"value": "0.05", "currency": "usd"},
        "service_sid": row.parent or "VA" + row.sid[2:],
        "sid": row.sid,
        "url": f"https://verify.twilio.com/v2/Attempts/{row.sid}",
        "verification_sid": "VE" + row.sid[2:],
    }


def _conversation(row: Plain) -> dict[str, Any]:
    url = f"https://conversations.twilio.com/v1/Conversations/{row.sid}"
    return {
        **_iso(row),
        "account_sid": row.account_sid,
        "attributes": "{}",
        "bindings": {},
        "chat_service_sid": "IS" + row.account_sid[2:],
        "friendly_name": row.name,
        "links": {name.lower(): f"{url}/{name}" for name in ("Participants", "Messages", "Webhooks")},
        "messaging_service_sid": None,
        "sid": row.sid,
        "state": row.status or "active",
        "timers": {},
        "unique_name": None,
        "url": url,
    }


def conversation_message(row: Plain) -> dict[str, Any]:
    """A message of a conversation."""
    url = f"https://conversations.twilio.com/v1/Conversations/{row.parent}/Messages/{row.sid}"
    return {
        **_iso(row),
        "account_sid": row.account_sid,
        "attributes": "{}",
        "author": "system",
        "body": row.name,
        "content_sid": None,
        "conversation_sid": row.parent,
        "delivery": None,
        "index": 0,
        "links": {"delivery_receipts": f"{url}/Receipts"},
        "media": None,
        "participant_sid": None,
        "sid": row.sid,
        "url": url,
    }


def _flow(row: Plain) -> dict[str, Any]:
    url = f"https://studio.twilio.com/v2/Flows/{row.sid}"
    return {
        **_iso(row),
        "account_sid": row.account_sid,
        "author_sid": None,
        "commit_message": None,
        "definition": {},
        "errors": [],
        "friendly_name": row.name,
        "links": {"executions": f"{url}/Executions"},
        "revision": 1,
        "sid": row.sid,
        "status": row.status or "published",
        "url": url,
        "valid": True,
        "warnings": [],
        "webhook_url": f"https://webhooks.twilio.com/v1/Accounts/{row.account_sid}/Flows/{row.sid}",
    }


def _execution(row: Plain) -> dict[str, Any]:
    url = f"https://studio.twilio.com/v2/Flows/{row.parent}/Executions/{row.sid}"
    return {
        **_iso(row),
        "account_sid": row.account_sid,
        "contact_channel_address": "+15550100002",
        "contact_sid": "FC" + row.sid[2:],
        "context": {},
        "flow_sid": row.parent,
        "flow_version": 1,
        "initiated_by": None,
        "links": {"steps": f"{url}/Steps"},
        "sid": row.sid,
        "status": row.status or "active",
        "url": url,
    }


def _service(row: Plain) -> dict[str, Any]:
    url = f"https://messaging.twilio.com/v1/Services/{row.sid}"
    switches = ("sticky_sender", "mms_converter", "smart_encoding", "fallback_to_long_code", "area_code_geomatch")
    more = ("synchronous_validation", "us_app_to_person_registered", "use_inbound_webhook_on_number")
    return {
        **_iso(row),
        **dict.fromkeys((*switches, *more), False),
        "account_sid": row.account_sid,
        "fallback_method": "POST",
        "fallback_url": None,
        "friendly_name": row.name,
        "inbound_method": "POST",
        "inbound_request_url": None,
        "links": {"phone_numbers": f"{url}/PhoneNumbers"},
        "scan_message_content": "inherit",
        "sid": row.sid,
        "status_callback": None,
        "url": url,
        "usecase": "undeclared",
        "validity_period": 14_400,
    }


def shown(name: str, render: Render, field: str) -> Test:
    """A filter for what is shown of a row."""
    rendered = rendering(render)
    return Test(name, lambda row, value: str(rendered(row)[field]).lower() == value.lower())


KINDS: dict[str, Kind] = {
    "queues": Kind(operation="Queue", path="Accounts/*/Queues", key="queues", render=_queue),
    "queue_members": Kind(
        operation="Member", path="Accounts/*/Queues/*/Members", key="queue_members", render=_member, is_fetched=False
    ),
    "conferences": Kind(
        operation="Conference",
        path="Accounts/*/Conferences",
        key="conferences",
        render=conference,
        filters=(*DATED, Equal("FriendlyName", "name"), shown("Status", conference, "status")),
    ),
    "participants": Kind(
        operation="Participant",
        path="Accounts/*/Conferences/*/Participants",
        key="participants",
        render=participant,
        filters=tuple(shown(name, participant, name.lower()) for name in ("Muted", "Hold", "Coaching")),
    ),
    "usage_records": Kind(
        operation="UsageRecordDaily",
        path="Accounts/*/Usage/*/Daily",
        key="usage_records",
        render=_usage,
        filters=(
            Bounds("StartDate", "EndDate"),
            Equal("Category", "name"),
            Test("IncludeSubaccounts", lambda _row, _value: True),  # there is one account
        ),
        is_fetched=False,
    ),
    "verification_attempts": Kind(
        operation="VerificationAttempt",
        path="v2/Attempts",
        key="attempts",
        render=_attempt,
        filters=(
            Bounds("DateCreatedAfter", "DateCreatedBefore"),
            shown("Status", _attempt, "conversion_status"),
            shown("Channel", _attempt, "channel"),
            shown("VerifyServiceSid", _attempt, "service_sid"),
            shown("VerificationSid", _attempt, "verification_sid"),
            Test("ChannelData.To", lambda row, value: rendering(_attempt)(row)["channel_data"]["to"] == value),
            Test("Country", lambda row, value: rendering(_attempt)(row)["channel_data"]["country"] == value),
        ),
        is_2010=False,
    ),
    "conversations": Kind(
        operation="Conversation",
        path="v1/Conversations",
        key="conversations",
        render=_conversation,
        filters=(Bounds("StartDate", "EndDate"), shown("State", _conversation, "state")),
        is_2010=False,
        most=100,
    ),
    "conversation_messages": Kind(
        operation="ConversationMessage",
        path="v1/Conversations/*/Messages",
        key="messages",
        render=conversation_message,
        filters=(Test("Order", lambda _row, _value: True),),  # newest first, whatever is asked
        is_2010=False,
        most=100,
    ),
    "studio_flows": Kind(operation="Flow", path="v2/Flows", key="flows", render=_flow, is_2010=False),
    "studio_executions": Kind(
        operation="Execution",
        path="v2/Flows/*/Executions",
        key="executions",
        render=_execution,
        filters=(Bounds("DateCreatedFrom", "DateCreatedTo"), shown("status", _execution, "status")),
        is_2010=False,
    ),
    "messaging_services": Kind(operation="Service", path="v1/Services", key="services", render=_service, is_2010=False),
}


def _list(name: str, kind: Kind, listing: Listing, request: Request) -> Reply:
    rows: Collection[Plain] = request.store.plain[name]
    if kind.has_parent and kind.is_2010:
        return page_2010(request, listing, rows, ("parent", request.sids[0]))
    if kind.has_parent:
        return page_v1(request, listing, rows, ("parent", request.sids[0]))
    return page_2010(request, listing, rows) if kind.is_2010 else page_v1(request, listing, rows)


def _fetch(name: str, render: Render, request: Request) -> Reply:
    row = request.store.plain[name].rows.get(request.sids[-1])
    if row is None:
        raise not_found(request.path)
    return Reply(body=render(row), sid=row.sid)


def _routes(name: str, kind: Kind) -> list[Route]:
    render = rendering(kind.render)
    listing = Listing(key=kind.key, filters=kind.filters, render=render, most=kind.most)
    routes = [
        Route(f"List{kind.operation}", "GET", kind.path, partial(_list, name, kind, listing), listing.known),
        Route(f"Fetch{kind.operation}", "GET", f"{kind.path}/*", partial(_fetch, name, render)),
    ]
    return routes if kind.is_fetched else routes[:1]


ROUTES = tuple(route for name, kind in KINDS.items() for route in _routes(name, kind))
