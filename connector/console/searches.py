"""The console's search: what is remembered first, then the topics; found ones as they come, and how far it is."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from aiohttp import web

from connector.admin.port import Refused
from connector.console.commands import entry_json
from connector.console.context import ConsoleContext, Json, answering, moment_of
from connector.console.search import Progress, Search
from connector.console.streaming import streamed
from connector.errors import ConnectorError
from connector.events import timestamp
from connector.timeline.model import Entry

MOST_SEARCHES = 4
"""At a time in one process; each viewer has one."""
LONGEST_VIEWER = 64
TELL_SECONDS = 0.25
"""Progress is told so often at the most."""


class Searches:
    """The handler of `/api/search`: one JSON object on a line for each thing that is found, and for the progress.

    It ends when everything was searched, when the browser closes the connection, or when its viewer begins another one.
    """

    def __init__(self, context: ConsoleContext) -> None:
        self._context = context
        self._running: dict[str, asyncio.Event] = {}

    def routes(self) -> list[web.RouteDef]:
        """What is answered."""
        return [web.get("/api/search", answering(self._search))]

    async def _search(self, request: web.Request) -> Any:
        self._context.feed.look()
        given, is_timeline = request.query, "timeline" in request.query
        times = {name: moment_of(given[name]) for name in ("since", "until", "at") if given.get(name)}
        search = self._context.feed.search(given.get("text", ""), is_name=is_timeline, **times)
        viewer = given.get("viewer", "")[:LONGEST_VIEWER]
        ended = self._begin(viewer)
        try:
            return await streamed(request, self._lines(search, ended, is_timeline=is_timeline))
        finally:
            if self._running.get(viewer) is ended:
                del self._running[viewer]

    def _begin(self, viewer: str) -> asyncio.Event:
        """End the viewer's former search, and take its place. Raises Refused when too many are running."""
        if former := self._running.pop(viewer, None):
            former.set()
        if len(self._running) >= MOST_SEARCHES:
            raise Refused(503, f"{MOST_SEARCHES} searches are running in this process already: try again soon.")
        ended = self._running[viewer] = asyncio.Event()
        return ended

    async def _lines(self, search: Search, ended: asyncio.Event, *, is_timeline: bool) -> AsyncGenerator[Json, None]:
        """Found entries, progress, and at the end what was searched; or why it could not be."""
        if not is_timeline:
            for entry in self._remembered(search):
                yield _found(entry)
        is_over = False
        try:
            async with aclosing(self._told(search, ended, is_timeline=is_timeline)) as told:
                async for line in told:
                    yield line
            is_over = not ended.is_set()
        except ConnectorError as error:
            yield {"error": str(error)}
        finally:
            name = self._context.feed.complete(search, is_over=is_over) if is_timeline and search.found else None
        if is_over:
            yield {"end": {"found": len(search.found), "is_cut": search.is_cut, "timeline": name}}

    async def _told(self, search: Search, ended: asyncio.Event, *, is_timeline: bool) -> AsyncGenerator[Json, None]:
        told = 0.0
        async with aclosing(search.timeline() if is_timeline else search.entries()) as items:
            async for item in items:
                if ended.is_set():
                    return
                if isinstance(item, Entry):
                    yield _found(item)
                elif time.monotonic() - told >= TELL_SECONDS or item.done == item.total:
                    told = time.monotonic()
                    yield {"progress": _progress(item)}
                self._context.feed.look()

    def _remembered(self, search: Search) -> list[Entry]:
        """What is in memory and fits: its newest, at most as many as a search may hold."""
        entries = sorted(self._context.feed.timelines.entries(), key=lambda entry: entry.at, reverse=True)
        return [entry for entry in entries if entry.kind != "attempt" and search.remember(entry)]


def _found(entry: Entry) -> Json:
    about = {"timeline": entry.timeline, "correlation": entry.correlation, "ends": entry.ends, "code": entry.code}
    return {"found": {**entry_json(entry), **about}}


def _progress(progress: Progress) -> Json:
    since = timestamp(progress.since) if progress.since else None
    return {"words": progress.words, "done": progress.done, "total": progress.total, "since": since}
