"""HTTP with Twilio: a request as it goes out; a response, or the error whose class says what may be done next. Pure.

Twilio shows text that strangers wrote and that was cut anywhere. One such character must not make a whole page
unreadable, so what is unusual is read leniently: it becomes something that the rows' own checks can judge.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, quote_plus, urljoin

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, Rejected, TwilioError, Unreadable
from connector.resources.rows import Request
from connector.twilio.clock import parse_date

TOO_MANY_REQUESTS = 20429
AUTHENTICATION = 20003
LARGEST_CODE = 999_999_999
LONGEST_MESSAGE = 2_000
LONGEST_HEADER = 200
LONGEST_RETRY_AFTER_SECONDS = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
# What is a success: Twilio uses several statuses for the same thing.
REQUEST_ID = "Twilio-Request-Id"
"""The header that Twilio's own answers have, and those of a proxy before it have not."""
SUCCESS = range(HTTPStatus.OK, HTTPStatus.MULTIPLE_CHOICES)
DEEPEST = 64
"""How deep arrays and objects of an unusual body may nest; what is deeper becomes the text `TOO_DEEP`."""
TOO_DEEP = "(nested too deeply)"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# A string, whole or cut off at the end, or a bracket.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONGEST_INTEGER = 20


FORM = "application/x-www-form-urlencoded"

