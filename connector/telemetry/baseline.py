"""Every counter that an alert reads, at 0 from the start of its role.

A counter with labels has no series before it has counted: `increase` in Prometheus would not see the first event.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import Counter

from connector.telemetry import metrics

POLLS = ("published", "idle", "failed", "superseded")
ANSWERED = ("stored", "forbidden", "unsigned", "foreign", "invalid", "unavailable")
FINISHED = ("succeeded", "failed", "rejected", "expired", "duplicate", "unknown")
REQUESTED = ("accepted", "refused", "unauthorized", "throttled", "failed", "missing")
# Role -> where its records that cannot be used come from.
STAGES = {"watch": "watch", "callbacks": "callback", "commands": "command"}
OWNING = frozenset({"watch", "commands"})


def begin(
    *,
    roles: Iterable[str],
    connections: Iterable[str],
    watches: Iterable[str],
    callbacks: Iterable[str],
    commands: Iterable[str],
) -> None:
    """Start the series of this process: what its roles may count is 0, its roles are 1, and it owns nothing yet.

    All are names; `callbacks` are the kinds that the port tells apart. Only what the roles do has series.
    """
    for role in roles:
        metrics.ROLE_INFO.labels(role).set(1)
        if role in OWNING:
            metrics.OWNERS.labels(role).set(0)
        for counter, labels in _series(role, watches, callbacks, commands):
            counter.labels(*labels)
    for connection in connections:
        for outcome in REQUESTED:
            metrics.TWILIO_ANSWERS.labels(connection, outcome)


def _series(
    role: str, watches: Iterable[str], callbacks: Iterable[str], commands: Iterable[str]
) -> Iterator[tuple[Counter, tuple[str, ...]]]:
    yield metrics.DEAD_LETTERS, (STAGES[role],)
    match role:
        case "watch":
            for watch in watches:
                yield metrics.WATCH_PUBLISHED, (watch,)
                yield from ((metrics.WATCH_POLLS, (watch, outcome)) for outcome in POLLS)
        case "callbacks":
            yield from ((metrics.CALLBACKS, (kind, outcome)) for kind in callbacks for outcome in ANSWERED)
        case "commands":
            yield from ((metrics.COMMANDS, (name, outcome)) for name in commands for outcome in FINISHED)
