"""The console of several workers: what one of them answers on its socket. Only within this machine."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from connector.admin.port import LARGEST_BODY, read_body
from connector.admin.security import SAFE_METHODS, protect, still_admitted

ANSWER_SECONDS = 2.0
UNREAD_SECONDS = 10.0
# Of the connection and not of the message (RFC 9110, section 7.6.1); the length is written anew.
_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length"})
# What the guard has read. The worker's name is not the host that the browser asked for.
_GUARDS = frozenset({"authorization", "cookie", "host", "expect"})


class Worker:
    """The admin port of one worker, by its socket."""

    def __init__(self, socket: Path) -> None:
        # As many connections as the supervisor's port holds: its own questions never wait for those of consoles.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
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
        """The worker's answer to a request that the guard has let in, streamed until its session ends.

        Raises Refused when the body does not arrive, ClientError when the worker is gone.
        """
        body = b"" if request.method in SAFE_METHODS else await read_body(request, most=LARGEST_BODY)
        target = request.rel_url.raw_path_qs
        if not target.startswith("/"):
            raise web.HTTPNotFound
        asked = self._session.request(
            request.method,
            URL(f"http://worker{target}", encoded=True),
            headers=_of_the_message(request.headers),
            data=body or None,
            timeout=aiohttp.ClientTimeout(total=None, connect=ANSWER_SECONDS),
            allow_redirects=False,
        )
        async with asked as answer:
            relayed = web.StreamResponse(status=answer.status, reason=answer.reason)
            for name, value in answer.headers.items():
                if name.lower() not in _HOP:
                    relayed.headers.add(name, value)
            protect(relayed)
            await _stream(request, answer, relayed)
            return relayed

    async def close(self) -> None:
        """End its connections."""
        await self._session.close()


async def _stream(request: web.Request, answer: aiohttp.ClientResponse, relayed: web.StreamResponse) -> None:
    """Pass the worker's answer on. Broken off when the worker dies, or the browser leaves or stops reading."""
    try:
        await relayed.prepare(request)
        async for part in answer.content.iter_any():
            async with asyncio.timeout(UNREAD_SECONDS):
                await relayed.write(part)
            if not still_admitted(request):
                break
        await relayed.write_eof()
    except (ConnectionError, TimeoutError, aiohttp.ClientError):
        if request.transport is not None:
            request.transport.abort()


def _of_the_message(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP | _GUARDS]
