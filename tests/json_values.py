"""Values of a JSON Schema as a hypothesis strategy, for the parts of JSON Schema that our own documents use."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

Schema = Mapping[str, Any]

TIMES = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)).map(  # noqa: DTZ001 - set below
    lambda moment: moment.replace(microsecond=0, tzinfo=UTC).isoformat().replace("+00:00", "Z")
)
DAYS = st.dates(min_value=datetime(2020, 1, 1, tzinfo=UTC).date()).map(lambda day: day.isoformat()[:10])
FORMATS = {"date": DAYS, "date-time": TIMES}
LETTERS = st.characters(codec="utf-8")
TEXT = st.text(LETTERS, max_size=12)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
# What is likely wrong somewhere, and likely right elsewhere.
ODD = st.sampled_from([None, "", False, True, 0, 7, 5.5, "x", "+15550100001", [], ["x"], {}, {"a": 1}, "2026-11-24"])


def values(schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    """Values that fit the schema, apart from conditions between fields."""
    if "$ref" in schema:
        return values(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema and all("format" not in variant for variant in schema["anyOf"]):
        return st.one_of([values(variant, root) for variant in schema["anyOf"]])
    kinds = schema.get("type", [])
    return st.one_of(
        [_typed(kind, schema, root) for kind in ([kinds] if isinstance(kinds, str) else kinds)] or [ANYTHING]
    )


def _typed(kind: str, schema: Schema, root: Schema) -> st.SearchStrategy[Any]:
    strategies: Mapping[str, Callable[[], st.SearchStrategy[Any]]] = {
        "string": lambda: _texts(schema),
        "integer": lambda: st.integers(schema.get("minimum", -(10**6)), schema.get("maximum", 10**6)),
        "number": lambda: st.floats(schema.get("minimum", -1e6), 1e6).filter(lambda number: not number.is_integer()),
        "boolean": st.booleans,
        "array": lambda: _lists(schema, root),
        "object": lambda: _objects(schema, root),
        "null": st.none,
    }
    return strategies[kind]()


def _lists(schema: Schema, root: Schema) -> st.SearchStrategy[list[Any]]:
    inner = values(schema.get("items", {}), root)
    return st.lists(inner, min_size=schema.get("minItems", 0), max_size=schema.get("maxItems", 3))


def _texts(schema: Schema) -> st.SearchStrategy[str]:
    formats = [item["format"] for item in (schema, *schema.get("anyOf", ())) if "format" in item]
    if formats:
        return st.one_of([FORMATS[name] for name in formats])
    lower, upper = schema.get("minLength", 0), schema.get("maxLength", 40)
    if "pattern" in schema:
        shaped = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z")
        return shaped.filter(lambda text: lower <= len(text) <= upper if "maxLength" in schema else True)
    return st.text(LETTERS, min_size=lower, max_size=min(upper, 40))


def _objects(schema: Schema, root: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" in schema:
        fields = {name: values(field, root) for name, field in schema["properties"].items()}
        needed = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(needed, optional=fields)
    names = values({"type": "string", **schema.get("propertyNames", {})}, root)
    inner = schema.get("additionalProperties")
    return st.dictionaries(names, values(inner if isinstance(inner, Mapping) else {}, root), max_size=3)
