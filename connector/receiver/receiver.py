"""Checks Twilio's signature, stores the callback, and only then answers with a 2xx.

| situation | answer |
|---|---|
| stored | 204; 200 with empty TwiML where Twilio reads the answer |
| signature missing or wrong, unknown account or algorithm, body changed | 403 |
| address, headers or body too large | 414, 431, 413 |
| neither form nor covered JSON, unreadable, ambiguous | 415, 400 |
| not whole after five seconds | 408 |
| signed and unfit for its bundle | 400 once it is among the dead letters |
| not acknowledged within 5 s, or closing | 503 with Retry-After |
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from connector.errors import ConfigurationError, Unwritable
from connector.events import Envelope, Record
from connector.receiver.connection import Request
from connector.receiver.intake import Intake, Route, routes
from connector.receiver.port import Port
from connector.receiver.recent import Explanation, RecentRequest, RecentRequests, explanation
from connector.receiver.refusals import UNKNOWN, Refusal, Refusals, Reply, Unfit
from connector.resources.rows import Callback
from connector.telemetry import tracing
from connector.telemetry.metrics import CALLBACK_SECONDS, DEAD_LETTERS
from connector.twilio.signature import Keys

Publish = Callable[[Sequence[Record]], Awaitable[None]]


class Receiver:
    """Takes callbacks at the public port.

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
        self.recent = RecentRequests()
        self._publish = publish
        self._prefix = prefix
        self._intake = Intake(keys if verify_signatures else None, renew)
        base = (public_url or "").rstrip("/")
        self._routes = routes(rows, public_url=base, prefix=prefix, envelope=envelope, overrides=overrides)
        self._refusals = Refusals()
        self._port = Port(self._handle, self._refuse, max_body=max_body)
        self._refusing = False
        self._answering = 0
        self._last_request = time.monotonic()

    def replace_keys(self, keys: Mapping[str, Keys], *, former_seconds: float = 0.0) -> None:
        """Check signatures with these from now on, for rotation without a restart.

        What the former ones signed is accepted for so long: it may be on its way.
        """
        self._intake.replace_keys(keys, former_seconds=former_seconds)

    async def open(self, host: str, port: int, *, reuse_port: bool = False) -> None:
        """Listen; port 0 takes a free one, which `port` then tells. Raises Unavailable when the port is taken."""
        self.port = await self._port.open(host, port, reuse_port=reuse_port)

    @property
    def quiet_seconds(self) -> float:
        """How long no request has come and none is being answered, since draining began at the earliest."""
        return 0.0 if self._answering else time.monotonic() - self._last_request

    def drain(self) -> None:
        """Keep answering, and end each connection with its answer, so that callers move to other instances."""
        self._port.draining = True
        self._last_request = time.monotonic()

    def refuse(self) -> None:
        """Answer 503 from now on."""
        self._port.draining = self._refusing = True

    async def close(self) -> None:
        """Refuse what comes, finish what is in flight, stop listening."""
        self.refuse()
        await self._port.close()

    def explain(self, request: RecentRequest) -> Explanation:
        """Why the check of a callback ended as it did, with the keys as they are now."""
        return explanation(request, self._intake.keys or {})

    def _route(self, request: Request) -> Route | None:
        """Where a request belongs. An absolute target (RFC 9112, section 3.2.2) is made an ordinary one."""
        target = request.target
        if target.startswith(("http://", "https://")):
            _, slash, rest = target.partition("://")[2].partition("/")
            target = request.target = slash + rest
        return self._routes.get(target.partition("#")[0].partition("?")[0])

    def _handle(self, request: Request) -> None:
        """Check a request and hand its records to Kafka; `_finish` answers it."""
        started = time.perf_counter()
        self._answering += 1
        route = self._route(request)
        if route is None or self._refusing:
            self._end(request, route, Refusal(404) if route is None else Refusal(503, "closing"))
            return
        try:
            records = self._intake.records(route, request)
            is_traced = tracing.enabled
            storing = self._store_traced(route, records, started) if is_traced else self._publish(records)
        except Unfit as unfit:
            is_traced, storing = True, self._keep(unfit, route, request)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
            self._end(request, route, _refusal(error, "unexpected"))
            return
        stored = asyncio.ensure_future(storing)
        stored.add_done_callback(partial(self._finish, request, route, None if is_traced else started))

    def _finish(self, request: Request, route: Route, started: float | None, stored: "asyncio.Future[None]") -> None:
        """Answer a request whose records are stored, or cannot be; `started` unless the trace measures how long."""
        error = asyncio.CancelledError() if stored.cancelled() else stored.exception()
        if error is not None:
            self._end(request, route, _refusal(error, "not stored:"))
            return
        route.stored.inc()
        self.recent.note(request, route, status=204)
        if started is not None:
            CALLBACK_SECONDS.observe(time.perf_counter() - started)
        self._answer(request, route.reply)

    def _end(self, request: Request, route: Route | None, refusal: Refusal) -> None:
        self._refusals.note(route.row.kind if route else UNKNOWN, refusal)
        if route is not None:
            self.recent.note(request, route, status=refusal.status, reason=refusal.reason)
        self._answer(request, refusal.reply)

    def _answer(self, request: Request, reply: Reply) -> None:
        """Answer, now or later: the connection keeps the order of its requests."""
        self._answering -= 1
        self._last_request = time.monotonic()
        request.reply = reply
        request.answered(request)

    def _refuse(self, request: Request | None, refusal: Refusal) -> None:
        """Refuse what the port could not read as a request; without a request its connection has ended."""
        if request is None:
            self._refusals.note(UNKNOWN, refusal)
        else:
            self._answering += 1
            self._end(request, self._route(request), refusal)

    async def _keep(self, unfit: Unfit, route: Route, request: Request) -> None:
        """Put what is signed and does not fit among the dead letters, then refuse it."""
        await self._publish([unfit.letter(self._prefix, route.row.kind, request)])
        DEAD_LETTERS.labels("callback").inc()
        raise unfit

    async def _store_traced(self, route: Route, records: Sequence[Record], started: float) -> None:
        """Store within a span that is linked to the trace of the command; the records carry the span's own trace."""
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
            await self._publish(records)
            CALLBACK_SECONDS.observe(time.perf_counter() - started, tracing.exemplar())


def _refusal(error: BaseException, what: str) -> Refusal:
    """Why a callback is not stored; of an error that is not a refusal only its name is told."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, Unwritable):
        return Refusal(413, "larger than a record of Kafka's")
    return Refusal(503, f"{what} {type(error).__name__}")
