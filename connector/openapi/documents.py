"""Twilio's OpenAPI documents as compact data: the operations of each host, found by path and method. Pure, but reading.

A document is some kilobytes; it is read once, when it is first asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

DATA = Path(__file__).parent / "data"

# What the 2010 API answers in beside JSON; without a suffix it is XML, or the file itself.
SUFFIXES = (".json", ".xml", ".csv", ".html", "")
MEDIA_SUFFIXES = (".wav", ".mp3")
RECORDING = "Recordings"
# Where the parameters of an operation stand.
PLACES = ("segments", "query", "headers", "fields")

Value = Mapping[str, Any]
"""What a parameter may be: members of JSON Schema, and `json`, `boolean`, `nullable`, as `compact.py` writes them."""
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its parameters by where they stand; one of each of `groups` is needed.

    `segments` are those of the path, `fields` those of the body, which is a `form`, `json` or nothing.
    """

    name: str
    method: str
    path: str
    segments: Values
    query: Values
    headers: Values
    fields: Values
    required: frozenset[str]
    groups: Sequence[Sequence[str]]
    body: str

    @property
    def is_list(self) -> bool:
        """Whether it is a list that is read in pages."""
        return self.method == "GET" and "PageSize" in self.query


@dataclass(slots=True)
class Node:
    """Where the segments of a path lead: by their text, or to what any text stands for."""

    texts: dict[str, "Node"] = field(default_factory=dict)
    any: "Node | None" = None
    operations: dict[str, Operation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """All that is known of a host. `templates` are its paths."""

    operations: Sequence[Operation]
    root: Node

    def at(self, segments: Sequence[str]) -> Iterator[tuple[Mapping[str, Operation], Sequence[str]]]:
        """The operations by method of every path that has this shape, and the segments without the last one's suffix.

        A segment's own text goes before what any text stands for.
        """
        *before, last = segments
        for name, suffix in _names(last, is_recording=RECORDING in before[-1:]):
            for found in _below(self.root, (*before, name)):
                if not suffix or next(iter(found.values())).path.endswith(".json"):
                    yield found, (*before, name)


def _names(segment: str, *, is_recording: bool) -> Iterator[tuple[str, str]]:
    """A last segment as it is, and without each suffix that it may have."""
    for suffix in (*SUFFIXES, *(MEDIA_SUFFIXES if is_recording else ())):
        if segment.endswith(suffix):
            yield segment.removesuffix(suffix), suffix


def _below(node: Node, segments: Sequence[str]) -> Iterator[Mapping[str, Operation]]:
    if not segments:
        if node.operations:
            yield node.operations
        return
    first, *rest = segments
    for child in (node.texts.get(first), node.any if first else None):
        if child is not None:
            yield from _below(child, rest)


def segments_of(path: str) -> list[str]:
    """The parts of a path that begins with a slash."""
    return path.split("/")[1:]


def is_placeholder(segment: str) -> bool:
    """Whether a segment of a template stands for any text."""
    return segment.startswith("{")


@lru_cache(maxsize=1)
def hosts() -> Mapping[str, Sequence[Path]]:
    """The files of each host that there are documents of."""
    found: dict[str, list[Path]] = {}
    for file in sorted(DATA.glob("*.json")):
        found.setdefault(file.stem.partition("_")[0], []).append(file)
    return found


@lru_cache(maxsize=64)
def document(host: str) -> Document:
    """What is known of a host; without any operation when there is no document of it."""
    operations = [operation for file in hosts().get(host, ()) for operation in _read(file)]
    root = Node()
    for operation in operations:
        node = root
        for segment in segments_of(operation.path.removesuffix(".json")):
            if is_placeholder(segment):
                node.any = node = node.any or Node()
            else:
                node = node.texts.setdefault(segment, Node())
        node.operations[operation.method] = operation
    return Document(tuple(operations), root)


def _read(file: Path) -> Iterator[Operation]:
    data = orjson.loads(file.read_bytes())
    values = data["values"]
    for item in data["operations"]:
        places = ({name: values[number] for name, number in item.get(place, {}).items()} for place in PLACES)
        segments, query, headers, fields = places
        yield Operation(
            name=item["name"],
            method=item["method"],
            path=item["path"],
            segments=segments,
            query=query,
            headers=headers,
            fields=fields,
            required=frozenset(item.get("required", ())),
            groups=item.get("groups", ()),
            body=item.get("body", ""),
        )
