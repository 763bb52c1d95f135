"""Whether a value is one that Twilio's documents allow for a parameter, in a sentence that never quotes it. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from math import inf
from typing import Any

from connector.openapi.documents import Value

# Longer names are not compared: it takes long, and none is.
LONGEST_NAME = 60
# A list of more choices is not written out.
MOST_CHOICES = 12
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,300}(?:\.[0-9]{0,300})?|\.[0-9]{1,300})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9:.]+(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_OFFSET = re.compile(r"[+-]?[0-9]{1,5}[a-z]+")
_SID = re.compile(r"\^(?P<prefixes>\(?[A-Z|]+\)?)\[0-9a-fA-F\]\{32\}\$")


def mistake(value: Any, spec: Value) -> str | None:
    """What is wrong with a parameter's value, JSON or the text of a query, as `it must be …`; None: nothing."""
    if isinstance(value, list):
        return _mistake_of_list(value, spec)
    if spec.get("type") == "array":
        spec = spec["items"]
    if value == "" and _may_be_empty(spec):
        return None
    if "enum" in spec:
        return _mistake_of_choice(value, spec)
    check = _MISTAKES.get(spec.get("type"))
    return check(value, spec) if check is not None else None


def _may_be_empty(spec: Value) -> bool:
    """Whether an empty text says something: it clears what is set."""
    return "nullable" in spec or ("enum" not in spec and spec.get("type") == "string")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was meant: another case of it, or one much like it."""
    if len(name) > LONGEST_NAME:
        return None
    names = {other.lower(): other for other in known}
    return next((names[found] for found in get_close_matches(name.lower(), names, n=1)), None)


def _mistake_of_list(value: list[Any], spec: Value) -> str | None:
    if spec.get("type") == "array":
        return next((f"each of it: {found}" for item in value if (found := _mistake_of_item(item, spec))), None)
    return None if spec.get("type") is None and "enum" not in spec else "it must be one value, not a list"


def _mistake_of_item(item: Any, spec: Value) -> str | None:
    if item is None:
        return None
    if isinstance(item, list):
        return "it must not be a list once more"
    return mistake(item, spec["items"])


def _mistake_of_choice(value: Any, spec: Value) -> str | None:
    choices = spec["enum"]
    text = str(value).lower() if isinstance(value, bool) else value
    if text in choices:
        return None
    meant = nearest(value, choices) if isinstance(value, str) else None
    if meant is None and len(choices) > MOST_CHOICES:
        return f"it must be one of {len(choices)}, such as {choices[0]}"
    return f"it must be {meant}" if meant else f"it must be {' or '.join(choices)}"


def _mistake_of_number(value: Any, spec: Value, *, pattern: re.Pattern[str], word: str) -> str | None:
    text = value if isinstance(value, str) else str(value) if type(value) in (int, float) else ""
    if pattern.fullmatch(text) and spec.get("minimum", -inf) <= float(text) <= spec.get("maximum", inf):
        return None
    bounds = [f"{side} {spec[key]}" for side, key in (("from", "minimum"), ("to", "maximum")) if key in spec]
    return " ".join(["it must be", word, *bounds])


def _mistake_of_text(value: Any, spec: Value) -> str | None:
    if isinstance(value, bool) and "boolean" in spec:
        return None
    if isinstance(value, dict):
        return None if "json" in spec else "it must be text, not an object"
    if not isinstance(value, str):
        return "it must be text"
    if "pattern" in spec and not re.fullmatch(spec["pattern"], value):
        return _shape(spec["pattern"])
    return _mistake_of_time(value, spec["format"]) if "format" in spec else None


def _shape(pattern: str) -> str:
    if sid := _SID.fullmatch(pattern):
        return f"it must be a SID, {sid['prefixes'].strip('()').replace('|', ' or ')} and 32 hexadecimal digits"
    return f"it must fit {pattern}"


def _mistake_of_time(value: str, kind: str) -> str | None:
    if kind == "offset" and _OFFSET.fullmatch(value):
        return None
    try:
        is_fit = _DAY.fullmatch(value) is not None and bool(datetime.fromisoformat(value))
    except ValueError:
        is_fit = False
    example = "2026-11-24, or -30days" if kind == "offset" else "2026-11-24 or 2026-11-24T12:00:00Z"
    return None if is_fit else f"it must be a day or a time such as {example}"


def _mistake_of_boolean(value: Any, _spec: Value) -> str | None:
    return None if isinstance(value, bool) or value in ("true", "false") else "it must be true or false"


def _mistake_of_object(value: Any, _spec: Value) -> str | None:
    return None if isinstance(value, dict) else "it must be an object"


_MISTAKES: Mapping[str | None, Callable[[Any, Value], str | None]] = {
    "boolean": _mistake_of_boolean,
    "integer": partial(_mistake_of_number, pattern=_INTEGER, word="a whole number"),
    "number": partial(_mistake_of_number, pattern=_NUMBER, word="a number"),
    "object": _mistake_of_object,
    "string": _mistake_of_text,
}
