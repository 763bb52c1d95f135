"""The answer to a stored callback, as bytes that are ready: nearly every answer is this one."""

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

TWIML = b'<?xml version="1.0" encoding="UTF-8"?><Response/>'


class Stored(web.StreamResponse):
    """A 2xx on a connection that stays open, written in one piece; one of it answers any number of requests."""

    def __init__(self, *, twiml: bool) -> None:
        super().__init__(status=200 if twiml else 204)
        content = f"Content-Type: text/xml; charset=utf-8\r\nContent-Length: {len(TWIML)}\r\n" if twiml else ""
        self._head = f"HTTP/1.1 {'200 OK' if twiml else '204 No Content'}\r\n{content}Date: ".encode()
        self._content = TWIML if twiml else b""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer. Nobody hears it when the caller has gone away."""
        if request.transport is not None:
            request.transport.write(b"%b%b\r\n\r\n%b" % (self._head, _date(int(time.time())), self._content))
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: the answer is written."""

    @property
    def keep_alive(self) -> bool:
        """The connection stays open."""
        return True


_STORED = {twiml: Stored(twiml=twiml) for twiml in (False, True)}


def stored(request: web.BaseRequest, *, twiml: bool, closes: bool) -> web.StreamResponse:
    """204, or 200 with empty TwiML where Twilio reads the answer; `closes` ends the connection with it."""
    if not closes and request.version == HttpVersion11 and request.keep_alive:
        return _STORED[twiml]
    answer = web.Response(body=TWIML, content_type="text/xml", charset="utf-8") if twiml else web.Response(status=204)
    if closes:
        answer.force_close()
    return answer


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
