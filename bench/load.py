"""The load generator: keeps connections alive, sends prepared requests, notes latencies. A process of its own.

    python -m bench.load --port P --bodies FILE --path /callbacks/… --connections 64 --seconds 10 [--rate 5000]
    python -m bench.load --port P --fresh FIRST --path /callbacks/… …      every callback about a new message

Without a rate each connection sends the next request when the last one is answered: the ceiling. With a rate requests
leave when they are due, and latency counts from then, so that a stall of the target is seen by all that wait behind it.
Prints one JSON object.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from collections.abc import Iterator
from itertools import count, cycle
from pathlib import Path

from bench.machine import percentile
from bench.traffic import ACCOUNT_SID, PUBLIC_URL, TOKEN
from connector.twilio.signature import Secret

CONTENT_LENGTH = b"content-length:"


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request in flight."""

    def __init__(self, run: "Run") -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer itself."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP
        self._transport = transport
        self._run.free(self)

    def send(self, request: bytes, due: float) -> None:
        """Send a request that was due at this time."""
        self._due = due
        assert self._transport is not None  # noqa: S101 - offered after it was made
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Take an answer in; the next may be sent when it is whole."""
        data = self._buffer + data
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator or len(body) < _length(head):
            self._buffer = data
            return
        self._buffer = b""
        self._run.answered(head[9:12], self._due)
        self._run.free(self)

    def connection_lost(self, _reason: Exception | None) -> None:
        """Count it unless the run is over."""
        self._run.lost()


def _length(head: bytes) -> int:
    if b"ontent-" not in head:
        return 0
    lowered = head.lower()
    at = lowered.find(CONTENT_LENGTH)
    return int(lowered[at + len(CONTENT_LENGTH) :].partition(b"\r\n")[0]) if at >= 0 else 0


class Run:
    """One run: which request comes next, and what was answered."""

    def __init__(self, requests: Iterator[bytes], *, rate: float, seconds: float) -> None:
        self.statuses: dict[str, int] = {}
        self.broken = 0
        self.latencies: list[float] = []
        self._requests = requests
        self._rate = rate
        self._seconds = seconds
        self._idle: list[Connection] = []
        self._due: deque[float] = deque()
        self._until = float("inf")
        self._over = False

    def free(self, connection: Connection) -> None:
        """A connection may send."""
        if self._rate:
            if self._due:
                connection.send(next(self._requests), self._due.popleft())
            else:
                self._idle.append(connection)
        elif (now := time.perf_counter()) < self._until:
            connection.send(next(self._requests), now)

    def answered(self, status: bytes, due: float) -> None:
        """Note an answer."""
        self.latencies.append(time.perf_counter() - due)
        name = status.decode()
        self.statuses[name] = self.statuses.get(name, 0) + 1

    def lost(self) -> None:
        """A connection has ended."""
        self.broken += not self._over

    async def drive(self, connections: list[Connection]) -> float:
        """Run; returns the seconds that it took."""
        started = time.perf_counter()
        self._until = started + self._seconds
        if self._rate:
            await self._paced(started)
        else:
            for connection in connections:
                self.free(connection)
            await asyncio.sleep(self._seconds)
        elapsed = time.perf_counter() - started
        await asyncio.sleep(0.3)
        self._over = True
        return elapsed

    async def _paced(self, started: float) -> None:
        total, sent = int(self._rate * self._seconds), 0
        while sent < total:
            due = min(total, int((time.perf_counter() - started) * self._rate) + 1)
            for number in range(sent, due):
                moment = started + number / self._rate
                if self._idle:
                    self._idle.pop().send(next(self._requests), moment)
                else:
                    self._due.append(moment)
            sent = due
            await asyncio.sleep(0.001)
        deadline = time.perf_counter() + 10
        while len(self.latencies) < total and time.perf_counter() < deadline:
            await asyncio.sleep(0.01)


def request(path: str, number: int, signature: str, body: str) -> bytes:
    """One callback as Twilio sends it."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: TwilioProxy/1.1\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"X-Twilio-Signature: {signature}\r\n"
        f"I-Twilio-Idempotency-Token: {number:08d}-0000-4000-8000-000000000000\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


def prepared(path: str, bodies: Path) -> Iterator[bytes]:
    """The requests of a file with `signature<TAB>body` lines, again and again."""
    lines = (line.partition("\t") for line in bodies.read_text().splitlines())
    return cycle([request(path, number, signature, body) for number, (signature, _, body) in enumerate(lines)])


def fresh(path: str, first: int) -> Iterator[bytes]:
    """Callbacks of which each is about another message, from this number on; made and signed as they are needed."""
    secret = Secret(TOKEN, "sha1")
    start = f"{PUBLIC_URL}{path}AccountSid{ACCOUNT_SID}MessageSidSM"
    for number in count(first):
        sid = f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}"
        signature = secret.sign(f"{start}{sid}MessageStatussent").decode()
        yield request(path, number, signature, f"AccountSid={ACCOUNT_SID}&MessageSid=SM{sid}&MessageStatus=sent")


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Connect, drive, sum up; latencies in milliseconds."""
    loop = asyncio.get_running_loop()
    wanted = prepared(options.path, options.bodies) if options.bodies else fresh(options.path, options.fresh)
    measured = Run(wanted, rate=options.rate, seconds=options.seconds)
    measured._until = 0.0  # noqa: SLF001 - nothing is sent while connections are being made
    made = [
        await loop.create_connection(lambda: Connection(measured), "127.0.0.1", options.port)
        for _ in range(options.connections)
    ]
    elapsed = await measured.drive([protocol for _, protocol in made])
    latencies = sorted(measured.latencies)
    return {
        "seconds": elapsed,
        "statuses": measured.statuses,
        "broken": measured.broken,
        "p50": percentile(latencies, 0.5) * 1000,
        "p99": percentile(latencies, 0.99) * 1000,
        "max": (latencies[-1] if latencies else float("nan")) * 1000,
        "latencies": [round(seconds * 1000, 3) for seconds in latencies] if options.each else [],
    }


def main() -> None:
    """Read the options, run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--bodies", type=Path)
    parser.add_argument("--fresh", type=int, default=0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--each", action="store_true", help="tell every latency")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
