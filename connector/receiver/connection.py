"""One connection of the public port: reads requests with llhttp and answers them in their order.

Bounds of a connection: its target, headers and body while they arrive, requests that wait for their answer, and answers
that the caller does not read. `connections` bounds what all of them have together.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPMethod
from typing import TYPE_CHECKING, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from connector.receiver.refusals import IDEMPOTENCY_HEADER, Refusal, Reply
from connector.twilio import signature

if TYPE_CHECKING:
    from connector.receiver.port import Port

BUFFER_BYTES = 64 * 1024
"""At most so much is read at once: by so much a head may exceed its bound before that is seen."""
LEAST_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_PIPELINED = 16
UNREAD_ANSWERS_BYTES = 16 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

SIGNATURE_HEADER = signature.SIGNATURE_HEADER.lower().encode()
SETTINGS_HEADER = signature.SETTINGS_HEADER.lower().encode()
READ_ONCE = frozenset(
    {
        b"host",
        b"content-type",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"upgrade",
        SIGNATURE_HEADER,
        SETTINGS_HEADER,
        IDEMPOTENCY_HEADER,
    }
)
"""Headers that decide something: a second one is refused, since a proxy may have read the other."""
SHOWN = frozenset({b"x-forwarded-host", b"x-forwarded-proto"})
"""Headers that only explain why a check failed: the first one counts."""


class Request:
    """A request that has been read whole.

    `target` is as it was sent; `headers` holds those that the receiver reads, by their names in lower case;
    `media_type` is the content type without parameters, in lower case; `keeps` tells whether the connection may stay
    open. `answered` is called once a reply is there.
    """

    __slots__ = ("answered", "body", "headers", "keeps", "media_type", "method", "reply", "target")

    def __init__(self, answered: "Callable[[Request], None]") -> None:
        self.answered = answered
        self.method = ""
        self.target = ""
        self.headers: dict[bytes, str] = {}
        self.media_type = ""
        self.body: bytes | bytearray = b""
        self.keeps = False
        self.reply: Reply | None = None


class Connection(asyncio.BufferedProtocol):
    """Reads requests until one is refused, the caller wants to close, or the port is being drained.

    `queue` is where the port keeps it: idle, unfinished (a request has begun), lingering (everything is answered), or
    nowhere while it owes answers.
    """

    __slots__ = (
        "_blocked", "_caller_ended", "_head", "_headers", "_parser", "_paused", "_port", "_reads_head", "_request",
        "_target", "_transport", "_waiting", "ends", "held", "queue", "since",
    )  # fmt: skip

    def __init__(self, port: "Port") -> None:
        self.queue: OrderedDict[Connection, None] | None = None
        self.since = 0.0
        self.held = 0
        self.ends = False
        self._port = port
        self._parser: HttpRequestParser | None = HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: list[Request] = []
        self._request: Request | None = None
        self._reads_head = False
        self._target = b""
        self._head = 0
        self._headers = 0
        self._blocked = False
        self._paused = False
        self._caller_ended = False

    # --- the transport ---
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; another connection makes room when there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=UNREAD_ANSWERS_BYTES)
        self.join()
        self._port.connections.add(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """End; answers that are still to come are not heard."""
        self.ends = True
        self.leave()
        self._forget()
        self._waiting = []
        self._transport = None
        self._port.connections.remove(self)

    def get_buffer(self, _sizehint: int) -> memoryview:
        """One buffer serves all connections: what is read is parsed at once."""
        return self._port.buffer

    def buffer_updated(self, count: int) -> None:
        """Read on; each request is handled as soon as it is whole."""
        if self.ends or self._parser is None:
            return
        try:
            self._parser.feed_data(self._port.buffer[:count])
        except (HttpParserError, HttpParserUpgrade) as error:
            self._refuse(_refusal(error))
        else:
            if self._request is not None:
                self._hold(count)
        self.join()
        self._regulate()

    def _hold(self, count: int) -> None:
        """A request has begun and is not whole."""
        self._port.connections.hold(self, count)
        if self._reads_head and self.held > self._port.max_head + BUFFER_BYTES:
            self._refuse(Refusal(431))

    def eof_received(self) -> bool:
        """Close, once what was asked is answered."""
        self.ends = self._caller_ended = True
        self._forget()
        self.leave()
        return bool(self._waiting)

    def pause_writing(self) -> None:
        """The caller does not read its answers: read nothing more from it."""
        self._blocked = True
        self._regulate()

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._blocked = False
        self._regulate()

    def _regulate(self) -> None:
        pauses = self._blocked or len(self._waiting) >= MAX_PIPELINED
        if pauses is not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = pauses
            (self._transport.pause_reading if pauses else self._transport.resume_reading)()

    # --- the parser ---
    def on_message_begin(self) -> None:
        """A request begins."""
        if self.ends:
            raise Refusal(400)
        self.leave()
        self._request = Request(self.answered)
        self._reads_head = True
        self._target = b""
        self._head = self._headers = 0

    def on_url(self, part: bytes) -> None:
        """The target, or a part of it."""
        self._target += part
        if len(self._target) > self._port.max_body:
            raise Refusal(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; after the body, which changes nothing."""
        self._headers += 1
        self._head += len(name) + len(value)
        if self._headers > MAX_HEADERS or self._head > self._port.max_head:
            raise Refusal(431)
        name = name.lower()
        if self._request is None or not self._reads_head:
            return
        headers = self._request.headers
        if name in READ_ONCE:
            if name in headers:
                raise Refusal(400, "a header twice")
            headers[name] = value.strip().decode("latin-1")
            if name == b"content-type":
                self._request.media_type = headers[name].partition(";")[0].strip().lower()
        elif name in SHOWN:
            headers.setdefault(name, value.strip().decode("latin-1"))

    def on_headers_complete(self) -> None:
        """The head is whole."""
        request, parser = self._request, self._parser
        if request is None or parser is None:
            return
        self._reads_head = False
        request.method = parser.get_method().decode()
        request.target = self._target.decode("latin-1")
        version = parser.get_http_version()
        request.keeps = version == "1.1" and parser.should_keep_alive()
        _check_head(request, version, upgrades=parser.should_upgrade())
        if int(request.headers.get(b"content-length", 0)) > self._port.max_body:
            raise Refusal(413)
        is_awaited = request.headers.get(b"expect", "").lower() == "100-continue"
        if is_awaited and self._transport is not None and not self._waiting:
            self._transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        """The body, or a part of it."""
        request = self._request
        if request is None:
            return
        if not request.body:
            request.body = part
        elif isinstance(request.body, bytearray):
            request.body += part
        else:
            request.body = bytearray(request.body + part)
        if len(request.body) > self._port.max_body:
            raise Refusal(413)

    def on_message_complete(self) -> None:
        """The request is whole."""
        request, self._request = self._request, None
        if request is None:
            return
        if self.held:
            self._port.connections.release(self)
        self.ends = not request.keeps
        self._waiting.append(request)
        self._port.handle(request)

    # --- answers ---
    def answered(self, request: Request) -> None:
        """Write the answer, unless another one must go first."""
        waiting = self._waiting
        if not waiting or waiting[0] is not request:
            return
        while waiting and waiting[0].reply is not None:
            self._write(waiting.pop(0))
        if not waiting and (self.ends or self._caller_ended):
            self.finish()
        self.join()
        self._regulate()

    def _write(self, request: Request) -> None:
        """The last answer of a connection says so. While draining, that is the last one for which something waits."""
        if self._port.draining and not self._waiting and self._request is None:
            self.ends = True
        closes = self.ends and not self._waiting
        head, content = cast("tuple[bytes, bytes]", request.reply)
        close = b"Connection: close\r\n" if closes else b""
        if request.method == HTTPMethod.HEAD:
            content = b""
        if self._transport is not None:
            self._transport.write(b"%bDate: %b\r\n%b\r\n%b" % (head, self._port.date, close, content))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be read, after what was asked before, and read nothing more."""
        if self.ends:
            return
        self.ends = True
        request = self._request or Request(self.answered)
        request.target = request.target or self._target.decode("latin-1")
        self._forget()
        self._waiting.append(request)
        self._port.refuse(request, refusal)

    def _forget(self) -> None:
        """Let go of a request that is not whole, and of what the parser has of it; nothing is read any more.

        At once: an aborted connection lives until the loop's next turn, and a turn may read a thousand others.
        """
        self._request = self._parser = None
        self._target = b""
        if self.held:
            self._port.connections.release(self)

    # --- its place among all connections ---
    def leave(self) -> None:
        """Leave the queue."""
        if self.queue is not None:
            del self.queue[self]
            self.queue = None

    def join(self) -> None:
        """Enter the queue that fits, at its end, unless it is in one or owes an answer."""
        if self.queue is None and not self._waiting and self._transport is not None:
            queues = self._port.connections
            is_idle = self._request is None
            self.queue = queues.lingering if self.ends else queues.idle if is_idle else queues.unfinished
            self.queue[self] = None
            self.since = time.monotonic()

    def expire(self) -> None:
        """The deadline of the queue has passed."""
        if self._request is not None:
            self._refuse(Refusal(408))
        elif self.ends:
            self.abort()
        else:
            self.finish()

    def finish(self) -> None:
        """Say that nothing more comes; what is on its way is read and forgotten, so that the answers arrive."""
        self.ends = True
        self.leave()
        if self._transport is None or self._transport.is_closing():
            return
        if self._caller_ended:
            self._transport.close()
        else:
            self._transport.write_eof()
            self.join()

    def abort(self) -> None:
        """End it at once."""
        self.ends = True
        self._forget()
        self.leave()
        if self._transport is not None:
            self._transport.abort()


def _check_head(request: Request, version: str, *, upgrades: bool) -> None:
    """Refuse what proxies and servers read in different ways."""
    headers = request.headers
    if "#" in request.target or not request.target.isprintable():
        # A signature ends where a fragment begins: what follows would be read although it is not signed.
        raise Refusal(400, "no proper target")
    if version not in ("1.0", "1.1"):
        raise Refusal(400, "unknown version")
    if version == "1.1" and b"host" not in headers:
        raise Refusal(400, "no host")
    if upgrades:
        raise Refusal(400, "upgrade")
    if b"transfer-encoding" in headers and (version, headers[b"transfer-encoding"].lower()) != ("1.1", "chunked"):
        raise Refusal(400, "transfer encoding")


def _refusal(error: Exception) -> Refusal:
    """What a parser's error means."""
    if isinstance(error.__context__, Refusal):
        return error.__context__
    if isinstance(error, HttpParserCallbackError):
        return Refusal(503, f"unexpected {type(error.__context__).__name__}")
    return Refusal(400, "broken request")
