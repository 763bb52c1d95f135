"""What the simulated account holds before the walk, so that every parameter has something to find and to miss."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.simulator import Simulator
from tests.specification.lists import Listed, furnish_lists

OURS, THEIRS = "+15550100001", "+15550100002"
OTHER = "+15550107001"
DAY = timedelta(days=1)
Attributes = Mapping[str, Any]


def new(prefix: str, number: int) -> str:
    """A SID of our own choice."""
    return f"{prefix}{number:032x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Furnished:
    """SIDs of what is there, oldest first. `hooks` is a customer's own web server."""

    hooks: str
    now: datetime
    messages: list[str]
    to_delete: list[str]
    scheduled: str
    unscheduled: str
    media: list[str]
    calls: list[str]
    running: list[str]
    recordings: list[str]
    transcriptions: list[str]
    alerts: list[str]
    notifications: list[str]
    numbers: list[str]
    application: str
    lists: Mapping[str, Listed]


# Attributes of the rows of each list, oldest first; the numbers of this file say which filter finds which.
MESSAGES: tuple[Attributes, ...] = ({"to": OTHER}, {}, {"from": OTHER}, {}, {"to": OTHER})
CALLS: tuple[Attributes, ...] = (
    {"to": OTHER},
    {},
    {"from": OTHER},
    {"parent_call_sid": new("CA", 0xFA)},
    {"status": "busy"},
    {"to": OTHER},
)
RUNNING: tuple[Attributes, ...] = (
    {"status": "in-progress", "answered": 1.0},
    {"status": "queued"},
    {"status": "in-progress"},
)
RECORDINGS: tuple[Attributes, ...] = (
    {"call_sid": new("CA", 0xC1)},
    {"conference_sid": new("CF", 0xC2)},
    {"call_sid": new("CA", 0xC1)},
    {"status": "deleted", "deleted_at": 1.0e12},
    {},
)


def furnish(simulator: Simulator, *, hooks: str, now: datetime) -> Furnished:
    """Fill the account with rows of the last minutes, alerts of the last days."""
    soon = int((now + timedelta(hours=6)).timestamp())
    messages = simulator.fill("messages", rows=MESSAGES, first=(now - timedelta(seconds=60)).timestamp())
    recordings = simulator.fill("recordings", rows=RECORDINGS, first=(now - timedelta(seconds=60)).timestamp())
    media = simulator.fill("media", count=3, parent_sid=messages[1])
    calls = simulator.fill("calls", rows=CALLS, first=(now - timedelta(seconds=60)).timestamp())
    return Furnished(
        hooks=hooks,
        now=now,
        messages=messages,
        to_delete=simulator.fill("messages", count=3, step=1, first=(now - DAY).timestamp()),
        scheduled=simulator.fill("messages", rows=[{"status": "scheduled", "send_at": soon}])[0],
        unscheduled=simulator.fill("messages", count=1, first=(now - DAY).timestamp())[0],
        media=media,
        calls=calls,
        running=simulator.fill("calls", rows=RUNNING),
        recordings=recordings,
        transcriptions=simulator.fill("transcriptions", count=4, recording_sid=[recordings[0], recordings[4]]),
        alerts=_alerts(simulator, now),
        notifications=simulator.fill("notifications", count=4, call_sid=[calls[0], None], log=["0", "1"]),
        numbers=simulator.fill("phone_numbers", count=4, number="+1555990000{n}"),
        application=simulator.fill("applications", count=1)[0],
        lists=furnish_lists(simulator, message=messages[1], media=media, now=now),
    )


def _alerts(simulator: Simulator, now: datetime) -> list[str]:
    """One of three days ago, one of 36 hours ago, then two of now."""
    ages = (3 * DAY, 1.5 * DAY, timedelta(seconds=50), timedelta(seconds=40))
    levels = ("error", "error", "warning", "error")
    rows = [
        {"created": (now - age).timestamp(), "generated": (now - age).timestamp(), "log_level": level}
        for age, level in zip(ages, levels, strict=True)
    ]
    return simulator.fill("alerts", rows=rows)


def present() -> datetime:
    """Now, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)
