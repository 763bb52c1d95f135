"""The HTTP server: authentication, dispatch to the rows of the resources, faults, headers, journal."""

import asyncio
import time
from collections import Counter
from dataclasses import replace

from aiohttp import web

from connector.simulator import answers, browsers, control, dispatch, redirects, xml
from connector.simulator.authentication import authenticate, authorise
from connector.simulator.errors import Refusal, not_found, refusal
from connector.simulator.faults import Fault
from connector.simulator.journal import Entry
from connector.simulator.routes import Reply, Request, Route
from connector.simulator.state import State


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
        is_control = target.startswith("/_sim")
        if (refusal_ := browsers.refused(request, control=is_control)) is not None:
            return control.refusal(*refusal_)
        if is_control:
            return await control.handle(self.state, request)
        if target.startswith(redirects.PREFIX):
            return await answers.content(self.state, request)
        entry = self._note(request, target)
        body = await request.read() if request.body_exists else b""
        owner = dispatch.account_in(entry.path)
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
            time=time.time(),
            method=request.method,
            target=target,
            path=path,
            agent=request.headers.get("User-Agent", ""),
            request_id=self.state.new_sid("RQ"),
        )
        self.state.journal.add(entry)
        return entry

    async def _respond(self, request: web.BaseRequest, entry: Entry, body: bytes, started: float) -> web.StreamResponse:
        try:
            reply = await self._answer(request, entry, body)
        except Refusal as refused:
            entry.code = refused.code
            reply = answers.refused_reply(refused)
        except Dropped:
            return answers.drop(request)
        entry.status = reply.status
        reply.headers.setdefault("Date", answers.date(self.state))
        return await answers.send(request, entry, reply, time.perf_counter() - started)

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
        if asked.path.startswith(dispatch.API) and asked.suffix in {"", ".xml"} and reply.body is not None:
            return replace(reply, raw=xml.render(reply.name, reply.body), body=None, content_type="application/xml")
        return reply

    def _understand(self, request: web.BaseRequest, entry: Entry, body: bytes) -> tuple[Route, Request]:
        """Find the operation; refuses in Twilio's order: credentials, load, path, method, body."""
        parameters = dispatch.parameters(request, entry.target.partition("?")[2], body)
        entry.parameters = parameters.pairs
        credential = authenticate(self.state, request.headers.get("Authorization", ""))
        entry.credential = credential.sid
        self._check_load(entry)
        pattern, sids, suffix = dispatch.pattern(entry.path)
        if request.method not in dispatch.METHODS:
            raise refusal(20004)
        methods = dispatch.methods(request.method, pattern, suffix)
        if not methods:
            raise not_found(entry.path)
        route = methods.get(request.method)
        if route is None:
            raise refusal(20004)
        if request.method == "GET" and body:
            raise refusal(20403, status=403, message="GET requests must not have a body")
        entry.operation = route.operation
        entry.unknown = [name for name in parameters.values if name not in route.known]
        is_2010 = entry.path.startswith(dispatch.API)
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
            # As the caller reaches us: behind 0.0.0.0 or a service name our own address is of no use to it.
            base_url=f"{request.scheme}://{request.host}",
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
            raise answers.as_refusal(fault)
        if (fault := self._strike("throttle", asked, entry)) is not None:
            raise answers.Throttled(fault.seconds)
        if self._strike("unauthorized", asked, entry):
            raise refusal(20003)
        if self._strike("bad-token", asked, entry):
            raise refusal(21481)

    async def _faults_after(self, asked: Request, entry: Entry, reply: Reply) -> Reply:
        await self._wait("slow-answer", asked, entry)
        if self._strike("lose-answer", asked, entry):
            raise Dropped
        if (fault := self._strike("error-after", asked, entry)) is not None:
            raise answers.as_refusal(fault)
        if (fault := self._strike("odd-answer", asked, entry)) is not None:
            reply = answers.odd(fault, reply)
        if (fault := self._strike("wrong-date", asked, entry)) is not None:
            reply = replace(reply, headers={**reply.headers, "Date": answers.date(self.state, ahead=fault.seconds)})
        if self._strike("cut-answer", asked, entry):
            return replace(reply, cut=True)
        return reply

    async def _wait(self, kind: str, asked: Request, entry: Entry) -> None:
        if seconds := self.state.faults.wait(self._strike(kind, asked, entry)):
            await asyncio.sleep(seconds)

    def _strike(self, kind: str, asked: Request, entry: Entry) -> Fault | None:
        fault = self.state.faults.strike(kind, asked.operation, asked.parameters.values)
        if fault is not None:
            entry.faults.append(kind)
        return fault
