"""The HTTP server: authentication, dispatch to the rows of the resources, faults, headers, journal."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

import orjson
from aiohttp import web

from connector.simulator import control, recordings, redirects, xml
from connector.simulator.authentication import authenticate, authorise
from connector.simulator.errors import Refusal, body_of, not_found, refusal
from connector.simulator.faults import Fault
from connector.simulator.form import Form
from connector.simulator.journal import Entry
from connector.simulator.resources import ROUTES
from connector.simulator.routes import Reply, Request, Route, tables
from connector.simulator.state import State

API = "/2010-04-01/"
SUFFIXES = (".json", ".xml", ".wav", ".mp3")
MEDIA_SUFFIXES = frozenset({"", ".wav", ".mp3"})
METHODS = frozenset({"GET", "POST", "DELETE"})
TABLE = tables(ROUTES)
FORM = "application/x-www-form-urlencoded"
GATEWAY_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>500 Internal Server Error</title></head>\n"
    b"<body><h1>Internal Server Error</h1><p>The server could not process your request.</p></body></html>\n"
)


class Dropped(Exception):
    """The connection is to be closed without an answer."""


class Server:
    """Answers requests; one per simulator."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._in_progress: Counter[str] = Counter()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        target = request.raw_path
        if target.startswith("/_sim"):
            return await control.handle(self.state, request)
        if target.startswith(redirects.PREFIX):
            return await _content(self.state, request)
        entry = self._note(request, target)
        body = await request.read() if request.body_exists else b""
        owner = _account_in(entry.path)
        self._in_progress[owner] += 1
        entry.concurrent = self._in_progress[owner]
        started = time.perf_counter()
        try:
            return await self._respond(request, entry, body, started)
        finally:
            self._in_progress[owner] -= 1
            entry.duration = time.perf_counter() - started

    def _note(self, request: web.BaseRequest, target: str) -> Entry:
        path, _, _ = target.partition("?")
        entry = Entry(
            number=self.state.journal.total + 1,
            time=self.state.now(),
            method=request.method,
            target=target,
            path=path,
            request_id=self.state.new_sid("RQ"),
        )
        self.state.journal.add(entry)
        return entry

    async def _respond(self, request: web.BaseRequest, entry: Entry, body: bytes, started: float) -> web.StreamResponse:
        try:
            reply = await self._answer(request, entry, body)
        except Refusal as refused:
            entry.code = refused.code
            reply = _refused(refused)
        except Dropped:
            return _drop(request)
        entry.status = reply.status
        return await _send(request, entry, reply, time.perf_counter() - started)

    async def _answer(self, request: web.BaseRequest, entry: Entry, body: bytes) -> Reply:
        route, asked = self._understand(request, entry, body)
        if not self.state.faults.rows:
            return self._execute(route, asked, entry)
        await self._faults_before(asked, entry)
        reply = self._execute(route, asked, entry)
        return await self._faults_after(asked, entry, reply)

    def _execute(self, route: Route, asked: Request, entry: Entry) -> Reply:
        reply = route.handler(asked)
        entry.executed = True
        entry.sid = reply.sid
        if asked.path.startswith(API) and asked.suffix in {"", ".xml"} and reply.body is not None:
            return replace(reply, raw=xml.render(reply.name, reply.body), body=None, content_type="application/xml")
        return reply

    def _understand(self, request: web.BaseRequest, entry: Entry, body: bytes) -> tuple[Route, Request]:
        """Find the operation; refuses in Twilio's order: credentials, load, path, method, body."""
        parameters = _parameters(request, entry, body)
        credential = authenticate(self.state, request.headers.get("Authorization", ""))
        self._check_load(entry)
        pattern, sids, suffix = _pattern(entry.path)
        if request.method not in METHODS:
            raise refusal(20004)
        methods = _methods(request.method, pattern, suffix)
        if not methods:
            raise not_found(entry.path)
        route = methods.get(request.method)
        if route is None:
            raise refusal(20004)
        if request.method == "GET" and body:
            raise refusal(20403, status=403, message="GET requests must not have a body")
        entry.operation = route.operation
        entry.unknown = [name for name in parameters.values if name not in route.known]
        is_2010 = entry.path.startswith(API)
        account_sid = sids[0] if is_2010 and sids else credential.account.sid
        account = authorise(self.state, credential, account_sid, route, entry.path)
        entry.account_sid = account.sid
        return route, Request(
            state=self.state,
            store=self.state.stores[account.sid],
            account=account,
            operation=route.operation,
            method=entry.method,
            path=entry.path,
            base_url=self.state.base_url,
            suffix=suffix,
            sids=sids[1:] if is_2010 else sids,
            parameters=parameters,
            credential=credential.sid,
        )

    def _check_load(self, entry: Entry) -> None:
        limit = self.state.settings.concurrency_limit
        if limit and entry.concurrent > limit:
            raise refusal(20429)

    async def _faults_before(self, asked: Request, entry: Entry) -> None:
        await self._wait("latency", asked, entry)
        if self._strike("drop", asked, entry):
            raise Dropped
        if (fault := self._strike("error", asked, entry)) is not None:
            raise _as_refusal(fault)
        if (fault := self._strike("throttle", asked, entry)) is not None:
            raise Throttled(fault.seconds)
        if self._strike("unauthorized", asked, entry):
            raise refusal(20003)
        if self._strike("bad-token", asked, entry):
            raise refusal(21481)

    async def _faults_after(self, asked: Request, entry: Entry, reply: Reply) -> Reply:
        await self._wait("slow-answer", asked, entry)
        if self._strike("lose-answer", asked, entry):
            raise Dropped
        if (fault := self._strike("error-after", asked, entry)) is not None:
            raise _as_refusal(fault)
        if self._strike("cut-answer", asked, entry):
            return Reply(status=reply.status, raw=_bytes_of(reply), length=-1, content_type=reply.content_type)
        return reply

    async def _wait(self, kind: str, asked: Request, entry: Entry) -> None:
        if seconds := self.state.faults.wait(self._strike(kind, asked, entry)):
            await asyncio.sleep(seconds)

    def _strike(self, kind: str, asked: Request, entry: Entry) -> Fault | None:
        fault = self.state.faults.strike(kind, asked.operation, asked.parameters.values)
        if fault is not None:
            entry.faults.append(kind)
        return fault


