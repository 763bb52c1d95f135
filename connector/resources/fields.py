"""Field types shared by bundles and parameters: how Twilio writes a value, and how we publish or accept it."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, StringConstraints

from connector.events import timestamp


@lru_cache(maxsize=4096)
def parse_time(text: str) -> datetime:
    """RFC 2822 (2010 API) or ISO 8601 (newer domains) to an aware UTC moment.

    Raises ValueError when it is neither.
    """
    if text[:1].isdigit():
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    return parsedate_to_datetime(text).astimezone(UTC)


def _time(value: Any) -> Any:
    return parse_time(value) if isinstance(value, str) and value else value or None


def _blank(value: Any) -> Any:
    """Twilio writes an absent value as null or as an empty string (facts: 2.2)."""
    return None if value == "" else value


def _decimal_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else _blank(value)


# --- what bundles hold -------------------------------------------------------------------------------------------
Timestamp = Annotated[
    datetime | None,
    BeforeValidator(_time),
    PlainSerializer(lambda moment: moment and timestamp(moment), return_type=str | None),
    Field(description="RFC 3339, UTC."),
]
Count = Annotated[int | None, BeforeValidator(_blank)]
Price = Annotated[
    str | None,
    BeforeValidator(_decimal_text),
    Field(description="A decimal number as text, usually negative: what the account was charged."),
]
Text = str | None
Optional = Annotated[str | None, BeforeValidator(_blank)]

# --- what parameters accept --------------------------------------------------------------------------------------
_ADDRESS = re.compile(r"^(?:[a-z][a-z0-9_-]*:)?[^\s:][^\s]*$|^[A-Za-z0-9 &+_-]{1,11}$")
_HOST_WITH_UNDERSCORE = re.compile(r"^[a-z]+://(?:[^/@]*@)?[^/:]*_", re.IGNORECASE)


def _recipient(value: str) -> str:
    if value.startswith("+") and not re.fullmatch(r"\+[1-9]\d{1,14}", value):
        raise ValueError("is no E.164 number: write '+', the country code and the number, 15 digits at most")
    if not _ADDRESS.fullmatch(value):
        raise ValueError("is neither an E.164 number nor a channel address such as whatsapp:+15551234567")
    return value


def _url(value: str) -> str:
    if not re.match(r"^https?://[^\s/?#]+", value, re.IGNORECASE):
        raise ValueError("is no absolute http or https URL")
    if _HOST_WITH_UNDERSCORE.match(value):
        raise ValueError("has an underscore in its host name, which Twilio refuses (21609)")
    return value


def sid(*prefixes: str) -> StringConstraints:
    """What makes a SID of one of the prefixes: two letters and 32 hexadecimal digits."""
    return StringConstraints(pattern=rf"^(?:{'|'.join(prefixes)})[0-9a-fA-F]{{32}}$")


Address = Annotated[str, StringConstraints(min_length=1), AfterValidator(_recipient)]
Url = Annotated[str, AfterValidator(_url)]
AlertSid = Annotated[str, sid("NO")]
ApplicationSid = Annotated[str, sid("AP")]
CallSid = Annotated[str, sid("CA")]
ConferenceSid = Annotated[str, sid("CF")]
ContentSid = Annotated[str, sid("HX")]
MediaSid = Annotated[str, sid("ME")]
MessageSid = Annotated[str, sid("SM", "MM")]
MessagingServiceSid = Annotated[str, sid("MG")]
PhoneNumberSid = Annotated[str, sid("PN")]
RecordingSid = Annotated[str, sid("RE")]
TranscriptionSid = Annotated[str, sid("TR")]
