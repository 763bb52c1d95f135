"""`python tests/contract/coverage.py`: write docs/coverage.md, what serves each parameter of the specification."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from connector.openapi.documents import Operation as Documented
from connector.openapi.documents import document, hosts
from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.commands import Operation
from connector.resources.rows import wire_names
from connector.settings.schema import json_schema

SPECIFICATION = Path(__file__).with_name("specification.json")
DOCUMENT = Path(__file__).parents[2] / "docs" / "coverage.md"

# Sections of the configuration that the specification's connection and webhook stand for.
SECTIONS = {"connections": "Connection", "callbacks": "CallbackSettings"}
NOTHING = "-"
HEADING = """# Coverage

Generated from the catalog (`python tests/contract/coverage.py`); a test compares. What each module and parameter of the
product specification is served by, and what Twilio gets. `limit` is the connector's own: Twilio has only page sizes.

## The specification
| module | parameter | served by | name here | at Twilio | remark |
|---|---|---|---|---|---|
"""


class Uncovered(Exception):
    """A parameter of the specification that nothing serves."""


def modules() -> list[dict[str, Any]]:
    """The specification's modules: `module`, `by`, `parameters`."""
    found: list[dict[str, Any]] = json.loads(SPECIFICATION.read_text(encoding="utf-8"))
    return found


def served(by: Mapping[str, str], field: str) -> tuple[str, str]:
    """What serves a field, and Twilio's name for it. Raises Uncovered."""
    try:
        match by:
            case {"configuration": section}:
                return f"configuration `{section}`", _setting(section, field)
            case {"callback": kind}:
                return f"callback `{CALLBACKS[kind].kind}`", _setting(*field.split("."))
            case {"watch": resource}:
                row = WATCHES[resource]
                return f"watch `{resource}`", NOTHING if field == "limit" else f"`{row.filters[field]}`"
            case _:
                operation = COMMANDS[by["command"]].operations[by.get("resource")]
                return " ".join(["command", *(f"`{name}`" for name in by.values())]), _at_twilio(operation, field)
    except KeyError as missing:
        raise Uncovered(f"{dict(by)} has no {field}: {missing}") from missing


def _setting(section: str, field: str) -> str:
    if field not in json_schema()["$defs"][SECTIONS[section]]["properties"]:
        raise KeyError(field)
    return NOTHING


def _at_twilio(operation: Operation, field: str) -> str:
    model = operation.parameters
    name = f"{field}_" if f"{field}_" in model.model_fields else field
    if name not in model.model_fields:
        raise KeyError(field)
    if f"{{{field}}}" in operation.path or any(f"{{{field}}}" in path for path in operation.nested.values()):
        return "path"
    if operation.build is not None or field in model.unsent:
        return NOTHING
    return f"`{wire_names(model)[name].name}`"


def table() -> str:
    """The whole document."""
    return "".join((HEADING, *_specification(), *_operations(), *_callbacks(), *_twilio()))


def _specification() -> Iterator[str]:
    for module in modules():
        for parameter in module["parameters"]:
            server, twilio = served(module["by"], parameter["field"])
            cells = (module["module"], parameter["name"], server, f"`{parameter['field']}`", twilio)
            yield f"| {' | '.join(cells)} | {parameter.get('note', '')} |\n"


def _operations() -> Iterator[str]:
    yield "\n## Every command\n| command | resource | Twilio's operation | parameters |\n|---|---|---|---|\n"
    for command in COMMANDS.values():
        for resource, operation in command.operations.items():
            fields = operation.parameters.model_fields
            names = [f"`{info.alias or name}`" for name, info in fields.items() if name != "resource"]
            yield f"| `{command.name}` | {resource or NOTHING} | {operation.name} | {' '.join(names)} |\n"


def _callbacks() -> Iterator[str]:
    yield "\n## Every watch and callback\n| what | topic | event types | Twilio's filters |\n|---|---|---|---|\n"
    for watch in WATCHES.values():
        kinds = " ".join(f"`{kind}`" for kind in watch.event_types)
        names = " ".join(f"`{name}`" for name in watch.filters)
        yield f"| watch `{watch.resource}` | `{watch.topic}` | {kinds} | {names or NOTHING} |\n"
    for row in CALLBACKS.values():
        kind = f"`{row.event_type}`" if row.event_type else "Twilio's own"
        yield f"| callback `{row.kind}` | `{row.topic}` | {kind} | {NOTHING} |\n"


def _twilio() -> Iterator[str]:
    """Every operation that Twilio documents, and what serves it."""
    found = built_in()
    yield "\n## Every operation of Twilio\n"
    yield "Those of the documents that come along. A list that nothing watches yet is watched by configuration, and\n"
    yield "everything can be called with `call-api`.\n"
    for host in hosts():
        operations = document(host).operations
        served_by = [found.get(_key(host, one.method, one.path)) for one in operations]
        built = sum(by is not None for by in served_by)
        lists = sum(by is None and one.is_list for one, by in zip(operations, served_by, strict=True))
        yield f"\n### {host}.twilio.com\n{len(operations)} operations: {built} built in, {lists} further lists by "
        yield f"configuration, {len(operations) - built - lists} through `call-api`.\n\n"
        yield "| operation | | served by |\n|---|---|---|\n"
        for one, by in zip(operations, served_by, strict=True):
            yield f"| {one.name} | `{one.method} {one.path}` | {by or _otherwise(one)} |\n"


def _otherwise(operation: Documented) -> str:
    return "configuration, `call-api`" if operation.is_list else "`call-api`"


def _key(host: str, method: str, path: str) -> tuple[str, str, str]:
    return host, method, re.sub(r"{\w+}", "{}", path)


def built_in() -> Mapping[tuple[str, str, str], str]:
    """What watches and commands of their own serve each operation."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for watch in WATCHES.values():
        found.setdefault(_key(watch.host, "GET", watch.path), []).append(f"watch `{watch.resource}`")
    for command in COMMANDS.values():
        for resource, operation in command.operations.items():
            names = " ".join(f"`{name}`" for name in (command.name, resource) if name)
            for path in (operation.path, *operation.nested.values()):
                found.setdefault(_key(operation.host, operation.method, path), []).append(names)
    return {key: ", ".join(names) for key, names in found.items()}


def main() -> None:
    """Write the document."""
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(table(), encoding="utf-8")


if __name__ == "__main__":
    main()
