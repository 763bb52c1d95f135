"""Answers of aiohttp's server that do not name its software and version."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage, StreamWriter
from aiohttp.streams import StreamReader
from multidict import CIMultiDict

Factory = Callable[..., web.BaseRequest]


def without(factory: Factory) -> Factory:
    """The same requests, to whose answers no `Server` header is added."""

    def made(
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        del writer
        anonymous = StreamWriter(protocol, asyncio.get_running_loop(), on_headers_sent=_drop)
        return factory(message, payload, protocol, anonymous, task)

    return made


async def _drop(headers: "CIMultiDict[str]") -> None:
    headers.pop("Server", None)
