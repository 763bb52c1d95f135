"""The HTTP layer of the admin port: aiohttp within bounds of our own.

| what a caller may take | bound |
|---|---|
| connections | 200, 1,000 for a moment; the oldest ones without a complete request make room |
| request line and headers | 8 KB each, 64 headers, 32 KiB together; 10 s |
| body | 1 MiB; 10 s, and only once the guard has let the request in |
| unread answer | 30 s |
| connection without a request | 75 s, longer than proxies keep one |

What is refused here is answered in one line, counted and logged once per reason and ten seconds, without a traceback.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from connector import server_header
from connector.errors import Unavailable
from connector.process.needs import cannot_listen, reason
from connector.telemetry.logs import Sampled, logger
from connector.telemetry.metrics import ADMIN_REFUSED

MOST_CONNECTIONS = 200
MOST_AT_ONCE = 1_000
SETTLE_SECONDS = 0.05
TURNS_TO_READ = 3
HEAD_SECONDS = 10.0
BODY_SECONDS = 10.0
ANSWER_SECONDS = 30.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 1.0
LARGEST_HEAD = 32 * 1024
LARGEST_BODY = 1024 * 1024
BACKLOG = 1024
OPTIONS: dict[str, Any] = {
    "access_log": None,
    "keepalive_timeout": IDLE_SECONDS,
    "lingering_time": LINGER_SECONDS,
    "max_headers": 64,
    "read_bufsize": 16 * 1024,
    "auto_decompress": False,
}
REASONS = {
    400: "The request is not HTTP.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    431: "The request's line or headers are too large.",
    500: "The request failed.",
}

# aiohttp logs a traceback for each broken request, with which a caller could fill the log.
_SILENT = logging.getLogger("connector.admin.http")
_SILENT.disabled = True

log = logger(__name__)
refusals = Sampled(log, "admin request refused")
failures = Sampled(log, "admin request failed")


class Runner(web.AppRunner):
    """Runs an application on a `Port`. `listen` and `listen_on` open it, `cleanup` closes it."""

    def __init__(self, app: web.Application, *, shutdown_timeout: float) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        factory = server_header.without(plain.request_factory)
        return Port(plain.request_handler, request_factory=factory, logger=_SILENT, **OPTIONS)

    async def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port and return its number. Raises Unavailable with a sentence when that is not possible."""
        try:
            await web.TCPSite(self, host, port, backlog=BACKLOG).start()
        except OSError as error:
            raise cannot_listen("admin.port", host, port, error) from error
        return int(self.addresses[0][1])

    async def listen_on(self, socket: Path) -> None:
        """Listen on a Unix socket. Raises Unavailable with a sentence when that is not possible."""
        try:
            await web.UnixSite(self, socket, backlog=BACKLOG).start()
        except OSError as error:
            sentence = f"The worker cannot listen on {socket} ({reason(error)}): set TMPDIR to another, shorter folder."
            raise Unavailable(sentence) from error


