"""Rows in bulk, thousands at once, as if they had lived before: for back-fills, benchmarks and ties."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from connector.simulator import rows as kinds
from connector.simulator.collection import Row
from connector.simulator.state import State
from connector.simulator.times import parse

TIMES = ("created", "updated", "sent", "send_at", "start", "end", "generated", "message_date")
OURS, THEIRS = "+15550100001", "+15550100002"
PYTHON_NAMES = {"from": "from_"}

TEMPLATES: dict[str, tuple[type[Row], str, dict[str, Any]]] = {
    "messages": (kinds.Message, "SM", {"to": THEIRS, "from_": OURS, "body": "bulk {n}", "status": "delivered"}),
    "media": (kinds.Media, "ME", {"parent_sid": "", "content_type": "image/jpeg"}),
    "calls": (kinds.Call, "CA", {"to": THEIRS, "from_": OURS, "status": "completed", "duration": 12}),
    "recordings": (kinds.Recording, "RE", {"duration": 12}),
    "transcriptions": (kinds.Transcription, "TR", {"recording_sid": "", "duration": 12, "text": "bulk {n}"}),
    "alerts": (kinds.Alert, "NO", {"error_code": "11200", "text": "ErrorCode=11200"}),
    "notifications": (kinds.Notification, "NO", {"call_sid": None, "request_url": "https://hooks.example.com/voice"}),
    "phone_numbers": (kinds.PhoneNumber, "PN", {"number": "+1555020{n}", "friendly_name": "bulk {n}"}),
    "applications": (kinds.Application, "AP", {"friendly_name": "bulk {n}"}),
    "caller_ids": (kinds.CallerId, "PN", {"number": "+1555030{n}", "friendly_name": "bulk {n}"}),
    **{name: (kinds.Plain, prefix, {"name": "bulk-{n}"}) for name, prefix in kinds.PLAIN.items()},
}

# which dates a row that was not given them has, by the resource and its status; seconds after it was created
IMPLIED: dict[str, tuple[str, frozenset[str]]] = {
    "messages": ("sent", frozenset({"queued", "accepted", "scheduled", "canceled"})),
    "calls": ("start", frozenset({"queued"})),
    "recordings": ("start", frozenset()),
    "alerts": ("generated", frozenset()),
    "notifications": ("message_date", frozenset()),
}


def fill(
    state: State,
    resource: str,
    *,
    account_sid: str,
    count: int = 0,
    first: float | str | None = None,
    step: float = 1.0,
    visible_after: float = 0.0,
    rows: Iterable[Mapping[str, Any]] = (),
    **common: Any,
) -> list[str]:
    """Create `count` rows, or the given `rows`; everything else are attributes for all of them.

    The oldest is at `first` (default: so that the newest is now), the next ones `step` seconds apart. Texts may
    contain `{n}`; lists are cycled through. `extra` are JSON fields that replace or add to what is answered.
    `visible_after` hides the rows from lists for so many seconds.

    Returns the SIDs, oldest first; raises ValueError for an unknown resource or attribute.
    """
    if resource not in TEMPLATES:
        raise ValueError(f"unknown resource {resource!r}; use one of {sorted(TEMPLATES)}")
    start = _second(first) if first is not None else state.now() - max(0, count - 1) * step
    chosen = list(rows) or [{} for _ in range(count)]
    built = [
        _build(state, resource, number, {"account_sid": account_sid, "created": start + number * step, **common, **row})
        for number, row in enumerate(chosen)
    ]
    for row in built:
        row.visible_at = state.now() + visible_after if visible_after else 0.0
    state.stores[account_sid].rows_of(resource).add_many(built)
    return [row.sid for row in built]


def _build(state: State, resource: str, number: int, attributes: Mapping[str, Any]) -> Row:
    row_type, prefix, template = TEMPLATES[resource]
    values = template | {PYTHON_NAMES.get(name, name): value for name, value in attributes.items()}
    known = {item.name for item in fields(row_type)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"unknown attributes of {resource} {unknown}; known are {sorted(known)}")
    values = {name: _value(name, value, number) for name, value in values.items()}
    sid = values.pop("sid", None) or state.new_sid(prefix)
    created = values["created"]
    values.setdefault("updated", created)
    date, without = IMPLIED.get(resource, ("", frozenset()))
    if date and date not in values and values.get("status") not in without:
        values[date] = created
    return row_type(sid=sid, tie=state.new_tie(sid), **values)


def _value(name: str, value: Any, number: int) -> Any:
    if isinstance(value, list):
        value = value[number % len(value)]
    if name in TIMES and value is not None:
        return int(_second(value))
    return value.replace("{n}", str(number)) if isinstance(value, str) else value


def _second(value: float | str) -> float:
    return parse(value).second if isinstance(value, str) else value
