"""Field types shared by bundles and parameters: how Twilio writes a value, and how we publish or accept it.

At the end the same for a whole row, in one pass.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from operator import itemgetter
from typing import Annotated, Any, Literal, cast

import orjson
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from connector.events import timestamp
from connector.resources.models import Bundle

# As Twilio writes RFC 2822. The general parser takes ten times as long, and stays for everything else.
_RFC_2822 = re.compile(
    r"[A-Z][a-z]{2}, ([0-9]{2}) ([A-Z][a-z]{2}) ([1-9][0-9]{3}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) \+0000"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=4096)
def parse_time(text: str) -> datetime:
    """RFC 2822 (2010 API) or ISO 8601 (newer domains) to an aware UTC moment.

    Raises ValueError when it is neither, or no moment between the years 1 and 9999.
    """
    try:
        return _parse_time(text)
    except OverflowError as error:
        raise ValueError("must lie between the years 1 and 9999") from error


def _parse_time(text: str) -> datetime:
    if usual := _RFC_2822.fullmatch(text):
        day, year, hour, minute, second = map(int, usual.group(1, 3, 4, 5, 6))
        return datetime(year, _MONTHS.index(usual[2]) + 1, day, hour, minute, second, tzinfo=UTC)
    moment = datetime.fromisoformat(text) if text[:1].isdigit() else parsedate_to_datetime(text)
    # The zone -0000 is none to Python, which would take the machine's.
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _time(value: Any) -> Any:
    return parse_time(value) if isinstance(value, str) and value else value or None


def _blank(value: Any) -> Any:
    """Twilio writes an absent value as null or as an empty string (facts: 2.2)."""
    return None if value == "" else value


def _decimal_text(value: Any) -> Any:
    """A number without its exponent: 0.00005 would be `5e-05`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format(Decimal(str(value)), "f") if is_number else _blank(value)


# --- what bundles hold -------------------------------------------------------------------------------------------
Timestamp = Annotated[
    datetime | None,
    BeforeValidator(_time),
    PlainSerializer(lambda moment: moment and timestamp(moment), return_type=str | None),
    Field(json_schema_extra={"format": "date-time"}),
]
Count = Annotated[int | None, BeforeValidator(_blank)]
Price = Annotated[
    str | None,
    BeforeValidator(_decimal_text),
    Field(description="A decimal number as text, usually negative: what the account was charged."),
]
Text = str | None
Switch = bool | None
Optional = Annotated[str | None, BeforeValidator(_blank)]

# --- what parameters accept --------------------------------------------------------------------------------------
_E164 = r"\+[1-9][0-9]{1,14}"
# A number, a national number or short code, an address such as whatsapp:+1555… or sip:a@b.example, or a SIM.
_PARTY = rf"{_E164}|[0-9]{{3,15}}|[a-z][a-z0-9_-]*:(?:{_E164}|[^\s+]\S*)|(?:DE|HS)[0-9a-fA-F]{{32}}"
_ALPHANUMERIC = r"(?=.*[A-Za-z])[A-Za-z0-9 &+_-]{1,11}"
_SCHEME = r"^[Hh][Tt][Tt][Pp][Ss]?://(?:[0-9A-Za-z._~!$&'()*+,;=:%-]*@)?"
_REST = r"(?::[0-9]{1,5})?(?:[/?#]\S*)?$"


