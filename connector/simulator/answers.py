"""Writing answers: headers, bodies, streams, refusals, and answers that are lost on purpose."""

from dataclasses import replace
from email.utils import formatdate

import orjson
from aiohttp import web

from connector.simulator import recordings, redirects
from connector.simulator.errors import Refusal, body_of, refusal
from connector.simulator.faults import Fault
from connector.simulator.form import Form
from connector.simulator.journal import ANSWER_BYTES, Entry
from connector.simulator.routes import Reply
from connector.simulator.state import State

NO_CONTENT, UNAUTHORIZED = 204, 401
CODES = {503: 20503, 429: 20429, 401: 20003, 404: 20404}
GATEWAY_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>500 Internal Server Error</title></head>\n"
    b"<body><h1>Internal Server Error</h1><p>The server could not process your request.</p></body></html>\n"
)


class Throttled(Refusal):
    """429 with an optional Retry-After."""

    def __init__(self, seconds: float) -> None:
        super().__init__(code=20429, status=429, message="Too Many Requests")
        self.seconds = seconds


class Gateway(Refusal):
    """A failure of a gateway in front of the API: HTML, no code."""

    def __init__(self, status: int) -> None:
        super().__init__(code=0, status=status, message="")


def as_refusal(fault: Fault) -> Refusal:
    """Return the error that a fault asks for."""
    if fault.html:
        return Gateway(fault.status)
    code = fault.code or CODES.get(fault.status, 20500)
    return refusal(code, status=fault.status)


def refused_reply(refused: Refusal) -> Reply:
    """Return the answer to a refused request."""
    if isinstance(refused, Gateway):
        return Reply(status=refused.status, raw=GATEWAY_PAGE, content_type="text/html")
    headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if refused.status == UNAUTHORIZED else {}
    if isinstance(refused, Throttled) and refused.seconds:
        headers["Retry-After"] = f"{refused.seconds:g}"
    return Reply(status=refused.status, body=body_of(refused), headers=headers)


def date(state: State, *, ahead: float = 0.0) -> str:
    """Return the `Date` of an answer by Twilio's clock, or so many seconds ahead of it."""
    return formatdate(state.now() + ahead, usegmt=True)


def odd(fault: Fault, reply: Reply) -> Reply:
    """Return the answer with what the fault puts in its place: status, headers, body, or a part of the body."""
    raw = _bytes_of(reply) if fault.body is None else fault.body.encode(errors="surrogatepass")
    for old, new in fault.swap.items():
        raw = raw.replace(old.encode(), new.encode(), 1)
    return replace(reply, status=fault.status, raw=raw, headers={**reply.headers, **fault.headers})


def _bytes_of(reply: Reply) -> bytes:
    if reply.raw is not None:
        return reply.raw
    return b"" if reply.body is None else orjson.dumps(reply.body)


def drop(request: web.BaseRequest) -> web.Response:
    """Close the connection instead of answering."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def content(state: State, request: web.BaseRequest) -> web.StreamResponse:
    """Serve media from the other host; it refuses requests that carry credentials meant for Twilio."""
    path, _, query = request.raw_path.removeprefix(redirects.PREFIX).partition("?")
    account_sid, _, name = path.partition("/")
    sid, dot, ending = name.partition(".")
    if "Authorization" in request.headers:
        return web.Response(status=400, text="Only one authentication mechanism is allowed")
    store = state.stores[account_sid]
    if (file := store.media.rows.get(sid)) is not None:
        return web.Response(body=file.content, content_type=file.content_type)
    reply = recordings.content(store.recordings.rows[sid], dot + ending, Form.parse(query).get("RequestedChannels"))
    return await _send_stream(request, None, reply, {"Content-Type": reply.content_type})


async def send(request: web.BaseRequest, entry: Entry, reply: Reply, seconds: float) -> web.StreamResponse:
    """Write the answer; the journal says whether it left before the client did."""
    headers = {
        "Content-Type": reply.content_type,
        "Twilio-Concurrent-Requests": str(entry.concurrent),
        "Twilio-Request-Id": entry.request_id,
        "Twilio-Request-Duration": f"{seconds:.3f}",
        "X-Home-Region": "us1",
        **reply.headers,
    }
    if reply.stream is not None:
        return await _send_stream(request, entry, reply, headers)
    if reply.cut:
        return await _send_half(request, reply, headers)
    if reply.status == NO_CONTENT:
        del headers["Content-Type"]
    body = _bytes_of(reply)
    entry.answer = body[:ANSWER_BYTES]
    response = web.Response(status=reply.status, body=body, headers=headers)
    try:
        await response.prepare(request)
        await response.write_eof()
        entry.answered = request.transport is not None and not request.transport.is_closing()
    except ConnectionError:
        entry.answered = False
    return response


async def _send_stream(
    request: web.BaseRequest, entry: Entry | None, reply: Reply, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_length = reply.length
    await response.prepare(request)
    assert reply.stream is not None  # noqa: S101 - checked by the caller
    left = reply.length // 2 if reply.cut else reply.length
    try:
        async for chunk in reply.stream:
            await response.write(chunk[:left])
            left -= len(chunk)
            if reply.cut and left <= 0:
                return _close(request, response)
        await response.write_eof()
    except ConnectionError:
        return response
    if entry is not None:
        entry.answered = True
    return response


async def _send_half(request: web.BaseRequest, reply: Reply, headers: dict[str, str]) -> web.StreamResponse:
    whole = _bytes_of(reply)
    response = web.StreamResponse(status=reply.status, headers=headers)
    response.content_length = len(whole)
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    return _close(request, response)


def _close(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.close()
    return response
