"""A broker's wire, cut and bent: requests reach a real broker, except those that a test has other plans for."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import RequestStruct
from aiokafka.protocol.produce import ProduceRequest_v7
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest_v0, EndTxnRequest_v0, InitProducerIdRequest_v0

from connector.kafka.sending import requests

PRODUCE, METADATA, COORDINATOR, VERSIONS, IDENTITY, JOIN, END = 0, 3, 10, 18, 22, 24, 26
KNOWN: dict[tuple[int, int], type[RequestStruct]] = {
    (kind.API_KEY, kind.API_VERSION): kind
    for kind in (
        ProduceRequest_v7,
        requests._ProduceStruct,
        InitProducerIdRequest_v0,
        AddPartitionsToTxnRequest_v0,
        EndTxnRequest_v0,
        requests._EndStruct,
    )
}
HEAD = struct.Struct(">hhi")

Plan = Callable[["Exchange"], Any]
"""What happens to a request: a coroutine function, called in its connection."""


@dataclass
class Exchange:
    """A request that has come; `answer` is what the client gets, nothing when it stays None."""

    proxy: "Proxy"
    key: int
    version: int
    number: int
    frame: bytes
    upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    answer: bytes | None = None

    async def ask(self) -> bytes:
        """The broker's own answer."""
        reader, writer = self.upstream
        writer.write(struct.pack(">i", len(self.frame)) + self.frame)
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return await reader.readexactly(size)

    @property
    def request(self) -> Any:
        """The request itself."""
        kind = KNOWN[self.key, self.version]
        body = BytesIO(self.frame)
        body.read(HEAD.size)
        (length,) = struct.unpack(">h", body.read(2))
        body.read(length + kind.FLEXIBLE_VERSION)
        return kind.decode(body)

    def response(self, frame: bytes) -> Any:
        """An answer of the broker, read."""
        kind = KNOWN[self.key, self.version]
        return kind.RESPONSE_TYPE.decode(BytesIO(frame[4 + kind.FLEXIBLE_VERSION :]))

    def reply(self, *fields: Any) -> None:
        """Answer with these fields."""
        kind = KNOWN[self.key, self.version]
        head = struct.pack(">i", self.number) + b"\0" * kind.FLEXIBLE_VERSION
        self.answer = head + kind.RESPONSE_TYPE(*fields).encode()

    def refuse(self, code: int, *, throttle: int = 0, offset: int = -1) -> None:
        """Answer with an error code, for each partition where there are some."""
        tags: list[Any] = [{}] if KNOWN[self.key, self.version].FLEXIBLE_VERSION else []
        if self.key == PRODUCE:
            extra: list[Any] = [[], None, {}] if tags else []
            self.reply(
                [
                    (row[0], [(part[0], code, offset, -1, -1, *extra) for part in row[1]], *tags)
                    for row in self.request.topics
                ],
                throttle,
                *tags,
            )
        elif self.key == JOIN:
            self.reply(throttle, [(topic, [(part, code) for part in parts]) for topic, parts in self.request.topics])
        else:
            state = [] if (self.key, self.version) == (END, 0) else [-1, -1]
            self.reply(throttle, code, *state, *tags)


@dataclass
class Proxy:
    """Stands before one broker. `plans` are for the next requests of a kind; `seen` are the kinds that came."""

    host: str
    broker_port: int
    hides_epochs: bool = False
    port: int = 0
    plans: dict[int, list[Plan]] = field(default_factory=dict)
    seen: list[tuple[int, int]] = field(default_factory=list)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        """For the client."""
        return f"{self.host}:{self.port}"

    def plan(self, key: int, *plans: Plan) -> None:
        """Let these happen to the next requests of a kind."""
        self.plans.setdefault(key, []).extend(plans)

    def asked(self, key: int) -> list[int]:
        """The versions of the requests of a kind that came."""
        return [version for seen, version in self.seen if seen == key]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client, until one of the two ends it."""
        upstream = await asyncio.open_connection(self.host, self.broker_port)
        self._writers |= {writer, upstream[1]}
        with suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                frame = await reader.readexactly(size)
                key, version, number = HEAD.unpack_from(frame)
                exchange = Exchange(self, key, version, number, frame, upstream)
                self.seen.append((exchange.key, exchange.version))
                answer = await self._answer(exchange)
                if answer is None:
                    break
                writer.write(struct.pack(">i", len(answer)) + answer)
        for one in (writer, upstream[1]):
            one.close()

    async def _answer(self, exchange: Exchange) -> bytes | None:
        if plans := self.plans.get(exchange.key):
            await plans.pop(0)(exchange)
            return exchange.answer
        return self._bent(exchange, await exchange.ask())

    def _bent(self, exchange: Exchange, answer: bytes) -> bytes:
        """The broker is where the proxy is, and may be one that has no epochs."""
        if exchange.key in (METADATA, COORDINATOR):
            text = self.host.encode()
            here, there = (text + struct.pack(">i", port) for port in (self.port, self.broker_port))
            return answer.replace(there, here)
        if exchange.key == VERSIONS and self.hides_epochs:
            return answer.replace(b"transaction.version", b"transaction.nothing")
        return answer

    def cut(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()


@asynccontextmanager
async def proxied(kafka: str, *, hides_epochs: bool = False) -> AsyncIterator[Proxy]:
    """A proxy before the first of these brokers."""
    host, _, port = kafka.partition(",")[0].rpartition(":")
    proxy = Proxy(host, int(port), hides_epochs)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()


# --- plans ------------------------------------------------------------------------------------------------------------
def refused(code: int, **given: int) -> Plan:
    """The broker never sees it, and the client is told this."""

    async def plan(exchange: Exchange) -> None:
        exchange.refuse(code, **given)

    return plan


async def cut_before(_exchange: Exchange) -> None:
    """The connection breaks before the broker has the request."""


async def cut_after(exchange: Exchange) -> None:
    """The connection breaks when the broker has done what it was asked for."""
    await exchange.ask()


async def passed(exchange: Exchange) -> None:
    """As if there were no plan."""
    exchange.answer = await exchange.ask()


def done_and_refused(code: int, **given: int) -> Plan:
    """The broker does it, and the client is told otherwise."""

    async def plan(exchange: Exchange) -> None:
        await exchange.ask()
        exchange.refuse(code, **given)

    return plan


def throttled(milliseconds: int) -> Plan:
    """The broker asks for a pause."""

    async def plan(exchange: Exchange) -> None:
        response = exchange.response(await exchange.ask())
        tags: list[Any] = [{}] if KNOWN[exchange.key, exchange.version].FLEXIBLE_VERSION else []
        exchange.reply(response.topics, milliseconds, *tags)

    return plan
