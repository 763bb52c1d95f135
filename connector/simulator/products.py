"""What commands do beside messages and calls: verifications, lookups, running conferences, messages of conversations.

Every conference, participant and conversation exists: only what is done to them is kept. Sources: Twilio's OpenAPI,
verify_v2, lookups_v2, conversations_v1, api_v2010; verify/api, conversations/api.
"""

from typing import Any
from urllib.parse import unquote

from connector.simulator import plain
from connector.simulator.addresses import address, formatted
from connector.simulator.done import Post, Verification
from connector.simulator.errors import not_found, refusal
from connector.simulator.routes import Reply, Request, Route, names
from connector.simulator.rows import Plain
from connector.simulator.times import iso8601

RIGHT_CODE = "123456"  # unless the caller chose one
MAX_SENDS = MAX_CHECKS = 5
MAX_PAGE = 100
CHANNELS = ("sms", "call", "email", "whatsapp", "sna", "auto")


# --- verifications ----------------------------------------------------------------------------------------------------
def start(request: Request) -> Reply:
    """Start one; while one to the same address is pending, send its code again (Twilio, verify/api/verification)."""
    form, known = request.parameters, request.store.done.verifications
    to, channel = form.get("To"), form.choice("Channel", CHANNELS, code=60200)
    if not to or not channel or (channel != "email" and not address(to)):
        raise refusal(60200)
    row = next((row for row in known.values() if _is_pending(row, request.sids[0], to)), None)
    if row is None:
        row = Verification(
            sid=request.state.new_sid("VE"),
            service_sid=request.sids[0],
            to=to,
            channel="sms" if channel == "auto" else channel,
            code=form.get("CustomCode") or RIGHT_CODE,
            created=int(request.state.now()),
        )
        known[row.sid] = row
    if len(row.sends) == MAX_SENDS:
        raise refusal(60203)
    moment = iso8601(int(request.state.now()))
    row.sends.append({"attempt_sid": request.state.new_sid("VL"), "channel": row.channel, "time": moment})
    shown = _shown(request, row) | {
        "lookup": {},
        "send_code_attempts": list(row.sends),
        "sna": None,
        "url": f"{request.base_url}/v2/Services/{row.service_sid}/Verifications/{row.sid}",
    }
    return Reply(status=201, body=shown, sid=row.sid)


def _is_pending(row: Verification, service_sid: str, to: str) -> bool:
    return row.status == "pending" and (row.service_sid, row.to) == (service_sid, to)


def _shown(request: Request, row: Verification) -> dict[str, Any]:
    return {
        "account_sid": request.account.sid,
        "amount": None,
        "channel": row.channel,
        "date_created": iso8601(row.created),
        "date_updated": iso8601(int(request.state.now())),
        "payee": None,
        "service_sid": row.service_sid,
        "sid": row.sid,
        "status": row.status,
        "to": row.to,
        "valid": row.status == "approved",
    }


def check(request: Request) -> Reply:
    """Check a code. What is approved is gone: the next check is a 404 (Twilio, verify/api/verification-check)."""
    form, service_sid = request.parameters, request.sids[0]
    rows = request.store.done.verifications.values()
    wanted, to = form.get("VerificationSid"), form.get("To")
    row = next((row for row in rows if row.sid == wanted or _is_pending(row, service_sid, to)), None)
    if row is None or row.status != "pending":
        raise not_found(request.path)
    if row.checks == MAX_CHECKS:
        raise refusal(60202)
    row.checks += 1
    row.status = "approved" if form.get("Code") == row.code else "pending"
    return Reply(status=200, body=_shown(request, row) | {"sna_attempts_error_codes": []}, sid=row.sid)


# --- lookups ----------------------------------------------------------------------------------------------------------
def look_up(request: Request) -> Reply:
    """Say of a number what every number is."""
    number = unquote(request.sids[0])
    is_valid = bool(address(number)) and number.startswith("+")
    asked = request.parameters.get("Fields").split(",")
    line = {"carrier_name": "Simulated", "error_code": None, "mobile_country_code": "310"}
    line |= {"mobile_network_code": "240", "type": "mobile"}
    body = {
        "call_forwarding": None,
        "caller_name": {"caller_name": "ANN", "caller_type": "CONSUMER", "error_code": None},
        "calling_country_code": "1" if is_valid else None,
        "country_code": "US" if is_valid else None,
        "identity_match": None,
        "line_status": None,
        "line_type_intelligence": line,
        "national_format": formatted(number) if is_valid else None,
        "phone_number": number,
        "phone_number_quality_score": None,
        "pre_fill": None,
        "reassigned_number": None,
        "sim_swap": None,
        "sms_pumping_risk": None,
        "url": f"{request.base_url}/v2/PhoneNumbers/{number}",
        "valid": is_valid,
        "validation_errors": [] if is_valid else ["INVALID_COUNTRY_CODE"],
    }
    unasked = {name: None for name in ("caller_name", "line_type_intelligence") if name not in asked}
    return Reply(body=body | unasked)


# --- conferences ------------------------------------------------------------------------------------------------------
def update_conference(request: Request) -> Reply:
    """End it; ending it again changes nothing."""
    sid, now, ended = request.sids[0], int(request.state.now()), request.store.done.ended
    if request.parameters.choice("Status", ("completed",)):
        ended.setdefault(sid, now)
        if (listed := request.store.plain["conferences"].rows.get(sid)) is not None:
            listed.status, listed.updated = "completed", now
    row = _row(request, sid, created=request.store.opened, updated=ended.get(sid, now))
    row.name, row.status = "simulated", "completed" if sid in ended else "in-progress"
    body = plain.conference(row) | {"reason_conference_ended": "conference-ended-via-api"}
    return Reply(body=body, sid=sid, name="Conference")


