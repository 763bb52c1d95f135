"""A request as it goes out: URL, headers, body. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import quote, quote_plus, urljoin

from multidict import CIMultiDict
from yarl import URL

from connector.errors import Refused, Rejected
from connector.resources.rows import Request

FORM = "application/x-www-form-urlencoded"

LONGEST_REMEMBERED = 500
# What RFC 3986 allows in path and query goes out byte for byte; paging links break when they are normalised.
_AS_IT_IS = "%/?:@!$&'()*+,;=[]~"
# Ours to say, whatever a command's headers hold.
_OURS = ("Authorization", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Cookie")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request. Without `authorization` in the headers it may go anywhere."""

    method: str
    url: URL = field(repr=False)
    headers: CIMultiDict[str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)

    def at(self, url: URL) -> "Outgoing":
        """The same request to where a redirect points."""
        return replace(self, url=url)

    def anonymous(self) -> "Outgoing":
        """The same request without credentials."""
        headers = self.headers.copy()
        headers.popall("Authorization", None)
        return replace(self, headers=headers)


def encode(request: Request, *, base: str, account_sid: str, authorization: str) -> Outgoing:
    """Write a request for the connection's host `base` and account.

    Raises Rejected for a path or header that cannot be sent.
    """
    body, content_type = _body(request)
    headers = _headers(request)
    if content_type:
        headers.setdefault("Content-Type", content_type)
    headers["Authorization"] = authorization
    return Outgoing(request.method, _url(request, base, account_sid), headers, body)


def _url(request: Request, base: str, account_sid: str) -> URL:
    if not request.path.startswith("/"):
        raise Rejected("The URL of an API call starts with '/': the host is the connection's.")
    # A path of a caller's may be as long as a record: those are not remembered.
    address = (_address if len(request.path) <= LONGEST_REMEMBERED else _address.__wrapped__)(
        base, request.path, account_sid
    )
    if not request.query:
        return address
    separator = "&" if "?" in request.path else "?"
    return URL(f"{address}{separator}{_form(request.query)}", encoded=True)


@lru_cache(maxsize=1024)
def _address(base: str, path: str, account_sid: str) -> URL:
    """Creates go to a few addresses, again and again."""
    return URL(base + quote(path.replace("{AccountSid}", account_sid), safe=_AS_IT_IS), encoded=True)


def _body(request: Request) -> tuple[bytes | None, str | None]:
    """Body and media type; none for GET, which Twilio answers with 403 if it has a body."""
    if request.method == "GET":
        return None, None
    if request.form is not None:
        return _form(request.form).encode(), FORM
    return request.body, FORM if request.body else None


def _form(pairs: Iterable[tuple[str, str]]) -> str:
    """As `urlencode` writes it; most names and many values are letters and digits, which stay as they are."""
    return "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in pairs])


def _quoted(text: str) -> str:
    return text if text.isalnum() and text.isascii() else quote_plus(text)


def _headers(request: Request) -> CIMultiDict[str]:
    headers = CIMultiDict(request.headers)
    for name, value in request.headers:
        if not name or _CONTROL.search(name + value):
            raise Rejected(f"Header {name[:40]!r} holds a control character: remove it.")
    for name in _OURS if headers else ():
        headers.popall(name, None)
    headers.setdefault("Accept", "application/json" if request.path.endswith(".json") else "*/*")
    return headers


def origin(url: str) -> str:
    """Scheme, host and port of a URL, for comparison; empty when it has none."""
    try:
        return str(URL(url, encoded=True).origin())
    except ValueError:
        return ""


def redirected(url: URL, location: str) -> URL:
    """Where a Location header points, without userinfo. Raises Refused when it cannot be read."""
    try:
        target = URL(urljoin(str(url), location), encoded=True)
        return target.with_user(None).with_fragment(None) if target.host else _unreadable()
    except ValueError as error:
        raise Refused("Twilio redirects to an address that cannot be read.") from error


def _unreadable() -> URL:
    raise ValueError("no host")
