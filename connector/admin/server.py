"""The admin port: health, metrics, and the console.

Health tells the truth: liveness sees stuck engines, readiness sees Kafka, neither sees Twilio.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import orjson
from aiohttp import web

from connector import __version__
from connector.admin.port import Runner
from connector.admin.security import Guard
from connector.admin.shared import Shared
from connector.telemetry import metrics
from connector.telemetry.exposition import FORMATS, preferred

Problems = Callable[[], Sequence[str]]

CLOSE_SECONDS = 2.0
SCRAPE_REST_SECONDS = 0.05
"""Between two expositions: strangers that ask for them all the time take a small part of the process's time."""


class Pages(Protocol):
    """What is served beside health and metrics."""

    def routes(self) -> Sequence[web.RouteDef]:
        """Every route."""

    def close(self) -> None:
        """End what outlives a request."""


class AdminServer:
    """`live` and `ready` return a sentence for each problem; none means well. Without `console` there is none.

    `notes` returns sentences about what is wrong without making the process unready.

    Without `guard` every client sees everything: only the supervisor, which has the guard, reaches a worker's socket.
    """

    def __init__(
        self,
        *,
        live: Problems,
        ready: Problems,
        notes: Problems = tuple,
        guard: Guard | None = None,
        console: Pages | None = None,
    ) -> None:
        self._live = live
        self._ready = ready
        self._notes = notes
        self._console = console
        self._runner: Runner | None = None
        self._expositions = shared_expositions(_exposition)
        self.app = web.Application(middlewares=[guard.middleware] if guard else [])
        self.app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/version", version),
            ]
        )
        if guard is not None:
            self.app.add_routes(guard.routes())
        if console is not None:
            self.app.add_routes(console.routes())

    async def start(self, *, host: str, port: int) -> int:
        """Listen; returns the port. Raises Unavailable when that is not possible."""
        return await (await self._set_up()).listen(host, port)

    async def start_on(self, socket: Path) -> None:
        """Listen on a Unix socket, as a worker does for its supervisor."""
        await (await self._set_up()).listen_on(socket)

    async def _set_up(self) -> Runner:
        self._runner = Runner(self.app, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        return self._runner

    async def stop(self) -> None:
        """Close the port."""
        if self._console is not None:
            self._console.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return verdict(self._live())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return verdict(self._ready(), self._notes())

    async def _metrics(self, request: web.Request) -> web.Response:
        return await scraped(request, self._expositions)


async def _exposition(content_type: str) -> bytes:
    """Rendering takes milliseconds with many series: not on the loop that answers callbacks."""
    return await asyncio.to_thread(metrics.exposition, content_type)


def shared_expositions(render: Callable[[str], Awaitable[bytes]]) -> Mapping[str, Shared[bytes]]:
    """The metrics by content type, rendered once for all who ask at the same time."""
    return {name: Shared(partial(render, name), rest=SCRAPE_REST_SECONDS) for name in FORMATS}


async def scraped(request: web.Request, expositions: Mapping[str, Shared[bytes]]) -> web.Response:
    """The metrics in the format that the request prefers."""
    content_type = preferred(accepted(request))
    headers = {"Content-Type": content_type, "Vary": "Accept"}
    return web.Response(body=await expositions[content_type](), headers=headers)


def accepted(request: web.Request) -> str:
    """The Accept header; several are one list."""
    return ",".join(request.headers.getall("Accept", ()))


async def version(_request: web.Request) -> web.Response:
    """The connector's version, as JSON."""
    return web.Response(body=orjson.dumps({"version": __version__}), content_type="application/json")


def verdict(problems: Sequence[str], notes: Sequence[str] = ()) -> web.Response:
    """200, or 503 with a sentence a line; then the notes."""
    status = web.HTTPServiceUnavailable if problems else web.HTTPOk
    return web.Response(status=status.status_code, text="\n".join([*(problems or ["ok"]), *notes]) + "\n")
