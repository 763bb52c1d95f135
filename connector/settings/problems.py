"""What is wrong with a configuration, all of it: sentences with the value and the remedy; never a secret's value."""

import difflib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic_core import ErrorDetails

from connector.settings.model import Settings
from connector.settings.section import LENIENT, Finding, Path, Section
from connector.settings.shape import Shape, leaves, shape_at
from connector.settings.tree import UNREADABLE, dotted

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


def examine(raw: Any) -> tuple[Settings, list[Finding]]:
    """The settings, and everything that is wrong with them: with any finding they are not to be used."""
    settings = Settings.model_validate(raw, context=LENIENT)
    return settings, list(_findings(settings, ()))


def _findings(value: Any, path: Path) -> Iterator[Finding]:
    """Mistakes of single keys first, then what the rules of each section find."""
    match value:
        case Section():
            for details in value.mistakes:
                yield from _mistake(details, path)
            for name, info in type(value).model_fields.items():
                yield from _findings(value.__dict__.get(name), (*path, info.alias or name))
            for finding in value.findings():
                yield Finding((*path, *finding.path), finding.sentence)
        case dict():
            for key, item in value.items():
                yield from _findings(item, (*path, key))
        case tuple():
            for position, item in enumerate(value):
                yield from _findings(item, (*path, position))


def _mistake(details: ErrorDetails, above: Path) -> Iterator[Finding]:
    path: Path = (*above, *(segment for segment in details["loc"] if segment != "[key]"))
    if details["type"] == "default_factory_not_called" or details["input"] is UNREADABLE:
        return
    if details["type"] == "extra_forbidden":
        yield Finding(path, _unknown(path))
    else:
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
        case "value" if shape.holds_secrets:
            return "give its text, in quotes or by a variable"
        case "value" if shape.choices:
            return f"write {_choice(shape)}"
        case _:
            return f"write {_range(shape)}{_example(shape)}"


def _choice(shape: Shape) -> str:
    *most, last = shape.choices
    return f"{', '.join(most)} or {last}" if most else last


def _range(shape: Shape) -> str:
    """The bounds in words."""
    words = ("at least", "at most")
    told = [
        f"{word} {shape.written(bound)}" for word, bound in zip(words, shape.bounds, strict=True) if bound is not None
    ]
    return " and ".join(told) or "a value"


def _example(shape: Shape) -> str:
    return f", such as {shape.written(shape.default)}" if shape.default not in (None, "") else ""


def _shown(value: Any, shape: Shape) -> str:
    """A value that may be shown; long ones are cut."""
    if isinstance(value, str) and not shape.holds_secrets:
        return repr(value) if len(value) <= _LONGEST else repr(f"{value[:_LONGEST]}…")
    if isinstance(value, int | float | timedelta) and not shape.holds_secrets:
        return shape.written(value)
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
