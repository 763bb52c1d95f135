"""A download that is under way, and its bytes in chunks of one size."""

from collections.abc import AsyncIterator

import aiohttp

from connector.errors import Unreadable
from connector.twilio.wire import REQUEST_ID, header


class Download:
    """A running download: `content_length` in bytes where the server says it, `content_type` in lower case."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        # The length of what is decompressed is not announced.
        self.content_length = None if "Content-Encoding" in answer.headers else answer.content_length
        self.content_type = header({"Content-Type": answer.content_type}, "Content-Type") or ""
        self.request_id = header(answer.headers, REQUEST_ID)

    async def chunks(self, size: int) -> AsyncIterator[bytes]:
        """The bytes in chunks of exactly `size`, the last one shorter.

        Raises Unreadable when the connection breaks or falls silent.
        """
        held = bytearray()
        try:
            async for part in self._answer.content.iter_any():
                held += part
                while len(held) >= size:
                    yield bytes(held[:size])
                    del held[:size]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreadable(f"The download broke off ({type(error).__name__}).", status=self._answer.status) from error
        if held:
            yield bytes(held)
