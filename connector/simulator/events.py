"""Event Streams: CloudEvents as a webhook sink receives them, alone or in a batch, signed over the body.

Source: Twilio, events/webhook-quickstart.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from connector.simulator.callbacks import Delivery
from connector.simulator.rows import Call, Message
from connector.simulator.state import State

MESSAGE_TYPES = frozenset({"sent", "delivered", "undelivered", "failed", "read"})  # queued never fires
SCHEMAS = "https://events-schemas.twilio.com/"


def _event(
    state: State, kind: str, *, prefix: str, source: str, schema: str, data: Mapping[str, Any]
) -> dict[str, Any]:
    time = datetime.fromtimestamp(state.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "specversion": "1.0",
        "type": kind,
        "source": source,
        "id": state.new_sid(prefix),
        "dataschema": SCHEMAS + schema,
        "datacontenttype": "application/json",
        "time": time,
        "data": {"timestamp": time, "eventName": kind, **data},
    }


def message_event(state: State, row: Message) -> dict[str, Any]:
    """Return the event of a message's current status; its names are camelCase, its status is upper case."""
    source = f"/2010-04-01/Accounts/{row.account_sid}/Messages/{row.sid}.json"
    kind = f"com.twilio.messaging.message.{row.status}"
    return _event(
        state,
        kind,
        prefix="EZ",
        source=source,
        schema="Messaging.MessageStatus/8",
        data={
            "messageSid": row.sid,
            "accountSid": row.account_sid,
            "apiVersion": "2010-04-01",
            "from": row.from_,
            "to": row.to,
            "messageStatus": row.status.upper(),
            "messagingServiceSid": row.service_sid,
            "errorCode": row.error_code,
            "statusCallBackUrl": row.callback or None,
            "numberOfSegments": row.num_segments,
        },
    )


def call_event(state: State, row: Call, event: str) -> dict[str, Any]:
    """Return the event of a call's progress."""
    source = f"/2010-04-01/Accounts/{row.account_sid}/Calls/{row.sid}.json"
    data = {"callSid": row.sid, "accountSid": row.account_sid, "from": row.from_, "to": row.to}
    data |= {"callStatus": row.status, "direction": row.direction}
    kind = f"com.twilio.voice.status-callback.call.{event}"
    return _event(state, kind, prefix="VW", source=source, schema="Voice.StatusCallback/1", data=data)


def report_message(state: State, row: Message) -> None:
    """Send a message's status to the sink, if there is one."""
    if state.settings.event_sink and row.status in MESSAGE_TYPES:
        deliver(state, row.account_sid, state.settings.event_sink, [message_event(state, row)])


def report_call(state: State, row: Call, event: str) -> None:
    """Send a call's progress to the sink; only calls that supplied a status callback have events.

    Source: Twilio, events/webhook-quickstart.
    """
    if state.settings.event_sink and row.plan.callback:
        deliver(state, row.account_sid, state.settings.event_sink, [call_event(state, row, event)])


def deliver(
    state: State, account_sid: str, url: str, events: Iterable[Mapping[str, Any]], *, batch: bool | None = None
) -> list[Delivery]:
    """Send events: a batch is one JSON array, otherwise each is one object; the default is a setting."""
    chosen = list(events)
    bodies: list[Any] = [chosen] if (state.settings.event_batch if batch is None else batch) else list(chosen)
    return [
        state.deliveries.send_json(kind="events", url=url, account_sid=account_sid, body=orjson.dumps(body))
        for body in bodies
    ]
