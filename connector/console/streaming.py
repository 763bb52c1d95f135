"""Answers that come a line at a time: JSON objects, until there are no more or the browser closes the connection."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson
from aiohttp import web

from connector.admin.security import protect, still_admitted
from connector.console.context import Json

UNREAD_SECONDS = 10.0


async def streamed(request: web.Request, lines: AsyncGenerator[Json, None]) -> web.StreamResponse:
    """Write each line as it comes; `lines` is closed in any case. A browser that does not read is cut off."""
    answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"})
    protect(answer)
    try:
        async with aclosing(lines):
            await answer.prepare(request)
            async for line in lines:
                if not still_admitted(request):
                    break
                async with asyncio.timeout(UNREAD_SECONDS):
                    await answer.write(orjson.dumps(line) + b"\n")
    except ConnectionError:
        pass
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return answer
