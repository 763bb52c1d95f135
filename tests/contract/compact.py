"""`python -m tests.contract.compact DIR ORIGIN`: Twilio's OpenAPI documents as the compact data of `connector.openapi`.

DIR holds documents such as `twilio_verify_v2.json`; each becomes `connector/openapi/data/verify_v2.json`. ORIGIN says
in which commit of which repository they are. Kept of each operation: name, method, path, and of its parameters where
they stand, the names, types, enums, patterns and bounds, and which are required.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connector.openapi.documents import DATA

PLACES = {"path": "segments", "query": "query", "header": "headers", "body": "fields"}
METHODS = ("get", "post", "put", "patch", "delete")
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
KEPT = ("type", "enum", "pattern", "minimum", "maximum", "nullable")
# The other formats are Twilio's to judge: a `phone-number` may be a channel's address, a `uri` may be empty.
FORMATS = ("date", "date-time")
# These the documents know only by their texts: JSON in a text, a text that is true or false, days from today.
IS_JSON = re.compile("json", re.IGNORECASE)
IS_BOOLEAN = re.compile("Can be: `true`")
IS_OFFSET = re.compile("offsets? from the current date")

Schema = Mapping[str, Any]


class Compact:
    """One document. `texts` are the names of parameters that hold JSON in a text, of all documents."""

    def __init__(self, document: Schema, texts: set[str]) -> None:
        self._document = document
        self._texts = texts
        self._values: dict[str, int] = {}

    def data(self, host: str, origin: str) -> dict[str, Any]:
        """What is written. Equal values are one, named by its number."""
        operations = [self._operation(path, method, item) for path, method, item in operations_of(self._document)]
        values = [json.loads(text) for text in self._values]
        return {"origin": origin, "host": host, "values": values, "operations": operations}

    def _operation(self, path: str, method: str, item: Schema) -> dict[str, Any]:
        found: dict[str, Any] = {"name": item["operationId"], "method": method.upper(), "path": path}
        required = []
        for given in parameters_of(self._document, item):
            found.setdefault(PLACES[given["in"]], {})[given["name"]] = self._value(given["name"], given)
            required += [given["name"]] if given.get("required") and given["in"] != "path" else []
        groups = item.get("x-twilio", {}).get("conditional", ())
        return found | {
            name: value
            for name, value in (
                ("required", required),
                ("groups", [[_camel(name) for name in group] for group in groups]),
                ("body", bodies_of(item)),
            )
            if value
        }

    def _value(self, name: str, given: Schema) -> int:
        text = json.dumps(self._spec(name, given["schema"], given.get("description", "")), sort_keys=True)
        return self._values.setdefault(text, len(self._values))

    def _spec(self, name: str, schema: Schema, description: str) -> dict[str, Any]:
        found = resolved(self._document, schema)
        description = found.get("description", description)
        spec = {key: found[key] for key in KEPT if key in found}
        if found.get("format") in FORMATS:
            spec["format"] = "offset" if IS_OFFSET.search(description) else found["format"]
        if "items" in found:
            spec["items"] = self._spec("", found["items"], "")
        if spec.get("type") == "string" and name in self._texts:
            spec["json"] = True
        if spec.get("type") == "string" and IS_BOOLEAN.search(description):
            spec["boolean"] = True
        return spec


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def resolved(document: Schema, schema: Schema) -> Schema:
    """What a reference points to."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def operations_of(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Path, method and description of every operation."""
    for path, methods in document["paths"].items():
        yield from ((path, method, methods[method]) for method in METHODS if method in methods)


def bodies_of(item: Schema) -> str:
    """`form`, `json`, or nothing."""
    content = item.get("requestBody", {}).get("content", {})
    return {FORM: "form", JSON: "json"}[next(iter(content))] if content else ""


def parameters_of(document: Schema, item: Schema) -> Iterator[Schema]:
    """Those of path, query and headers; and those of the body in the same shape, `in` it."""
    yield from (resolved(document, given) for given in item.get("parameters", ()))
    for content in item.get("requestBody", {}).get("content", {}).values():
        form = resolved(document, content["schema"])
        for name, schema in form.get("properties", {}).items():
            yield {"in": "body", "name": name, "schema": schema, "required": name in form.get("required", ())}


def texts_of(document: Schema) -> Iterator[str]:
    """The names of parameters whose description speaks of JSON."""
    for _, _, item in operations_of(document):
        for given in parameters_of(document, item):
            schema = resolved(document, given["schema"])
            if IS_JSON.search(given.get("description") or schema.get("description", "")):
                yield given["name"]


def pretty(data: Mapping[str, Any]) -> str:
    """One value, one operation a line."""
    head = json.dumps({name: data[name] for name in ("origin", "host")}, indent=1)[:-2]
    lists = (
        f' "{name}": [\n' + ",\n".join(json.dumps(item, separators=(",", ":")) for item in data[name]) + "\n ]"
        for name in ("values", "operations")
    )
    return f"{head},\n" + ",\n".join(lists) + "\n}\n"


def compact(documents: Mapping[str, Schema], origin: str) -> dict[str, str]:
    """The files by their names, from documents by theirs (`verify_v2`)."""
    texts = {name for document in documents.values() for name in texts_of(document)}
    return {
        name: pretty(Compact(document, texts).data(name.split("_", maxsplit=1)[0], origin))
        for name, document in documents.items()
    }


def main(directory: str, origin: str) -> None:
    """Write the files."""
    found = sorted(Path(directory).glob("twilio_*.json"))
    documents = {file.stem.removeprefix("twilio_"): json.loads(file.read_text(encoding="utf-8")) for file in found}
    for name, text in compact(documents, origin).items():
        (DATA / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
