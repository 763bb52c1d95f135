"""Callers that hold connections and send next to nothing do not keep Twilio's callbacks off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from connector.simulator import Simulator
from connector.twilio.signature import compute
from tests.running import Connector, configuration, running, until

SLOW = 500
SERVED = 200
PATIENCE_SECONDS = 60.0
HEAD = b"POST /callbacks/message-status HTTP/1.1\r\nHost: hooks.example.com\r\n"
FORM = HEAD + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\n"


@asynccontextmanager
async def held(port: int, count: int) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """Connections of three kinds: silent ones, with headers that drip, with a body that drips."""
    found = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(count)]
    dripping = asyncio.create_task(drip(found))
    try:
        yield found
    finally:
        dripping.cancel()
        for writer in found:
            writer.transport.abort()


async def drip(writers: list[asyncio.StreamWriter]) -> None:
    for number, writer in enumerate(writers):
        writer.write((b"", HEAD, FORM)[number % 3])
    while True:
        for number, writer in enumerate(writers):
            if number % 3 and not writer.is_closing():
                writer.write((b"X-A: b\r\n", b"a")[number % 3 - 1])
        await asyncio.sleep(0.2)


async def call_back(session: aiohttp.ClientSession, process: Connector, token: str, number: int) -> int:
    """The status of a callback on a connection of its own, while Twilio would wait for it."""
    url = f"{process.callbacks}/callbacks/message-status"
    account = process.document["connections"]["default"]["account_sid"]
    form = {"MessageSid": f"SM{number:032x}", "MessageStatus": "sent", "AccountSid": account}
    headers = {"X-Twilio-Signature": compute(url, form.items(), token), "Connection": "close"}
    async with asyncio.timeout(PATIENCE_SECONDS), session.post(url, data=form, headers=headers) as answer:
        return answer.status


async def test_500_slow_connections_do_not_stop_callbacks_from_being_served(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,), aiohttp.ClientSession() as session:
        port = urlsplit(process.callbacks).port or 0
        async with held(port, SLOW) as slow:
            answers = [await call_back(session, process, simulator.auth_token, number) for number in range(SERVED)]
            assert set(answers) == {204}
            assert not any(silent.transport.is_closing() for silent in slow[::3])
            # Bodies that do not arrive are given up after five seconds.
            bodies = [writer for number, writer in enumerate(slow) if number % 3 == 2]
            await until(lambda: all(writer.transport.is_closing() for writer in bodies))
            assert await call_back(session, process, simulator.auth_token, SERVED) == 204
            async with session.get(f"{process.admin}/livez") as answer:
                assert answer.status == 200
