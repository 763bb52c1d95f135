"""An answer's body as JSON, however odd the text in it. Pure.

Twilio shows text that strangers wrote and that was cut anywhere. One such character must not make a whole page
unreadable, so what is unusual is read leniently: it becomes something that the rows' own checks can judge.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

DEEPEST = 64
"""How deep arrays and objects of an unusual body may nest; what is deeper becomes the text `TOO_DEEP`."""
TOO_DEEP = "(nested too deeply)"

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# A string, whole or cut off at the end, or a bracket.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONGEST_INTEGER = 20


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