def update_participant(request: Request) -> Reply:
    """Mute, or not; nobody is left in a conference that has ended."""
    (conference, call), done, now = request.sids, request.store.done, int(request.state.now())
    if conference in done.ended:
        raise not_found(request.path)
    if "Muted" in request.parameters:
        done.muted[conference, call] = request.parameters.boolean("Muted")
    row = _row(request, call, parent=conference, created=request.store.opened, updated=now)
    body = plain.participant(row) | {"muted": done.muted.get((conference, call), False)}
    return Reply(body=body, sid=call, name="Participant")


def _row(request: Request, sid: str, *, parent: str = "", created: int, updated: int) -> Plain:
    """What a list would show of it."""
    return Plain(sid=sid, account_sid=request.account.sid, parent=parent, created=created, updated=updated)


# --- conversations ----------------------------------------------------------------------------------------------------
def send(request: Request) -> Reply:
    """Add a message; a repeated request is a second one."""
    form, now = request.parameters, int(request.state.now())
    rows = request.store.done.posts.setdefault(request.sids[0], [])
    row = Post(
        sid=request.state.new_sid("IM"),
        conversation_sid=request.sids[0],
        created=now,
        updated=now,
        index=len(rows),
        author=form.get("Author") or "system",
        body=None if form.get("ContentSid") else form.get("Body") or None,
        attributes=form.get("Attributes") or "{}",
        content_sid=form.get("ContentSid") or None,
    )
    rows.append(row)
    return Reply(status=201, body=_post(request, row), sid=row.sid)


def _post(request: Request, row: Post) -> dict[str, Any]:
    url = f"{request.base_url}/v1/Conversations/{row.conversation_sid}/Messages/{row.sid}"
    shown = _row(request, row.sid, parent=row.conversation_sid, created=row.created, updated=row.updated)
    return plain.conversation_message(shown) | {
        "attributes": row.attributes,
        "author": row.author,
        "body": row.body,
        "content_sid": row.content_sid,
        "index": row.index,
        "links": {"delivery_receipts": f"{url}/Receipts"},
        "url": url,
    }


def list_(request: Request) -> Reply:
    """List by index, the oldest first unless `Order` is `desc` (Twilio, conversations/api); or what was filled in."""
    if request.sids[0] not in request.store.done.posts:
        return LISTED.handler(request)
    form = request.parameters
    size = form.integer("PageSize", default=50, low=1, high=MAX_PAGE, code=20007)
    number = form.integer("Page", default=0, low=0, high=10**6)
    is_newest_first = form.get("Order").lower() == "desc"
    rows = request.store.done.posts.get(request.sids[0], [])[:: -1 if is_newest_first else 1]
    query = f"?PageSize={size}" + ("&Order=desc" if is_newest_first else "")
    base = f"{request.base_url}{request.path}{query}"
    meta = {
        "first_page_url": f"{base}&Page=0",
        "key": "messages",
        "next_page_url": f"{base}&Page={number + 1}&PageToken=PT{number + 1}"
        if len(rows) > (number + 1) * size
        else None,
        "page": number,
        "page_size": size,
        "previous_page_url": f"{base}&Page={number - 1}&PageToken=PT{number - 1}" if number else None,
        "url": f"{base}&Page={number}",
    }
    shown = [_post(request, row) for row in rows[number * size : (number + 1) * size]]
    return Reply(body={"messages": shown, "meta": meta})


MESSAGES = "v1/Conversations/*/Messages"
LISTED = next(route for route in plain.ROUTES if (route.path, route.method) == (MESSAGES, "GET"))
ROUTES = (
    Route(
        "CreateVerification",
        "POST",
        "v2/Services/*/Verifications",
        start,
        names(
            "To", "Channel", "CustomFriendlyName", "CustomMessage", "SendDigits", "Locale", "CustomCode", "Amount",
            "Payee", "RateLimits", "ChannelConfiguration", "AppHash", "TemplateSid", "TemplateCustomSubstitutions",
            "DeviceIp", "EnableSnaClientToken", "RiskCheck", "Tags",
        ),
    ),
    Route(
        "CreateVerificationCheck",
        "POST",
        "v2/Services/*/VerificationCheck",
        check,
        names("Code", "To", "VerificationSid", "Amount", "Payee", "SnaClientToken"),
    ),
    Route(
        "FetchPhoneNumber",
        "GET",
        "v2/PhoneNumbers/*",
        look_up,
        names(
            "Fields", "CountryCode", "FirstName", "LastName", "AddressLine1", "AddressLine2", "City", "State",
            "PostalCode", "AddressCountryCode", "NationalId", "DateOfBirth", "LastVerifiedDate", "VerificationSid",
            "PartnerSubId",
        ),
    ),
    Route(
        "UpdateConference",
        "POST",
        "Accounts/*/Conferences/*",
        update_conference,
        names("Status", "AnnounceUrl", "AnnounceMethod"),
    ),
    Route(
        "UpdateParticipant",
        "POST",
        "Accounts/*/Conferences/*/Participants/*",
        update_participant,
        names(
            "Muted", "Hold", "HoldUrl", "HoldMethod", "AnnounceUrl", "AnnounceMethod", "WaitUrl", "WaitMethod",
            "BeepOnExit", "EndConferenceOnExit", "Coaching", "CallSidToCoach",
        ),
    ),
    Route(
        "CreateConversationMessage",
        "POST",
        MESSAGES,
        send,
        names(
            "Author", "Body", "DateCreated", "DateUpdated", "Attributes", "MediaSid", "ContentSid", "ContentVariables",
            "Subject",
        ),
    ),
    Route("ListConversationMessage", "GET", MESSAGES, list_, names("Order", paged=True)),
)  # fmt: skip
