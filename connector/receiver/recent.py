"""The last requests that came to this process, stored and refused, so that people can see why a check failed.

Few bodies are kept, in memory only, and they are shown only on demand. The public port never waits for this.
"""

import itertools
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from connector.errors import InvalidRecord
from connector.receiver import form
from connector.receiver.connection import SETTINGS_HEADER, SIGNATURE_HEADER, Request
from connector.receiver.intake import FORM, Route
from connector.receiver.refusals import IDEMPOTENCY_HEADER
from connector.twilio.signature import Keys, Verdict, explain

REFUSED = 200
STORED = 100
PER_SECOND = 20
KEPT_BYTES = 4 * 1024**2
LARGEST_BODY = 16 * 1024
FORBIDDEN = 403


@dataclass(frozen=True, slots=True)
class RecentRequest:
    """A callback as it came. `base` + `target` + `fragment` is what was checked; `reason` why it was refused."""

    number: int
    came: float
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
    def at(self) -> datetime:
        """When it came, UTC, in milliseconds."""
        return datetime.fromtimestamp(round(self.came, 3), UTC)

    @property
    def size(self) -> int:
        """How many bytes it keeps."""
        texts = (self.target, self.content_type, self.settings, self.signature, self.token, *self.origins)
        return sum(map(len, texts)) + len(self.body or b"")

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


class RecentRequests:
    """The last refused and the last stored callbacks of this process."""

    def __init__(self, *, refused: int = REFUSED, stored: int = STORED) -> None:
        self._refused: deque[RecentRequest] = deque(maxlen=refused)
        self._stored: deque[RecentRequest] = deque(maxlen=stored)
        self._numbers = itertools.count(1)
        self._second = 0
        self._noted = 0

    def note(self, request: Request, route: Route, *, status: int, reason: str = "") -> None:
        """Keep a request that has just been answered; of a flood, a few each second."""
        if not self._has_room():
            return
        recent = RecentRequest(
            number=next(self._numbers),
            came=time.time(),
            kind=route.row.kind,
            method=request.method,
            base=route.base,
            target=request.target,
            origins=_origins(request),
            content_type=request.media_type,
            settings=request.headers.get(SETTINGS_HEADER, ""),
            status=status,
            reason=reason,
            signature=request.headers.get(SIGNATURE_HEADER, ""),
            token=request.headers.get(IDEMPOTENCY_HEADER, ""),
            body=bytes(request.body) if len(request.body) <= LARGEST_BODY else None,
            fragment=route.fragment,
        )
        kept = self._refused if reason else self._stored
        kept.append(recent)
        while sum(other.size for other in kept) > KEPT_BYTES:
            kept.popleft()

    def _has_room(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._noted = second, 0
        self._noted += 1
        return self._noted <= PER_SECOND

    def __iter__(self) -> Iterator[RecentRequest]:
        return iter(sorted([*self._refused, *self._stored], key=lambda recent: -recent.number))

    def find(self, number: int) -> RecentRequest | None:
        """One of them by its number, None when it has been dropped."""
        return next((recent for recent in self if recent.number == number), None)


def explanation(recent: RecentRequest, keys: Mapping[str, Keys]) -> Explanation:
    """Compare again with every address and secret that comes into question, with the keys as they are now."""
    account = _account(recent, keys)
    mine = keys.get(account, Keys())
    verdict = _explained(recent, recent.base, mine)
    others = (base for base in _other_bases(recent) if _explained(recent, base, mine).valid)
    matching = None if verdict.valid else next(others, None)
    advice = _advice(recent, verdict, matching, account=account, knows_account=account in keys)
    return Explanation(verdict, account, account in keys, matching, advice)


def _account(recent: RecentRequest, keys: Mapping[str, Keys]) -> str:
    """Whose callback it says it is; of events, whose signature it bears, or any account of ours."""
    if recent.is_form or recent.method == "GET":
        return dict(recent.pairs).get("AccountSid", "")
    signers = (account for account, mine in keys.items() if _explained(recent, recent.base, mine).valid)
    return next(signers, next(iter(keys), ""))


def _explained(recent: RecentRequest, base: str, keys: Keys) -> Verdict:
    pairs: Sequence[tuple[str, str]] = recent.pairs if recent.method != "GET" else []
    body = None if recent.method == "GET" or recent.is_form else recent.body or b""
    url = base + recent.target + recent.fragment
    return explain(url, pairs, recent.signature, keys, settings=recent.settings, body=body)


def _origins(request: Request) -> tuple[str, ...]:
    """The addresses that the request itself names, in front of a proxy and behind it."""
    hosts = (request.headers.get(b"x-forwarded-host", "").partition(",")[0].strip(), request.headers.get(b"host", ""))
    schemes = (request.headers.get(b"x-forwarded-proto", "").partition(",")[0].strip(), "https", "http")
    found = (f"{scheme}://{host}" for host in hosts if host for scheme in schemes if scheme in ("https", "http"))
    return tuple(dict.fromkeys(found))


def _other_bases(recent: RecentRequest) -> Iterator[str]:
    """Other beginnings of the URL: with the other scheme, without the path in front, and what the request speaks of."""
    parts = urlsplit(recent.base)
    other = "http" if parts.scheme == "https" else "https"
    path = parts.path.rstrip("/")
    candidates = [
        f"{other}://{parts.netloc}{path}",
        f"{parts.scheme}://{parts.netloc}",
        *(f"{origin}{path}" for origin in recent.origins),
        *recent.origins,
    ]
    return (base for base in dict.fromkeys(candidates) if base != recent.base)


_REASONS: Mapping[str, str] = {
    "signature missing": "Nothing signed this request: it is not from Twilio, or a proxy drops X-Twilio-Signature.",
    "unknown algorithm": "The request names a way of signing that the connector does not know.",
    "unknown shared key": "It is signed with a shared key that this connection does not have: add it to shared_keys.",
    "no auth token": "The account's connection has no auth token to check with: configure auth_token.",
    "body not covered": "The body is no form and its hash is not in the signed URL, so that nothing vouches for it.",
    "body changed": "The body is not the one whose hash was signed: a proxy changes bodies.",
    "signature wrong": "No address that comes into question matches: most likely the auth token is another one (was it "
    "rotated?), a proxy changes the body or the query, or the callbacks are forged.",
}


def _advice(recent: RecentRequest, verdict: Verdict, matching: str | None, *, account: str, knows_account: bool) -> str:
    """One sentence for the operator who looks for the cause: the first that applies."""
    cases = (
        (recent.is_stored, "The signature was right, and the broker acknowledged the record."),
        (recent.status != FORBIDDEN, "The signature is not the cause: the request was refused for what it is."),
        (not account, "It names no AccountSid, which everything from Twilio does."),
        (not knows_account, "No connection has this account: add one for it, or stop the sender."),
        (verdict.valid, "With the keys as they are now the signature is right: the next delivery is accepted."),
        (matching is not None, f"Twilio signed another address: set callbacks.public_url to {matching}."),
    )
    return next((sentence for applies, sentence in cases if applies), _REASONS.get(verdict.reason, verdict.reason))
