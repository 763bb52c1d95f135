"""A receiver that listens, a place where its records go, and a caller that signs as Twilio does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from connector.events import Record
from connector.receiver.receiver import Receiver
from connector.resources import CALLBACKS
from connector.telemetry.metrics import REGISTRY
from connector.twilio.signature import Keys, compute

PUBLIC = "https://hooks.example.com"
ACCOUNT, OTHER = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN, OTHER_TOKEN = "fictional-token", "other-token"
KEYS = {ACCOUNT: Keys.of([TOKEN, "old-token"], {"key1": "shared-secret"}), OTHER: Keys.of([OTHER_TOKEN])}
PATH = "/callbacks/message-status?command=cmd-1"
STATUS = {"MessageSid": "SM1", "MessageStatus": "sent", "AccountSid": ACCOUNT, "Body": "grüße 🎉 +%&"}
FORM_TYPE = "application/x-www-form-urlencoded; charset=UTF-8"
DEADLINE_SECONDS = 30.0


HEAD = b"POST /callbacks/message-status HTTP/1.1\r\nHost: x\r\n"


def posted(target: str, body: bytes, signature: str, *, more: str = "Connection: close\r\n", host: str = "x") -> bytes:
    """A signed form as it travels, by default on a connection of its own."""
    head = f"POST {target} HTTP/1.1\r\nHost: {host}\r\n{more}Content-Type: {FORM_TYPE}\r\n"
    return f"{head}X-Twilio-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def signed(fields: Mapping[str, str] = STATUS, *, path: str = PATH, **options: str) -> bytes:
    """A form that Twilio has signed, as it travels."""
    return posted(path, urlencode(fields).encode(), compute(PUBLIC + path, fields.items(), TOKEN), **options)


class Kafka:
    """Where records go: keeps them, or does what a test says."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: Exception | None = None
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.asked = asyncio.Event()
        self.asked_for = 0

    async def publish(self, records: Sequence[Record]) -> None:
        self.asked.set()
        self.asked_for += 1
        await self.acknowledges.wait()
        if self.error is not None:
            raise self.error
        self.records += records


class Port:
    """A receiver that listens, the records that it stored, and a caller."""

    def __init__(self, server: Receiver, kafka: Kafka, session: aiohttp.ClientSession) -> None:
        self.server = server
        self.kafka = kafka
        self.session = session
        self.url = f"http://127.0.0.1:{server.port}"

    async def call(
        self,
        path: str = PATH,
        *,
        method: str = "POST",
        body: bytes | AsyncIterator[bytes] | None = None,
        **headers: str,
    ) -> tuple[int, str, Any]:
        """Status, body and headers of the answer; headers are given with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        target = URL(self.url + path, encoded=True)
        request = self.session.request(method, target, data=body, headers=named, allow_redirects=False)
        async with request as answer:
            return answer.status, await answer.text(), answer.headers

    async def raw(self, *parts: bytes, ends: bool = False) -> bytes:
        """What comes back for these bytes until the port ends the connection; `ends`: we end our side first."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            if ends:
                writer.write_eof()
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await reader.read()
        finally:
            writer.transport.abort()

    async def form(
        self, fields: Any = STATUS, *, path: str = PATH, token: str = TOKEN, public: str = PUBLIC, **headers: str
    ) -> tuple[int, str, Any]:
        """A signed form as Twilio sends it."""
        pairs = list(fields.items()) if isinstance(fields, dict) else fields
        given = {
            "Content_Type": FORM_TYPE,
            "X_Twilio_Signature": compute(public + path, pairs, token),
            "I_Twilio_Idempotency_Token": "token-1",
        }
        return await self.call(path, body=urlencode(pairs).encode(), **(given | headers))

    async def json(self, body: bytes, *, token: str = TOKEN, **headers: str) -> tuple[int, str, Any]:
        """A signed JSON body as Event Streams sends it."""
        path = f"/callbacks/events?bodySHA256={hashlib.sha256(body).hexdigest()}"
        given = {"Content_Type": "application/json", "X_Twilio_Signature": compute(PUBLIC + path, (), token)}
        return await self.call(path, body=body, **(given | headers))


@asynccontextmanager
async def opened(**options: Any) -> AsyncIterator[Port]:
    kafka = Kafka()
    errors: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: errors.append(context))
    given: dict[str, Any] = {"rows": CALLBACKS.values(), "keys": KEYS, "public_url": PUBLIC, "prefix": "twilio"}
    server = Receiver(**(given | options), publish=kafka.publish)
    await server.open("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS)) as session:
            yield Port(server, kafka, session)
    finally:
        kafka.acknowledges.set()
        await server.close()
    assert errors == []


def counted(kind: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("twilio_kafka_callbacks_total", {"kind": kind, "outcome": outcome}) or 0.0
