"""What an answer of Twilio means: a usable response, or the error whose class says what may be done next. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError, Unreadable
from connector.resources.fields import parse_time
from connector.twilio.decoding import decode

TOO_MANY_REQUESTS = 20429
AUTHENTICATION = 20003
LARGEST_CODE = 999_999_999
LONGEST_MESSAGE = 2_000
LONGEST_HEADER = 200
LONGEST_RETRY_AFTER_SECONDS = 300.0
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


@dataclass(frozen=True, slots=True)
class Response:
    """A 2xx of Twilio: status, raw body and the headers that matter."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """Twilio's id of the request, `RQ…`."""
        return header(self.headers, "Twilio-Request-Id")

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return (header(self.headers, "Content-Type") or "").partition(";")[0].strip().lower()

    @property
    def date(self) -> datetime | None:
        """Twilio's clock when it answered, UTC, in seconds."""
        return parse_date(self.headers.get("Date"))

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


def is_success(status: int) -> bool:
    """Whether a status is 2xx; Twilio uses several of them for the same thing."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def answer_outcome(status: int) -> str:
    """How a request ended, for the metrics: `missing` without an answer (status 0), else by the kind of its status."""
    match status:
        case 0:
            return "missing"
        case HTTPStatus.UNAUTHORIZED:
            return "unauthorized"
        case HTTPStatus.TOO_MANY_REQUESTS:
            return "throttled"
        case _ if is_success(status):
            return "accepted"
        case _:
            return "refused" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "failed"


def parse_date(text: str | None) -> datetime | None:
    """The moment of a Date header; None when there is none or it cannot be read."""
    try:
        return parse_time(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None


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
        request_id=header(headers, "Twilio-Request-Id"),
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
