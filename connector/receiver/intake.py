"""From a request to the records that are to be stored: signature, form or events, record."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from prometheus_client import Counter

from connector.errors import InvalidRecord
from connector.events import Envelope, Record, now
from connector.receiver import stream
from connector.receiver.connection import SETTINGS_HEADER, SIGNATURE_HEADER, Request
from connector.receiver.form import Encoder, Form, Pairs, parse
from connector.receiver.refusals import IDEMPOTENCY_HEADER, Refusal, Reply, Unfit
from connector.resources.rows import Callback
from connector.telemetry.metrics import CALLBACKS
from connector.twilio.signature import Keys, Verdict, body_hashes, verify

FORM = "application/x-www-form-urlencoded"

NO_CONTENT = Reply.of(204)
TWIML = Reply.of(
    200,
    '<?xml version="1.0" encoding="UTF-8"?><Response/>',
    headers={"Content-Type": "text/xml; charset=utf-8"},
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a kind of callback comes in. `base`, the request's target and perhaps `fragment` are what Twilio signed."""

    row: Callback
    topic: str
    base: str
    fragment: str
    stored: Counter
    reply: Reply
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
        reply = TWIML if row.twiml else NO_CONTENT
        encoder = Encoder.of(row, topic, envelope)
        found[f"{before}/callbacks/{row.kind}"] = Route(row, topic, origin, fragment, stored, reply, encoder)
        found[f"/callbacks/{row.kind}"] = Route(row, topic, public_url, fragment, stored, reply, encoder)
    return found


@dataclass(slots=True)
class Intake:
    """Reads and checks requests. `keys` are what may sign, by account SID; None checks nothing (development).

    `renew` is called when a signature is wrong: it may replace the keys, and says whether it did.
    """

    keys: Mapping[str, Keys] | None
    renew: Callable[[], bool] | None = None
    _former: Mapping[str, Keys] = field(default_factory=dict)
    _former_until: float = 0.0

    def replace_keys(self, keys: Mapping[str, Keys], *, former_seconds: float = 0.0) -> None:
        """Check with these; with the former ones, too, while what they signed may be on its way."""
        if self.keys is not None:
            self._former, self._former_until = self.keys, time.monotonic() + former_seconds
            self.keys = keys

    def records(self, route: Route, request: Request) -> Sequence[Record]:
        """The records of a request whose signature is right. Raises Refusal."""
        query = request.target.partition("?")[2]
        try:
            if request.method == "POST":
                if route.row.cloudevents:
                    return self._from_json(route, request, bytes(request.body))
                if request.media_type != FORM:
                    raise Refusal(415)
                return [self._from_form(route, request, query, bytes(request.body))]
            if request.method == "GET" and not route.row.cloudevents:
                if request.body:
                    raise Refusal(400, "a GET with a body")
                return [self._from_form(route, request, query, query.encode())]
        except InvalidRecord as error:
            raise Refusal(400, str(error)) from error
        raise Refusal(405)

    def _from_form(self, route: Route, request: Request, query: str, content: bytes) -> Record:
        """The record of a form in the body, or in the query of a GET. Raises Unfit when it is signed and does not fit.

        Of a GET the address alone is signed, which holds the fields.
        """
        given = Form.of(parse(content))
        is_query = request.method == "GET"
        for account in given.accounts:
            self._check(route, request, account, [] if is_query else given.distinct)
        try:
            given.refuse_ambiguous()
            given = given.without_ours() if is_query else given
            return route.encoder.record(given, query=query, token=request.headers.get(IDEMPOTENCY_HEADER))
        except InvalidRecord as error:
            raise Unfit(str(error), content) from error

    def _from_json(self, route: Route, request: Request, body: bytes) -> list[Record]:
        """Every account that the events name must have signed them; where none is named, any of ours."""
        if request.media_type == FORM or (self.keys is not None and not body_hashes(request.target)):
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
        self, route: Route, request: Request, account: str | None, pairs: Pairs, body: bytes | None = None
    ) -> None:
        reason = self._reason(route, request, account, pairs, body)
        if reason is not None:
            raise Refusal(403, reason)

    def _reason(
        self, route: Route, request: Request, account: str | None, pairs: Pairs, body: bytes | None
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


def _verdict(route: Route, request: Request, pairs: Pairs, keys: Keys, body: bytes | None) -> Verdict:
    return verify(
        f"{route.base}{request.target}{route.fragment}",
        pairs,
        request.headers.get(SIGNATURE_HEADER, ""),
        keys,
        settings=request.headers.get(SETTINGS_HEADER, ""),
        body=body,
    )


def _elements(body: bytes) -> tuple[list[stream.Element], InvalidRecord | None]:
    """The events, or why there are none. A sender that did not sign them learns nothing of the reason."""
    try:
        return stream.elements(body), None
    except InvalidRecord as error:
        return [], error
