"""Messages: create, list, fetch, update (redact, cancel), delete, feedback (Twilio, messaging/api/message-resource)."""

from typing import Any

from connector.simulator import message_life, message_rules
from connector.simulator.addresses import address, segments, sender
from connector.simulator.errors import not_found, refusal
from connector.simulator.filters import Dates, Equal
from connector.simulator.media import CONTENT_TYPE
from connector.simulator.paging import Listing, page_2010
from connector.simulator.routes import Reply, Request, Route, names, rendering
from connector.simulator.rows import Media, Message
from connector.simulator.times import rfc2822

KNOWN_CREATE = names(
    "To", "StatusCallback", "ApplicationSid", "MaxPrice", "ProvideFeedback", "Attempt", "ValidityPeriod",
    "ForceDelivery", "ContentRetention", "AddressRetention", "SmartEncoded", "PersistentAction", "TrafficType",
    "ShortenUrls", "ScheduleType", "SendAt", "SendAsMms", "ContentVariables", "RiskCheck", "From", "FallbackFrom",
    "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "MessageIntent",
)  # fmt: skip
OBFUSCATED_DIGITS = 4


@rendering
def render(row: Message) -> dict[str, Any]:
    """Write a message as `api.v2010.account.message`."""
    uri = f"/2010-04-01/Accounts/{row.account_sid}/Messages/{row.sid}"
    return {
        "body": row.body,
        "num_segments": str(row.num_segments),
        "direction": row.direction,
        "from": row.from_,
        "date_updated": rfc2822(row.updated),
        "price": row.price,
        "error_message": message_life.ERROR_MESSAGES.get(row.error_code or 0),
        "uri": f"{uri}.json",
        "account_sid": row.account_sid,
        "num_media": str(row.num_media),
        "to": row.to,
        "date_created": rfc2822(row.created),
        "status": row.status,
        "sid": row.sid,
        "date_sent": rfc2822(row.sent),
        "messaging_service_sid": row.service_sid,
        "error_code": row.error_code,
        "price_unit": "USD",
        "api_version": "2010-04-01",
        "subresource_uris": {"media": f"{uri}/Media.json", "feedback": f"{uri}/Feedback.json"},
    }


LISTING = Listing(
    key="messages",
    filters=(Equal("To", "to"), Equal("From", "from_"), Dates("DateSent", "sent", sorts=True)),
    render=render,
    retention=True,
)


def create(request: Request) -> Reply:
    """Accept a message: there is no idempotency, a repeated request is a second message (Twilio, api/errors/20500)."""
    message_rules.check(request)
    row = _build(request)
    if request.account.test:
        return Reply(status=201, body=render(row), sid=row.sid, name="Message")
    _queue(request, row)
    request.store.messages.add(row)
    _attach_media(request, row)
    body = render(row)
    message_life.begin(request.state, row)
    return Reply(status=201, body=body, sid=row.sid, name="Message")


def _queue(request: Request, row: Message) -> None:
    """Take the sender's next segments; refuse when its queue is too long (Twilio, messaging/guides/rate-limits)."""
    state, sender_number = request.state, row.from_ or ""
    rate = state.settings.segments_per_second.get(sender_number)
    if not rate:
        return
    now = state.now()
    start = max(now, request.store.next_segment_at.get(sender_number, 0.0))
    if start - now > state.settings.queue_seconds:
        raise refusal(21611)
    request.store.next_segment_at[sender_number] = start + row.num_segments / rate


def _build(request: Request) -> Message:
    form, state = request.parameters, request.state
    now, media = state.now(), form.all("MediaUrl")
    service = form.get("MessagingServiceSid")
    scheduled = bool(form.get("ScheduleType"))
    sid = state.new_sid("MM" if media else "SM")
    body = form.get("Body")
    return Message(
        sid=sid,
        account_sid=request.account.sid,
        created=int(now),
        updated=int(now),
        visible_at=now + state.settings.visible_after + state.faults.hidden_for(request.operation),
        tie=state.new_tie(sid),
        to=_kept_address(form.get("AddressRetention"), address(form.get("To"))),
        from_=sender(form.get("From")) or None,
        body="" if form.get("ContentRetention") == "discard" else body,
        status="scheduled" if scheduled else "accepted" if service else "queued",
        num_media=len(media),
        num_segments=0 if service else 1 if media else segments(body),
        service_sid=service or None,
        callback=message_life.callback_url(request),
        outcome=message_life.choose_outcome(state, address(form.get("To"))),
        send_at=message_rules.send_at(form) if scheduled else None,
    )


