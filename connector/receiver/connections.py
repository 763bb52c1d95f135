"""All connections of the public port: how many, for how long, and how much of unfinished requests they hold."""

import asyncio
import resource
import time
from collections import OrderedDict
from collections.abc import Callable

from connector.receiver.connection import Connection
from connector.telemetry import logger

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
log = logger(__name__)


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
        self.release(connection)
        self._all.discard(connection)
        if not self._all and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def join(self, connection: Connection, *, ends: bool, is_unfinished: bool) -> None:
        """Put one at the end of its queue."""
        queue = self.lingering if ends else self.unfinished if is_unfinished else self.idle
        queue[connection] = None
        connection.queue = queue
        connection.since = time.monotonic()

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
        self.release(connection)
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
