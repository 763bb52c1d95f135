"""The admin port: health, metrics, and the console.

Health tells the truth: liveness sees stuck engines, readiness sees Kafka, neither sees Twilio.
"""

import asyncio
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from connector import __version__, telemetry
from connector.admin import assets
from connector.admin.console import Console
from connector.admin.security import Guard

Problems = Callable[[], Sequence[str]]

CLOSE_SECONDS = 2.0


class AdminServer:
    """`live` and `ready` return a sentence for each problem; none means well. Without `console` there is none."""

    def __init__(
        self, *, live: Problems, ready: Problems, guard: Guard | None = None, console: Console | None = None
    ) -> None:
        self._live = live
        self._ready = ready
        self._console = console
        self._runner: web.AppRunner | None = None
        guard = guard or Guard(None)
        self.app = web.Application(middlewares=[guard.middleware], client_max_size=2 * 1024 * 1024)
        self.app.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/version", self._version),
            ]
        )
        if console is not None:
            self.app.add_routes(
                [*console.routes(), web.post("/logout", guard.log_out), web.get("/{path:.*}", assets.serve)]
            )

    async def start(self, *, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close the port."""
        if self._console is not None:
            self._console.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return _verdict(self._live())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _verdict(self._ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        # Rendering takes milliseconds with many series: not on the loop that answers callbacks.
        body = await asyncio.to_thread(telemetry.exposition)
        return web.Response(body=body, headers={"Content-Type": telemetry.CONTENT_TYPE})

    async def _version(self, _request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps({"version": __version__}), content_type="application/json")


def _verdict(problems: Sequence[str]) -> web.Response:
    if problems:
        return web.Response(status=503, text="\n".join(problems) + "\n")
    return web.Response(text="ok\n")