def _kept_address(retention: str, to: str) -> str:
    return to[:-OBFUSCATED_DIGITS] + "X" * OBFUSCATED_DIGITS if retention == "obfuscate" else to


def _attach_media(request: Request, row: Message) -> None:
    for url in request.parameters.all("MediaUrl"):
        sid = request.state.new_sid("ME")
        request.store.media.add(
            Media(
                sid=sid,
                account_sid=row.account_sid,
                created=row.created,
                updated=row.created,
                tie=request.state.new_tie(sid),
                parent_sid=row.sid,
                content_type=CONTENT_TYPE.get(url.rpartition(".")[2].lower(), "image/jpeg"),
                content=f"simulated content of {url}".encode(),
            )
        )


def list_(request: Request) -> Reply:
    """List newest first by date sent."""
    return page_2010(request, LISTING, request.store.messages)


def find(request: Request) -> Message:
    """Return the message of the path; refuses with 20404."""
    row = request.store.messages.rows.get(request.sids[0])
    if row is None:
        raise not_found(request.path)
    return row


def fetch(request: Request) -> Reply:
    """Fetch one: visible at once, whatever the lists show."""
    row = find(request)
    return Reply(body=render(row), sid=row.sid, name="Message")


def update(request: Request) -> Reply:
    """Redact (empty `Body`) or cancel a scheduled message."""
    row, form = find(request), request.parameters
    if form.get("Body"):
        raise refusal(20001, message="Body can only be set to the empty string, which redacts the message")
    if form.choice("Status", ("canceled",)):
        _cancel(request, row)
    if "Body" in form:
        row.body = ""
        row.updated = int(request.state.now())
    return Reply(body=render(row), sid=row.sid, name="Message")


def _cancel(request: Request, row: Message) -> None:
    if row.status not in {"scheduled", "canceled"}:
        raise refusal(20409, message=f"Only scheduled messages can be canceled; this one is {row.status}")
    if row.status == "scheduled":
        message_life.change(request.state, row, "canceled")


def delete(request: Request) -> Reply:
    """Delete it with its media; refuses with 20009 while it is not final (Twilio, messaging/api/message-resource)."""
    row = find(request)
    if request.state.settings.early_delete == "refuse" and not row.is_final:
        raise refusal(20009)
    request.store.messages.discard(row)
    for media in request.store.media.where("parent_sid", row.sid):
        request.store.media.discard(media)
    return Reply(status=204, sid=row.sid)


def feedback(request: Request) -> Reply:
    """Record whether the recipient acted on the message."""
    row = find(request)
    row.feedback = request.parameters.choice("Outcome", ("confirmed", "unconfirmed"), default="confirmed")
    body = {
        "account_sid": row.account_sid,
        "message_sid": row.sid,
        "outcome": row.feedback,
        "date_created": rfc2822(row.created),
        "date_updated": rfc2822(int(request.state.now())),
        "uri": f"/2010-04-01/Accounts/{row.account_sid}/Messages/{row.sid}/Feedback.json",
    }
    return Reply(body=body, sid=row.sid, name="Feedback")


ROUTES = (
    Route("ListMessage", "GET", "Accounts/*/Messages", list_, LISTING.known),
    Route("CreateMessage", "POST", "Accounts/*/Messages", create, KNOWN_CREATE, test_credentials=True),
    Route("FetchMessage", "GET", "Accounts/*/Messages/*", fetch),
    Route("UpdateMessage", "POST", "Accounts/*/Messages/*", update, names("Body", "Status")),
    Route("DeleteMessage", "DELETE", "Accounts/*/Messages/*", delete),
    Route("CreateMessageFeedback", "POST", "Accounts/*/Messages/*/Feedback", feedback, names("Outcome")),
)
