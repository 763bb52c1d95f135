"""Requests to Twilio for one connection: each ends in a response or in the error that says what may be done next.

Only this module opens connections to Twilio. Credentials go to the connection's own hosts and nowhere else.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import lru_cache

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from prometheus_client import Counter, Histogram
from pydantic import SecretStr
from yarl import URL

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError, Unreadable
from connector.events import boot_seconds
from connector.resources.rows import ACCOUNT, Host, Request
from connector.telemetry import tracing
from connector.telemetry.logs import logger
from connector.telemetry.metrics import (
    PACING_WAIT_SECONDS,
    TWILIO_ANSWERS,
    TWILIO_CONCURRENCY_LIMIT,
    TWILIO_REQUEST_SECONDS,
    TWILIO_REQUESTS,
    TWILIO_THROTTLED,
)
from connector.twilio.clock import APART_SECONDS, SAMPLE_SECONDS, TwilioClock, parse_date
from connector.twilio.download import Download
from connector.twilio.pacing import Concurrency, Pacing, backoff_seconds
from connector.twilio.wire import (
    REQUEST_ID,
    SUCCESS,
    TOO_MANY_REQUESTS,
    Outgoing,
    Response,
    answer_outcome,
    encode,
    failure,
    origin,
    redirected,
    translated,
    translation,
)

TIMEOUT_SECONDS = 30.0
IDLE_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
LEARNING_SECONDS = 2.0
LEARNING_FAILURES = 3
LEARNING_TRIES = int(APART_SECONDS / SAMPLE_SECONDS) + 2
# Connecting ends well before the whole does, so that a timeout tells whether the request was written.
CONNECT_SHARE = 0.5
UNAUTHORIZED_IN_A_ROW = 3
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
LARGEST_ANSWER_BYTES = 32 * 1024 * 1024
LARGEST_EXPLANATION_BYTES = 64 * 1024

log = logger(__name__)


class TwilioClient:
    """The connection to one account.

    `auth` is the user (account SID or API key) and its password; `bases` are scheme and host of each API.
    `secrets` are what no answer may show of the credentials. `refused` is true after three 401 in a row, until a
    request succeeds. `on_unauthorized` is called after each 401; it may replace the credentials.
    """

    def __init__(
        self,
        *,
        name: str,
        account_sid: str,
        auth: tuple[str, SecretStr],
        bases: Mapping[Host, str],
        session: aiohttp.ClientSession,
        max_concurrency: int = 50,
        pacing: Pacing | None = None,
        on_unauthorized: Callable[[], object] | None = None,
    ) -> None:
        self.name = name
        self.account_sid = account_sid
        self.bases = dict(bases)
        self.refused = False
        self.clock = TwilioClock(name)
        self._learning = asyncio.Lock()
        self._origins = frozenset(origin(base) for base in self.bases.values())
        self._session = session
        self._clock = asyncio.get_running_loop().time
        self._pacing = pacing or Pacing()
        self._concurrency = Concurrency(max_concurrency, report=TWILIO_CONCURRENCY_LIMIT.labels(name).set)
        # Gives back the place that `enter` took.
        self.leave = self._concurrency.release
        self._unauthorized = 0
        self._on_unauthorized = on_unauthorized
        self._waited = PACING_WAIT_SECONDS.labels(name)
        self._throttled = TWILIO_THROTTLED.labels(name)
        self._latest: frozenset[str] = frozenset()
        self.replace_credentials(*auth)

    def replace_credentials(self, user: str, password: SecretStr) -> None:
        """Use these from the next request on; for rotation without a restart."""
        self._authorization = aiohttp.encode_basic_auth(user, password.get_secret_value())
        secrets = {self._authorization.removeprefix("Basic "), password.get_secret_value()}
        # What the former ones have asked for may still be answered.
        self.secrets = self._latest | secrets
        self._latest = frozenset(secrets)

    @property
    def concurrency_limit(self) -> float:
        """How many requests may run at once now."""
        return self._concurrency.limit

    @asynccontextmanager
    async def slot(self, request: Request) -> AsyncIterator[None]:
        """Wait for the request's turn (pacing, then a place under the concurrency limit) and hold the place.

        `send` does not wait for anything but the network, so that what is written down before it stays true.
        """
        await self.enter(request)
        try:
            yield
        finally:
            self.leave()

    async def enter(self, request: Request, *, within: float | None = None) -> None:
        """Wait as `slot` does; every `enter` that returned needs one `leave`.

        Raises NotExecuted when there is no turn within so many seconds.
        """
        started = self._clock()
        try:
            if within is None:
                await self._pacing.turn(request)
                await self._concurrency.acquire()
            else:
                await self._enter_until(request, started + within)
        finally:
            self._waited.observe(self._clock() - started)

    async def _enter_until(self, request: Request, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._pacing.turn(request, until=until)
                await self._concurrency.acquire()
        except TimeoutError as error:
            raise NotExecuted("The connection had no turn for it in time.") from error

    async def send(
        self, request: Request, *, timeout_seconds: float = TIMEOUT_SECONDS, write_until: float | None = None
    ) -> Response:
        """One attempt within `timeout_seconds`, connecting included; hold a `slot`.

        After `write_until`, by the clock never set, no bytes go to the socket: NotExecuted.

        Raises Refused, BadCredentials, NotExecuted or PerhapsExecuted, and Rejected for what cannot be sent.
        """
        outgoing = self._outgoing(request)
        started = self._clock()
        try:
            response = await self._exchange(outgoing, timeout_seconds, write_until)
            if response.status not in SUCCESS:
                raise failure(response.status, response.body, response.headers)
        except TwilioError as error:
            self._note(request, started, error.status, error)
            raise
        self._note(request, started, response.status)
        return response

    async def learn_time(self) -> None:
        """Ask for nothing but Twilio's time, until its clock is known or cannot be learnt now.

        Any answer of Twilio's tells it, a refusal as well: most API keys may not read their account. So none counts
        otherwise. One answer is enough unless the clocks are apart.
        """
        request = Request("GET", f"{ACCOUNT}.json", operation="FetchAccount")
        async with self._learning:
            failed = 0
            for number in range(LEARNING_TRIES):
                if self.clock.is_known or failed == LEARNING_FAILURES:
                    return
                if number > failed:
                    await asyncio.sleep(SAMPLE_SECONDS)
                try:
                    async with self.slot(request):
                        await self._exchange(self._outgoing(request), LEARNING_SECONDS, None)
                except TwilioError:
                    failed += 1

    async def request(
        self,
        request: Request,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Response:
        """Slot and send, repeated on 429, 5xx and broken connections: only for what may be repeated.

        Raises the last error when its backoff would end after `patience_seconds`.
        """
        deadline = self._clock() + patience_seconds
        attempt = 0
        while True:
            try:
                async with self.slot(request):
                    return await self.send(request, timeout_seconds=timeout_seconds)
            except (NotExecuted, PerhapsExecuted) as error:
                delay = backoff_seconds(attempt, error.retry_after)
                if self._clock() + delay > deadline:
                    raise
            await asyncio.sleep(delay)
            attempt += 1

    @asynccontextmanager
    async def stream(self, request: Request, *, idle_seconds: float = IDLE_SECONDS) -> AsyncIterator[Download]:
        """Open a download (GET); hold a `slot`. Redirects are followed, credentials stay with the connection's hosts.

        Raises as `send` does; `idle_seconds` bounds connecting and each silence between chunks.
        """
        outgoing = self._outgoing(request)
        outgoing.headers["Accept-Encoding"] = "identity"
        started = self._clock()
        try:
            answer = await self._follow(outgoing, idle_seconds)
        except TwilioError as error:
            self._note(request, started, error.status, error)
            raise
        self._note(request, started, answer.status)
        try:
            yield Download(answer)
        finally:
            answer.close()

    def _outgoing(self, request: Request) -> Outgoing:
        return encode(
            request,
            base=self.bases[request.host],
            account_sid=self.account_sid,
            authorization=self._authorization,
        )

    async def _exchange(self, outgoing: Outgoing, timeout_seconds: float, write_until: float | None) -> Response:
        sent = self.clock.boot()
        try:
            async with self._open(outgoing, _timeout(timeout_seconds), write_until) as answer:
                date = parse_date(answer.headers.get("Date"))
                # A proxy's own refusal names the proxy's time, which may be as wrong as ours.
                if answer.status in SUCCESS or REQUEST_ID in answer.headers:
                    self.clock.note(date, sent=sent)
                return Response(answer.status, await _body(answer), answer.headers, date)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise translation(outgoing.url, error) from error

    def _open(
        self, outgoing: Outgoing, timeout: aiohttp.ClientTimeout, write_until: float | None = None
    ) -> aiohttp.client._RequestContextManager:
        body = outgoing.body
        return self._session.request(
            outgoing.method,
            outgoing.url,
            headers=outgoing.headers,
            data=body if write_until is None else _Guarded(body or b"", write_until),
            # An empty body has no type.
            skip_auto_headers=("Content-Type",),
            timeout=timeout,
            allow_redirects=False,
        )

    async def _follow(self, outgoing: Outgoing, idle_seconds: float) -> aiohttp.ClientResponse:
        """The answer at the end of the redirects. Credentials are dropped at the first foreign host, for good."""
        timeout = aiohttp.ClientTimeout(total=None, connect=idle_seconds, sock_read=idle_seconds)
        for _ in range(MAX_REDIRECTS + 1):
            with translated(outgoing.url):
                answer = await self._open(outgoing, timeout)
            if answer.status not in REDIRECTS:
                return await _usable(answer)
            answer.close()
            outgoing = redirected(outgoing, answer.headers.get("Location", ""), own=self._origins)
        raise Refused(f"More than {MAX_REDIRECTS} redirects.", status=answer.status)

    def _note(self, request: Request, started: float, status: int, error: TwilioError | None = None) -> None:
        """Metrics, and what an answer teaches about concurrency and credentials."""
        _requests(self.name, request.operation, str(status), str(error.code or "") if error else "").inc()
        _answers(self.name, status).inc()
        seconds = self._clock() - started
        _duration(request.operation).observe(seconds, tracing.exemplar() if tracing.enabled else None)
        if tracing.enabled:
            self._trace(request, seconds, status, error)
        self._learn(error, started)

    def _trace(self, request: Request, seconds: float, status: int, error: TwilioError | None) -> None:
        """A span of the request; its path may hold a number, so the operation names it."""
        attributes: dict[str, str | int] = {
            "http.request.method": request.method,
            "server.address": URL(self.bases[request.host]).host or "",
            "twilio.operation": request.operation,
            "twilio.connection": self.name,
        }
        attributes |= {"http.response.status_code": status} if status else {}
        attributes |= {"twilio.code": error.code} if error is not None and error.code is not None else {}
        name = f"{request.method} {request.operation}"
        failure_class = type(error).__name__ if error is not None else None
        tracing.record(name, kind="client", seconds=seconds, attributes=attributes, failure=failure_class)

    def _learn(self, error: TwilioError | None, sent_at: float) -> None:
        if isinstance(error, NotExecuted) and error.status:
            self._throttled.inc()
            # Other codes, such as a full queue of one sender, say nothing about concurrency.
            if error.code in (None, TOO_MANY_REQUESTS):
                self._concurrency.throttled(sent_at=sent_at)
        elif (error is None or error.status) and self._concurrency.limit < self._concurrency.maximum:
            self._concurrency.grow()
        if isinstance(error, BadCredentials):
            self._unauthorized += 1
            if self._unauthorized == UNAUTHORIZED_IN_A_ROW:
                self.refused = True
                log.error("credentials refused", connection=self.name, status=error.status, code=error.code)
            if self._on_unauthorized is not None:
                self._on_unauthorized()
        elif error is None:
            self._unauthorized = 0
            if self.refused:
                self.refused = False
                log.info("credentials accepted again", connection=self.name)


class _Guarded(aiohttp.BytesPayload):
    """A body that is written in time or not at all: headers and body go to the socket in one piece."""

    def __init__(self, body: bytes, write_until: float) -> None:
        super().__init__(body)
        self._write_until = write_until

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        if boot_seconds() >= self._write_until:
            raise NotExecuted("The attempt's lease ran out before it was written.")
        await super().write_with_length(writer, content_length)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    """The body of a 2xx; of any other answer the beginning, or nothing: its status tells enough.

    Raises Unreadable for a 2xx that is too large.
    """
    if answer.status in SUCCESS:
        body = await _beginning(answer, LARGEST_ANSWER_BYTES)
        if len(body) > LARGEST_ANSWER_BYTES:
            sentence = f"Twilio answered {answer.status} with more than {LARGEST_ANSWER_BYTES} bytes."
            raise Unreadable(sentence, status=answer.status)
        return body
    with suppress(aiohttp.ClientError, OSError):
        return (await _beginning(answer, LARGEST_EXPLANATION_BYTES))[:LARGEST_EXPLANATION_BYTES]
    return b""


async def _beginning(answer: aiohttp.ClientResponse, size: int) -> bytes:
    """The whole body, or its beginning when it is larger than `size`, decompressed: more than `size` bytes of it."""
    if answer.content_length is not None and answer.content_length <= size and "Content-Encoding" not in answer.headers:
        return await answer.read()
    parts: list[bytes] = []
    read = 0
    async for part in answer.content.iter_any():
        read += len(part)
        parts.append(part)
        if read > size:
            answer.close()
            break
    return b"".join(parts)


async def _usable(answer: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The answer if it is a 2xx, its body unread. Raises its failure otherwise."""
    if answer.status in SUCCESS:
        return answer
    with translated(answer.url):
        async with answer:
            raise failure(answer.status, await _body(answer), answer.headers)


@lru_cache(maxsize=64)
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, connect=seconds * CONNECT_SHARE, ceil_threshold=math.inf)


@lru_cache(maxsize=4096)
def _requests(connection: str, operation: str, status: str, code: str) -> Counter:
    return TWILIO_REQUESTS.labels(connection, operation, status, code)


@lru_cache(maxsize=1024)
def _answers(connection: str, status: int) -> Counter:
    return TWILIO_ANSWERS.labels(connection, answer_outcome(status))


@lru_cache(maxsize=256)
def _duration(operation: str) -> Histogram:
    return TWILIO_REQUEST_SECONDS.labels(operation)