class Port(web.Server):
    """Holds MOST_CONNECTIONS connections, and for a moment what a burst brings."""

    _is_settling = False

    def __call__(self) -> web.RequestHandler:
        """The protocol of one more connection."""
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Take a connection. When there are too many, those that wait longest make room.

        Not at once: what a new connection has already sent is read first, so that an honest caller amid a burst of
        silent ones has a whole request by then.
        """
        super().connection_made(handler, transport)
        held = len(self._connections)
        if held > MOST_AT_ONCE:
            self._make_room(MOST_AT_ONCE * 3 // 4)
        elif held > MOST_CONNECTIONS and not self._is_settling:
            self._is_settling = True
            self._loop.call_later(SETTLE_SECONDS, self._settle, TURNS_TO_READ)

    def _settle(self, turns: int) -> None:
        """Make room after so many turns of the loop: when a timer fires, the sockets have not been read yet."""
        if turns:
            self._loop.call_soon(self._settle, turns - 1)
        else:
            self._is_settling = False
            self._make_room(MOST_CONNECTIONS)

    def _make_room(self, most: int) -> None:
        excess = len(self._connections) - most
        unfinished = [held for held in self._connections if isinstance(held, Connection) and held.is_unfinished]
        for connection in sorted(unfinished, key=lambda held: held.since)[: max(0, excess)]:
            note(503, "too many connections")
            self._connections.pop(connection).abort()


class Connection(web.RequestHandler):
    """One connection, with deadlines for its head and for the reading of its answer."""

    __slots__ = ("_body", "_head_bytes", "_head_deadline", "since")

    def __init__(self, port: Port, *, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        super().__init__(port, loop=loop, **options)
        self.since = loop.time()
        self._body: StreamReader = EMPTY_PAYLOAD
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    @property
    def is_unfinished(self) -> bool:
        """Whether it waits for a request, for the rest of one, or for its answer to be read."""
        return self._current_request is None or not self._body.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a head."""
        self._await_head()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the waiting."""
        self._stop_awaiting_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; bound the size of a head that is not complete."""
        seen = self._request_count
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 - asyncio would log a traceback for each
            note(400, type(error).__name__)
            self.force_close()
            return
        if self._request_count > seen:
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
            self._stop_awaiting_head()
        elif data and self._body.is_eof():
            if self._head_deadline is None:
                self._await_head()
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._give_up(431)

    def _await_head(self) -> None:
        self._head_deadline = self._loop.call_later(HEAD_SECONDS, self._give_up, 408)

    def _stop_awaiting_head(self) -> None:
        self._head_bytes = 0
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _give_up(self, status: int) -> None:
        """Close a connection whose head does not end; with an answer, if nothing else is being answered."""
        if self._head_bytes and self.transport is not None:
            note(status, REASONS[status])
            if self._waiter is not None:
                self.transport.write(_last_words(status))
        self._stop_awaiting_head()
        self.force_close()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Write an answer, as long as the caller reads it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            note(408, "the answer was not read")
            self.force_close()
            return resp, True
        finally:
            self.since = self._loop.time()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is not HTTP, and to what a handler did not expect."""
        del message
        if isinstance(exc, HttpProcessingError):
            status = 431 if isinstance(exc, LineTooLong) else 400
            note(status, type(exc).__name__)
        elif isinstance(exc, ConnectionError) and self.transport is None:
            # Nothing has failed here.
            note(400, "the caller went away", quietly=True)
        else:
            failures.error(reason=type(exc).__name__ if exc else "it took too long", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("The answer has begun: it can only be broken off.")
        answer = web.Response(status=status, text=REASONS.get(status, REASONS[500]) + "\n")
        answer.force_close()
        return answer


class Refused(Exception):
    """Why a request is not answered as it was meant to be: an HTTP status, and a sentence for the caller."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def note(status: int, reason: str, *, quietly: bool = False) -> None:
    """Count a refusal, and log it unless the same was logged a moment ago."""
    ADMIN_REFUSED.labels(str(int(status))).inc()
    if not quietly:
        refusals.warning(status=int(status), reason=reason)


async def read_body(request: web.Request, *, most: int) -> bytes:
    """The body, within its bounds of size and time. Raises Refused with 400, 408 or 413."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while len(found) <= most and (part := await request.content.readany()):
                found += part
    except TimeoutError:
        raise Refused(408, REASONS[408]) from None
    except (web.RequestPayloadError, HttpProcessingError, ValueError):
        raise Refused(400, REASONS[400]) from None
    if len(found) > most:
        raise Refused(413, REASONS[413])
    return bytes(found)


def _last_words(status: int) -> bytes:
    text = f"{REASONS[status]}\n"
    return (
        f"HTTP/1.1 {status} Refused\r\nContent-Type: text/plain\r\nContent-Length: {len(text)}\r\n"
        f"Connection: close\r\n\r\n{text}"
    ).encode()
