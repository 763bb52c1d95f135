"""Conditions between parameters, as data: a model lists them, its validator and its schema read them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

JsonSchema = dict[str, Any]


def is_given(value: object) -> bool:
    """Whether a parameter says something: null, an empty text and false do not."""
    return value is not None and value is not False and value != ""


def listed(names: tuple[str, ...], word: str) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"


def _given(*names: str) -> JsonSchema:
    return {"required": list(names), "properties": {name: {"not": {"enum": [None, "", False]}} for name in names}}


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these is needed."""

    names: tuple[str, ...]

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong, or None."""
        if any(is_given(values.get(name)) for name in self.names):
            return None
        return f"{listed(self.names, 'or')} is needed"

    def schema(self) -> JsonSchema:
        """The rule as JSON Schema."""
        return {"anyOf": [_given(name) for name in self.names]}


@dataclass(frozen=True, slots=True)
class AtMostOne:
    """No two of these together."""

    names: tuple[str, ...]

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong, or None."""
        given = tuple(name for name in self.names if is_given(values.get(name)))
        return f"{listed(given, 'and')} exclude each other" if len(given) > 1 else None

    def schema(self) -> JsonSchema:
        """The rule as JSON Schema."""
        pairs = [_given(*pair) for pair in combinations(self.names, 2)]
        return {"not": pairs[0] if len(pairs) == 1 else {"anyOf": pairs}}


@dataclass(frozen=True, slots=True)
class Needs:
    """The first makes no sense without the second."""

    name: str
    needed: str

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong, or None."""
        lacking = is_given(values.get(self.name)) and not is_given(values.get(self.needed))
        return f"{self.name} needs {self.needed}" if lacking else None

    def schema(self) -> JsonSchema:
        """The rule as JSON Schema."""
        return {"if": _given(self.name), "then": _given(self.needed)}


@dataclass(frozen=True, slots=True)
class Something:
    """At least one parameter besides these: an update that changes nothing is a mistake."""

    besides: tuple[str, ...]

    def broken(self, values: Mapping[str, Any]) -> str | None:
        """What is wrong, or None."""
        found = any(value is not None for name, value in values.items() if name not in self.besides)
        return None if found else "nothing is to be changed: give at least one parameter"

    def schema(self) -> JsonSchema:
        """The rule as JSON Schema."""
        ours = dict.fromkeys(self.besides, True)
        return {"not": {"properties": ours, "additionalProperties": {"type": "null"}}}


Rule = AnyOf | AtMostOne | Needs | Something
