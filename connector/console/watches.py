"""The console's watches: where each stands, and what is asked of it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from connector import privacy
from connector.console.context import BY, ConsoleContext, Json, answering, body_of, moment_of
from connector.console.feed import Feed
from connector.events import now, timestamp
from connector.settings import WatchSettings, format_duration
from connector.state import control
from connector.watcher import cursor as cursors
from connector.watcher.status import Status, of_cursor, statuses


class Watches:
    """Handlers of `/api/watches`."""

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [
            web.get("/api/watches", answering(self._watches)),
            web.post("/api/watches/{name}/{action}", answering(self._control)),
        ]

    async def _watches(self, _request: web.Request) -> Any:
        self._context.feed.look()
        return {"watches": self.present(), "now": timestamp(now()), "live": self._context.feed.is_live}

    def present(self) -> list[Json]:
        """Every watch as it is now."""
        configured = self._context.settings().watches
        running = self._context.running()
        # Of the watches that run here the present is known, not only what was written last.
        mine = {
            name: of_cursor(replace(watcher.cursor, failing=watcher.failing))
            for name, watcher in running.items()
            if watcher.cursor is not None
        }
        found = statuses(configured, {**self._context.feed.cursors, **mine}, now=now())
        return watches(found, configured, running=running, feed=self._context.feed)

    async def _control(self, request: web.Request) -> Any:
        action, name = request.match_info["action"], request.match_info["name"]
        if action not in control.ACTIONS or not await self._is_known(name):
            raise web.HTTPNotFound
        body = await body_of(request)
        to = moment_of(body.get("to")) if action == "rewind" else None
        asked = control.Request(action=action, watch=name, to=to, by=BY)
        answer = await control.ask(self._context.settings().kafka, asked)
        return {"done": answer.done, "message": answer.message}

    async def _is_known(self, name: str) -> bool:
        """Whether the configuration or a cursor names this watch: a request to any other would wait for its owner."""
        if any(watch["name"] == name for watch in self.present()):
            return True
        return name in await cursors.latest(self._context.settings().kafka)


def watches(
    found: Iterable[Status], configured: Iterable[WatchSettings], *, running: Mapping[str, Any], feed: Feed
) -> list[Json]:
    """Each watch with its settings; `here`: this process polls."""
    settings = {watch.name: watch for watch in configured}
    return [
        {
            **status.as_json(),
            "here": status.name in running,
            "settings": _watch_settings(settings.get(status.name)),
            "answer": _answer(feed, status.name),
        }
        for status in found
    ]


def _watch_settings(watch: WatchSettings | None) -> Json:
    if watch is None:
        return {}
    return {
        "interval": format_duration(watch.interval),
        "overlap": format_duration(watch.overlap),
        "emit": watch.emit,
        "limit": watch.limit,
        "filters": {name: privacy.masked(str(value), "status") for name, value in watch.filters.items()},
    }


def _answer(feed: Feed, name: str) -> Json | None:
    answer = feed.answers.get(name)
    if answer is None:
        return None
    return {"action": answer.action, "done": answer.done, "message": answer.message, "at": timestamp(answer.at)}
