"""Every key in words, and a commented file to begin with, both read off the models. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from textwrap import wrap
from typing import Any

from pydantic_core import PydanticUndefined

from connector.settings.environment import variable_for
from connector.settings.schema import json_schema
from connector.settings.section import Path
from connector.settings.shape import Shape, leaves, root, shape_at
from connector.settings.tree import dotted
from connector.settings.units import format_duration

WIDTH = 100

# What the file to begin with sets; everything else in it is commented out.
SET: dict[str, str] = {
    "kafka.bootstrap_servers": "${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}",
    "connections.default.account_sid": "${TWILIO_ACCOUNT_SID}",
    "connections.default.auth_token": "${TWILIO_AUTH_TOKEN}",
}
EXAMPLES: dict[str, Any] = {"watches.0.resource": "messages", "watches.0.name": "messages"}
HEAD = """\
# Configuration of twilio-kafka. What is commented out shows the default, or what it may look like.
# ${VAR} and ${VAR:-default} are replaced by the environment. Durations: 500ms, 15s, 10m, 24h, 30d.
# `twilio-kafka config explain KEY` says more of a key, `config check` whether the file is valid,
# `config show` what is in effect and where it comes from.
"""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One key: what it does, what it may be, its default as the file would have it, and its variable."""

    key: str
    description: str
    kind: str
    default: str | None
    variable: str
    secret: bool


def explain(key: str) -> list[Explanation]:
    """The keys that a name means: one, or all of a section; a list's position and a connection's name may be left out.

    Raises KeyError with names that are like it.
    """
    wanted = tuple(key.split("."))
    found = [(path, shape) for path, shape in leaves() if _means(wanted, path)]
    if not found:
        raise KeyError(*_like(key))
    return [_explanation(path, shape) for path, shape in found]


def _means(wanted: tuple[str, ...], path: Path) -> bool:
    """Whether the path begins with what is wanted, names and positions left out or replaced by others."""
    if not wanted:
        return True
    if not path:
        return False
    first, *rest = path
    is_free = first in (0, "default")
    if wanted[0] == str(first) and _means(wanted[1:], tuple(rest)):
        return True
    return is_free and (_means(wanted, tuple(rest)) or (len(wanted) > 1 and _means(wanted[1:], tuple(rest))))


def _like(key: str) -> list[str]:
    known = [_short(path) for path, _ in leaves()]
    last = {name.rpartition(".")[2]: name for name in known}
    near = get_close_matches(key, known, n=3) or get_close_matches(key.rpartition(".")[2], list(last), n=3)
    return [last.get(name, name) for name in near]


def _short(path: Path) -> str:
    """The key without positions, as people ask for it."""
    return dotted(tuple(segment for segment in path if segment != 0))


def _explanation(path: Path, shape: Shape) -> Explanation:
    described = shape if shape.info else _above(path)
    text = (described.info.description if described and described.info else None) or ""
    default = _default(shape)
    return Explanation(
        key=_short(path),
        description=text,
        kind=_kind(path, shape),
        default=None if default is None else _written(default),
        variable=variable_for(path),
        secret=shape.holds_secrets,
    )


def _above(path: Path) -> Shape | None:
    return shape_at(path[:-1])


def _default(shape: Shape) -> Any:
    """The default as JSON has it, None where there is none or it depends on other keys."""
    if shape.info is None or shape.info.default in (None, PydanticUndefined):
        return None
    extra = shape.info.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return extra["default"]
    value = shape.info.default
    return (
        format_duration(value) if isinstance(value, timedelta) else list(value) if isinstance(value, tuple) else value
    )


def _written(value: Any) -> str:
    """A value as YAML has it on one line."""
    if isinstance(value, str) and value and not value.startswith(("*", "&", "[", "{")):
        return value
    return json.dumps(value, ensure_ascii=False)


