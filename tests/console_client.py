"""The console's data over HTTP, for tests."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from connector.events import Record
from connector.kafka import produce
from tests.running import Connector

CUSTOMER = "+15557654321"
OURS = {"X-Twilio-Kafka": "test"}


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

    async def story(self, name: str, state: str) -> Any:
        """The whole story of a command that has come to a state."""

        def there(found: Any) -> bool:
            return any(story["link"] == name and story["state"] == state for story in found["commands"])

        await self.until("commands", there)
        return await self.get(f"stories/{quote(name, safe='')}")
