"""From a request to the records that are to be stored: body, signature, event."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.http_exceptions import PayloadEncodingError
from prometheus_client import Counter

from connector.errors import InvalidRecord
from connector.events import Envelope, Record, now
from connector.receiver import form, stream
from connector.receiver.encoder import Encoder
from connector.receiver.refusals import Refusal, Unfit
from connector.receiver.sightings import BODY
from connector.resources.rows import Callback
from connector.telemetry import CALLBACKS
from connector.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, Keys, Verdict, body_hashes, verify

BODY_SECONDS = 5.0
FORM = "application/x-www-form-urlencoded"
IDEMPOTENCY_HEADER = "I-Twilio-Idempotency-Token"


@dataclass(frozen=True, slots=True)
class Route:
    """Where a kind of callback comes in. `base`, the request's target and perhaps `fragment` are what Twilio signed."""

    row: Callback
    topic: str
    base: str
    fragment: str
    stored: Counter
    encoder: Encoder


def routes(
    rows: Iterable[Callback], *, public_url: str, prefix: str, envelope: Envelope, overrides: str = ""
) -> dict[str, Route]:
    """The routes by path; a path in front of ours (`https://host/path`) may come along or be cut off by the proxy."""
    found = {}
    before = urlsplit(public_url).path.rstrip("/")
    origin = public_url.removesuffix(before)
    fragment = f"#{overrides}" if overrides else ""
    for row in rows:
        topic, stored = f"{prefix}.{row.topic}", CALLBACKS.labels(row.kind, "stored")
        encoder = Encoder.of(row, topic, envelope)
        found[f"{before}/callbacks/{row.kind}"] = Route(row, topic, origin, fragment, stored, encoder)
        found[f"/callbacks/{row.kind}"] = Route(row, topic, public_url, fragment, stored, encoder)
    return found


@dataclass(slots=True)
class Intake:
    """Reads and checks requests. `keys` are what may sign, by account SID; None checks nothing (development).

    `renew` is called when a signature is wrong: it may replace the keys, and says whether it did.
    """

    keys: Mapping[str, Keys] | None
    max_body: int
    renew: Callable[[], bool] | None = None
    _former: Mapping[str, Keys] = field(default_factory=dict)
    _former_until: float = 0.0

    def replace_keys(self, keys: Mapping[str, Keys], *, former_seconds: float = 0.0) -> None:
        """Check with these; with the former ones, too, while what they signed may be on its way."""
        if self.keys is not None:
            self._former, self._former_until = self.keys, time.monotonic() + former_seconds
            self.keys = keys

    async def records(self, route: Route, request: web.BaseRequest) -> Sequence[Record]:
        """The records of a request whose signature is right. Raises Refusal."""
        query = request.raw_path.partition("?")[2]
        try:
            if request.method == "POST":
                body = request[BODY] = await self._body(request)
                if route.row.cloudevents:
                    return self._from_json(route, request, body)
                return [self._from_form(route, request, query, body)]
            if request.method == "GET" and not route.row.cloudevents:
                return [self._from_query(route, request, query)]
        except InvalidRecord as error:
            raise Refusal(400, str(error)) from error
        raise Refusal(405)

    async def _body(self, request: web.BaseRequest) -> bytes:
        if (request.content_length or 0) > self.max_body:
            raise Refusal(413)
        try:
            # Nearly every body has arrived together with its headers.
            body = request.content.read_nowait() if request.content.is_eof() else await self._slow_body(request)
        except PayloadEncodingError as error:
            raise Refusal(400, "broken body") from error
        if len(body) > self.max_body:
            raise Refusal(413)
        return body

    async def _slow_body(self, request: web.BaseRequest) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.content.iter_any():
                    body += part
                    if len(body) > self.max_body:
                        raise Refusal(413)
        except TimeoutError as error:
            raise Refusal(408) from error
        return bytes(body)

    def _from_form(self, route: Route, request: web.BaseRequest, query: str, body: bytes) -> Record:
        if _media_type(request) != FORM:
            raise Refusal(415)
        given = form.Form.of(form.parse(body))
        for account in given.accounts:
            self._check(route, request, account, given.pairs)
        return self._record(route, request, given, query, content=body)

    def _from_query(self, route: Route, request: web.BaseRequest, query: str) -> Record:
        given = form.Form.of(form.parse(query.encode()))
        for account in given.accounts:
            self._check(route, request, account, [])
        return self._record(route, request, given, query, content=query.encode())

    def _record(
        self, route: Route, request: web.BaseRequest, given: form.Form, query: str, *, content: bytes
    ) -> Record:
        """The record of a form that is signed. Raises Unfit."""
        try:
            given.refuse_ambiguous()
            if request.method == "GET":
                given = given.without_ours()
            return route.encoder.record(given, query=query, token=request.headers.get(IDEMPOTENCY_HEADER))
        except InvalidRecord as error:
            raise Unfit(str(error), content) from error

    def _from_json(self, route: Route, request: web.BaseRequest, body: bytes) -> list[Record]:
        """Every account that the events name must have signed them; where none is named, any of ours."""
        if _media_type(request) == FORM or (self.keys is not None and not body_hashes(request.raw_path)):
            raise Refusal(415)
        found, problem = _elements(body)
        named = stream.accounts(found)
        if named or self.keys is None:
            for account in named:
                self._check(route, request, account, [], body)
        elif not any(self._reason(route, request, account, [], body) is None for account in self.keys):
            raise Refusal(403, "signed by no known account")
        if problem is not None:
            raise Unfit(str(problem), body) from problem
        recorded = now()
        token = request.headers.get(IDEMPOTENCY_HEADER)
        return [stream.record(element, route.topic, recorded=recorded, token=token) for element in found]

    def _check(
        self, route: Route, request: web.BaseRequest, account: str | None, pairs: form.Pairs, body: bytes | None = None
    ) -> None:
        reason = self._reason(route, request, account, pairs, body)
        if reason is not None:
            raise Refusal(403, reason)

    def _reason(
        self, route: Route, request: web.BaseRequest, account: str | None, pairs: form.Pairs, body: bytes | None
    ) -> str | None:
        """Why the signature is not that of the account, None when it is."""
        if self.keys is None:
            return None
        keys = self.keys.get(account or "")
        if keys is None:
            return "unknown account" if account else "no AccountSid"
        verdict = _verdict(route, request, pairs, keys, body)
        if verdict.valid:
            return None
        if self.renew is not None and self.renew():
            return self._reason(route, request, account, pairs, body)
        former = self._former.get(account or "") if time.monotonic() < self._former_until else None
        if former is not None and _verdict(route, request, pairs, former, body).valid:
            return None
        return verdict.reason


def _verdict(route: Route, request: web.BaseRequest, pairs: form.Pairs, keys: Keys, body: bytes | None) -> Verdict:
    headers = request.headers
    return verify(
        f"{route.base}{request.raw_path}{route.fragment}",
        pairs,
        headers.get(SIGNATURE_HEADER),
        keys,
        settings=headers.get(SETTINGS_HEADER, ""),
        body=body,
    )


def _media_type(request: web.BaseRequest) -> str:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _elements(body: bytes) -> tuple[list[stream.Element], InvalidRecord | None]:
    """The events, or why there are none: whoever did not sign learns nothing of it."""
    try:
        return stream.elements(body), None
    except InvalidRecord as error:
        return [], error