def _kind(path: Path, shape: Shape) -> str:
    if shape.choices:
        return "one of " + ", ".join(shape.choices)
    schema = _schema_at(path)
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    words = {"integer": "a whole number", "number": "a number", "array": "a list", "object": "a mapping"}
    kind = next((words[name] for name in _types(schema) if name in words), "text")
    pattern = str(schema.get("pattern", ""))
    if "ms)" in pattern:
        kind = "a duration, such as 500ms, 15s, 10m, 24h"
    elif "KiB" in pattern:
        kind = "a size, such as 512B, 64KiB, 1MiB"
    elif shape.holds_secrets:
        kind = f"{'texts' if shape.kind == 'sequence' else 'text'}, a secret"
    return kind + _bounds(schema)


def _types(schema: dict[str, Any]) -> list[str]:
    kind = schema.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return (
        f", {low} to {high}"
        if None not in (low, high)
        else f", at least {low}"
        if high is None
        else f", at most {high}"
    )


def _schema_at(path: Path) -> dict[str, Any]:
    """The JSON Schema of a key's value."""
    whole = json_schema()
    schema: dict[str, Any] = whole
    for segment in path:
        schema = _below(_resolved(schema, whole), segment)
    return _resolved(schema, whole)


def _below(schema: dict[str, Any], segment: str | int) -> dict[str, Any]:
    if isinstance(segment, int):
        return dict(schema.get("items", {}))
    named = schema.get("properties", {}).get(segment)
    others = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
    return dict(named or next((other for other in others if isinstance(other, dict)), {}))


def _resolved(schema: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    """Without references and without the alternative null."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _resolved(
            {**whole["$defs"][name], **{key: item for key, item in schema.items() if key != "$ref"}}, whole
        )
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    return _resolved(options[0], whole) if len(options) == 1 else schema


# --- the file to begin with -------------------------------------------------------------------------------------------
def template() -> str:
    """A YAML file with every key: its description, its default; only what has to be set is not commented out."""
    return "\n".join([HEAD, *_lines(root(), (), "")]) + "\n"


def _lines(shape: Shape, path: Path, indent: str) -> Iterator[str]:
    for position, (key, child) in enumerate(shape.children.items()):
        if not path and position:
            yield ""
        yield from _comment(child, indent)
        yield from _entry(child, (*path, key), indent)


def _entry(shape: Shape, path: Path, indent: str) -> Iterator[str]:
    key, item = path[-1], shape.item
    if shape.kind == "section":
        yield f"{indent}{key}:"
        yield from _lines(shape, path, f"{indent}  ")
    elif shape.kind == "mapping" and item is not None and item.kind == "section":
        yield f"{indent}{key}:"
        yield f"{indent}  default:"
        yield from _lines(item, (*path, "default"), f"{indent}    ")
    elif shape.kind == "sequence" and item is not None and item.kind == "section":
        yield f"{indent}# {key}:"
        yield from (f"{indent}# {line}" for line in _item(item, (*path, 0)))
    else:
        yield _value(shape, path, indent)


def _item(shape: Shape, path: Path) -> Iterator[str]:
    """One item of a list of sections, which is commented out as a whole."""
    lines = list(_lines(shape, path, "    "))
    opening = next(number for number, line in enumerate(lines) if line.startswith("    #") and line[5] != " ")
    for number, line in enumerate(lines):
        text = line if line.startswith("    # ") else line.replace("#", "", 1)
        yield f"  - {text.lstrip()}" if number == opening else text


def _value(shape: Shape, path: Path, indent: str) -> str:
    name = dotted(path)
    if name in SET:
        return f"{indent}{path[-1]}: {SET[name]}"
    default = EXAMPLES.get(name, _default(shape))
    return f"{indent}#{path[-1]}: {'' if default is None else _written(default)}".rstrip()


def _comment(shape: Shape, indent: str) -> Iterator[str]:
    """The description, wrapped."""
    text = (shape.info.description if shape.info else None) or ""
    if shape.choices and shape.choices != ("true", "false"):
        text = f"{text} One of {', '.join(shape.choices)}."
    prefix = f"{indent}# "
    yield from wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)
