"""How durations, sizes and instants are written in the configuration, and how they are written back. Pure."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_MICROSECONDS = {"d": 86_400_000_000, "h": 3_600_000_000, "m": 60_000_000, "s": 1_000_000, "ms": 1_000}
_BYTES = {"GiB": 1024**3, "MiB": 1024**2, "KiB": 1024, "B": 1}

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = "".join(rf"(?:({_NUMBER}){unit})?" for unit in _MICROSECONDS)
_SIZE = rf"({_NUMBER})({'|'.join(_BYTES)})?"
_INSTANT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


def parse_duration(text: object) -> timedelta:
    """`500ms`, `15s`, `10m`, `24h`, `30d` or several of them, longest first (`1h30m`). Raises ValueError."""
    if isinstance(text, timedelta) and text >= timedelta(0):
        return text
    found = re.fullmatch(_DURATION, str(text)) if text != "" else None
    if str(text) == "0":
        return timedelta(0)
    if found is None:
        raise ValueError(f"{_shown(text)} is not a duration: write a number and a unit, such as 500ms, 15s, 10m or 24h")
    parts = (Decimal(number or 0) * unit for number, unit in zip(found.groups(), _MICROSECONDS.values(), strict=True))
    try:
        return timedelta(microseconds=round(sum(parts)))
    except OverflowError as error:
        raise ValueError(f"{_shown(text)} is longer than any duration that can be held: write a shorter one") from error


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back to the same duration."""
    rest = duration // timedelta(microseconds=1)
    texts = []
    for unit, size in _MICROSECONDS.items():
        number, rest = divmod(rest, size) if unit != "ms" else (Decimal(rest) / size, 0)
        texts += [f"{number}{unit}"] if number else []
    return "".join(texts) or "0s"


def parse_size(text: object) -> int:
    """Bytes: `64KiB`, `1MiB`, `1GiB`, `512B` or a plain number. Raises ValueError."""
    found = re.fullmatch(_SIZE, str(text))
    if found is None or isinstance(text, bool):
        raise ValueError(f"{_shown(text)} is not a size: write a number and a unit, such as 512B, 64KiB or 1MiB")
    return round(Decimal(found[1]) * _BYTES[found[2] or "B"])


def format_size(size: int) -> str:
    """The size with the largest unit that divides it, such as `64KiB`."""
    unit = next(unit for unit, factor in _BYTES.items() if size % factor == 0 and (size or factor == 1))
    return f"{size // _BYTES[unit]}{unit}"


def parse_instant(text: object) -> datetime:
    """An RFC 3339 date-time with its offset, in UTC. Raises ValueError."""
    if isinstance(text, datetime) and text.tzinfo is not None:
        return text.astimezone(UTC)
    if isinstance(text, str) and re.fullmatch(_INSTANT, text):
        try:
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # the thirteenth month, say: the sentence below fits
    raise ValueError(f"{_shown(text)} is not a date-time with an offset: write it as 2026-01-31T00:00:00Z")


def format_instant(instant: datetime | Literal["now"]) -> str:
    """RFC 3339 in UTC, or `now`."""
    return instant if isinstance(instant, str) else instant.isoformat().replace("+00:00", "Z")


def _parse_start(text: object) -> datetime | Literal["now"]:
    return "now" if text == "now" else parse_instant(text)


def _parse_bound(text: object) -> object:
    if isinstance(text, str) and re.fullmatch(_DAY, text):
        return parse_instant(f"{text}T00:00:00Z")
    return parse_instant(text) if text is not None else None


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else "the value"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": f"^(0|{_DURATION})$"}),
]
"""A duration of zero or more."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, return_type=str),
    WithJsonSchema({"type": ["string", "integer"], "pattern": f"^{_SIZE}$"}),
]
"""A number of bytes."""

Start = Annotated[
    datetime | Literal["now"],
    BeforeValidator(_parse_start),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"anyOf": [{"const": "now"}, {"type": "string", "format": "date-time"}]}),
]
"""`now` or an instant."""

Bound = Annotated[
    datetime,
    BeforeValidator(_parse_bound),
    PlainSerializer(format_instant, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
]
"""An instant, or a day that stands for its first one in UTC."""
