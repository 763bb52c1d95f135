"""Every key in words, and a commented file to begin with, both read off the models. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from textwrap import wrap
from typing import Any, Literal, get_origin

from pydantic import PlainSerializer

from connector.settings.environment import variable_for
from connector.settings.section import Path
from connector.settings.shape import Shape, leaves, root, shape_at
from connector.settings.tree import dotted

WIDTH = 100

# What the file to begin with sets; everything else in it is commented out.
SET: dict[str, str] = {
    "kafka.bootstrap_servers": "${KAFKA_BOOTSTRAP_SERVERS:-localhost:9092}",
    "connections.default.account_sid": "${TWILIO_ACCOUNT_SID}",
    "connections.default.auth_token": "${TWILIO_AUTH_TOKEN}",
}
EXAMPLES = {"watches.0.resource": "messages", "watches.0.name": "messages"}
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
    described = shape if shape.info and shape.info.description else shape_at(path[:-1])
    return Explanation(
        key=_short(path),
        description=(described and described.info and described.info.description) or "",
        kind=_kind(shape),
        default=_default(shape),
        variable=variable_for(path),
        secret=shape.holds_secrets,
    )


def _default(shape: Shape) -> str | None:
    """The default as YAML has it on one line."""
    value = shape.default
    if value is None:
        return None
    if isinstance(value, bool | tuple | dict):
        return json.dumps(value)
    return _quoted(shape.written(value))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if not text or text.startswith(("*", "&", "[", "{")) else text


def _kind(shape: Shape) -> str:
    if shape.choices:
        return "one of " + ", ".join(shape.choices)
    if shape.holds_secrets:
        return f"{'texts' if shape.kind == 'sequence' else 'text'}, a secret"
    if shape.kind in _KINDS:
        return _KINDS[shape.kind]
    if shape.type is timedelta:
        return "a duration, such as 500ms, 15s, 10m, 24h"
    if shape.type is int and shape.info and any(isinstance(item, PlainSerializer) for item in shape.info.metadata):
        return "a size, such as 512B, 64KiB, 1MiB" + _bounds(shape)
    return _KINDS.get(shape.type, "text") + _bounds(shape)


_KINDS: dict[Any, str] = {
    "sequence": "a list",
    "mapping": "a mapping",
    "section": "a mapping",
    int: "a whole number",
    float: "a number",
}


def _bounds(shape: Shape) -> str:
    least, most = shape.bounds
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {shape.written(least)}"
    return f", at most {shape.written(most)}" if least is None else f", {shape.written(least)} to {shape.written(most)}"


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
        text = line if line.startswith(("    # ", "      ")) else line.replace("#", "", 1)
        yield f"  - {text.lstrip()}" if number == opening else text


def _value(shape: Shape, path: Path, indent: str) -> str:
    name = dotted(path)
    if name in SET:
        return f"{indent}{path[-1]}: {SET[name]}"
    default = EXAMPLES.get(name, _default(shape))
    return f"{indent}#{path[-1]}: {'' if default is None else default}".rstrip()


def _comment(shape: Shape, indent: str) -> Iterator[str]:
    """The description, wrapped."""
    text = (shape.info.description if shape.info else None) or ""
    if shape.choices and get_origin(shape.type) is Literal:
        text = f"{text} One of {', '.join(shape.choices)}."
    prefix = f"{indent}# "
    yield from wrap(text, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_on_hyphens=False)
