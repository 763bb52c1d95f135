"""Monitor alerts and call notifications as Twilio makes them by itself: failed webhooks, failed messages, warnings."""

from urllib.parse import urlencode

from connector.simulator.callbacks import Delivery
from connector.simulator.errors import MORE_INFO
from connector.simulator.rows import Alert, Notification
from connector.simulator.state import State

HTTP_RETRIEVAL, HTTP_CONNECTION, HTTP_ANSWER = 11200, 11205, 11217
SERVER_ERROR = 500


def alert(
    state: State,
    account_sid: str,
    *,
    error_code: int,
    resource_sid: str | None = None,
    log_level: str = "error",
    delivery: Delivery | None = None,
) -> Alert:
    """Write an alert into the debugger."""
    now, sid = state.now(), state.new_sid("NO")
    row = Alert(
        sid=sid,
        account_sid=account_sid,
        created=int(now),
        updated=int(now),
        visible_at=now + state.settings.visible_after + state.faults.hidden_for("CreateAlert"),
        tie=state.new_tie(sid),
        generated=int(now),
        error_code=str(error_code),
        log_level=log_level,
        text=urlencode({"ErrorCode": error_code}),
        resource_sid=resource_sid,
    )
    if delivery is not None:
        _describe(row, delivery)
    state.stores[account_sid].alerts.add(row)
    return row


def _describe(row: Alert, delivery: Delivery) -> None:
    status = delivery.attempts[-1]["status"] if delivery.attempts else 0
    row.text = urlencode({"httpResponse": status or 502, "url": delivery.url, "ErrorCode": row.error_code})
    row.request_method, row.request_url = delivery.method, delivery.url
    row.request_headers = urlencode({"Content-Type": delivery.content_type})
    row.request_variables = urlencode(delivery.parameters)
    row.response_body = delivery.answer
    row.response_headers = urlencode({"Content-Type": delivery.answer_type})


def note_failure(state: State, delivery: Delivery) -> None:
    """Turn a failed webhook into an alert, and for calls into a notification too.

    Source: Twilio, usage/webhooks/webhooks-connection-overrides.
    """
    if not state.settings.alert_on_failed_callback or delivery.account_sid not in state.stores:
        return
    code = _code_of(delivery)
    resource = delivery.sid or None
    alert(state, delivery.account_sid, error_code=code, resource_sid=resource, delivery=delivery)
    if delivery.sid.startswith("CA"):
        _notify(state, delivery, code)


def _code_of(delivery: Delivery) -> int:
    last = delivery.attempts[-1]
    if last["status"]:
        return HTTP_RETRIEVAL if last["status"] >= SERVER_ERROR else HTTP_ANSWER
    return HTTP_CONNECTION


def _notify(state: State, delivery: Delivery, code: int) -> None:
    now, sid = int(state.now()), state.new_sid("NO")
    text = urlencode({"LogLevel": "ERROR", "ErrorCode": code, "url": delivery.url})
    state.stores[delivery.account_sid].notifications.add(
        Notification(
            sid=sid,
            account_sid=delivery.account_sid,
            created=now,
            updated=now,
            tie=state.new_tie(sid),
            call_sid=delivery.sid,
            error_code=str(code),
            message_date=now,
            message_text=text,
            request_method=delivery.method,
            request_url=delivery.url,
            request_variables=urlencode(delivery.parameters),
            response_body=delivery.answer,
        )
    )


def more_info(code: str) -> str:
    """Return the documentation address of an error code."""
    return f"{MORE_INFO}{code}"
