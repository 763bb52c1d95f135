"""A row of Twilio's as the JSON of its bundle, in one pass: byte for byte what the model makes of it. Pure.

Most fields are text and stay text, so that building, checking and writing a model changes nothing. What is more than
text goes through its field's own validator, each distinct value once; what is not ordinary goes the long way.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, cast

import orjson
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from connector.events import timestamp
from connector.resources.fields import Optional, Timestamp, parse_time
from connector.resources.models import Bundle

Convert = Callable[[Any], Any]

# Of each kind of value: the rows of a page share seconds, counts and prices.
REMEMBERED_VALUES = 1024
_TEXT = frozenset({str, type(None)})


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes the rows of one bundle.

    `empty` holds the declared fields by their JSON names, in order, all null; `texts` gets those that are text or null
    and stay as they are; `typed` are the others, `required` those that must be there.
    """

    bundle: type[Bundle]
    empty: Mapping[str, None]
    texts: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    typed: tuple[tuple[str, Convert], ...]
    required: tuple[str, ...]
    is_plain: bool

    @staticmethod
    @lru_cache(maxsize=64)
    def of(bundle: type[Bundle]) -> "Writer":
        """The writer of a bundle, shared by all its watches: what does not change from row to row is prepared."""
        fields = {info.alias or name: info for name, info in bundle.model_fields.items()}
        conversions = {name: conversion(info) for name, info in fields.items()}
        plain = [name for name, convert in conversions.items() if convert is None]
        return Writer(
            bundle=bundle,
            empty=dict.fromkeys(fields),
            # Getting one name gives a value, not a tuple; a name twice is always a tuple.
            texts=itemgetter(*plain, plain[0]) if plain else lambda _row: (),
            typed=tuple((name, convert) for name, convert in conversions.items() if convert),
            required=tuple(name for name, info in fields.items() if info.is_required()),
            is_plain=is_plain(bundle),
        )

    def write(self, row: Mapping[str, Any]) -> bytes:
        """The bundle as compact JSON. Raises ValidationError when the row does not fit it."""
        if self.is_plain:
            try:
                return self.in_one_pass(row)
            except (ValueError, TypeError):
                pass
        return self.bundle.model_validate(row).json_bytes()

    def in_one_pass(self, row: Mapping[str, Any]) -> bytes:
        """The usual row without its model. Raises ValueError or TypeError for any other."""
        document = {**self.empty, **row}
        if not _TEXT.issuperset(map(type, self.texts(document))):
            raise TypeError
        for name, convert in self.typed:
            value = document[name]
            if value is not None:
                document[name] = convert(value)
        for name in self.required:
            if document[name] is None:
                raise TypeError
        return orjson.dumps(document)


def is_plain(bundle: type[Bundle]) -> bool:
    """Whether bundles of this kind are their fields and nothing else: no rules, no values of their own."""
    own = bundle.__pydantic_decorators__
    has_rules = own.model_validators or own.field_validators or own.computed_fields or own.model_serializers
    starts_null = all(info.is_required() or info.default is None for info in bundle.model_fields.values())
    return not has_rules and starts_null and bundle.json_bytes is Bundle.json_bytes


def conversion(field: FieldInfo) -> Convert | None:
    """What a field makes of a value that is not null, as JSON's own types; None when it is text and stays as it is."""
    if field.annotation in (str, str | None) and not field.metadata:
        return None
    for usual, convert in _USUAL:
        if (field.annotation, field.metadata) == (usual.annotation, usual.metadata):
            return convert
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    validate, write = adapter.validator.validate_python, adapter.serializer.to_python
    # What cannot be remembered, as an object, is a TypeError: 1, 1.0 and True are not the same.
    return lru_cache(REMEMBERED_VALUES, typed=True)(lambda value: write(validate(value), mode="json"))


@lru_cache(REMEMBERED_VALUES)
def _moment(text: str) -> str | None:
    if type(text) is not str:
        raise TypeError
    return timestamp(parse_time(text)) if text else None


def _present(text: str) -> str | None:
    if type(text) is not str:
        raise TypeError
    return text or None


def _object(value: Any) -> Any:
    if type(value) is not dict:
        raise TypeError
    return value


def _anything(value: Any) -> Any:
    return value


_USUAL = tuple(
    (FieldInfo.from_annotation(cast("type[Any]", kind)), convert)
    for kind, convert in (
        (Timestamp, _moment),
        (Optional, _present),
        (dict[str, Any] | None, _object),
        (Any, _anything),
    )
)
