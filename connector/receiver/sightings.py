"""The last callbacks that came to this process, stored and refused, so that people can see why a check failed.

Bodies stay in memory only, few of them, and leave it only when somebody asks for one. Nothing that the public port
does waits for this.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from aiohttp import web

from connector.errors import InvalidRecord
from connector.events import now
from connector.receiver import form
from connector.twilio.signature import SETTINGS_HEADER, SIGNATURE_HEADER, Keys, Verdict, explain

REFUSED = 200
STORED = 100
PER_SECOND = 20
LARGEST_BODY = 16 * 1024
FORBIDDEN = 403
FORM = "application/x-www-form-urlencoded"
BODY = web.RequestKey("body", bytes)
"""Under this key the intake leaves a request's body with the request."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A callback as it came. `base` + `target` + `fragment` is what was checked; `reason` why it was refused."""

    number: int
    at: datetime
    kind: str
    method: str
    base: str
    target: str
    origins: tuple[str, ...]
    content_type: str
    settings: str
    status: int
    reason: str
    signature: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    body: bytes | None = field(default=None, repr=False)
    fragment: str = ""

    @property
    def is_stored(self) -> bool:
        """Whether it became a record."""
        return not self.reason

    @property
    def pairs(self) -> form.Pairs:
        """The fields of a form, or those of the query of a GET; none when it cannot be read."""
        try:
            if self.method == "GET":
                return form.parse(self.target.partition("?")[2].encode(errors="replace"))
            return form.parse(self.body or b"") if self.is_form else []
        except InvalidRecord:
            return []

    @property
    def values(self) -> frozenset[str]:
        """The values of all fields."""
        return frozenset(value for _, value in self.pairs)

    @property
    def is_form(self) -> bool:
        """Whether the body is a form, whose fields are signed."""
        return self.content_type == FORM


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was compared with the signature, and which other address would have matched."""

    verdict: Verdict
    account: str
    knows_account: bool
    matching_base: str | None
    advice: str


class Sightings:
    """The last refused and the last stored callbacks of this process."""

    def __init__(self, *, refused: int = REFUSED, stored: int = STORED) -> None:
        self._refused: deque[Sighting] = deque(maxlen=refused)
        self._stored: deque[Sighting] = deque(maxlen=stored)
        self._numbers = itertools.count(1)
        self._second = 0
        self._noted = 0

    def note(
        self, request: web.BaseRequest, *, kind: str, base: str, fragment: str, status: int, reason: str = ""
    ) -> None:
        """Keep a callback that has just been answered; of a flood, a few each second."""
        if not self._has_room():
            return
        headers = request.headers
        body = request.get(BODY)
        sighting = Sighting(
            number=next(self._numbers),
            at=now(),
            kind=kind,
            method=request.method,
            base=base,
            target=request.raw_path,
            origins=_origins(request),
            content_type=headers.get("Content-Type", "").partition(";")[0].strip().lower(),
            settings=headers.get(SETTINGS_HEADER, ""),
            status=status,
            reason=reason,
            signature=headers.get(SIGNATURE_HEADER, ""),
            token=headers.get("I-Twilio-Idempotency-Token", ""),
            body=body if body is None or len(body) <= LARGEST_BODY else None,
            fragment=fragment,
        )
        (self._refused if reason else self._stored).append(sighting)

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._noted = second, 0
        self._noted += 1
        return self._noted <= PER_SECOND

    def __iter__(self) -> Iterator[Sighting]:
        return iter(sorted([*self._refused, *self._stored], key=lambda sighting: -sighting.number))

    def find(self, number: int) -> Sighting | None:
        """One of them by its number, None when it has been dropped."""
        return next((sighting for sighting in self if sighting.number == number), None)


def explanation(sighting: Sighting, keys: Mapping[str, Keys]) -> Explanation:
    """Compare again with every address and secret that comes into question, with the keys as they are now."""
    account = _account(sighting, keys)
    mine = keys.get(account, Keys())
    verdict = _explained(sighting, sighting.base, mine)
    others = (base for base in _other_bases(sighting) if _explained(sighting, base, mine).valid)
    matching = None if verdict.valid else next(others, None)
    advice = _advice(sighting, verdict, matching, account=account, knows_account=account in keys)
    return Explanation(verdict, account, account in keys, matching, advice)


def _account(sighting: Sighting, keys: Mapping[str, Keys]) -> str:
    """Whose callback it says it is; of events, whose signature it bears, or any account of ours."""
    if sighting.is_form or sighting.method == "GET":
        return dict(sighting.pairs).get("AccountSid", "")
    signers = (account for account, mine in keys.items() if _explained(sighting, sighting.base, mine).valid)
    return next(signers, next(iter(keys), ""))


def _explained(sighting: Sighting, base: str, keys: Keys) -> Verdict:
    pairs: Sequence[tuple[str, str]] = sighting.pairs if sighting.method != "GET" else []
    body = None if sighting.method == "GET" or sighting.is_form else sighting.body or b""
    url = base + sighting.target + sighting.fragment
    return explain(url, pairs, sighting.signature, keys, settings=sighting.settings, body=body)


def _origins(request: web.BaseRequest) -> tuple[str, ...]:
    """The addresses that the request itself speaks of, in front of a proxy and behind it."""
    headers = request.headers
    hosts = (headers.get("X-Forwarded-Host", "").partition(",")[0].strip(), headers.get("Host", ""))
    schemes = (headers.get("X-Forwarded-Proto", "").partition(",")[0].strip(), "https", "http")
    found = (f"{scheme}://{host}" for host in hosts if host for scheme in schemes if scheme in ("https", "http"))
    return tuple(dict.fromkeys(found))


def _other_bases(sighting: Sighting) -> Iterator[str]:
    """Other beginnings of the URL: with the other scheme, without the path in front, and what the request speaks of."""
    parts = urlsplit(sighting.base)
    other = "http" if parts.scheme == "https" else "https"
    path = parts.path.rstrip("/")
    candidates = [
        f"{other}://{parts.netloc}{path}",
        f"{parts.scheme}://{parts.netloc}",
        *(f"{origin}{path}" for origin in sighting.origins),
        *sighting.origins,
    ]
    return (base for base in dict.fromkeys(candidates) if base != sighting.base)


_REASONS: Mapping[str, str] = {
    "signature missing": "Nothing signed this request: it is not from Twilio, or a proxy drops X-Twilio-Signature.",
    "unknown algorithm": "The request names a way of signing that the connector does not know.",
    "unknown shared key": "It is signed with a shared key that this connection does not have: add it to shared_keys.",
    "no auth token": "The account's connection has no auth token to check with: configure auth_token.",
    "body not covered": "The body is no form and its hash is not in the signed URL, so that nothing vouches for it.",
    "body changed": "The body is not the one whose hash was signed: a proxy changes bodies.",
    "signature wrong": "No address that comes into question matches: most likely the auth token is another one (was it "
    "rotated?), a proxy changes the body or the query, or somebody forges callbacks.",
}


def _advice(sighting: Sighting, verdict: Verdict, matching: str | None, *, account: str, knows_account: bool) -> str:
    """One sentence for somebody who looks for the cause: the first that applies."""
    cases = (
        (sighting.is_stored, "The signature was right, and the broker acknowledged the record."),
        (sighting.status != FORBIDDEN, "The signature is not the cause: the request was refused for what it is."),
        (not account, "It names no AccountSid, which everything from Twilio does."),
        (not knows_account, "No connection has this account: add one for it, or stop whoever sends this."),
        (verdict.valid, "With the keys as they are now the signature is right: the next delivery is accepted."),
        (matching is not None, f"Twilio signed another address: set callbacks.public_url to {matching}."),
    )
    return next((sentence for applies, sentence in cases if applies), _REASONS.get(verdict.reason, verdict.reason))
