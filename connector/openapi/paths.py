"""Paths of requests beside those of Twilio's documents: which operation one means, or which is nearest. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote

from connector.openapi.documents import Operation, document, hosts, is_placeholder, segments_of
from connector.openapi.values import mistake

# As a path may name the connection's account.
OWN_ACCOUNT = "{AccountSid}"
# Longer paths are not looked up, and such ones not compared: it takes long, and none is.
LONGEST_PATH = 1_000
LONGEST_COMPARED = 300
# What stands between slashes for a resource, and for a number.
_RESOURCE = re.compile(r"[A-Z]{2}[0-9a-fA-F]{32}|\{\w+\}|(?:\+|%2[Bb])?[0-9]+")
_BETWEEN = re.compile(r"[/\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Texts that are encoded again and again end here.
MOST_DECODINGS = 5


class Place(NamedTuple):
    """The operations by method at a path, and what its placeholders hold."""

    operations: Mapping[str, Operation]
    given: Mapping[str, str]

    @property
    def template(self) -> str:
        """The path as Twilio writes it."""
        return next(iter(self.operations.values())).path

    def mistakes(self, method: str) -> Iterator[str]:
        """What is wrong with what the placeholders hold; operations of one path may differ in that."""
        operation = self.operations.get(method) or next(iter(self.operations.values()))
        for name, text in self.given.items():
            spec = operation.segments.get(name, {})
            is_own = text == OWN_ACCOUNT and spec.get("pattern", "").startswith("^AC")
            if not is_own and (wrong := mistake(text, spec)):
                yield f"has a wrong {name}: {wrong}"


def oddity(path: str) -> str | None:
    """What no path may hold, since servers disagree about what it means; None: nothing."""
    for number, segment in enumerate(inner := segments_of(path)):
        text = _decoded(segment)
        if _CONTROL.search(text):
            return "holds a control character"
        parts = [part.partition(";")[0] for part in _BETWEEN.split(text)]
        # A slash at the end is one more path that Twilio may or may not know.
        is_end = not segment and number == len(inner) - 1
        if not is_end and any(part in ("", ".", "..") for part in parts):
            return "holds //, /./ or /../, plain or encoded: write the path that it means"
    return None


def _decoded(segment: str) -> str:
    for _ in range(MOST_DECODINGS):
        if "%" not in segment:
            break
        segment = unquote(segment)
    return segment


def find(host: str, method: str, path: str) -> Place | None:
    """The operations at a path; of several that it may mean those that know the method and that it fits."""
    if len(path) > LONGEST_PATH:
        return None
    places = [_place(operations, segments) for operations, segments in document(host).at(segments_of(path))]
    return min(places, key=lambda one: (method not in one.operations, any(one.mistakes(method))), default=None)


def _place(operations: Mapping[str, Operation], segments: Sequence[str]) -> Place:
    parts = segments_of(next(iter(operations.values())).path)
    placeholders = {
        part.strip("{}").removesuffix("}.json"): text
        for part, text in zip(parts, segments, strict=True)
        if is_placeholder(part)
    }
    return Place(operations, {name: unquote(text) for name, text in placeholders.items()})


def other_host(method: str, path: str) -> str | None:
    """A host that knows the path."""
    found = ((host, find(host, method, path)) for host in hosts())
    return next((host for host, place in found if place and not any(place.mistakes(method))), None)


def nearest_path(host: str, path: str) -> str | None:
    """The path of the host's document that was meant."""
    return _nearest(host, _shape(path)) if len(path) <= LONGEST_COMPARED else None


@lru_cache(maxsize=256)
def _nearest(host: str, shape: str) -> str | None:
    paths = {_shape(operation.path): operation.path for operation in document(host).operations}
    if shape in paths:
        return paths[shape]
    alike = [other for other in paths if abs(other.count("/") - shape.count("/")) <= 1]
    return next((paths[found] for found in get_close_matches(shape, alike, n=1)), None)


def _shape(path: str) -> str:
    """A path without what its placeholders hold, in lower case."""
    parts = (_RESOURCE.sub("{}", segment) for segment in segments_of(path))
    return "/".join(parts).removesuffix(".json").lower()
