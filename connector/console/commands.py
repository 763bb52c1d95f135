"""The console's commands: the latest ones, and one's whole timeline."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connector import privacy
from connector.console.context import ConsoleContext, Json, answering, as_json, limit_of, ordered
from connector.console.feed import Feed
from connector.events import Position, Received, now, texts, timestamp
from connector.kafka.reading import records_at
from connector.timeline.model import Entry, Timeline

BUNDLES = 3
HEADERS = ("id", "ce_id", "correlation-id", "connection", "expires-at", "reply-to", "ce_type", "ce_time", "ce_watch")
STATES: Mapping[str, tuple[str, ...]] = {
    "in doubt": ("in doubt", "unknown"),
    "failed": ("failed", "expired"),
    "trouble": ("in doubt", "unknown", "failed", "expired", "rejected"),
    "open": ("waiting", "in flight"),
}
"""Groups of states that can be asked for by one name."""
SORTED: Mapping[str, Callable[[Timeline], Any]] = {
    "state": lambda timeline: timeline.state(now()),
    "command": lambda timeline: timeline.command,
    "id": lambda timeline: timeline.id,
    "sid": lambda timeline: timeline.sid,
    "began": lambda timeline: timeline.began,
    "took": lambda timeline: timeline.updated - timeline.began,
    "last": lambda timeline: timeline.last,
}
NOT_IN_MEMORY = "It is not among the latest in memory; the topics may hold it: search them."


class Commands:
    """Handlers of `/api/commands` and `/api/timelines`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/commands", answering(self._commands)),
            web.get("/api/timelines/{id:.+}", answering(self._timeline)),
        ]

    async def _commands(self, request: web.Request) -> Any:
        self._context.feed.look()
        query = {name: request.query.get(name, "") for name in ("state", "command", "text")}
        found = ordered(request, commands(self._context.feed, now(), **query), SORTED)
        return {
            "commands": [timeline_json(timeline, now()) for timeline in found[: limit_of(request)]],
            "total": len(found),
            "states": self._context.feed.timelines.counts(now()),
            "live": self._context.feed.is_live,
        }

    async def _timeline(self, request: web.Request) -> Any:
        self._context.feed.look()
        timeline = self._context.feed.find(request.match_info["id"])
        known = request.query.get("known")
        if timeline is None:
            # A page that asks again and again waits for a command that has just been sent.
            missing = {"error": NOT_IN_MEMORY, "missing": True, "live": self._context.feed.is_live}
            return as_json(missing, status=404 if known is None else 200)
        if known == f"{len(timeline.entries) + timeline.dropped}/{timeline.state(now())}/{timeline.is_whole}":
            return {"same": True}
        positions = [entry.position for entry in timeline.entries if entry.kind != "attempt"]
        records = await records_at(self._context.settings().kafka, positions)
        return timeline_detail(timeline, records, now(), is_callback=self._context.feed.is_callback)


def commands(feed: Feed, now: datetime, *, state: str = "", command: str = "", text: str = "") -> list[Timeline]:
    """The commands in a state or a group of states, of a name, and with a text in id or SID, the latest first."""
    wanted = STATES.get(state, (state,))
    found = [
        timeline
        for timeline in feed.timelines.commands()
        if (not state or timeline.state(now) in wanted)
        and (not command or timeline.command == command)
        and (not text or text in timeline.id or text in timeline.sid)
    ]
    return sorted(found, key=lambda timeline: timeline.began, reverse=True)


def entry_json(entry: Entry) -> Json:
    """One record of a timeline."""
    return {
        "at": timestamp(entry.at),
        "kind": entry.kind,
        "name": entry.name,
        "state": entry.state,
        "detail": entry.detail,
        "sid": entry.sid,
        "position": entry.position._asdict(),
    }


def timeline_json(timeline: Timeline, now: datetime) -> Json:
    """A timeline in one line."""
    return {
        "id": privacy.key(timeline.id),
        "link": timeline.id,
        "command": timeline.command,
        "state": timeline.state(now),
        "sid": timeline.sid,
        "began": timestamp(timeline.began),
        "updated": timestamp(timeline.updated),
        "attempts": timeline.attempts,
        "records": len(timeline.entries) + timeline.dropped,
        "last": timeline.last,
        "correlation": privacy.key(timeline.correlation),
        "connection": timeline.connection,
        "ends": timeline.ends,
        "answered_at": timestamp(timeline.answered_at) if timeline.answered_at else None,
        "settled_at": timestamp(timeline.settled_at) if timeline.settled_at else None,
        "whole": timeline.is_whole,
    }


def timeline_detail(
    timeline: Timeline, records: Mapping[Position, Received], now: datetime, *, is_callback: Callable[[str], bool]
) -> Json:
    """A whole timeline; of each record what may be shown, and whether Twilio delivered it."""
    entries = []
    for entry in sorted(timeline.entries, key=lambda entry: entry.at):
        record = records.get(entry.position)
        may_be_shown = None if record is None else shown(record, entry)
        entries.append({**entry_json(entry), "shown": may_be_shown, "callback": is_callback(entry.topic)})
    return {**timeline_json(timeline, now), "dropped": timeline.dropped, "entries": entries}


def shown(record: Received, entry: Entry) -> Json:
    """Of a record's headers and value what may be shown without being asked for."""
    named = texts(record.headers)
    headers = {name: privacy.key(named[name]) for name in HEADERS if named.get(name)}
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {"headers": headers, "value": f"[{len(record.value or b'')} bytes]"}
    if entry.kind == "result" and isinstance(value, dict) and isinstance(value.get("bundles"), list):
        more = len(value["bundles"]) - BUNDLES
        value = {**value, "bundles": value["bundles"][:BUNDLES], **({"more_bundles": more} if more > 0 else {})}
    return {"headers": headers, "value": privacy.masked(value)}
