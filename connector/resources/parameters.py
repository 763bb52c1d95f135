"""A command's value, read: the operation that it means and its parameters, or one sentence that says why not. Pure."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from connector.errors import Rejected, bounded, listed
from connector.resources.models import Parameters, public_names, snake
from connector.resources.models import listed as listed_names
from connector.resources.rows import Command, Operation

# What is shown of the name of an unknown field; another one may be content that has come to the wrong place.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,39}")
# Beyond so many mistakes they are counted, and only the first are put into words; so many members of a list or object
# are looked at for them.
MOST_MISTAKES = 100
LOOKED_AT = 20

# pydantic's word for the error -> ours; the rest is said in pydantic's words. None of them quotes the value.
SENTENCES: Mapping[str, str] = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "string_pattern_mismatch": "does not fit {pattern}",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "greater_than_equal": "is less than {ge}",
    "less_than_equal": "is greater than {le}",
    "literal_error": "is not {expected}",
    "timezone_aware": "lacks its offset from UTC: write 2026-11-24T12:00:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-11-24T12:00:00Z",
    "datetime_parsing": "must be a time such as 2026-11-24T12:00:00Z",
    "datetime_type": "must be a time such as 2026-11-24T12:00:00Z",
    "date_type": "must be a day such as 2026-11-24",
    "date_parsing": "must be a day such as 2026-11-24",
    "date_from_datetime_parsing": "must be a day such as 2026-11-24",
}


def parse(command: Command, value: bytes | None) -> tuple[Operation, Parameters]:
    """The operation that the value means, and its validated parameters.

    Raises Rejected with one sentence that names the fields and never quotes their content.
    """
    given = _object(command, value)
    operation = _operation(command, given)
    try:
        # From the bytes once more: strictness is JSON's then, where a time is a text.
        return operation, operation.parameters.model_validate_json(value or b"", strict=True)
    except ValidationError as error:
        raise Rejected(f"{command.name}: {_sentences(error, operation.parameters, given)}") from None


class Mistake(NamedTuple):
    """What is wrong with a value: the field, empty where it is not one alone, and a sentence that names it."""

    field: str
    sentence: str


def mistakes(command: Command, value: bytes | None) -> list[Mistake]:
    """Everything that makes `parse` reject this value, by field; at most so many as are put into words."""
    try:
        given = _object(command, value)
        model = _operation(command, given).parameters
        model.model_validate_json(value or b"", strict=True)
    except Rejected as error:
        return [Mistake("", str(error))]
    except ValidationError as error:
        if error.error_count() > MOST_MISTAKES:
            return [Mistake("", f"{command.name}: {_sentences(error, model, given)}")]
        found = error.errors(include_url=False, include_context=True, include_input=False)
        faults = (Mistake(_field(item), _sentence(item, model)) for item in found)
        return list(dict.fromkeys(faults))
    return []


def _field(found: ErrorDetails) -> str:
    """The parameter that a mistake is about, as callers write it."""
    name = str(found["loc"][0]) if found["loc"] else ""
    return name if NAME.fullmatch(name) else ""


def _sentences(error: ValidationError, model: type[Parameters], given: Mapping[str, Any]) -> str:
    """What is wrong, in one bounded sentence."""
    total = error.error_count()
    if total <= MOST_MISTAKES:
        sentences = list(dict.fromkeys(_worded(error, model)))
        faults = listed(sentences)
    else:
        # Half a million mistakes fit a record; to describe them all would take seconds.
        faults = listed(_first_mistakes(model, given), total)
    return bounded(faults if faults.endswith("?") else f"{faults}.")


def _worded(error: ValidationError, model: type[Parameters]) -> list[str]:
    found = error.errors(include_url=False, include_context=True, include_input=False)
    return [_sentence(item, model) for item in found]


def _first_mistakes(model: type[Parameters], given: Mapping[str, Any]) -> list[str]:
    """The mistakes in the beginning of each list and object."""
    known = set(public_names(model).values()) | set(public_names(model))
    unknown = list(islice((name for name in given if name not in known), LOOKED_AT))
    short = {name: _beginning(item) for name, item in given.items() if name in known} | dict.fromkeys(unknown)
    try:
        model.model_validate_json(orjson.dumps(short), strict=True)
    except ValidationError as error:
        return _worded(error, model)
    return []


def _beginning(value: Any) -> Any:
    if isinstance(value, list):
        return value[:LOOKED_AT]
    return dict(islice(value.items(), LOOKED_AT)) if isinstance(value, dict) else value


def _object(command: Command, value: bytes | None) -> Mapping[str, Any]:
    if not value:
        raise Rejected(f"{command.name}: the value is empty; it must be a JSON object.")
    try:
        given = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"{command.name}: the value is not JSON ({error.msg}).") from None
    if not isinstance(given, dict):
        raise Rejected(f"{command.name}: the value must be a JSON object.")
    return given


def _operation(command: Command, given: Mapping[str, Any]) -> Operation:
    if None in command.operations:
        return command.operations[None]
    named = {str(name): operation for name, operation in command.operations.items()}
    known = listed_names(tuple(sorted(named)), "or")
    resource = given.get("resource")
    if resource is None:
        raise Rejected(f"{command.name}: resource is missing, one of {known}.")
    if not isinstance(resource, str) or resource not in named:
        hint = _nearest(resource, named) if isinstance(resource, str) else None
        meant = f"did you mean {hint}?" if hint else f"one of {known} is expected."
        raise Rejected(f"{command.name}: resource is unknown, {meant}")
    return named[resource]


def _sentence(found: ErrorDetails, model: type[Parameters]) -> str:
    """`media_url[3] is not an absolute http or https URL`."""
    name = _path(found["loc"])
    context = found.get("ctx", {})
    match found["type"]:
        case "extra_forbidden":
            if not NAME.fullmatch(name):
                return "a field is unknown"
            nearest = _nearest(snake(name), public_names(model).values())
            return f"{name} is unknown" + (f", did you mean {nearest}?" if nearest else "")
        case "value_error":
            return f"{name} {context['error']}".strip()
        case kind if kind in SENTENCES:
            return f"{name} {SENTENCES[kind].format(**context)}"
        case _:
            return f"{name}: {found['msg'][:1].lower()}{found['msg'][1:]}"


def _path(location: tuple[int | str, ...]) -> str:
    """`media_url[3]`. What is not a name may be content: it is not shown, unless it stands alone."""
    if len(location) == 1:
        return str(location[0])
    return "".join(_part(part) for part in location).removeprefix(".")


def _part(part: int | str) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if NAME.fullmatch(part) else "[…]"


def _nearest(name: str, known: Iterable[str]) -> str | None:
    """The name that was meant. Comparing takes long for long names, and none is long."""
    if not NAME.fullmatch(name):
        return None
    return next(iter(get_close_matches(name, list(known), n=1)), None)
