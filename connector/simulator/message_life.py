"""The life of a message: accepted -> queued -> sending -> sent -> delivered | undelivered, or failed.

Source: Twilio, messaging/guides/track-outbound-message-status.
"""

from datetime import UTC, datetime

from connector.simulator import debugger, events
from connector.simulator.routes import Request
from connector.simulator.rows import Message
from connector.simulator.state import State
from connector.simulator.store import Store

ERROR_MESSAGES = {
    30001: "Queue overflow",
    30003: "Unreachable destination handset",
    30004: "Message blocked",
    30005: "Unknown destination handset",
    30006: "Landline or unreachable carrier",
    30007: "Message filtered",
    30008: "Unknown error",
    30036: "Validity period expired",
    63016: "Failed to send freeform message because you are outside the allowed window",
}
PRICE = "-0.00750"
DELAY = {  # status reached: the setting that says how long the step to it takes
    "queued": "accept_delay",
    "sending": "queue_delay",
    "sent": "send_delay",
    "failed": "send_delay",
    "delivered": "deliver_delay",
    "undelivered": "deliver_delay",
    "read": "deliver_delay",
}
UNREPORTED = frozenset({"sending"})


def following(row: Message) -> str:
    """Return the status after this one on the way to its outcome; empty at the end."""
    match row.status:
        case "accepted" | "scheduled":
            return "queued"
        case "queued":
            return "failed" if row.outcome == "failed" else "sending"
        case "sending":
            return "sent"
        case "sent":
            return "" if row.outcome == "sent" else "delivered" if row.outcome == "read" else row.outcome
        case "delivered":
            return "read" if row.outcome == "read" else ""
        case _:
            return ""


def begin(state: State, row: Message) -> None:
    """Start the life of an accepted message; its initial status is never called back."""
    if row.send_at is not None:
        state.schedule.after(max(0.0, row.send_at - state.now()), lambda: _step(state, row, "queued"))
    elif state.settings.auto_advance:
        _plan(state, row)


def _plan(state: State, row: Message) -> None:
    if status := following(row):
        state.agenda.after(getattr(state.settings, DELAY[status]), lambda: _step(state, row, status))


def _step(state: State, row: Message, status: str) -> None:
    """Take a planned step, unless something else happened to the message meanwhile."""
    gone = row.sid not in _store(state, row).messages.rows
    if gone or following(row) != status:
        return
    change(state, row, status)
    if state.settings.auto_advance:
        _plan(state, row)


def change(state: State, row: Message, status: str, *, error_code: int | None = None) -> None:
    """Set a status with everything that goes with it: dates, error code, sort position, callback, late price."""
    now = int(state.now())
    row.status, row.updated = status, now
    if row.from_ is None and row.service_sid:
        _choose_sender(state, row)
    if row.sent is None and (status == "sent" or (status == "failed" and state.settings.failed_has_date_sent)):
        row.sent = now
    if status in {"failed", "undelivered"}:
        row.error_code = error_code or state.random.choice(state.settings.error_codes)
    _store(state, row).messages.touch(row)
    events.report_message(state, row)
    _call_back(state, row)
    if row.error_code and state.settings.alert_on_failed_message:
        debugger.alert(state, row.account_sid, error_code=row.error_code, resource_sid=row.sid)
    if row.is_final and status != "canceled" and row.price is None:
        state.agenda.after(state.settings.price_delay, lambda: charge(state, row))


def charge(state: State, row: Message) -> None:
    """Fill in the price, which comes late."""
    row.price = PRICE
    if state.settings.price_updates_date:
        row.updated = int(state.now())


def _choose_sender(state: State, row: Message) -> None:
    service = state.accounts[row.account_sid].service(row.service_sid or "")
    row.from_ = state.random.choice(service.senders) if service and service.senders else None
    row.num_segments = max(1, row.num_segments)


def _call_back(state: State, row: Message) -> None:
    if not row.callback or (row.status in UNREPORTED and not state.settings.report_sending):
        return
    state.deliveries.send(
        kind="message-status",
        url=row.callback,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters={
            "SmsSid": row.sid,
            "SmsStatus": row.status,
            "MessageStatus": row.status,
            "To": row.to,
            "MessagingServiceSid": row.service_sid,
            "MessageSid": row.sid,
            "AccountSid": row.account_sid,
            "From": row.from_,
            "ApiVersion": "2010-04-01",
            "ErrorCode": row.error_code,
            "RawDlrDoneDate": _delivery_report(row),
        },
    )


def _delivery_report(row: Message) -> str | None:
    if row.status not in {"delivered", "undelivered"}:
        return None
    return datetime.fromtimestamp(row.updated, UTC).strftime("%y%m%d%H%M")


def callback_url(request: Request) -> str:
    """Return where its status goes: StatusCallback, else the service's, else the application's.

    Source: Twilio, messaging/guides/track-outbound-message-status.
    """
    form = request.parameters
    if given := form.get("StatusCallback"):
        return given
    service = request.account.service(form.get("MessagingServiceSid"))
    if service is not None and service.status_callback:
        return service.status_callback
    return request.store.application_callback(form.get("ApplicationSid"))


def choose_outcome(state: State, to: str) -> str:
    """Return the final status of a message to a number: chosen by number, else by weight."""
    if fixed := state.settings.outcome_by_number.get(to):
        return fixed
    weights = state.settings.outcomes
    if len(weights) == 1:
        return next(iter(weights))
    return state.random.choices(list(weights), list(weights.values()))[0]


def _store(state: State, row: Message) -> Store:
    return state.stores[row.account_sid]
