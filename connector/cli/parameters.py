"""Parameters of a command from options: `to=+15557654321`, `query.PageSize=20`, `status_callback:=null`. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from connector.cli.options import unknown
from connector.resources.commands import Command
from connector.resources.models import Parameters

Schema = Mapping[str, Any]


def with_options(command: Command, base: Mapping[str, Any], options: Iterable[str]) -> dict[str, Any]:
    """The value with the options in it: typed as the command's parameters are; a repeated list parameter grows.

    `name:=JSON` takes any JSON, `object.name=text` sets a member. Raises typer.BadParameter.
    """
    value = dict(base)
    pairs = [_pair(text) for text in options]
    schema = _schema(command, {**value, **{name: text for name, text, _ in pairs}})
    for name, text, is_json in pairs:
        head, _, member = name.partition(".")
        if head not in schema["properties"]:
            raise unknown(head, f"parameter of {_name(command, value)}", schema["properties"])
        kinds = _kinds(schema["properties"][head], schema)
        if is_json:
            value[head] = _json(name, text)
        elif member:
            value[head] = {**value.get(head, {}), member: text}
        elif "array" in kinds and (head in value or "string" not in kinds):
            value[head] = [*_listed(value.get(head, [])), text]
        else:
            value[head] = _typed(name, text, kinds)
    return value


def _pair(text: str) -> tuple[str, str, bool]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip(":"):
        raise typer.BadParameter(f"{text!r} is no parameter; write name=value, or name:=JSON.")
    return name.removesuffix(":"), value, name.endswith(":")


def _schema(command: Command, value: Mapping[str, Any]) -> Schema:
    """The JSON Schema of the parameters that `resource` picks."""
    models: dict[str | None, type[Parameters]] = {
        name: operation.parameters for name, operation in command.operations.items()
    }
    if None in models:
        return models[None].model_json_schema()
    resource, known = value.get("resource"), [str(name) for name in models]
    if resource is None:
        raise typer.BadParameter(f"{command.name} needs resource=…, one of {', '.join(sorted(known))}.")
    if resource not in known:
        raise unknown(str(resource), f"resource of {command.name}", known)
    return models[resource].model_json_schema()


def _name(command: Command, value: Mapping[str, Any]) -> str:
    return f"{command.name} {value['resource']}" if "resource" in value else command.name


def _kinds(field: Schema, schema: Schema) -> set[str]:
    """The JSON types that a field may have."""
    if "$ref" in field:
        return _kinds(schema["$defs"][field["$ref"].rpartition("/")[2]], schema)
    options = [*field.get("anyOf", ()), *field.get("oneOf", ())]
    if options:
        return set().union(*(_kinds(option, schema) for option in options))
    kind = field.get("type", "string")
    return {kind} if isinstance(kind, str) else set(kind)


def _typed(name: str, text: str, kinds: set[str]) -> Any:
    if "string" in kinds:
        return text
    found = _json(name, text)
    is_fit = {
        "boolean": isinstance(found, bool),
        "integer": isinstance(found, int) and not isinstance(found, bool),
        "number": isinstance(found, int | float) and not isinstance(found, bool),
        "object": isinstance(found, dict),
        "null": found is None,
    }
    if not any(is_fit.get(kind) for kind in kinds):
        wanted = " or ".join(sorted(kinds - {"null"}))
        raise typer.BadParameter(f"{name}={text!r} is no {wanted}.")
    return found


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"{name}={text!r} is not JSON ({error.msg}).") from error


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
