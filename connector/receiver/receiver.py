"""The public port: checks Twilio's signature, stores the callback, and only then answers with a 2xx.

| situation | answer |
|---|---|
| stored | 204; 200 with empty TwiML where Twilio reads the answer |
| signature missing or wrong, unknown account or algorithm, body changed | 403 |
| body too large, too slow, neither form nor covered JSON, unreadable | 413, 408, 415, 400 |
| signed and unfit for its bundle | 400 once it is among the dead letters |
| not acknowledged within 5 s, or closing | 503 with Retry-After |
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from aiohttp import web

from connector import tracing
from connector.errors import ConfigurationError, Unavailable
from connector.events import Envelope, Record
from connector.receiver import connections
from connector.receiver.answers import stored
from connector.receiver.connections import Connections
from connector.receiver.intake import Intake, Route, routes
from connector.receiver.refusals import Refusal, Refusals, Unfit
from connector.receiver.sightings import Explanation, Sighting, Sightings, explanation
from connector.resources.rows import Callback
from connector.telemetry import CALLBACK_SECONDS, DEAD_LETTERS
from connector.twilio.signature import Keys

Publish = Callable[[Sequence[Record]], Awaitable[None]]

# Until the next request's headers are complete, from the connection's start or its last answer; proxies idle for 60 s.
HEADERS_SECONDS = 75.0
LINGER_SECONDS = 1.0
CLOSE_SECONDS = 6.0
BACKLOG = 1024

# aiohttp logs a traceback for each broken request, with which anyone could fill the log.
_SILENT = logging.getLogger("connector.receiver.http")
_SILENT.disabled = True


class Receiver:
    """The HTTP server for callbacks.

    `publish` returns when all records are acknowledged and raises otherwise, within five seconds. `keys` are what may
    sign, by account SID; `public_url` is what Twilio calls, `overrides` the fragment of the addresses that we hand out;
    `renew` re-reads the keys when a signature is wrong, and says whether they are others now.
    """

    def __init__(
        self,
        *,
        rows: Iterable[Callback],
        keys: Mapping[str, Keys],
        public_url: str | None,
        publish: Publish,
        prefix: str,
        envelope: Envelope = "binary",
        overrides: str = "",
        verify_signatures: bool = True,
        max_body: int = 64 * 1024,
        renew: Callable[[], bool] | None = None,
    ) -> None:
        if verify_signatures and public_url is None:
            raise ConfigurationError("callbacks.public_url: is missing: signatures cover it; give what Twilio calls.")
        self.port = 0
        self._publish = publish
        self._prefix = prefix
        self._intake = Intake(keys if verify_signatures else None, max_body, renew)
        base = (public_url or "").rstrip("/")
        self._routes = routes(rows, public_url=base, prefix=prefix, envelope=envelope, overrides=overrides)
        self._refusals = Refusals()
        self.sightings = Sightings()
        self._draining = False
        self._refusing = False
        self._runner: web.ServerRunner | None = None
        self._answering = 0
        self._last_request = time.monotonic()

    def replace_keys(self, keys: Mapping[str, Keys], *, former_seconds: float = 0.0) -> None:
        """Check signatures with these from now on, for rotation without a restart.

        What the former ones signed is accepted for so long: it may be on its way.
        """
        self._intake.replace_keys(keys, former_seconds=former_seconds)

    async def open(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, which `port` then tells.

        Raises Unavailable when the port is taken.
        """
        server = Connections(
            self._handle,
            most=connections.limit(),
            access_log=None,
            logger=_SILENT,
            keepalive_timeout=HEADERS_SECONDS,
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=CLOSE_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG, reuse_port=reuse_port).start()
        except OSError as error:
            await self.close()
            raise Unavailable(
                f"callbacks.port: cannot listen on {host}:{port} ({error.strerror}): stop what does, or take another."
            ) from error
        self.port = self._runner.addresses[0][1]

    @property
    def quiet_seconds(self) -> float:
        """How long no request has come and none is being answered, since draining began at the earliest."""
        return 0.0 if self._answering else time.monotonic() - self._last_request

    def drain(self) -> None:
        """Keep answering, and end each connection with its answer, so that callers move to other instances."""
        self._draining = True
        self._last_request = time.monotonic()

    def refuse(self) -> None:
        """Answer 503 from now on."""
        self._draining = self._refusing = True

    async def close(self) -> None:
        """Refuse what comes, finish what is in flight, stop listening."""
        self.refuse()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._answering += 1
        try:
            return await self._answer(request)
        finally:
            self._answering -= 1
            self._last_request = time.monotonic()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        target = request.raw_path
        route = self._routes.get(target.partition("?")[0])
        if route is None:
            return self._finished(Refusal(404).answer())
        try:
            records = await self._records(route, request)
            if tracing.is_on():
                await self._store_traced(route, records, started)
            else:
                await self._store(records)
        except Refusal as refusal:
            self._refusals.note(route.row.kind, refusal)
            self._sight(request, route, refusal.status, refusal.reason)
            return self._finished(refusal.answer())
        route.stored.inc()
        self._sight(request, route, 204)
        if not tracing.is_on():
            CALLBACK_SECONDS.observe(time.perf_counter() - started)
        return stored(request, twiml=route.row.twiml, closes=self._draining)

    def _sight(self, request: web.BaseRequest, route: Route, status: int, reason: str = "") -> None:
        self.sightings.note(
            request, kind=route.row.kind, base=route.base, fragment=route.fragment, status=status, reason=reason
        )

    def explain(self, sighting: Sighting) -> Explanation:
        """Why the check of a callback ended as it did, with the keys as they are now."""
        return explanation(sighting, self._intake.keys or {})

    def _finished(self, answer: web.Response) -> web.Response:
        if self._draining:
            answer.force_close()
        return answer

    async def _records(self, route: Route, request: web.BaseRequest) -> Sequence[Record]:
        """What to store. Raises Refusal, or ConnectionError when the caller is gone."""
        if self._refusing:
            raise Refusal(503, "closing")
        if "#" in request.raw_path or not request.raw_path.isprintable():
            # A signature ends where a fragment begins: what follows would be read although it is not signed.
            raise Refusal(400, "no proper target")
        try:
            return await self._intake.records(route, request)
        except Unfit as unfit:
            await self._store([unfit.letter(self._prefix, route.row.kind, request)])
            DEAD_LETTERS.labels("callback").inc()
            raise
        except (Refusal, ConnectionError):
            raise
        except Exception as error:
            raise Refusal(503, f"unexpected {type(error).__name__}") from error

    async def _store_traced(self, route: Route, records: Sequence[Record], started: float) -> None:
        """The same within a span that is linked to the trace of the command; the records carry the span's own."""
        links = [raw.decode() for name, raw in records[0].headers if name == tracing.TRACEPARENT] if records else []
        scope = tracing.span(
            f"POST /callbacks/{route.row.kind}",
            kind="server",
            links=links,
            attributes={"messaging.system": "kafka", "messaging.destination.name": route.topic},
            seconds_ago=time.perf_counter() - started,
        )
        with scope:
            for record in records:
                record.headers[:] = [header for header in record.headers if header[0] != tracing.TRACEPARENT]
                record.headers.append((tracing.TRACEPARENT, (tracing.traceparent() or "").encode()))
            await self._store(records)
            CALLBACK_SECONDS.observe(time.perf_counter() - started, tracing.exemplar())

    async def _store(self, records: Sequence[Record]) -> None:
        try:
            await self._publish(records)
        except Exception as error:
            raise Refusal(503, f"not stored: {type(error).__name__}") from error
