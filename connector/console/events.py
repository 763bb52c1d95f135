"""The console's events: what was published lately, by topic, state, number or code; errors by their code."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from aiohttp import web

from connector.conditions import ENTRY_FIELDS, Condition
from connector.console.commands import entry_json
from connector.console.context import ConsoleContext, Json, answering, limit_of, moment_of, ordered
from connector.events import timestamp
from connector.timeline.model import Entry, holds

CHOICES = ("name", "state", "code", "connection")
"""Fields whose values the page offers."""
SORTED: Mapping[str, Callable[[Entry], Any]] = {
    **{name: attrgetter(name) for name in ("at", "ends", "name", "sid", "state")},
    # 9999 before 30003.
    "code": lambda entry: (len(entry.code), entry.code),
}
CODES = "https://www.twilio.com/docs/api/errors/"


class Events:
    """The handler of `/api/events`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [web.get("/api/events", answering(self._events))]

    async def _events(self, request: web.Request) -> Any:
        self._context.feed.look()
        query = request.query
        conditions = [Condition(name, query[name]) for name in ENTRY_FIELDS if query.get(name)]
        since, until = (moment_of(query[name]) if query.get(name) else None for name in ("since", "until"))
        entries = list(self._context.feed.timelines.events)
        fitting = [entry for entry in entries if _is_within(entry, since, until)]
        shown = sorted(
            (entry for entry in fitting if all(holds(condition, entry) for condition in conditions)),
            key=lambda entry: entry.at,
            reverse=True,
        )
        return {
            "events": [event_json(entry) for entry in ordered(request, shown, SORTED)[: limit_of(request)]],
            "total": len(shown),
            "groups": groups(fitting),
            "choices": {name: choices(fitting, name) for name in CHOICES},
            "since": timestamp(min(entry.at for entry in entries)) if entries else None,
            "live": self._context.feed.is_live,
        }


def _is_within(entry: Entry, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or entry.at >= since) and (until is None or entry.at < until)


def event_json(entry: Entry) -> Json:
    """An event in one line."""
    more = {"timeline": entry.timeline, "ends": entry.ends, "code": entry.code, "connection": entry.connection}
    return {**entry_json(entry), **more, "correlation": entry.correlation}


def groups(entries: Iterable[Entry]) -> list[Json]:
    """Errors by their code: how many, the first and the last, what one of them said, where Twilio explains it."""
    found: dict[str, Json] = {}
    for entry in entries:
        if not entry.code:
            continue
        at = timestamp(entry.at)
        group = found.setdefault(entry.code, {"code": entry.code, "count": 0, "first": at, "last": at, "error": ""})
        group["count"] += 1
        group["first"], group["last"] = min(group["first"], at), max(group["last"], at)
        group["error"] = group["error"] or entry.error
        group["page"] = f"{CODES}{entry.code}" if entry.code.isascii() and entry.code.isdecimal() else None
    return sorted(found.values(), key=lambda group: -group["count"])


def choices(entries: Iterable[Entry], name: str) -> dict[str, int]:
    """The values of a field, and how often each is there."""
    counts: dict[str, int] = {}
    for entry in entries:
        value = str(getattr(entry, name))
        if value:
            counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items()))
