"""A bound on open connections, so that those who hold them without a request keep nobody off."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from connector.telemetry import logger

MOST_CONNECTIONS = 10_000
# Of the files that the process may open; the rest are for Kafka, Twilio and everything else.
SHARE_OF_FILES = 0.75
TELL_SECONDS = 60.0

log = logger(__name__)


def limit() -> int:
    """How many connections this process holds at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, int(files * SHARE_OF_FILES))


class Connections(web.Server):
    """A server that holds at most `most` connections: who has waited longest for its next request makes room."""

    def __init__(
        self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, most: int, **options: Any
    ) -> None:
        super().__init__(handler, **options)
        self._most = most
        self._tell_at = 0.0

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Note a new connection."""
        super().connection_made(handler, transport)
        if len(self._connections) > self._most:
            self._make_room(handler)

    def _make_room(self, newest: RequestHandler) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            log.warning("too many connections: idle ones are closed", most=self._most)
            self._tell_at = now + TELL_SECONDS
        idle = (held for held in self._connections if held._current_request is None)  # noqa: SLF001 - no public way
        oldest = next(idle, newest)
        transport = self._connections.pop(oldest)
        transport.abort()