@dataclass(frozen=True, slots=True)
class Shape:
    """A text that fits the pattern: checked with a sentence that says what is expected, and shown in the schema."""

    pattern: str
    expected: str

    def check(self, value: str) -> str:
        """The value. Raises ValueError when it does not fit; the sentence does not quote it, it may be a number."""
        if not re.fullmatch(self.pattern, value):
            raise ValueError(f"is not {self.expected}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validation: a text first, then its shape."""
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of a text with the pattern."""
        return {**handler(schema), "pattern": self.pattern}


def _moment(value: Any) -> Any:
    """A day (`2026-11-24`) or a time with its offset, from text."""
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value) if len(value) == DAY_LENGTH else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError("is neither a day (2026-11-24) nor a time with its offset (2026-11-24T12:00:00Z)") from None


def _with_offset(value: date) -> date:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("lacks its offset from UTC: write 2026-11-24T12:00:00Z")
    return value


def _json_object(value: Any) -> Any:
    """An object, also from its JSON text."""
    try:
        found = orjson.loads(value) if isinstance(value, str) else value
        orjson.dumps(found)
    except orjson.JSONDecodeError:
        raise ValueError("is neither an object nor the JSON text of one") from None
    except orjson.JSONEncodeError:
        raise ValueError("nests too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("is neither an object nor the JSON text of one")  # noqa: TRY004 - pydantic reports ValueError
    return found


def sid(*prefixes: str) -> Shape:
    """What makes a SID of one of the prefixes: two letters and 32 hexadecimal digits."""
    return Shape(
        rf"^(?:{'|'.join(prefixes)})[0-9a-fA-F]{{32}}$", f"a SID: {' or '.join(prefixes)} and 32 hexadecimal digits"
    )


DAY_LENGTH = len("2026-11-24")
Address = Annotated[
    str, Shape(rf"^(?:{_PARTY})$", "an E.164 number such as +15551234567 or an address such as whatsapp:+15551234567")
]
E164 = Annotated[str, Shape(rf"^{_E164}$", "an E.164 number: '+', country code and number, 15 digits at most")]
Sender = Annotated[
    str,
    Shape(
        rf"^(?:{_PARTY}|{_ALPHANUMERIC})$",
        "an E.164 number, a short code, an alphanumeric sender of at most 11 characters or an address",
    ),
]
Url = Annotated[str, Shape(rf"{_SCHEME}[0-9A-Za-z._-]+{_REST}", "an absolute http or https URL")]
CallbackUrl = Annotated[
    str,
    Shape(
        rf"{_SCHEME}[0-9A-Za-z.-]+{_REST}", "an absolute http or https URL without an underscore in its host (21609)"
    ),
]
Moment = Annotated[
    date | datetime,
    BeforeValidator(_moment),
    AfterValidator(_with_offset),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}),
]
_ObjectText = Annotated[
    str, Field(pattern=r"^\s*\{[\s\S]*\}\s*$", json_schema_extra={"contentMediaType": "application/json"})
]
JsonObject = Annotated[
    dict[str, Any], BeforeValidator(_json_object, json_schema_input_type=dict[str, Any] | _ObjectText)
]
Filter = Annotated[str, StringConstraints(min_length=1)]
Limit = Annotated[int | None, Field(ge=1, description="At most so many; left out: all.")]
Method = Literal["GET", "POST"]
AccountSid = Annotated[str, sid("AC")]
AddressSid = Annotated[str, sid("AD")]
AlertSid = Annotated[str, sid("NO")]
ApplicationSid = Annotated[str, sid("AP")]
BundleSid = Annotated[str, sid("BU")]
ByocSid = Annotated[str, sid("BY")]
CallSid = Annotated[str, sid("CA")]
ConferenceSid = Annotated[str, sid("CF")]
ContentSid = Annotated[str, sid("HX")]
IdentitySid = Annotated[str, sid("RI")]
MediaSid = Annotated[str, sid("ME")]
MessageSid = Annotated[str, sid("SM", "MM")]
MessagingServiceSid = Annotated[str, sid("MG")]
NotificationSid = Annotated[str, sid("NO")]
PhoneNumberSid = Annotated[str, sid("PN")]
RecordingSid = Annotated[str, sid("RE")]
TranscriptionSid = Annotated[str, sid("TR")]
TrunkSid = Annotated[str, sid("TK")]


# --- a row of Twilio's as the JSON of its bundle, in one pass: byte for byte what the model makes of it ---------------
# Most fields are text and stay text, so that building, checking and writing a model changes nothing. What is more than
# text goes through its field's own validator, each distinct value once; what is not ordinary goes the long way.
Convert = Callable[[Any], Any]

# Of each kind of value: the rows of a page share seconds, counts and prices.
REMEMBERED_VALUES = 1024
_TEXT = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the rows of one bundle.

    `empty` holds the declared fields by their JSON names, in order, all null; `texts` gets those that are text or null
    and stay as they are; `typed` are the others, `required` those that must be there.
    """

    bundle: type[Bundle]
    empty: Mapping[str, None]
    texts: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    typed: tuple[tuple[str, Convert], ...]
    required: tuple[str, ...]
    is_plain: bool

    @staticmethod
    @lru_cache(maxsize=64)
    def of(bundle: type[Bundle]) -> "Writer":
        """The writer of a bundle, shared by all its watches: what does not change from row to row is prepared."""
        fields = {info.alias or name: info for name, info in bundle.model_fields.items()}
        conversions = {name: conversion(info) for name, info in fields.items()}
        plain = [name for name, convert in conversions.items() if convert is None]
        return Writer(
            bundle=bundle,
            empty=dict.fromkeys(fields),
            # Getting one name gives a value, not a tuple; a name twice is always a tuple.
            texts=itemgetter(*plain, plain[0]) if plain else lambda _row: (),
            typed=tuple((name, convert) for name, convert in conversions.items() if convert),
            required=tuple(name for name, info in fields.items() if info.is_required()),
            is_plain=is_plain(bundle),
        )

    def write(self, row: Mapping[str, Any]) -> bytes:
        """The bundle as compact JSON. Raises ValidationError when the row does not fit it."""
        if self.is_plain:
            try:
                return self.in_one_pass(row)
            except (ValueError, TypeError):
                pass
        return self.bundle.model_validate(row).json_bytes()

    def in_one_pass(self, row: Mapping[str, Any]) -> bytes:
        """The usual row without its model. Raises ValueError or TypeError for any other."""
        document = {**self.empty, **row}
        if not _TEXT.issuperset(map(type, self.texts(document))):
            raise TypeError
        for name, convert in self.typed:
            value = document[name]
            if value is not None:
                document[name] = convert(value)
        for name in self.required:
            if document[name] is None:
                raise TypeError
        return orjson.dumps(document, option=orjson.OPT_UTC_Z)


def is_plain(bundle: type[Bundle]) -> bool:
    """Whether bundles of this kind are their fields and nothing else: no rules, no values of their own."""
    own = bundle.__pydantic_decorators__
    has_rules = own.model_validators or own.field_validators or own.computed_fields or own.model_serializers
    starts_null = all(info.is_required() or info.default is None for info in bundle.model_fields.values())
    return not has_rules and starts_null and bundle.json_bytes is Bundle.json_bytes


def conversion(field: FieldInfo) -> Convert | None:
    """What a field makes of a value that is not null, as JSON's own types; None when it is text and stays as it is."""
    if field.annotation in (str, str | None) and not field.metadata:
        return None
    for usual, convert in _USUAL:
        if (field.annotation, field.metadata) == (usual.annotation, usual.metadata):
            return convert
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    validate, write = adapter.validator.validate_python, adapter.serializer.to_python
    # What cannot be remembered, as an object, is a TypeError: 1, 1.0 and True are not the same.
    return lru_cache(REMEMBERED_VALUES, typed=True)(lambda value: write(validate(value), mode="json"))


def _time_of(text: str) -> datetime | None:
    if type(text) is not str:
        raise TypeError
    return parse_time(text) if text else None


def _present(text: str) -> str | None:
    if type(text) is not str:
        raise TypeError
    return text or None


def _object(value: Any) -> Any:
    if type(value) is not dict:
        raise TypeError
    return value


def _anything(value: Any) -> Any:
    return value


_USUAL = tuple(
    (FieldInfo.from_annotation(cast("type[Any]", kind)), convert)
    for kind, convert in (
        (Timestamp, _time_of),
        (Optional, _present),
        (dict[str, Any] | None, _object),
        (Any, _anything),
    )
)
