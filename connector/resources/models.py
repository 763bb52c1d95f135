"""What resources and commands hold, and how it is written: bundles as JSON, parameters on the wire. Pure.

Bundles let unknown fields through, parameters refuse them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import combinations
from typing import Any, ClassVar, Self

import orjson
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

Pairs = tuple[tuple[str, str], ...]


# --- conditions between parameters, as data: a model lists them, its validator and its schema read them ---------------
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


# --- what a resource or a command holds ----------------------------------------------------------------------------
class Bundle(BaseModel):
    """A Twilio resource as we publish it.

    Twilio's JSON names; times as RFC 3339 in UTC, counts and durations as integers, prices as decimal text; fields that
    we do not know pass through unchanged.
    """

    # Of hundreds of models a process uses a few: each is built when it is first used.
    model_config = ConfigDict(extra="allow", frozen=True, serialize_by_alias=True, defer_build=True)

    def json_bytes(self) -> bytes:
        """The bundle as compact JSON."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True)


class Parameters(BaseModel):
    """The value of a command: snake_case names, JSON's own types, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True, strict=True, defer_build=True)

    # Names that are ours or stand in the path: never sent as Twilio parameters.
    unsent: ClassVar[frozenset[str]] = frozenset({"resource", "limit"})
    # Conditions between parameters, by their public names.
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        fields = self.__dict__
        values = {public: fields[name] for name, public in public_names(type(self)).items()}
        broken = [sentence for rule in self.rules if (sentence := rule.broken(values))]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The model's schema with its rules."""
        schema = handler(core_schema)
        if cls.rules:
            handler.resolve_ref_schema(schema)["allOf"] = [rule.schema() for rule in cls.rules]
        return schema


@lru_cache(maxsize=256)
def public_names(model: type[Parameters]) -> Mapping[str, str]:
    """For each field the name by which a value gives it."""
    return {name: info.alias or name for name, info in model.model_fields.items()}


@dataclass(frozen=True, slots=True)
class Wire:
    """A parameter's name on the wire, where CamelCase of its own is not it; `join` makes one value of a list."""

    name: str | None = None
    join: str | None = None


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """`status_callback` -> `StatusCallback`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


# A capital after another character, or the last one of several. A capital comes first in the pattern: it is found fast,
# and a stranger's form may have 64 KiB of names.
_WORD = re.compile(r"[A-Z](?:(?<=[a-z0-9].)|(?<=[A-Z].)(?=[a-z]))", re.DOTALL)


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """`MessageSid` -> `message_sid`, `MediaUrl0` -> `media_url0`, `RawDlrDoneDate` -> `raw_dlr_done_date`."""
    return _WORD.sub(lambda capital: f"_{capital[0]}", name).lower()


def texts(parameters: Parameters) -> Iterable[tuple[str, str]]:
    """The parameters that are texts, or hold any, by their public names; objects and lists as JSON."""
    for name, public in public_names(type(parameters)).items():
        value = getattr(parameters, name)
        if isinstance(value, str):
            yield public, value
        elif isinstance(value, dict | list):
            yield public, orjson.dumps(value, default=str).decode()


def wire_value(value: Any) -> str:
    """A parameter's value as Twilio reads it: booleans in lower case, times in UTC, objects and lists as JSON."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case dict() | list():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


@lru_cache(maxsize=256)
def wire_names(model: type[Parameters]) -> Mapping[str, Wire]:
    """For each field its wire name and how a list is written."""
    names = {}
    for name, info in model.model_fields.items():
        given = next((item for item in info.metadata if isinstance(item, Wire)), Wire())
        names[name] = Wire(given.name or camel(info.alias or name), given.join)
    return names


def wire_pairs(parameters: Parameters, *, without: Iterable[str] = ()) -> Pairs:
    """The parameters that are set, in order; a list repeats its key; an empty string is sent, since it redacts."""
    skipped = parameters.unsent | frozenset(without)
    pairs: list[tuple[str, str]] = []
    for name, wire in wire_names(type(parameters)).items():
        value = getattr(parameters, name)
        if value is None or name in skipped or wire.name is None:
            continue
        if isinstance(value, list | tuple):
            texts = [wire_value(item) for item in value]
            pairs += [(wire.name, wire.join.join(texts))] if wire.join else [(wire.name, text) for text in texts]
        else:
            pairs.append((wire.name, wire_value(value)))
    return tuple(pairs)
