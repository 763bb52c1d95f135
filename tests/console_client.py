"""The console's data over HTTP, for tests."""

import asyncio
import json
import time
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from connector.events import Record
from connector.kafka import produce
from tests.producing import Message
from tests.running import Connector

CUSTOMER = "+15557654321"
OURS = {"X-Twilio-Kafka": "test"}


OLD_SID = "SM" + "5e" * 16


def yesterday(prefix: str) -> list[Message]:
    """What twenty hours ago became of the command `old-1`: its result, a status event, the watched record."""
    at = int((time.time() - 20 * 3600) * 1000)
    account = {"ce_specversion": "1.0", "ce_source": f"/twilio/AC{'1' * 32}/messages", "ce_subject": OLD_SID}
    of = {"ce_causationid": "old-1", "ce_correlationid": "order-old"}
    result = {"command": {"id": "old-1", "name": "send-message"}, "outcome": "succeeded", "last": True}
    status = {"message_status": "delivered", "to": CUSTOMER, "from": "+15551230000"}
    message = {**status, "status": "delivered"}

    def headers(kind: str, **more: str) -> dict[str, str]:
        return {**account, "ce_id": kind, "ce_type": f"twilio.{kind}.v1", "content-type": "application/json", **more}

    return [
        Message(f"{prefix}.results.send-message", result, CUSTOMER, headers("command.result", **of), at),
        Message(f"{prefix}.message-status", status, OLD_SID, headers("message.status", **of), at + 900),
        Message(f"{prefix}.messages", message, OLD_SID, headers("message.created"), at + 5_000),
    ]


class Console:
    """The console of one process."""

    def __init__(self, process: Connector, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.session = session
        self.settings = process.settings.kafka

    async def get(self, path: str, **query: str) -> Any:
        async with self.session.get(f"{self.process.admin}/api/{path}", params=query) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def search(self, text: str, **query: str) -> list[Any]:
        """The lines that a search answers."""
        async with self.session.get(f"{self.process.admin}/api/search", params={"text": text, **query}) as answer:
            assert answer.status == 200, await answer.text()
            return [json.loads(line) for line in (await answer.text()).splitlines()]

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        async with self.session.post(f"{self.process.admin}/api/{path}", json=body or {}, headers=OURS) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def until(self, path: str, holds: Any, **query: str) -> Any:
        """The data at a path as soon as they are so."""
        found: Any = None
        try:
            async with asyncio.timeout(30):
                while not holds(found := await self.get(path, **query)):  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        except TimeoutError:
            pytest.fail(f"{path} has not become so: {json.dumps(found)[:2000]}")
        return found

    async def send(self, value: Any, **headers: str) -> None:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        named = [(name, text.encode()) for name, text in headers.items()]
        topic = f"{self.settings.topic_prefix}.commands.send-message"
        await produce.send(self.settings, Record(topic, CUSTOMER.encode(), raw, named))

    async def timeline(self, name: str, state: str) -> Any:
        """The whole timeline of a command that has come to a state."""

        def there(found: Any) -> bool:
            return any(row["link"] == name and row["state"] == state for row in found["commands"])

        await self.until("commands", there)
        return await self.get(f"timelines/{quote(name, safe='')}")
