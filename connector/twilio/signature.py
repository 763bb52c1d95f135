"""X-Twilio-Signature: compute, verify, explain. Pure; whatever a caller sends, nothing here raises.

Source of every rule: Twilio, usage/security and usage/webhooks/webhook-shared-keys.
"""

import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from yarl import query_to_pairs

Pairs = Iterable[tuple[str, str]]
Reason = Literal[
    "valid",
    "signature missing",
    "signature wrong",
    "unknown algorithm",
    "unknown shared key",
    "no auth token",
    "body not covered",
    "body changed",
]

SIGNATURE_HEADER = "X-Twilio-Signature"
SETTINGS_HEADER = "X-Twilio-Webhooks-Signature-Settings"
SHA1 = "HMAC_SHA1"
SHA256 = "HMAC_SHA256"

# scheme://, userinfo@, host (brackets around IPv6), :port, the rest.
_URL = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*@)?(\[[^/?#\]]*\]|[^/?#:]*)(:\d*)?(.*)$", re.DOTALL)
# Twilio escapes some characters of a query before it signs it, and others after.
_ESCAPED_SIP = (("%40", "@"), ("%3A", ":"), ("%3a", ":"))
_ESCAPED_MARKS = tuple((f"%{ord(mark):{case}}", mark) for mark in "!'()*~" for case in ("02X", "02x"))
# Of these marks JavaScript escapes none, RFC 3986 all but `~`, Java all but `*`, and others all.
_MARKS = tuple(tuple((mark, f"%{ord(mark):02X}") for mark in marks) for marks in ("!'()*", "!'()~", "!'()*~"))


class Distinct(list[tuple[str, str]]):
    """Each field once, in code point order, as fields are signed: of `sorted(set(fields))`, which is not done again."""

    __slots__ = ()


def compute(url: str, params: Pairs, token: str) -> str:
    """The HMAC-SHA1 signature of a callback, base64. `params`: the decoded fields of a form; none for GET or JSON."""
    return Secret(token, "sha1").sign(signed_string(url, params)).decode()


def compute_sha256(url: str, params: Pairs, secret: str) -> str:
    """The HMAC-SHA256 signature, base64, made with a shared key's secret."""
    return Secret(secret, "sha256").sign(signed_string(url, params)).decode()


def signed_string(url: str, params: Pairs) -> str:
    """What is signed: the URL without fragment, then each distinct key and value in code point order."""
    return url.partition("#")[0] + _joined(params)


def _joined(params: Pairs) -> str:
    distinct = params if isinstance(params, Distinct) else sorted(set(params))
    return "".join([name + value for name, value in distinct])


def _encoded(text: str) -> bytes:
    """UTF-8; a lone surrogate, which no honest caller sends, makes a wrong signature instead of an exception."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


class Secret:
    """An Auth Token or a shared key's secret, with HMAC's first block already digested."""

    __slots__ = ("_state",)

    def __init__(self, secret: str, digest: Literal["sha1", "sha256"]) -> None:
        self._state = hmac.new(secret.encode(), digestmod=digest)

    def sign(self, text: str) -> bytes:
        """The signature of a string, base64."""
        state = self._state.copy()
        state.update(_encoded(text))
        return binascii.b2a_base64(state.digest(), newline=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """What may have signed an account's callbacks: its Auth Tokens by a label, and its shared keys by their id."""

    tokens: Mapping[str, Secret] = field(default_factory=dict, repr=False)
    shared: Mapping[str, Secret] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, tokens: Iterable[str], shared: Mapping[str, str] | None = None) -> "Keys":
        """Keys from plain secrets; several tokens are accepted at a time, for rotation. Empty secrets sign nothing."""
        return cls(
            {f"auth token {number}": Secret(token, "sha1") for number, token in enumerate(tokens, 1) if token},
            {name: Secret(secret, "sha256") for name, secret in (shared or {}).items() if secret},
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One combination that was tried: the URL variant, the string signed, and which secret (`auth token 1`)."""

    url: str
    signed: str = field(repr=False)
    secret: str
    matches: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a callback is Twilio's, and why not. `attempts` are filled by `explain` alone."""

    valid: bool
    reason: Reason
    algorithm: str = SHA1
    attempts: tuple[Attempt, ...] = ()


_VALID = Verdict(valid=True, reason="valid")
_WRONG = Verdict(valid=False, reason="signature wrong")


def settings_of(header: str) -> tuple[str, str]:
    """Key id and algorithm of the settings header; without a named algorithm it is HMAC_SHA1."""
    named: dict[str, str] = {}
    for part in header.split(","):
        name, _, value = part.partition("=")
        if value.strip():
            named.setdefault(name.strip(), value.strip())
    return named.get("key", ""), named.get("algorithm", SHA1).upper()


def body_hashes(url: str) -> list[str]:
    """Every `bodySHA256` in the query of a URL or target."""
    if "bodySHA256" not in url and "%" not in url:
        return []
    query = url.partition("#")[0].partition("?")[2]
    return [value for name, value in query_to_pairs(query) if name == "bodySHA256"]


def url_variants(url: str) -> list[str]:
    """The URLs that Twilio may have signed for this one, likeliest first; all of them say the same.

    Twilio drops or keeps the port depending on the product, drops userinfo for messages and calls, and signs a query
    before or after it escapes it. The fragment (connection overrides) may be signed or not.
    Source: Twilio, usage/security; twilio-node, pull requests 621 and 1061.
    """
    bare, mark, overrides = url.partition("#")
    parsed = _URL.match(bare)
    if parsed is None:
        return [bare]
    scheme, user, host, port, path = parsed.groups(default="")
    other = "" if port else (":443" if scheme.lower() == "https://" else ":80")
    return [
        f"{scheme}{name}{host}{number}{rest}{fragment}"
        for fragment in dict.fromkeys(("", mark + overrides))
        for rest in _spellings(path)
        for name in dict.fromkeys((user, ""))
        for number in (port, other)
    ]


def _spellings(rest: str) -> Iterable[str]:
    """Path and query as they came; then `@:` in the query bare, and `!'()*~` as each kind of writer leaves them."""
    path, _, query = rest.partition("?")
    if not query:
        return dict.fromkeys((rest, path))
    spellings = []
    for given in (query, _replaced(query, _ESCAPED_SIP)):
        bare = _replaced(given, _ESCAPED_MARKS)
        spellings += [given, bare, *(_replaced(bare, marks) for marks in _MARKS)]
    return dict.fromkeys(f"{path}?{spelling}" for spelling in spellings)


def _replaced(text: str, replacements: Iterable[tuple[str, str]]) -> str:
    """A stranger's address may be 64 KiB of marks: each is searched for in C, and none makes another one."""
    for old, new in replacements:
        text = text.replace(old, new)
    return text


def verify(
    url: str, pairs: Pairs, signature: str | None, keys: Keys, *, settings: str = "", body: bytes | None = None
) -> Verdict:
    """Judge a callback. `url` is public URL + raw request target, `settings` the settings header.

    A form gives its decoded `pairs` and no `body`; GET neither; any other `body` must be covered by `bodySHA256`.
    The URL's fragment, which Twilio does not send, may be signed or not.
    """
    refused, algorithm, secrets = _selected(url, signature, keys, settings, body)
    if refused is not None:
        return Verdict(valid=False, reason=refused, algorithm=algorithm)
    given = _encoded(signature or "")
    tail = _joined(pairs) if body is None else ""
    for variant in _lazily(url):
        signed = variant + tail
        for secret in secrets.values():
            if hmac.compare_digest(secret.sign(signed), given):
                return _VALID
    return _WRONG


def explain(
    url: str, pairs: Pairs, signature: str | None, keys: Keys, *, settings: str = "", body: bytes | None = None
) -> Verdict:
    """The same judgement as `verify`, with every combination that was tried."""
    refused, algorithm, secrets = _selected(url, signature, keys, settings, body)
    tail = _joined(pairs) if body is None else ""
    given = _encoded(signature or "")
    attempts = tuple(
        Attempt(variant, variant + tail, name, hmac.compare_digest(secret.sign(variant + tail), given))
        for variant in url_variants(url)
        for name, secret in secrets.items()
    )
    valid = refused is None and any(attempt.matches for attempt in attempts)
    return Verdict(valid, refused or ("valid" if valid else "signature wrong"), algorithm, attempts)


def _lazily(url: str) -> Iterator[str]:
    """The URL itself first: nearly every callback ends there, and the variants are never made."""
    yield url.partition("#")[0]
    yield from url_variants(url)[1:]


def _selected(
    url: str, signature: str | None, keys: Keys, settings: str, body: bytes | None
) -> tuple[Reason | None, str, Mapping[str, Secret]]:
    """Why the callback is refused before any digest (or None), the algorithm, and the secrets that count.

    The algorithm alone selects the kind of secret: naming a shared key never makes an Auth Token acceptable for
    SHA-256, nor a shared key for SHA-1.
    """
    key, algorithm = settings_of(settings) if settings else ("", SHA1)
    secrets = _secrets(keys, key, algorithm)
    reason: Reason | None = None
    if not signature:
        reason = "signature missing"
    elif algorithm not in (SHA1, SHA256):
        reason = "unknown algorithm"
    elif not secrets:
        reason = "no auth token" if algorithm == SHA1 else "unknown shared key"
    elif body is not None:
        reason = _uncovered(url, body)
    return reason, algorithm, secrets


def _secrets(keys: Keys, key: str, algorithm: str) -> Mapping[str, Secret]:
    if algorithm == SHA1:
        return keys.tokens
    if algorithm == SHA256 and key in keys.shared:
        return {f"shared key {key}": keys.shared[key]}
    return {}


def _uncovered(url: str, body: bytes) -> Reason | None:
    """A body that is no form is covered only through its hash in the signed URL."""
    hashes = body_hashes(url)
    if not hashes:
        return "body not covered"
    digest = hashlib.sha256(body).hexdigest().encode()
    # Of two hashes one reader takes the first, another one the last: both must be the body's.
    same = all(hmac.compare_digest(digest, _encoded(given)) for given in hashes)
    return None if same else "body changed"
