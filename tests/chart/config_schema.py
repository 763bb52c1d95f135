"""The connector's configuration schema (2020-12) as the part `config` of the chart's schema (draft-07).

Nothing is required, since the Secret and the environment may give it, except the resource of a watch. What the chart
needs of the defaults is required at the top, so that a `null` does not take it away.
"""

from typing import Any

from connector.settings import json_schema

PREFIX = "config."
DROPPED = frozenset({"title", "required", "default"})
REPLACED = "#/definitions/replaced"
NEEDED = {
    "kafka": ["bootstrap_servers", "partitions", "replication_factor", "security_protocol", "topic_prefix"],
    "callbacks": ["port"],
    "admin": ["host", "port"],
}


def config_schema() -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of `config`, and the definitions that it refers to."""
    schema = json_schema()
    definitions = {f"{PREFIX}{name}": _draft_07(part) for name, part in schema.pop("$defs").items()}
    top = _draft_07({name: schema[name] for name in ("type", "additionalProperties", "properties")})
    top["required"] = [*NEEDED, "shutdown_grace"]
    for name, keys in NEEDED.items():
        definitions[f"{PREFIX}{_definition_of(schema, name)}"]["required"] = keys
    definitions[f"{PREFIX}WatchSettings"]["required"] = ["resource"]
    return top, definitions


def _definition_of(schema: dict[str, Any], key: str) -> str:
    return str(schema["properties"][key]["$ref"]).rpartition("/")[2]


def _draft_07(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what draft-07 does not have; descriptions stay for editors."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/$defs/", f"#/definitions/{PREFIX}")}
    converted = {name: _part(name, item) for name, item in schema.items() if name not in DROPPED}
    return converted | ({"additionalProperties": False} if "patternProperties" in converted else {})


def _or_variable(schema: dict[str, Any]) -> dict[str, Any]:
    """Also a text with `${VAR}`, which the connector replaces, or with a template. Sections stay mappings."""
    if "$ref" in schema or schema.get("type") == "object" or any("$ref" in part for part in schema.get("anyOf", ())):
        return schema
    description = {"description": schema["description"]} if "description" in schema else {}
    rest = {name: item for name, item in schema.items() if name != "description"}
    return {**description, "if": {"$ref": REPLACED}, "else": rest}


def _part(name: str, item: Any) -> Any:
    match name, item:
        case (("properties" | "patternProperties"), dict()):
            return {key: _or_variable(_draft_07(below)) for key, below in item.items()}
        case (("items" | "additionalProperties"), dict()):
            return _or_variable(_draft_07(item))
        case "anyOf", list():
            return [_draft_07(below) for below in item]
        case _:
            return item
