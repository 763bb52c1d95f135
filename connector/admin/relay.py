"""The console of several workers: what one of them answers on its socket. Only within this machine."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

ANSWER_SECONDS = 2.0
LARGEST_REQUEST = 2 * 1024 * 1024
# Of the connection and not of the message (RFC 9110, section 7.6.1); the length is written anew.
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})


class Worker:
    """The admin port of one worker, by its socket."""

    def __init__(self, socket: Path) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket)), cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )

    async def ask(self, path: str, *, accept: str = "*/*") -> tuple[int, str]:
        """Status and text of a GET; 0 and nothing when it does not answer in time."""
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        headers = {"Accept": accept}
        try:
            async with self._session.get(f"http://worker{path}", headers=headers, timeout=timeout) as answer:
                return answer.status, await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return 0, ""

    async def relay(self, request: web.Request) -> web.StreamResponse:
        """The worker's answer to a request, streamed."""
        timeout = aiohttp.ClientTimeout(total=None, connect=ANSWER_SECONDS)
        url = URL(f"http://{request.host}{request.raw_path}", encoded=True)
        async with self._session.request(
            request.method,
            url,
            headers=_of_the_message(request.headers),
            data=await request.read() or None,
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            relayed = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    relayed.headers.add(name, value)
            # Whoever asked may leave at any time, as a browser leaves a stream.
            with suppress(ConnectionError):
                await relayed.prepare(request)
                async for part in answer.content.iter_any():
                    await relayed.write(part)
                await relayed.write_eof()
            return relayed

    async def close(self) -> None:
        """End its connections."""
        await self._session.close()


def _of_the_message(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP]
