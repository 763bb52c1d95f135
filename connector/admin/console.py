"""The console's data under `/api/`: what is shown comes from the feed, what is done goes to Kafka."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from aiohttp import ClientSession, web

from connector import __version__
from connector.admin import letters, views
from connector.admin.feed import Feed
from connector.admin.security import protect
from connector.errors import ConnectorError, InvalidRecord, Unavailable
from connector.events import Received, Record, now, timestamp
from connector.kafka import control
from connector.kafka.tail import records_at
from connector.receiver.receiver import Receiver
from connector.receiver.sightings import Sighting
from connector.resources import COMMANDS
from connector.settings import Row, Settings, parse_instant
from connector.twilio.delivery import deliver
from connector.watcher.status import of_cursor, statuses

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

TICK_SECONDS = 1.0
STREAMS = 32
LARGEST_BODY = 1024 * 1024
BY = "console"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the console needs of the process: its settings now, its engines, and how to write."""

    settings: Callable[[], Settings]
    rows: Callable[[], Sequence[Row]]
    problems: Callable[[], Sequence[str]]
    running: Callable[[], Mapping[str, Any]]
    schemas: Callable[[], Mapping[str, Any]]
    publish: Callable[[Sequence[Record]], Awaitable[None]]
    receiver: Receiver | None
    session: ClientSession
    feed: Feed
    needs_token: bool


