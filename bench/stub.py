"""Twilio's API as fast as Python serves it, a process of its own: POST Messages.json answers 201 after LATENCY_MS.

Environment: PORT, LATENCY_MS. A protocol without a framework, so that what is measured is the client.
"""

import asyncio
import itertools
import os
import signal
from email.utils import formatdate
from typing import cast

import orjson
import uvloop

from bench.traffic import ACCOUNT_SID

LATENCY_SECONDS = float(os.environ.get("LATENCY_MS", "20")) / 1000
DATE = "Tue, 24 Nov 2026 13:00:00 +0000"
MESSAGE = {
    "account_sid": ACCOUNT_SID,
    "api_version": "2010-04-01",
    "body": "Hello",
    "date_created": DATE,
    "date_sent": None,
    "date_updated": DATE,
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "+15005550006",
    "messaging_service_sid": None,
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": "USD",
    "status": "queued",
    "to": "+15551234567",
}
_numbers = itertools.count(1)


class Connection(asyncio.Protocol):
    """Answers one request after the other."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each whole request, later."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            whole = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            asyncio.get_running_loop().call_later(LATENCY_SECONDS, self._answer)

    def _answer(self) -> None:
        sid = f"SM{next(_numbers):032x}"
        uri = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json"
        body = orjson.dumps({**MESSAGE, "sid": sid, "uri": uri})
        head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nTwilio-Concurrent-Requests: 1\r\n"
        # From this the connector learns Twilio's time, which commands with an id of their own wait for at the start.
        head += b"Date: %s\r\n" % formatdate(usegmt=True).encode()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


async def main() -> None:
    """Serve until SIGTERM."""
    loop = asyncio.get_running_loop()
    await loop.create_server(Connection, "127.0.0.1", int(os.environ["PORT"]), backlog=2048)
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
