"""The catalog as JSON Schema 2020-12: one self-contained document per bundle, event, command and result. Pure."""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.commands import Command
from connector.resources.models import Bundle
from connector.resources.results import Result
from connector.resources.rows import SCHEMAS, Callback, Watch
from connector.schemas.words import description

Document = dict[str, Any]

DIALECT = GenerateJsonSchema.schema_dialect
HEADINGS = ("$schema", "$id", "title", "description", "type", "oneOf", "required", "properties", "additionalProperties")
CLOSINGS = ("allOf", "$defs", "examples")


class Generator(GenerateJsonSchema):
    """Writes nullable types as a list of types, and leaves out titles and defaults that say nothing."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """`{"type": ["string", "null"]}` instead of a choice of two schemas."""
        inner = self.generate_inner(schema["schema"])
        if "const" in inner:
            inner = {"enum": [inner["const"]], **{name: item for name, item in inner.items() if name != "const"}}
        match inner:
            case {"enum": [*values], "type": str(kind)}:
                return {**inner, "enum": [*values, None], "type": [kind, "null"]}
            case {"type": str(kind)} if "anyOf" not in inner:
                return {**inner, "type": [kind, "null"]}
            case _:
                return super().nullable_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """A default of null says only that the field may be left out, which `required` says already."""
        written = super().default_schema(schema)
        return {name: item for name, item in written.items() if name != "default" or item is not None}

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles that repeat the name."""
        del schema
        return False


@lru_cache(maxsize=1)
def examples() -> Mapping[str, Any]:
    """Fictional rows as Twilio writes them, by bundle; parameters, by command and resource."""
    found: Mapping[str, Any] = json.loads(files(__package__).joinpath("examples.json").read_text(encoding="utf-8"))
    return found


def bundle_example(model: type[Bundle]) -> Any:
    """A bundle as it is published."""
    return json.loads(model.model_validate(examples()["bundles"][model.__name__]).json_bytes())


