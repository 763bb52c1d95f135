"""What an answer of Twilio means: a usable response, or the error whose class says what may be done next. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

import orjson

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError
from connector.resources.fields import parse_time

TOO_MANY_REQUESTS = 20429
AUTHENTICATION = 20003


@dataclass(frozen=True, slots=True)
class Response:
    """A 2xx of Twilio: status, raw body and the headers that matter."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """Twilio's id of the request, `RQ…`."""
        return self.headers.get("Twilio-Request-Id")

    @property
    def content_type(self) -> str:
        """The media type without parameters, in lower case."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def date(self) -> datetime | None:
        """Twilio's clock when it answered, UTC, in seconds."""
        return parse_date(self.headers.get("Date"))

    def json(self) -> Any:
        """The body as JSON, None when it is empty (DELETE).

        Raises PerhapsExecuted when it is something else, as a gateway's answer may be.
        """
        if not self.body:
            return None
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise PerhapsExecuted(
                f"Twilio answered {self.status} with a body that is not JSON ({self.content_type or 'no type'}).",
                status=self.status,
                request_id=self.request_id,
            ) from error


def is_success(status: int) -> bool:
    """Whether a status is 2xx; Twilio uses several of them for the same thing."""
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def parse_date(text: str | None) -> datetime | None:
    """The moment of a Date header; None when there is none or it cannot be read."""
    try:
        return parse_time(text) if text else None
    except ValueError:
        return None


def failure(status: int, body: bytes, headers: Mapping[str, str]) -> TwilioError:
    """The error that an answer other than 2xx means (guarantees, section 3; contract, section 8)."""
    document, text = _document(body)
    code = _code(document)
    message = next((str(document[name]) for name in ("message", "detail", "title") if document.get(name)), "")
    return _class(status, code)(
        message or f"Twilio answered {status} without an explanation.",
        status=status,
        code=code,
        more_info=document.get("more_info") or document.get("type"),
        request_id=headers.get("Twilio-Request-Id"),
        retry_after=_seconds(headers.get("Retry-After")),
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
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    return (found, "") if isinstance(found, dict) else ({}, body.decode(errors="replace"))


def _code(document: Mapping[str, Any]) -> int | None:
    code = document.get("code")
    return int(code) if isinstance(code, int) or (isinstance(code, str) and code.isdecimal()) else None


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds. Its other form, a date, is rare and worth no more than our own backoff."""
    return float(text) if text and text.isdecimal() else None