class Console:
    """Handlers of `/api/`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._feed = parts.feed
        self._started = now()
        self._streams = 0
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """Everything below `/api/`."""
        return [
            web.get("/api/stream", self._stream),
            web.get("/api/overview", _answering(self._overview)),
            web.get("/api/watches", _answering(self._watches)),
            web.post("/api/watches/{name}/{action}", _answering(self._control)),
            web.get("/api/commands", _answering(self._commands)),
            web.post("/api/commands", _answering(self._send)),
            web.get("/api/schemas", _answering(self._schemas)),
            web.get("/api/stories/{id:.+}", _answering(self._story)),
            web.get("/api/callbacks", _answering(self._callbacks)),
            web.get("/api/callbacks/{number:[0-9]+}", _answering(self._callback)),
            web.post("/api/callbacks/{number:[0-9]+}/replay", _answering(self._replay_callback)),
            web.get("/api/dead-letters", _answering(self._letters)),
            web.get("/api/dead-letters/{partition:[0-9]+}/{offset:[0-9]+}", _answering(self._letter)),
            web.post("/api/dead-letters/{partition:[0-9]+}/{offset:[0-9]+}/replay", _answering(self._replay_letter)),
            web.post("/api/dead-letters/{partition:[0-9]+}/{offset:[0-9]+}/discard", _answering(self._discard)),
            web.get("/api/settings", _answering(self._settings)),
        ]

    def close(self) -> None:
        """End the streams, which would outlive the port."""
        self._closing.set()

    @property
    def _prefix(self) -> str:
        return self._parts.settings().kafka.topic_prefix

    # --- what happens ---------------------------------------------------------------------------------------------
    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: one `tick` each second, until the browser leaves or the process ends."""
        if self._streams >= STREAMS:
            return _json({"error": f"There are {STREAMS} open consoles already: close one."}, status=503)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        protect(answer)
        self._streams += 1
        try:
            await answer.prepare(request)
            while not self._closing.is_set():
                self._feed.look()
                document = orjson.dumps(views.tick(self._feed, now=now(), problems=self._parts.problems()))
                await answer.write(b"event: tick\ndata: " + document + b"\n\n")
                await _wait(self._closing, TICK_SECONDS)
        except ConnectionError:
            pass
        finally:
            self._streams -= 1
        return answer

    async def _overview(self, _request: web.Request) -> Any:
        settings = self._parts.settings()
        self._feed.look()
        connections = [
            {"name": name, "account": connection.account_sid} for name, connection in settings.connections.items()
        ]
        return {
            "version": __version__,
            "started": timestamp(self._started),
            "roles": list(settings.roles),
            "kafka": settings.kafka.bootstrap_servers,
            "prefix": settings.kafka.topic_prefix,
            "connections": connections,
            "needs_token": self._parts.needs_token,
            "watches": self._watches_now(),
            "tick": views.tick(self._feed, now=now(), problems=self._parts.problems()),
        }

    # --- watches --------------------------------------------------------------------------------------------------
    async def _watches(self, _request: web.Request) -> Any:
        self._feed.look()
        return {"watches": self._watches_now(), "now": timestamp(now()), "live": self._feed.is_live}

    def _watches_now(self) -> list[dict[str, Any]]:
        configured = self._parts.settings().watches
        running = self._parts.running()
        # Of the watches that run here the present is known, not only what was written last.
        mine = {name: of_cursor(watcher.cursor) for name, watcher in running.items() if watcher.cursor is not None}
        found = statuses(configured, {**self._feed.cursors, **mine}, now=now())
        return views.watches(found, configured, running=running, feed=self._feed)

    async def _control(self, request: web.Request) -> Any:
        action, name = request.match_info["action"], request.match_info["name"]
        if action not in control.ACTIONS:
            raise web.HTTPNotFound
        body = await _body(request)
        to = _moment(body.get("to")) if action == "rewind" else None
        asked = control.Request(action=action, watch=name, to=to, by=BY)
        answer = await control.ask(self._parts.settings().kafka, asked)
        return {"done": answer.done, "message": answer.message}

    # --- commands -------------------------------------------------------------------------------------------------
    async def _commands(self, request: web.Request) -> Any:
        self._feed.look()
        query = {name: request.query.get(name, "") for name in ("state", "command", "text")}
        return {**views.commands(self._feed, now(), **query), "live": self._feed.is_live}

    async def _story(self, request: web.Request) -> Any:
        self._feed.look()
        story = self._feed.ring.story(request.match_info["id"])
        if story is None:
            return _json({"error": "It is not among the last few thousand.", "live": self._feed.is_live}, status=404)
        if request.query.get("known") == f"{len(story.steps) + story.dropped}/{story.state(now())}":
            return {"same": True}
        places = [(step.place.topic, step.place.partition, step.place.offset) for step in story.steps]
        places = [place for place in places if not place[0].endswith(".journal")]
        records = await records_at(self._parts.settings().kafka, places)
        return views.story_detail(story, records, now())

    async def _schemas(self, _request: web.Request) -> Any:
        names = list(self._parts.settings().connections)
        return {"commands": await asyncio.to_thread(self._parts.schemas), "connections": names}

    async def _send(self, request: web.Request) -> Any:
        body = await _body(request)
        command = body.get("command")
        if command not in COMMANDS:
            raise InvalidRecord(f"{command!r:.40} is no command: there are {', '.join(COMMANDS)}.")
        headers = {name: str(body[name]) for name in ("id", "connection", "expires-at") if body.get(name)}
        headers.setdefault("id", control.new_id())
        value = body.get("value")
        raw = value.encode() if isinstance(value, str) else orjson.dumps(value)
        named = [(name, text.encode()) for name, text in headers.items()]
        key = str(body["key"]).encode() if body.get("key") else None
        await self._parts.publish([Record(f"{self._prefix}.commands.{command}", key, raw, named)])
        return {"id": headers["id"]}

    # --- callbacks ------------------------------------------------------------------------------------------------
    async def _callbacks(self, request: web.Request) -> Any:
        self._feed.look()
        receiver = self._parts.receiver
        sightings = receiver.sightings if receiver is not None else ()
        rows = views.callbacks(self._feed, sightings, verdict=request.query.get("verdict", ""))
        return {"callbacks": rows, "receives": receiver is not None, "live": self._feed.is_live}

    def _sighting(self, request: web.Request) -> tuple[Receiver, Sighting]:
        receiver = self._parts.receiver
        found = receiver.sightings.find(int(request.match_info["number"])) if receiver is not None else None
        if receiver is None or found is None:
            raise web.HTTPNotFound
        return receiver, found

    async def _callback(self, request: web.Request) -> Any:
        receiver, sighting = self._sighting(request)
        return views.callback_detail(sighting, receiver.explain(sighting), content="content" in request.query)

    async def _replay_callback(self, request: web.Request) -> Any:
        """Deliver a stored callback once more, through the public address; consumers see the same event id."""
        receiver, sighting = self._sighting(request)
        if not views.callback_detail(sighting, receiver.explain(sighting), content=False)["replayable"]:
            raise InvalidRecord("Only a callback that was stored can be delivered again: what is forged stays out.")
        token = self._token_of(dict(sighting.pairs).get("AccountSid", ""))
        headers = {"I-Twilio-Idempotency-Token": sighting.token} if sighting.token else {}
        url = sighting.base + sighting.target
        answer = await deliver(self._parts.session, url, sighting.pairs, token=token, headers=headers)
        fine = 200 <= answer.status < 300  # noqa: PLR2004 - a 2xx
        sentence = f"{url.partition('?')[0]} answered {answer.status}." if answer.status else answer.text
        return {"done": fine, "message": sentence}

    def _token_of(self, account: str) -> str:
        for connection in self._parts.settings().connections.values():
            if connection.account_sid == account and connection.signing_tokens:
                return connection.signing_tokens[0].get_secret_value()
        raise InvalidRecord("The account's connection has no auth token to sign with any more.")

    # --- dead letters ---------------------------------------------------------------------------------------------
    @property
    def _command_topics(self) -> frozenset[str]:
        return frozenset(f"{self._prefix}.commands.{name}" for name in COMMANDS)

    async def _letters(self, _request: web.Request) -> Any:
        self._feed.look()
        topics, verdicts = self._command_topics, self._feed.verdicts
        found = sorted(self._feed.letters.items(), key=lambda item: -item[1].milliseconds)
        rows = [
            letters.as_json(letter, verdicts.get(place), replayable=letter.topic in topics) for place, letter in found
        ]
        return {"letters": rows[: views.SHOWN], "total": len(rows), "live": self._feed.is_live}

    async def _letter_record(self, request: web.Request) -> tuple[tuple[int, int], Received]:
        place = int(request.match_info["partition"]), int(request.match_info["offset"])
        where = (f"{self._prefix}.dead-letters", *place)
        found = await records_at(self._parts.settings().kafka, [where])
        if where not in found:
            raise web.HTTPNotFound
        return place, found[where]

    async def _letter(self, request: web.Request) -> Any:
        place, record = await self._letter_record(request)
        found = letters.letter(record)
        shown = letters.as_json(found, self._feed.verdicts.get(place), replayable=found.topic in self._command_topics)
        return {**shown, **(letters.content(record) if "content" in request.query else {})}

    async def _replay_letter(self, request: web.Request) -> Any:
        place, record = await self._letter_record(request)
        body = await _body(request)
        value = str(body["value"]).encode() if body.get("value") is not None else None
        again = letters.replay(record, self._command_topics, value=value)
        note = "edited" if value is not None and value != record.value else ""
        verdict = control.Verdict(partition=place[0], offset=place[1], decision="replayed", note=note, by=BY)
        await self._parts.publish([again, control.encode(self._prefix, verdict)])
        return {"done": True, "story": letters.story_of(again), "message": f"Written to {again.topic}."}

    async def _discard(self, request: web.Request) -> Any:
        place, _ = await self._letter_record(request)
        note = str((await _body(request)).get("note") or "")[:500]
        verdict = control.Verdict(partition=place[0], offset=place[1], decision="discarded", note=note, by=BY)
        await self._parts.publish([control.encode(self._prefix, verdict)])
        return {"done": True, "message": "Discarded. The record stays in its topic as long as that keeps it."}

    async def _settings(self, _request: web.Request) -> Any:
        return {"settings": views.settings(self._parts.rows())}


def _json(document: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def _answering(handler: Callable[[web.Request], Awaitable[Any]]) -> Handler:
    """The handler's value as JSON; what it raises on purpose as a sentence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            found = await handler(request)
        except web.HTTPNotFound:
            return _json({"error": "There is no such thing here (any more)."}, status=404)
        except Unavailable as error:
            return _json({"error": str(error)}, status=503)
        except (ConnectorError, ValueError) as error:
            return _json({"error": str(error)}, status=422)
        return found if isinstance(found, web.StreamResponse) else _json(found)

    return answer


async def _body(request: web.Request) -> dict[str, Any]:
    """The request's JSON object. Raises InvalidRecord."""
    if (request.content_length or 0) > LARGEST_BODY:
        raise InvalidRecord("That is larger than a record may be.")
    raw = await request.read()
    try:
        document = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise InvalidRecord("The request is not JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRecord("The request is no JSON object.")
    return document


def _moment(text: Any) -> datetime:
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InvalidRecord("Give the time as 2026-01-31T00:00:00Z.") from error


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