class Throttled(Refusal):
    """429 with an optional Retry-After."""

    def __init__(self, seconds: float) -> None:
        super().__init__(code=20429, status=429, message="Too Many Requests")
        self.seconds = seconds


class Gateway(Refusal):
    """A failure of a gateway in front of the API: HTML, no code."""

    def __init__(self, status: int) -> None:
        super().__init__(code=0, status=status, message="")


def _as_refusal(fault: Fault) -> Refusal:
    if fault.html:
        return Gateway(fault.status)
    code = fault.code or {503: 20503, 429: 20429, 401: 20003, 404: 20404}.get(fault.status, 20500)
    return refusal(code, status=fault.status)


def _refused(refused: Refusal) -> Reply:
    if isinstance(refused, Gateway):
        return Reply(status=refused.status, raw=GATEWAY_PAGE, content_type="text/html")
    headers = {"WWW-Authenticate": 'Basic realm="Twilio API"'} if refused.status == 401 else {}  # noqa: PLR2004
    if isinstance(refused, Throttled) and refused.seconds:
        headers["Retry-After"] = f"{refused.seconds:g}"
    return Reply(status=refused.status, body=body_of(refused), headers=headers)


def _parameters(request: web.BaseRequest, entry: Entry, body: bytes) -> Form:
    """Read the query, or the form of a POST; JSON bodies are not understood, as on the 2010 API (facts 2.1)."""
    if request.method == "POST":
        is_form = request.headers.get("Content-Type", "").startswith(FORM)
        form = Form.parse(body.decode(errors="replace") if is_form else "")
    else:
        form = Form.parse(entry.target.partition("?")[2])
    entry.parameters = form.pairs
    return form


def _pattern(path: str) -> tuple[str, tuple[str, ...], str]:
    """Split a path into its pattern (instances as `*`), the instances, and the suffix."""
    suffix = next((ending for ending in SUFFIXES if path.endswith(ending)), "")
    bare = path.removesuffix(suffix) if suffix else path
    is_2010 = bare.startswith(API)
    parts = (bare[len(API) :] if is_2010 else bare[1:]).split("/")
    first = 1 if is_2010 else 2
    sids = tuple(parts[first::2])
    shown = ["*" if position >= first and (position - first) % 2 == 0 else part for position, part in enumerate(parts)]
    return "/".join(shown), sids, suffix


def _methods(method: str, pattern: str, suffix: str) -> dict[str, Route]:
    """Return the operations of a path; a GET without `.json` may mean the media instead of the metadata."""
    media = TABLE.get(f"{pattern}:media") if method == "GET" and suffix in MEDIA_SUFFIXES else None
    return media or TABLE.get(pattern, {})


def _account_in(path: str) -> str:
    parts = path.split("/", 4)
    return parts[3].partition(".")[0] if path.startswith(API) and len(parts) > 3 else ""  # noqa: PLR2004 - position


def _bytes_of(reply: Reply) -> bytes:
    if reply.raw is not None:
        return reply.raw
    return b"" if reply.body is None else orjson.dumps(reply.body)


def _drop(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _content(state: State, request: web.BaseRequest) -> web.StreamResponse:
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


async def _send(request: web.BaseRequest, entry: Entry, reply: Reply, seconds: float) -> web.StreamResponse:
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
    if reply.length < 0:
        return await _send_half(request, reply, headers)
    if reply.status == 204:  # noqa: PLR2004 - no content
        del headers["Content-Type"]
    response = web.Response(status=reply.status, body=_bytes_of(reply), headers=headers)
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
    try:
        async for chunk in reply.stream:
            await response.write(chunk)
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
    if request.transport is not None:
        request.transport.close()
    return response
