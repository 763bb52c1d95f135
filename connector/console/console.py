"""The console's data under `/api/`: what is shown comes from the feed, what is done goes to Kafka."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from aiohttp import web

from connector import __version__, privacy
from connector.admin.security import protect, still_admitted
from connector.console import assets
from connector.console.callbacks import Callbacks
from connector.console.commands import Commands, entry_json
from connector.console.context import ConsoleContext, Json, answering, as_json
from connector.console.dead_letters import DeadLetters
from connector.console.events import Events
from connector.console.feed import FLOWS, Feed
from connector.console.searches import Searches
from connector.console.sending import Sending
from connector.console.watches import Watches
from connector.events import now, timestamp
from connector.process.rhythm import pause
from connector.settings import Row

TICK_SECONDS = 1.0
UNREAD_SECONDS = 10.0
STREAMS = 32
ACTIVITY = 14


class Console:
    """The pages, and everything below `/api/`: the stream and the overview here, all else in modules of its own."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._watches = Watches(context)
        self._started = now()
        self._streams = 0
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        kinds = (Commands, Sending, Callbacks, DeadLetters, Events, Searches)
        pages = (self._watches, *(kind(self._context) for kind in kinds))
        return [
            web.get("/api/stream", self._stream),
            web.get("/api/overview", answering(self._overview)),
            web.get("/api/settings", answering(self._settings)),
            *(route for page in pages for route in page.routes()),
            *self._context.health.routes(),
            web.get("/{path:.*}", assets.serve),
        ]

    def close(self) -> None:
        """End the streams, which would outlive the port."""
        self._closing.set()

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: one `tick` each second, until the browser leaves or the process ends."""
        if self._streams >= STREAMS:
            return as_json({"error": f"There are {STREAMS} open consoles already: close one."}, status=503)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        protect(answer)
        self._streams += 1
        try:
            await answer.prepare(request)
            while not self._closing.is_set() and still_admitted(request):
                self._context.feed.look()
                document = orjson.dumps(self._tick())
                async with asyncio.timeout(UNREAD_SECONDS):
                    await answer.write(b"event: tick\ndata: " + document + b"\n\n")
                await pause(self._closing, TICK_SECONDS)
        except ConnectionError:
            pass
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._streams -= 1
        return answer

    async def _overview(self, _request: web.Request) -> Any:
        settings = self._context.settings()
        self._context.feed.look()
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
            "needs_token": self._context.needs_token,
            "watches": self._watches.present(),
            "tick": self._tick(),
        }

    def _tick(self) -> Json:
        """What changes all the time. Why the feed cannot read is told where nothing else explains it."""
        feed = self._context.feed
        problems = list(self._context.problems()) or ([feed.problem] if feed.problem else [])
        since = self._context.health.problem_since
        return {**tick(feed, now=now(), problems=problems), "problem_since": since and timestamp(since)}

    async def _settings(self, _request: web.Request) -> Any:
        return {"settings": settings(self._context.rows())}


def tick(feed: Feed, *, now: datetime, problems: Sequence[str]) -> Json:
    """What changes all the time; `version` tells a page whether it has to ask again."""
    return {
        "now": timestamp(now),
        "version": feed.version,
        "live": feed.is_live,
        "skipped": feed.skipped,
        "timelines": len(feed.timelines),
        "problems": list(problems),
        "rates": rates(feed, now=now.timestamp()),
        "states": feed.timelines.counts(now),
        "open_letters": sum(place not in feed.verdicts for place in feed.letters),
        "activity": _activity(feed),
    }


def rates(feed: Feed, *, now: float) -> Json:
    """For each flow the counts of every five seconds of the last five minutes, and the rate by second now."""
    second = int(now)
    return {
        flow: {
            "bars": feed.rates.bars(flow, now=second),
            "per_second": round(feed.rates.per_second(flow, now=second), 2),
        }
        for flow in FLOWS
    }


def _activity(feed: Feed) -> list[Json]:
    latest = sorted(feed.timelines.recent, key=lambda entry: entry.at, reverse=True)[:ACTIVITY]
    return [{"timeline": entry.timeline, **entry_json(entry)} for entry in latest]


def settings(rows: Iterable[Row]) -> list[Json]:
    """Every setting in effect, masked, and where it comes from."""
    return [{"key": _number_free(row.key), "value": _plain(row.value), "origin": str(row.origin)} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _number_free(value) if isinstance(value, str) else value


def _number_free(text: str) -> str:
    return privacy.ADDRESS.sub(lambda found: privacy.address(found[0]), text)