LONGEST_REMEMBERED = 500
# What RFC 3986 allows in path and query goes out byte for byte; paging links break when they are normalised.
_AS_IT_IS = "%/?:@!$&'()*+,;=[]~"
# Ours to say, whatever a command's headers hold.
_OURS = ("Authorization", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Cookie")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


# --- requests --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Outgoing:
    """One HTTP request. Without `authorization` in the headers it may go anywhere."""

    method: str
    url: URL = field(repr=False)
    headers: CIMultiDict[str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)


def encode(request: Request, *, base: str, account_sid: str, authorization: str) -> Outgoing:
    """Write a request for the connection's host `base` and account.

    Raises Rejected for a path or header that cannot be sent.
    """
    body, content_type = _body(request)
    headers = _request_headers(request)
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


def _request_headers(request: Request) -> CIMultiDict[str]:
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


def redirected(outgoing: Outgoing, location: str, *, own: Collection[str]) -> Outgoing:
    """The request to where a Location header points, without userinfo; only one of our `own` origins gets credentials.

    Raises Refused when the header cannot be read, or leads to another host without TLS.
    """
    try:
        target = URL(urljoin(str(outgoing.url), location), encoded=True)
        target = target.with_user(None).with_fragment(None) if target.host else _unreadable()
    except ValueError as error:
        raise Refused("Twilio redirects to an address that cannot be read.") from error
    if origin(str(target)) in own:
        return replace(outgoing, url=target)
    if target.scheme != "https":
        raise Refused(f"A redirect to {target.host} without TLS is not followed.")
    headers = outgoing.headers.copy()
    headers.popall("Authorization", None)
    return replace(outgoing, url=target, headers=headers)


def _unreadable() -> URL:
    raise ValueError("no host")


# --- responses -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Response:
    """A 2xx of Twilio: status, raw body, headers, and Twilio's clock when it answered: UTC, in seconds."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    date: datetime | None = None

    @property
    def request_id(self) -> str | None:
        """Twilio's id of the request, `RQ…`."""
        return header(self.headers, REQUEST_ID)

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return (header(self.headers, "Content-Type") or "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON, which can be written again as UTF-8; None when it is empty (DELETE).

        Raises Unreadable when it is something else, as a gateway's answer may be.
        """
        if not self.body.strip():
            return None
        try:
            return decode(self.body)
        except ValueError as error:
            raise Unreadable(
                f"Twilio answered {self.status} with a body that is not JSON ({self.content_type or 'no type'}): "
                f"{error}.",
                status=self.status,
                request_id=self.request_id,
            ) from error


def header(headers: Mapping[str, str], name: str) -> str | None:
    """The beginning of a header's value, as text that can be written as UTF-8; None when there is none."""
    value = headers.get(name)
    return value[:LONGEST_HEADER].encode(errors="replace").decode() if value else None


def answer_outcome(status: int) -> str:
    """How a request ended, for the metrics: `missing` without an answer (status 0), else by the kind of its status."""
    match status:
        case 0:
            return "missing"
        case HTTPStatus.UNAUTHORIZED:
            return "unauthorized"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "throttled"
        case _ if status in SUCCESS:
            return "accepted"
        case _:
            return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"


def translation(url: URL, error: Exception) -> TwilioError:
    """What an exception of aiohttp means. Only connecting fails in ways that prove that nothing was executed."""
    if isinstance(error.__cause__, NotExecuted):
        return error.__cause__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return NotExecuted(f"{url.host} cannot be reached ({_reason(error)}).")
    if isinstance(error, TimeoutError):
        return PerhapsExecuted(f"{url.host} did not answer in time.")
    return PerhapsExecuted(f"The connection to {url.host} broke ({type(error).__name__}).")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Aiohttp's exceptions as ours."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise translation(url, error) from error


def failure(status: int, body: bytes, headers: Mapping[str, str]) -> TwilioError:
    """The error that an answer other than 2xx means (guarantees, section 3; contract, section 8)."""
    document, text = _document(body)
    code = _code(document.get("code"))
    message = next((str(document[name]) for name in ("message", "detail", "title") if document.get(name)), "")
    more_info = next((document[name] for name in ("more_info", "type") if isinstance(document.get(name), str)), None)
    return _class(status, code)(
        message[:LONGEST_MESSAGE] or f"Twilio answered {status} without an explanation.",
        status=status,
        code=code,
        more_info=more_info and more_info[:LONGEST_MESSAGE],
        request_id=header(headers, REQUEST_ID),
        retry_after=_retry_after(headers),
        body=document or text,
    )


def _class(status: int, code: int | None) -> type[TwilioError]:
    if status == HTTPStatus.TOO_MANY_REQUESTS or code == TOO_MANY_REQUESTS:
        return NotExecuted
    if status == HTTPStatus.UNAUTHORIZED or (status == HTTPStatus.FORBIDDEN and code == AUTHENTICATION):
        return BadCredentials
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return PerhapsExecuted
    return Refused


def _document(body: bytes) -> tuple[dict[str, Any], str]:
    """The error as an object, or else as text: a gateway answers HTML, XML or nothing."""
    try:
        document = decode(body)
    except ValueError:
        document = None
    return (document, "") if isinstance(document, dict) else ({}, body.decode(errors="replace"))


def _code(code: object) -> int | None:
    """Twilio's error code, a number or its digits; None for what cannot be one."""
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) <= len(str(LARGEST_CODE)):
        return int(code)
    if isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= LARGEST_CODE:
        return code
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After, in seconds or as a date by Twilio's own clock: some minutes at the most, None when it is not ahead.

    A longer delay would silence a watch or a command's key because of one odd answer.
    """
    text = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        seconds = float(text)
    else:
        moment, answered_at = parse_date(text), parse_date(headers.get("Date")) or datetime.now(UTC)
        seconds = (moment - answered_at).total_seconds() if moment else 0.0
    return min(seconds, LONGEST_RETRY_AFTER_SECONDS) if seconds > 0 else None


# --- JSON, however odd the text in it --------------------------------------------------------------------------------
def decode(body: bytes) -> Any:
    """The value that the body holds, which can be written again as UTF-8; of repeated keys the last counts.

    Half of a surrogate pair and bytes that are not UTF-8 become U+FFFD. A number that JSON or 64 bits do not have (NaN,
    1e999, 5,000 digits) becomes its text. Raises ValueError with the reason, which holds nothing of the body.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _lenient(body)


def _lenient(body: bytes) -> Any:
    text = body.decode(json.detect_encoding(body), errors="replace").removeprefix("\ufeff")
    try:
        return _writable(_DECODER.decode(_shallow(text)))
    except json.JSONDecodeError as error:
        raise ValueError(error.msg) from error
    except RecursionError as error:
        raise ValueError("It nests too deeply") from error


def _shallow(text: str) -> str:
    """The text with every array and object beyond `DEEPEST` replaced."""
    parts: list[str] = []
    kept = 0
    for start, end in _deep(text):
        parts += (text[kept:start], f'"{TOO_DEEP}"')
        kept = end
    return "".join((*parts, text[kept:])) if parts else text


def _deep(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each array and object that nests too deeply."""
    depth = start = 0
    for token in _TOKEN.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            start = token.start() if depth == DEEPEST + 1 else start
        elif token[0] in ("]", "}"):
            if depth == DEEPEST + 1:
                yield start, token.end()
            depth -= 1


def _writable(value: Any) -> Any:
    """The value without lone surrogates."""
    match value:
        case str():
            return _LONE_SURROGATE.sub("\ufffd", value)
        case list():
            return [_writable(item) for item in value]
        case dict():
            return {_writable(name): _writable(item) for name, item in value.items()}
    return value


def _integer(digits: str) -> int | str:
    value = int(digits) if len(digits) <= _LONGEST_INTEGER else None
    return value if value is not None and -(2**63) <= value < 2**64 else digits


def _number(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=str, strict=False)
