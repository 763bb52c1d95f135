"""The catalog as files: JSON Schemas and AsyncAPI, generated from the models and committed.

Their git diff is the review of the interface; a test compares them byte for byte.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from connector.resources.rows import SCHEMAS
from connector.schemas.asynchronous import asyncapi
from connector.schemas.compatibility import breaking
from connector.schemas.documents import documents
from connector.settings.schema import json_schema

__all__ = ["asyncapi", "breaking", "export", "generated", "self_contained"]

LINE_LENGTH = 100
FOLDERS = ("bundles", "events", "commands", "results")


def generated() -> dict[str, str]:
    """Each generated file's text by its path in the folder `schemas`."""
    configuration = {"$id": f"{SCHEMAS}/configuration.json", **json_schema()}
    schemas = {**documents(), "configuration.json": configuration}
    texts = {path: pretty(document) + "\n" for path, document in schemas.items()}
    return {**texts, "asyncapi.yaml": yaml.safe_dump(asyncapi(), sort_keys=False, allow_unicode=True, width=120)}


def self_contained() -> dict[str, Any]:
    """The AsyncAPI document with every JSON Schema in its components, so that it can be read away from the folder."""
    document = asyncapi()
    schemas = document["components"]["schemas"]
    for path, schema in documents().items():
        name = path.removesuffix(".json").replace("/", ".")
        parts = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs")}
        for inner, definition in {"": parts, **schema.get("$defs", {})}.items():
            schemas[f"{name}.{inner}" if inner else name] = _with_references(definition, name)
    return {name: _with_references(part, "") for name, part in document.items()}


def _with_references(value: Any, name: str) -> Any:
    """The value with references into the components; `name` is that of the schema that it stands in."""
    if isinstance(value, dict):
        return {
            key: _component(item, name) if key == "$ref" and isinstance(item, str) else _with_references(item, name)
            for key, item in value.items()
        }
    return [_with_references(item, name) for item in value] if isinstance(value, list) else value


def _component(reference: str, name: str) -> str:
    if reference.startswith("#/$defs/"):
        return reference.replace("#/$defs/", f"#/components/schemas/{name}.")
    if reference.endswith(".json"):
        return f"#/components/schemas/{reference.removeprefix('./').removesuffix('.json').replace('/', '.')}"
    return reference


def pretty(value: object, indent: str = "") -> str:
    """JSON with two spaces for each level; what fits on a line stays on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= LINE_LENGTH or not isinstance(value, dict | list):
        return line
    inner = indent + "  "
    if isinstance(value, dict):
        items = [
            f"{inner}{json.dumps(name, ensure_ascii=False)}: {pretty(item, inner)}" for name, item in value.items()
        ]
    else:
        items = [f"{inner}{pretty(item, inner)}" for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(items), indent + closing])


def export(folder: Path, *, check: bool) -> list[str]:
    """Write the folder, or only `check` it. One sentence for each file that differs from what is generated."""
    wanted = generated()
    present = {str(path.relative_to(folder)) for name in FOLDERS for path in folder.glob(f"{name}/*.json")}
    differences = [f"{path} is not generated any more." for path in sorted(present - wanted.keys())]
    for path, text in wanted.items():
        file = folder / path
        if not file.is_file():
            differences.append(f"{path} is missing.")
        elif file.read_text(encoding="utf-8") != text:
            differences.append(f"{path} differs from the models.")
    if not check:
        _write(folder, wanted, stale=present - wanted.keys())
    return differences


def _write(folder: Path, wanted: dict[str, str], *, stale: set[str]) -> None:
    for path in stale:
        (folder / path).unlink()
    for path, text in wanted.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
