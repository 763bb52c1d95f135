"""Whether a new schema still fits those who know the old one. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

# A bound may only move this way without refusing what was allowed.
LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
LITERALS = ("pattern", "format")


def breaking(old: Schema, new: Schema) -> list[str]:
    """One sentence for each change that breaks those who write or read by the old schema.

    Breaking is: a field that is gone, a type or a value that is not allowed any more, a tighter bound, another pattern,
    a field that is needed now. Adding fields, values and types, and lifting bounds is not.
    """
    return list(_compare(_Place(old, new), old, new))


class _Place:
    """The two documents and where in them we are; `seen` ends recursion."""

    def __init__(self, old: Schema, new: Schema, path: str = "", seen: frozenset[str] = frozenset()) -> None:
        self.old = old
        self.new = new
        self.path = path
        self.seen = seen

    def __truediv__(self, name: str) -> "_Place":
        return _Place(self.old, self.new, f"{self.path}.{name}".removeprefix("."), self.seen)

    def within(self, reference: str) -> "_Place":
        return _Place(self.old, self.new, self.path, self.seen | {reference})

    def says(self, sentence: str) -> str:
        return f"{self.path or 'the value'} {sentence}"


def _compare(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    reference = str(old.get("$ref", ""))
    if reference in place.seen and reference:
        return
    place = place.within(reference)
    old, new = _resolved(place.old, old), _resolved(place.new, new)
    yield from _variants(place, old, new)
    yield from _types(place, old, new)
    yield from _values(place, old, new)
    yield from _bounds(place, old, new)
    yield from _fields(place, old, new)
    if isinstance(old.get("items"), Mapping):
        yield from _compare(place / "items", old["items"], _sub(new.get("items")))


def _resolved(document: Schema, schema: Schema) -> Schema:
    while "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        schema = {**document.get("$defs", {}).get(name, {}), **{key: schema[key] for key in schema if key != "$ref"}}
    return schema


def _sub(schema: Any) -> Schema:
    return schema if isinstance(schema, Mapping) else {}


def _choices(schema: Schema) -> list[Schema]:
    return [*schema.get("oneOf", ()), *schema.get("anyOf", ())]


def _variants(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    """Choices are told apart by the definition that they refer to; plain types are compared as types."""
    offered = {_name(variant): variant for variant in _choices(new)}
    for variant in _choices(old):
        name = _name(variant)
        if name in offered:
            yield from _compare(place, variant, offered[name])
        elif "$ref" in variant:
            yield place.says(f"may not be a {name} any more")


def _name(variant: Schema) -> str:
    shown = variant.get("$ref") or f"{variant.get('type')} {variant.get('format')}"
    return str(shown).removeprefix("#/$defs/")


def _types(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    before, after = _type_names(place.old, old), _type_names(place.new, new)
    if after and before:
        for name in sorted(before - after - ({"integer"} if "number" in after else set())):
            yield place.says(f"may not be of type {name} any more")
    elif after:
        yield place.says(f"may be of type {' or '.join(sorted(after))} only")


def _type_names(document: Schema, schema: Schema) -> set[str]:
    """The types that are allowed; empty: any."""
    given = schema.get("type", ())
    named = [{given} if isinstance(given, str) else set(given)]
    return set().union(*named, *(_type_names(document, _resolved(document, item)) for item in _choices(schema)))


def _values(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    before, after = _allowed(old), _allowed(new)
    if after is None:
        return
    if before is None:
        yield place.says("is restricted to certain values now")
        return
    for value in before:
        if value not in after:
            yield place.says(f"may not be {value!r} any more")


def _allowed(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _bounds(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    for word in LOWER_BOUNDS:
        if word in new and new[word] > old.get(word, float("-inf")):
            yield place.says(f"has a higher {word}: {new[word]}")
    for word in UPPER_BOUNDS:
        if word in new and new[word] < old.get(word, float("inf")):
            yield place.says(f"has a lower {word}: {new[word]}")
    for word in LITERALS:
        if word in new and new[word] != old.get(word):
            yield place.says(f"has another {word}")


def _fields(place: _Place, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    for name in before:
        if name in after:
            yield from _compare(place / name, _sub(before[name]), _sub(after[name]))
        else:
            yield (place / name).says("is gone")
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield (place / name).says("is required now")
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False and before:
        yield place.says("may not have further fields any more")
