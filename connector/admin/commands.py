"""The console's commands: the latest ones, one's whole story, and sending one."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connector import privacy
from connector.admin.feed import Feed
from connector.admin.parts import SHOWN, Json, Parts, answering, as_json, body_of
from connector.admin.ring import Step, Story
from connector.errors import InvalidRecord
from connector.events import Position, Received, Record, now, timestamp
from connector.kafka import control
from connector.kafka.reading import records_at
from connector.resources import COMMANDS

BUNDLES = 3
HEADERS = ("id", "ce_id", "correlation-id", "connection", "expires-at", "reply-to", "ce_type", "ce_time", "ce_watch")
STATES: Mapping[str, tuple[str, ...]] = {
    "in doubt": ("in doubt", "unknown"),
    "failed": ("failed", "expired"),
    "trouble": ("in doubt", "unknown", "failed", "expired", "rejected"),
    "open": ("waiting", "in flight"),
}
"""Groups of states that can be asked for by one name."""


class Commands:
    """Handlers of `/api/commands`, `/api/stories` and `/api/schemas`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/commands", answering(self._commands)),
            web.post("/api/commands", answering(self._send)),
            web.get("/api/schemas", answering(self._schemas)),
            web.get("/api/stories/{id:.+}", answering(self._story)),
        ]

    async def _commands(self, request: web.Request) -> Any:
        self._parts.feed.look()
        query = {name: request.query.get(name, "") for name in ("state", "command", "text")}
        return {**commands(self._parts.feed, now(), **query), "live": self._parts.feed.is_live}

    async def _story(self, request: web.Request) -> Any:
        self._parts.feed.look()
        story = self._parts.feed.ring.story(request.match_info["id"])
        known = request.query.get("known")
        if story is None:
            # A page that asks again and again waits for a command that has just been sent.
            missing = {"error": "It is not among the last few thousand.", "missing": True}
            return as_json(missing, status=404 if known is None else 200)
        if known == f"{len(story.steps) + story.dropped}/{story.state(now())}":
            return {"same": True}
        places = [Position(step.place.topic, step.place.partition, step.place.offset) for step in story.steps]
        places = [place for place in places if not place.topic.endswith(".journal")]
        records = await records_at(self._parts.settings().kafka, places)
        return story_detail(story, records, now())

    async def _schemas(self, _request: web.Request) -> Any:
        names = list(self._parts.settings().connections)
        return {"commands": await asyncio.to_thread(self._parts.schemas), "connections": names}

    async def _send(self, request: web.Request) -> Any:
        body = await body_of(request)
        command = body.get("command")
        if not isinstance(command, str) or command not in COMMANDS:
            raise InvalidRecord(f"{command!r:.40} is no command: there are {', '.join(COMMANDS)}.")
        headers = {name: str(body[name]) for name in ("id", "connection", "expires-at") if body.get(name)}
        headers.setdefault("id", control.new_id())
        value = body.get("value")
        raw = value.encode() if isinstance(value, str) else orjson.dumps(value)
        named = [(name, text.encode()) for name, text in headers.items()]
        key = str(body["key"]).encode() if body.get("key") else None
        await self._parts.publish([Record(f"{self._parts.prefix}.commands.{command}", key, raw, named)])
        return {"id": headers["id"]}


def commands(feed: Feed, now: datetime, *, state: str = "", command: str = "", text: str = "") -> Json:
    """The latest commands in a state or a group of states, of a name, and with a text in id or SID."""
    wanted = STATES.get(state, (state,))
    found = [
        story
        for story in feed.ring.commands()
        if (not state or story.state(now) in wanted)
        and (not command or story.command == command)
        and (not text or text in story.id or text in story.sid)
    ]
    latest = sorted(found, key=lambda story: story.began, reverse=True)[:SHOWN]
    rows = [story_json(story, now) for story in latest]
    return {"commands": rows, "total": len(found), "states": feed.ring.counts(now)}


def step_json(step: Step) -> Json:
    """One record of a story."""
    place = {"topic": step.place.topic, "partition": step.place.partition, "offset": step.place.offset}
    return {
        "at": timestamp(step.at),
        "kind": step.kind,
        "name": step.name,
        "state": step.state,
        "detail": step.detail,
        "sid": step.sid,
        "place": place,
    }


def story_json(story: Story, now: datetime) -> Json:
    """A story in one line."""
    return {
        "id": privacy.key(story.id),
        "link": story.id,
        "command": story.command,
        "state": story.state(now),
        "sid": story.sid,
        "began": timestamp(story.began),
        "updated": timestamp(story.updated),
        "attempts": story.attempts,
        "steps": len(story.steps) + story.dropped,
        "last": story.last,
    }


def story_detail(story: Story, records: Mapping[Position, Received], now: datetime) -> Json:
    """A whole story; of each record what may be shown."""
    steps = []
    for step in sorted(story.steps, key=lambda step: step.at):
        record = records.get(Position(step.place.topic, step.place.partition, step.place.offset))
        steps.append({**step_json(step), "shown": None if record is None else _shown(record, step)})
    return {**story_json(story, now), "dropped": story.dropped, "timeline": steps}


def _shown(record: Received, step: Step) -> Json:
    named = {name: (raw or b"").decode(errors="replace") for name, raw in record.headers}
    headers = {name: privacy.key(named[name]) for name in HEADERS if named.get(name)}
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        return {"headers": headers, "value": f"[{len(record.value or b'')} bytes]"}
    if step.kind == "result" and isinstance(value, dict) and isinstance(value.get("bundles"), list):
        more = len(value["bundles"]) - BUNDLES
        value = {**value, "bundles": value["bundles"][:BUNDLES], **({"more_bundles": more} if more > 0 else {})}
    return {"headers": headers, "value": privacy.masked(value)}
