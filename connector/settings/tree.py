"""Values before they are validated, each with its origin. Pure: a tree is never changed, only replaced."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from connector.settings.section import Path


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: `place` is the file or the variable, `line` counts from 1 in a file."""

    kind: Literal["default", "file", "environment", "option"]
    place: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.place}:{self.line}" if self.line else self.place or self.kind


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, where it is written, as one line."""

    origin: Origin
    path: Path
    sentence: str

    def __str__(self) -> str:
        return ": ".join(part for part in (str(self.origin), dotted(self.path), self.sentence) if part)


UNREADABLE: Final = object()
"""Content of a node that could not be read, which is reported already: no setting takes it."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value, or a mapping or list of nodes."""

    content: Any
    origin: Origin

    def child(self, segment: str | int) -> "Node | None":
        """The node below, None where there is none."""
        if isinstance(self.content, dict):
            found: Node | None = self.content.get(segment)
            return found
        if isinstance(self.content, list) and isinstance(segment, int) and 0 <= segment < len(self.content):
            item: Node = self.content[segment]
            return item
        return None


def dotted(path: Path) -> str:
    """The path as people read it; of a phone number in it only the ends."""
    return ".".join(re.sub(r"^(\+\d{4})\d+(\d{2})$", r"\1…\2", str(segment)) for segment in path)


def plain(node: Node) -> Any:
    """The tree without origins."""
    if isinstance(node.content, dict):
        return {key: plain(child) for key, child in node.content.items()}
    if isinstance(node.content, list):
        return [plain(child) for child in node.content]
    return node.content


def children(node: Node) -> list[tuple[str | int, Node]]:
    """Keys or positions, with their nodes."""
    if isinstance(node.content, dict):
        return list(node.content.items())
    return list(enumerate(node.content)) if isinstance(node.content, list) else []


def nearest(node: Node, path: Path) -> tuple[Node, int]:
    """The deepest node on the way to a path, and how many segments of the path lead to it."""
    for depth, segment in enumerate(path):
        child = node.child(segment)
        if child is None:
            return node, depth
        node = child
    return node, len(path)


def put(node: Node, path: Path, new: Node) -> Node:
    """The tree with `new` at the path. Mappings are merged key by key; anything else replaces what was there.

    A position may be one past the end of a list. Raises LookupError for one beyond.
    """
    if not path:
        return _merged(node, new)
    segment, rest = path[0], path[1:]
    below = node.child(segment) or Node(_empty(rest, new), new.origin)
    if isinstance(segment, int):
        items = list(node.content) if isinstance(node.content, list) else []
        if segment > len(items):
            raise LookupError(len(items))
        return Node([*items[:segment], put(below, rest, new), *items[segment + 1 :]], node.origin)
    known = node.content if isinstance(node.content, dict) else {}
    return Node({**known, segment: put(below, rest, new)}, node.origin)


def _empty(rest: Path, new: Node) -> Any:
    if not rest:
        return {} if isinstance(new.content, dict) else None
    return [] if isinstance(rest[0], int) else {}


def _merged(old: Node, new: Node) -> Node:
    if not (isinstance(old.content, dict) and isinstance(new.content, dict)):
        return new
    merged = dict(old.content)
    for key, child in new.content.items():
        merged[key] = _merged(merged[key], child) if key in merged else child
    return Node(merged, old.origin)
