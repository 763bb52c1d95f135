"""The public port: listens, and hands each request to one function. aiohttp's server costs twice as much a request."""

import asyncio
from collections.abc import Callable
from email.utils import formatdate

from connector.needs import cannot_listen
from connector.receiver.connection import BUFFER_BYTES, LEAST_HEAD_BYTES, Connection
from connector.receiver.connections import Connections
from connector.receiver.messages import Request
from connector.receiver.refusals import Refusal

SWEEP_SECONDS = 1.0
CLOSE_SECONDS = 6.0
BACKLOG = 1024


class Port:
    """An HTTP/1.1 server. `handle` gets each request and answers it, now or later; it must not raise.

    `refuse` gets what could not be read as a request, and answers it; without a request there is no one to answer.
    """

    def __init__(
        self,
        handle: Callable[[Request], None],
        refuse: Callable[[Request | None, Refusal], None],
        *,
        max_body: int,
    ) -> None:
        self.handle = handle
        self.refuse = refuse
        self.max_body = max_body
        self.max_head = max(max_body, LEAST_HEAD_BYTES)
        self.draining = False
        self.date = b""
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.connections = Connections(
            lambda reason: refuse(None, Refusal(408, reason)), largest=self.max_head + max_body
        )
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    async def open(self, host: str, port: int, *, reuse_port: bool) -> int:
        """Listen; 0 takes a free port. Returns the port. Raises Unavailable when it is taken."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(
                lambda: Connection(self), host, port, backlog=BACKLOG, reuse_port=reuse_port
            )
        except OSError as error:
            raise cannot_listen("callbacks.port", host, port, error) from error
        self._sweep()
        return int(self._server.sockets[0].getsockname()[1])

    def _sweep(self) -> None:
        """Each second: the date of all answers, and whose time is over."""
        self.date = formatdate(usegmt=True).encode()
        self.connections.expire()
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    async def close(self) -> None:
        """Stop listening, answer what has been asked, and end all connections."""
        self.draining = True
        if self._server is not None:
            self._server.close()
            await self.connections.end(CLOSE_SECONDS)
        if self._sweeping is not None:
            self._sweeping.cancel()
