"""What pydantic found wrong, as sentences that say what, with which value, and the remedy; never a secret's value."""

import difflib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from annotated_types import Ge, Le
from pydantic import PlainSerializer, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

from connector.settings.section import Finding, Path
from connector.settings.shape import Shape, leaves, shape_at
from connector.settings.tree import dotted

_LONGEST = 60

_WRONG = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "is not a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "is not a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "is neither true nor false"),
    **dict.fromkeys(("string_type", "path_type"), "is not text"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), "is not a mapping"),
    **dict.fromkeys(("greater_than_equal", "less_than_equal"), "is out of bounds"),
    **dict.fromkeys(("too_short", "string_too_short"), "is empty"),
    "tuple_type": "is not a list",
    "literal_error": "is not known here",
}
"""What is wrong, by pydantic's type of error."""


def findings(error: ValidationError) -> Iterator[Finding]:
    """Everything that is wrong, in pydantic's order."""
    for details in error.errors(include_url=False):
        path: Path = tuple(segment for segment in details["loc"] if segment != "[key]")
        match details["type"]:
            case "default_factory_not_called":
                continue
            case "inconsistent":
                yield from (finding.below(path) for finding in details["ctx"]["findings"])
            case "extra_forbidden":
                yield Finding(path, _unknown(path))
            case _:
                yield Finding(path, _sentence(details, shape_at(path) or Shape("value")))


def _sentence(details: ErrorDetails, shape: Shape) -> str:
    if details["type"] == "missing":
        return f"is missing: give it ({_description(shape)})"
    if details["input"] is None:
        return f"has no value: {_remedy(shape)}, or remove the key"
    if details["type"] == "value_error" and not shape.holds_secrets:
        return str(details["ctx"]["error"])
    what = _WRONG.get(details["type"], "does not fit")
    return f"{_shown(details['input'], shape)} {what}: {_remedy(shape)}"


def _description(shape: Shape) -> str:
    return ((shape.info and shape.info.description) or "it has no default").rstrip(".")


def _remedy(shape: Shape) -> str:
    match shape.kind:
        case "section" | "mapping":
            return "write lines of key: value below it"
        case "sequence":
            return f"write a list, {_choice(shape.item)}" if shape.item and shape.item.choices else "write a list"
        case "value" if shape.secret:
            return "give its text, in quotes or by a variable"
        case "value" if shape.choices:
            return f"write {_choice(shape)}"
        case _:
            return f"write {_range(shape.info)}{_example(shape.info)}"


def _choice(shape: Shape) -> str:
    *most, last = shape.choices
    return f"{', '.join(most)} or {last}" if most else last


def _range(info: FieldInfo | None) -> str:
    """The bounds in words."""
    metadata = info.metadata if info else []
    least = [f"at least {_written(item.ge, info)}" for item in metadata if isinstance(item, Ge)]
    most = [f"at most {_written(item.le, info)}" for item in metadata if isinstance(item, Le)]
    return " and ".join(least + most) or "a value"


def _example(info: FieldInfo | None) -> str:
    default = info.default if info else None
    return f", such as {_written(default, info)}" if default not in (None, "", PydanticUndefined) else ""


def _written(value: Any, info: FieldInfo | None) -> str:
    """The value as the file would hold it."""
    serializers = [item.func for item in info.metadata if isinstance(item, PlainSerializer)] if info else []
    write: Any = serializers[0] if serializers else str
    return str(write(value))


def _shown(value: Any, shape: Shape) -> str:
    """A value that may be shown; long ones are cut."""
    if isinstance(value, str) and not shape.holds_secrets:
        return repr(value) if len(value) <= _LONGEST else repr(f"{value[:_LONGEST]}…")
    if isinstance(value, int | float | timedelta) and not shape.holds_secrets:
        return _written(value, shape.info)
    return "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else "the value"


def _unknown(path: Path) -> str:
    """Names the key that was meant: a similar one here, or one of the same name elsewhere."""
    parent = shape_at(path[:-1])
    here = list(parent.children) if parent else []
    name = str(path[-1])
    if near := difflib.get_close_matches(name.lower().replace("-", "_"), here, n=1, cutoff=0.6):
        return f"is not a setting: did you mean {near[0]}?"
    if elsewhere := [dotted(known) for known, _ in leaves() if known[-1] == name]:
        return f"is not a setting here: did you mean {elsewhere[0]}?"
    return f"is not a setting: remove it, or use one of {', '.join(here)}"