def kebab(name: str) -> str:
    """`MessageStatus` -> `message-status`."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("-")


def documents() -> dict[str, Document]:
    """Each file of the folder `schemas` that is a JSON Schema of the catalog, by its path."""
    bundles = {bundle.__name__: bundle for bundle in _bundles()}
    found = {f"bundles/{kebab(name)}.json": _bundle(bundle) for name, bundle in sorted(bundles.items())}
    found |= {f"events/{row.topic}.json": _watch_event(row) for row in WATCHES.values()}
    found |= {f"events/{row.topic}.json": _callback_event(row) for row in CALLBACKS.values()}
    found |= {f"commands/{command.name}.json": _command(command) for command in COMMANDS.values()}
    found |= {f"results/{command.name}.json": _result(command) for command in COMMANDS.values()}
    return {path: _completed(path, document) for path, document in found.items()}


def _bundles() -> Iterable[type[Bundle]]:
    yield from (row.bundle for row in WATCHES.values())
    yield from (row.bundle for row in CALLBACKS.values())
    for command in COMMANDS.values():
        yield from _command_bundles(command)


def _command_bundles(command: Command) -> list[type[Bundle]]:
    found = (operation.bundle for operation in command.operations.values() if operation.bundle is not None)
    return list(dict.fromkeys(found))


def _schema(model: type[BaseModel], *, published: bool) -> Document:
    """The schema of what we write (`published`) or accept."""
    schema = model.model_json_schema(schema_generator=Generator, mode="serialization" if published else "validation")
    for part in (schema, *schema.get("$defs", {}).values()):
        if "properties" in part:
            part["properties"] = {name: _described(name, field) for name, field in part["properties"].items()}
    return schema


def _described(name: str, field: Document) -> Document:
    words = field.get("description") or description(name)
    return {**({"description": words} if words else {}), **field}


def _completed(path: str, document: Document) -> Document:
    return _ordered({"$schema": DIALECT, "$id": f"{SCHEMAS}/{path}", **document})


def _ordered(document: Document) -> Document:
    """Headings first, rules, definitions and examples last."""
    position = {name: number for number, name in enumerate(HEADINGS)} | dict.fromkeys(CLOSINGS, 99)
    definitions = {"$defs": {name: _ordered(item) for name, item in document.get("$defs", {}).items()}}
    whole = document | (definitions if "$defs" in document else {})
    return {name: whole[name] for name in sorted(whole, key=lambda name: position.get(name, len(HEADINGS)))}


def _bundle(model: type[Bundle]) -> Document:
    return {**_schema(model, published=True), "examples": [bundle_example(model)]}


def _event(row: Watch | Callback, description: str) -> Document:
    schema = _bundle(row.bundle)
    title = f"{schema['title']}Event" if isinstance(row, Watch) else schema["title"]
    return {**schema, "title": title, "description": f"{schema['description']}\n\n{description}"}


def _watch_event(row: Watch) -> Document:
    kinds = " or ".join(f"`{kind}`" for kind in row.event_types)
    return _event(row, f"Value of the topic `{{prefix}}.{row.topic}`; `ce_type` {kinds}; the key is `{row.key_text}`.")


def _callback_event(row: Callback) -> Document:
    kind = f"`{row.event_type}`" if row.event_type else "Twilio's own"
    return _event(row, f"Value of the topic `{{prefix}}.{row.topic}`; `ce_type` {kind}; the key is `{row.key}`.")


def command_examples(command: Command) -> list[Any]:
    """Parameters of each operation of a command."""
    names = [" ".join(filter(None, (command.name, resource))) for resource in command.operations]
    return [example for name in names for example in examples()["commands"][name]]


def _command(command: Command) -> Document:
    schemas = [_schema(operation.parameters, published=False) for operation in command.operations.values()]
    if None in command.operations:
        return {**schemas[0], "examples": command_examples(command)}
    shared = {name: item for schema in schemas for name, item in schema.pop("$defs", {}).items()}
    return {
        "title": command.name.capitalize(),
        "description": f"Parameters of `{command.name}`; `resource` says which of these they are.",
        "oneOf": [{"$ref": f"#/$defs/{schema['title']}"} for schema in schemas],
        "$defs": {**shared, **{schema["title"]: schema for schema in schemas}},
        "examples": command_examples(command),
    }


def _result(command: Command) -> Document:
    bundles = _command_bundles(command)
    result = _schema(Result, published=True)
    name = "".join(part.capitalize() for part in command.name.split("-"))
    result |= {"title": f"{name}Result", "description": f"What became of a `{command.name}`. {result['description']}"}
    result["properties"]["bundles"] |= _items(command, bundles)
    result["$defs"] |= {bundle.__name__: _schema(bundle, published=True) for bundle in bundles}
    return {**result, "examples": [_result_example(command, bundles)]}


def _items(command: Command, bundles: list[type[Bundle]]) -> Document:
    if any(operation.answer == "raw" for operation in command.operations.values()):
        return {"items": True, "maxItems": 1, "description": "Twilio's answer: a JSON value, or its text."}
    if not bundles:
        return {"items": False}
    return {"items": {"anyOf": [{"$ref": f"#/$defs/{bundle.__name__}"} for bundle in bundles]}}


def _result_example(command: Command, bundles: list[type[Bundle]]) -> Document:
    raw = [examples()["raw"]] if "raw" in {operation.answer for operation in command.operations.values()} else []
    return {
        "command": {
            "id": f"{command.name}-0001",
            "name": command.name,
            "topic": f"twilio.commands.{command.name}",
            "partition": 3,
            "offset": 42,
        },
        "outcome": "succeeded",
        "bundles": [bundle_example(bundle) for bundle in bundles[:1]] or raw,
        "page": 0,
        "last": True,
        "error": None,
        "attempts": 1,
        "reconciled": False,
        "started_at": "2026-11-23T17:00:00.120Z",
        "finished_at": "2026-11-23T17:00:00.345Z",
        "request_id": "RQ0123456789abcdef0123456789abcdef",
    }
