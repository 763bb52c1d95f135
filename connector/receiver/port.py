"""The public port: listens, and hands each request to one function. aiohttp's server costs twice as much a request.

It bounds all connections together: how many, for how long, and how much of unfinished requests they hold.
"""

import asyncio
import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from email.utils import formatdate

from connector.process.needs import cannot_listen
from connector.process.rhythm import until_next
from connector.receiver.connection import BUFFER_BYTES, LEAST_HEAD_BYTES, Connection, Request
from connector.receiver.refusals import Refusal

SWEEP_SECONDS = 1.0
CLOSE_SECONDS = 6.0
BACKLOG = 4096
MOST_CONNECTIONS = 10_000
# Of the files that the process may open; the rest are for Kafka, Twilio and everything else.
SHARE_OF_FILES = 0.75
MOST_FILES = 65_536
# Of requests that have begun and are not whole, over all connections; at least four of the largest.
MOST_HELD_BYTES = 8 * 1024**2
# From a connection's start, or its last answer, to its next request; proxies idle for 60 s.
IDLE_SECONDS = 75.0
# From a request's first byte to its last.
REQUEST_SECONDS = 5.0
# From the last answer until the caller has read it.
LINGER_SECONDS = 2.0
# A connection that is idle for so long makes room before requests that have begun.
FRESH_SECONDS = 1.0
QUIET_SECONDS = 10.0

Queue = OrderedDict[Connection, None]


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
        self._sweeping = asyncio.get_running_loop().call_later(until_next(SWEEP_SECONDS), self._sweep)

    async def close(self) -> None:
        """Stop listening, answer what has been asked, and end all connections."""
        self.draining = True
        if self._server is not None:
            self._server.close()
            await self.connections.end(CLOSE_SECONDS)
        if self._sweeping is not None:
            self._sweeping.cancel()


def raise_file_limit() -> None:
    """Let this process open as many files as its hard limit allows, at most 65,536."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if files != resource.RLIM_INFINITY and files < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _files() -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if files == resource.RLIM_INFINITY else files


class Connections:
    """Each connection that owes no answer is in one of three queues, the one that waits longest in front.

    `evicted` is called when a connection with an unfinished request makes room. `largest` is the largest request.
    """

    def __init__(self, evicted: Callable[[str], None], *, largest: int) -> None:
        self.idle: Queue = OrderedDict()
        self.unfinished: Queue = OrderedDict()
        self.lingering: Queue = OrderedDict()
        self._all: set[Connection] = set()
        self._most = min(MOST_CONNECTIONS, int(_files() * SHARE_OF_FILES))
        self._held = 0
        self._most_held = max(MOST_HELD_BYTES, 4 * largest)
        self._evicted = evicted
        self._emptied: asyncio.Future[None] | None = None

    def add(self, connection: Connection) -> None:
        """Take one in; with too many, the one that makes the least of its place makes room."""
        self._all.add(connection)
        if len(self._all) > self._most:
            self._make_room(connection)

    def remove(self, connection: Connection) -> None:
        """One has ended."""
        self._all.discard(connection)
        if not self._all and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def hold(self, connection: Connection, count: int) -> None:
        """So many bytes more of a request that is not whole; with too many, the oldest such request ends."""
        connection.held += count
        self._held += count
        while self._held > self._most_held and self.unfinished:
            self._evict(next(iter(self.unfinished)), "too much is unfinished")

    def release(self, connection: Connection) -> None:
        """Its request is whole, or has ended."""
        self._held -= connection.held
        connection.held = 0

    def _make_room(self, newest: Connection) -> None:
        self._evict(self._longest_waiting() or newest, "too many connections")

    def _longest_waiting(self) -> Connection | None:
        """Answered ones first, then idle ones; of those that have just connected and begun requests, the oldest."""
        lingering, idle, unfinished = (
            next(iter(queue), None) for queue in (self.lingering, self.idle, self.unfinished)
        )
        if lingering is not None or idle is None or unfinished is None:
            return lingering or idle or unfinished
        is_fresh = time.monotonic() - idle.since < FRESH_SECONDS
        return min(idle, unfinished, key=lambda held: held.since) if is_fresh else idle

    def _evict(self, connection: Connection, reason: str) -> None:
        if connection.queue is self.unfinished:
            self._evicted(reason)
        connection.abort()
        self._all.discard(connection)

    def expire(self) -> None:
        """End those whose time is over; called each second."""
        now = time.monotonic()
        for queue, seconds in (
            (self.lingering, LINGER_SECONDS),
            (self.unfinished, REQUEST_SECONDS),
            (self.idle, IDLE_SECONDS),
        ):
            while queue and now - (connection := next(iter(queue))).since >= seconds:
                connection.expire()

    async def end(self, seconds: float) -> None:
        """Let go of idle ones, wait so long for those that owe answers, and end the rest."""
        for connection in list(self.idle):
            connection.finish()
        if self._all:
            self._emptied = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._emptied}, timeout=seconds)
        for connection in list(self._all):
            connection.abort()
