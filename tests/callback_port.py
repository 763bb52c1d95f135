"""A receiver that listens, a place where its records go, and a caller that signs as Twilio does."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from connector.events import Record
from connector.receiver.receiver import Receiver
from connector.resources import CALLBACKS
from connector.telemetry import REGISTRY
from connector.twilio.signature import Keys, compute

PUBLIC = "https://hooks.example.com"
ACCOUNT, OTHER = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN, OTHER_TOKEN = "fictional-token", "other-token"
KEYS = {ACCOUNT: Keys.of([TOKEN, "old-token"], {"key1": "shared-secret"}), OTHER: Keys.of([OTHER_TOKEN])}
PATH = "/callbacks/message-status?command=cmd-1"
STATUS = {"MessageSid": "SM1", "MessageStatus": "sent", "AccountSid": ACCOUNT, "Body": "grüße 🎉 +%&"}
FORM_TYPE = "application/x-www-form-urlencoded; charset=UTF-8"
DEADLINE_SECONDS = 10.0


class Kafka:
    """Where records go: keeps them, or does what a test says."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: Exception | None = None
        self.acknowledges = asyncio.Event()
        self.acknowledges.set()
        self.asked = asyncio.Event()

    async def publish(self, records: Sequence[Record]) -> None:
        self.asked.set()
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
    given: dict[str, Any] = {"rows": CALLBACKS.values(), "keys": KEYS, "public_url": PUBLIC, "prefix": "twilio"}
    server = Receiver(**(given | options), publish=kafka.publish)
    await server.open("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE_SECONDS)) as session:
            yield Port(server, kafka, session)
    finally:
        kafka.acknowledges.set()
        await server.close()


def counted(kind: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("twilio_kafka_callbacks_total", {"kind": kind, "outcome": outcome}) or 0.0
