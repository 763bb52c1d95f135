"""The process that workers are forked from: everything is imported there, and nothing runs.

    supervisor ── orders ──▶ nursery ── fork ──▶ worker
        └─── a socket: the worker's standard input, its id, its exit code ───┘

Workers share the memory of what is imported, and are there at once. A fork copies only the thread that calls it, and
every lock as it is: so the nursery is made before there is a loop, a thread or a client, and has none of its own.
"""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from connector.app import Place
from connector.errors import Unavailable

LONGEST_ORDER = 4096
STANDARD_INPUT = 0
# Of a worker that was never there, or whose end nobody could tell.
UNKNOWN_CODE = 1
# The supervisor passes on what concerns workers.
_FOR_THE_SUPERVISOR = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Process:
    """A worker's process. `returncode` is None while it lives, as far as is known; negative for a signal."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._reader = reader
        # What keeps the worker running: it ends when nobody holds the other end of its standard input.
        self._writer = writer

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        told = await self._reader.readline()
        self.returncode = int(told) if told else UNKNOWN_CODE
        self._writer.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """The nursery as its supervisor sees it."""

    def __init__(self, orders: socket.socket) -> None:
        orders.setblocking(False)  # noqa: FBT003 - the library's own
        self._orders = orders
        self._turn = asyncio.Lock()

    async def fork(self, number: int, admin_socket: Path) -> Process:
        """Start a worker. Raises Unavailable when there is no nursery, or the system has no room for a process."""
        ours, its = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        with its:
            # One order at a time: a stream does not tell which of two messages a descriptor came with.
            async with self._turn:
                with suppress(OSError):
                    socket.send_fds(self._orders, [f"{number} {admin_socket}".encode()], [its.fileno()])
                its.close()
                told = await reader.readline()
        if not told:
            writer.close()
            raise Unavailable("No process can be forked for a worker.")
        return Process(int(told), reader, writer)

    async def ended(self) -> None:
        """Return when the nursery has ended: it says nothing, so what can be read is its end."""
        await asyncio.get_running_loop().sock_recv(self._orders, 1)

    def close(self) -> None:
        """Let it end."""
        self._orders.close()


def begin(workers: int) -> Nursery | Place:
    """Fork the nursery of so many workers. Returns a Nursery here, and in each worker that it forks a Place.

    To be called without a loop or a thread, when everything is imported.
    """
    ours, its = socket.socketpair()
    # What is there now is not looked at by collections any more: they would write to every page.
    gc.freeze()
    if os.fork():
        its.close()
        return Nursery(ours)
    ours.close()
    number, admin_socket = _serve(its)
    return Place(number, workers, admin_socket)


def _serve(orders: socket.socket) -> tuple[int, Path]:
    """Fork a worker for each order until the supervisor is gone. Returns in workers only: number and admin socket."""
    # Ctrl-C on a terminal is for the supervisor.
    os.setsid()
    for number in _FOR_THE_SUPERVISOR:
        signal.signal(number, signal.SIG_IGN)
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _bury(running))
    while True:
        order, descriptors, *_ = socket.recv_fds(orders, LONGEST_ORDER, 1)
        if not order:
            _end()
        told = socket.socket(fileno=descriptors[0])
        # A worker that ends at once must be known before its end is.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        try:
            pid = os.fork()
        except OSError:
            told.close()
        else:
            if not pid:
                break
            running[pid] = told
            _tell(told, pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    orders.close()
    _become_worker(told, running)
    name, _, path = order.decode().partition(" ")
    return int(name), Path(path)


def _become_worker(told: socket.socket, others: Mapping[int, socket.socket]) -> None:
    """Leave the nursery's part: a worker reads of its supervisor's end, and holds nothing of other workers."""
    for other in others.values():
        other.close()
    os.dup2(told.fileno(), STANDARD_INPUT)
    told.close()
    for number in (*_FOR_THE_SUPERVISOR, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def _bury(running: dict[int, socket.socket]) -> None:
    """Tell the exit code of each worker that has ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with running.pop(pid) as told:
            _tell(told, os.waitstatus_to_exitcode(status))


def _tell(told: socket.socket, number: int) -> None:
    # Without a supervisor nobody wants to know.
    with suppress(OSError):
        told.sendall(b"%d\n" % number)


def _end() -> NoReturn:
    """Nothing has been opened here, and what the supervisor has is not to be closed twice."""
    os._exit(0)
