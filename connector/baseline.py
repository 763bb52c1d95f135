"""Every counter that an alert reads, at 0 from the start of its role.

A counter with labels has no series before it has counted: `increase` in Prometheus would not see the first event.
"""

from collections.abc import Iterator

from prometheus_client import Counter

from connector import telemetry
from connector.receiver.refusals import UNKNOWN
from connector.resources import CALLBACKS, COMMANDS
from connector.settings import Settings

POLLS = ("published", "idle", "failed", "superseded")
ANSWERED = ("stored", "forbidden", "unsigned", "foreign", "invalid", "unavailable")
FINISHED = ("succeeded", "failed", "rejected", "expired", "duplicate", "unknown")
REQUESTED = ("accepted", "refused", "unauthorized", "throttled", "failed", "missing")
# Role -> where its records that cannot be used come from.
STAGES = {"watch": "watch", "callbacks": "callback", "commands": "command"}
OWNING = frozenset({"watch", "commands"})


def begin(settings: Settings) -> None:
    """Start the series of this process: what its roles may count is 0, its roles are 1, and it owns nothing yet."""
    for role in settings.roles:
        telemetry.ROLE_INFO.labels(role).set(1)
        if role in OWNING:
            telemetry.OWNERS.labels(role).set(0)
    for counter, labels in _series(settings):
        counter.labels(*labels)


def _series(settings: Settings) -> Iterator[tuple[Counter, tuple[str, ...]]]:
    for connection in settings.connections:
        yield from ((telemetry.TWILIO_ANSWERS, (connection, outcome)) for outcome in REQUESTED)
    yield from ((telemetry.DEAD_LETTERS, (STAGES[role],)) for role in settings.roles)
    if "watch" in settings.roles:
        for watch in settings.watches:
            yield telemetry.WATCH_PUBLISHED, (watch.name,)
            yield from ((telemetry.WATCH_POLLS, (watch.name, outcome)) for outcome in POLLS)
    if "callbacks" in settings.roles:
        yield from ((telemetry.CALLBACKS, (kind, outcome)) for kind in (*CALLBACKS, UNKNOWN) for outcome in ANSWERED)
    if "commands" in settings.roles:
        yield from ((telemetry.COMMANDS, (name, outcome)) for name in COMMANDS for outcome in FINISHED)
