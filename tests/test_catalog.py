"""The catalog as a whole: it covers the specification, and what it sends is what Twilio's OpenAPI knows."""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from connector.errors import Rejected
from connector.resources import CALLBACKS, COMMANDS, WATCHES, commands
from connector.resources.commands import Operation, parse
from connector.resources.rows import BOOLEANS, SINCE, Parameters, Request, Under, Watch, wire_names
from connector.schemas.documents import documents
from connector.settings.lists import LIST
from connector.settings.watches import FILTERS
from tests.contract.coverage import DOCUMENT, Uncovered, modules, served, table
from tests.examples import examples
from tests.json_values import values

ROOT = Path(__file__).parents[1]
OPENAPI = json.loads((Path(__file__).parent / "contract" / "twilio_openapi.json").read_text())
ACCOUNT = "AC" + "0" * 32
DOCUMENTS = documents()

# What only Twilio's own SDK (9.13.0) knows.
SDK_ONLY = {"CreateMessage": {"MessageIntent"}, "CreateCall": {"RecordingConfigurationId", "Passports"}}
# Twilio's `x-twilio.conditional`: one of each group is needed.
GROUPS = {
    "CreateMessage": [{"From", "MessagingServiceSid"}, {"Body", "MediaUrl", "ContentSid"}],
    "CreateCall": [{"Url", "Twiml", "ApplicationSid"}],
    "CreateIncomingPhoneNumber": [{"PhoneNumber", "AreaCode"}],
}
PAGING = {"PageSize", "Page", "PageToken"}
# Commands that do one thing of an update that may do several.
PARTS = {"cancel-message", "end-call", "redirect-call", "end-conference", "mute-participant"}
# The OpenAPI types it as a list, Twilio's documentation and SDKs send one text with spaces.
JOINED = {"RecordingStatusCallbackEvent"}


@dataclass(frozen=True)
class Known:
    """An operation as Twilio's OpenAPI describes it."""

    name: str
    path: Mapping[str, Any]
    fields: Mapping[str, Any]
    required: frozenset[str]


def resolved(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found


def known(method: str, path: str) -> tuple[Known, dict[str, str]]:
    """The operation at a path, and the path's parameters."""
    for template, item in OPENAPI["paths"].items():
        match = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+?)", template.replace(".", r"\.")), path)
        if match and method.lower() in item:
            return described(item[method.lower()]), match.groupdict()
    raise AssertionError(f"Twilio's OpenAPI has no {method} {path}")


def described(operation: Mapping[str, Any]) -> Known:
    given = operation.get("parameters", [])
    body = operation.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
    form = body.get("schema", {})
    query = {item["name"]: resolved(item["schema"]) for item in given if item["in"] == "query"}
    required = {item["name"] for item in given if item["in"] == "query" and item.get("required")}
    return Known(
        name=operation["operationId"],
        path={item["name"]: item["schema"] for item in given if item["in"] == "path"},
        fields=query | {name: resolved(schema) for name, schema in form.get("properties", {}).items()},
        required=frozenset(required | set(form.get("required", ()))),
    )


OPERATIONS: list[tuple[str, str | None, Operation]] = [
    (command.name, resource, operation)
    for command in COMMANDS.values()
    for resource, operation in command.operations.items()
    if operation.path and operation.answer != "binary"
]
IDS = [" ".join(filter(None, item[:2])) for item in OPERATIONS]


def paths_of(operation: Operation) -> Iterator[str]:
    for path in (operation.path, *operation.nested.values()):
        yield path.replace("{AccountSid}", ACCOUNT)


# --- the specification -------------------------------------------------------------------------------------------
def test_the_coverage_table_in_the_docs_is_what_the_catalog_says() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == table()


@pytest.mark.parametrize(
    ("module", "parameter"),
    [(module, parameter) for module in modules() for parameter in module["parameters"]],
    ids=lambda item: item.get("name", ""),
)
def test_a_parameter_of_the_specification_is_served(module: dict[str, Any], parameter: dict[str, Any]) -> None:
    assert served(module["by"], parameter["field"])


@pytest.mark.parametrize(
    "by", [{"watch": "calls"}, {"command": "place-call"}, {"command": "fax"}, {"configuration": "connections"}]
)
def test_a_parameter_that_nothing_serves_is_noticed(by: dict[str, str]) -> None:
    with pytest.raises(Uncovered):
        served(by, "favourite_colour")


def test_the_commands_the_five_watches_and_the_seven_callbacks_of_the_contract_exist() -> None:
    assert set(COMMANDS) == {
        *("send-message", "place-call", "buy-phone-number", "update", "get", "list", "delete"),
        *("download-recording", "call-api", "start-verification", "check-verification", "look-up-number"),
        *("send-to-conversation", "cancel-message", "end-call", "redirect-call", "end-conference", "mute-participant"),
    }
    assert set(COMMANDS["update"].operations) == {"message", "call", "phone-number"}
    assert set(COMMANDS["get"].operations) == {
        *("message", "media", "call", "recording", "transcription", "alert", "notification", "phone-number"),
    }
    assert set(COMMANDS["list"].operations) == {
        *("messages", "media", "calls", "recordings", "transcriptions", "alerts", "notifications", "phone-numbers"),
    }
    assert set(COMMANDS["delete"].operations) == {
        *("message", "media", "call", "recording", "transcription", "phone-number"),
    }
    standard = {name for name, row in WATCHES.items() if row.is_standard}
    assert standard == {"messages", "calls", "recordings", "transcriptions", "alerts"}
    assert set(WATCHES) - standard == {
        *("conferences", "conversations", "messaging-services", "phone-numbers", "verification-attempts"),
        *("participants", "message-media", "usage-records-daily", "conversation-messages", "studio-executions"),
    }
    assert {row.kind: row.topic for row in CALLBACKS.values()} == {
        "message-status": "message-status",
        "call-status": "call-status",
        "recording-status": "recording-status",
        "amd-status": "amd-status",
        "transcription-status": "transcription-status",
        "inbound-message": "inbound-messages",
        "events": "events",
    }


def test_watches_have_the_filters_that_the_configuration_offers() -> None:
    assert {resource: set(row.filters) for resource, row in WATCHES.items()} == {
        resource: set(names) for resource, names in FILTERS.items() if resource != LIST
    }


def test_a_module_with_rows_is_all_that_a_new_command_needs() -> None:
    module = ModuleType("faxes")
    toy = COMMANDS["get"].operations["call"]
    module.OPERATIONS = {"get": {"fax": toy}, "shred": {None: toy}}  # type: ignore[attr-defined]  # a toy module
    found = commands([module])
    assert set(found) == {"get", "shred"}
    assert found["get"].operations == {"fax": toy}


@pytest.mark.parametrize("engine", ["watcher", "receiver", "executor"])
def test_an_engine_names_no_resource_callback_or_command(engine: str) -> None:
    # These are also words of results, events and HTTP.
    words = {"message", "events", "get", "list", "delete", "update"}
    names = {*WATCHES, *CALLBACKS, *COMMANDS, *(row.noun for row in WATCHES.values())} - words
    for file in (ROOT / "connector" / engine).glob("*.py"):
        found = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not found & names, file.name


# --- Twilio's OpenAPI --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("command", "resource", "operation"), OPERATIONS, ids=IDS)
def test_an_operation_offers_exactly_what_twilios_openapi_offers(
    command: str, resource: str | None, operation: Operation
) -> None:
    del resource
    for path in paths_of(operation):
        theirs, _ = known(operation.method, re.sub(r"{(\w+)}", "x", path))
        in_path = set(re.findall(r"{(\w+)}", path)) | operation.parameters.unsent | {"resource", "limit"}
        in_path |= set(operation.nested)
        ours = {str(wire.name) for name, wire in wire_names(operation.parameters).items() if name not in in_path}
        more = set(theirs.fields) - PAGING - (ours - SDK_ONLY.get(theirs.name, set()))
        assert ours - SDK_ONLY.get(theirs.name, set()) <= set(theirs.fields) - PAGING
        assert bool(more) == (command in PARTS)
        assert operation.name == theirs.name or operation.nested


@pytest.mark.parametrize("row", WATCHES.values(), ids=WATCHES)
def test_a_watch_asks_with_names_that_twilios_openapi_knows(row: Any) -> None:
    theirs = listed(row)
    assert {*row.filters.values(), *filter(None, (row.since, row.before))} <= set(theirs.fields)
    assert row.page_size <= theirs.fields["PageSize"]["maximum"]
    for name, choices in row.choices.items():
        schema = theirs.fields[row.filters[name]]
        assert set(choices) <= set(BOOLEANS if schema.get("type") == "boolean" else schema.get("enum", choices))
    if row.fetch is not None:
        assert known("GET", row.fetch.format(AccountSid=ACCOUNT, **dict.fromkeys(row.key, "x")))


@pytest.mark.parametrize(
    "under", [row.under for row in WATCHES.values() if row.under], ids=lambda row: row.row.resource
)
def test_parents_are_asked_for_with_names_and_values_that_twilios_openapi_knows(under: Under) -> None:
    fields = listed(under.row).fields
    for name, value in (pair for query in under.queries for pair in query):
        assert value == SINCE or value in fields[name]["enum"]
    children = [row for row in WATCHES.values() if row.under is under]
    assert all(set(dict(under.order)) <= set(listed(row).fields) for row in children)


def listed(row: Watch) -> Known:
    """The operation that lists what the row watches."""
    theirs, _ = known("GET", row.path.format(AccountSid=ACCOUNT, parent="x"))
    assert theirs.name == row.operation
    return theirs


@pytest.mark.parametrize(("command", "resource", "operation"), OPERATIONS, ids=IDS)
def test_a_reconciliation_asks_with_names_that_twilios_openapi_knows(
    command: str, resource: str | None, operation: Operation
) -> None:
    del command, resource
    row = operation.reconciliation
    if row is None:
        return
    theirs, _ = known("GET", row.path.replace("{AccountSid}", ACCOUNT))
    assert {*row.filters.values(), *(name for name, _ in row.order)} <= set(theirs.fields)
    assert row.page_size <= theirs.fields["PageSize"]["maximum"]
    fields = operation.parameters.model_fields
    assert {*row.filters, *row.compared, *row.unfiltered, *row.unfiltered.values(), *row.masks} <= set(fields)
    assert all({name, *others} <= set(fields) for name, others in row.blurred.items())


@st.composite
def accepted(draw: st.DrawFn, command: str, resource: str | None) -> dict[str, Any]:
    """Values that the command accepts: its example with some fields replaced or added, some left out."""
    document = DOCUMENTS[f"commands/{command}.json"]
    example = draw(st.sampled_from([item for item in document["examples"] if item.get("resource") == resource]))
    variants = [document["$defs"][item["$ref"].removeprefix("#/$defs/")] for item in document.get("oneOf", ())]
    schema = next((item for item in variants if item["properties"]["resource"]["const"] == resource), document)
    value = dict(example)
    for field in draw(st.lists(st.sampled_from(sorted(schema["properties"])), max_size=6, unique=True)):
        value[field] = draw(values(schema["properties"][field], document))
    optional = sorted(set(value) - set(schema.get("required", ())))
    for field in draw(st.lists(st.sampled_from(optional), max_size=2, unique=True)) if optional else ():
        del value[field]
    return value


def understood(command: str, value: dict[str, Any]) -> tuple[Operation, Parameters] | None:
    try:
        return parse(COMMANDS[command], orjson.dumps(value))
    except Rejected:
        return None


@pytest.mark.parametrize(("command", "resource", "operation"), OPERATIONS, ids=IDS)
def test_every_request_conforms_to_twilios_openapi(command: str, resource: str | None, operation: Operation) -> None:
    del operation

    @settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
    @given(accepted(command, resource), st.booleans())
    def conforms(value: dict[str, Any], with_callbacks: bool) -> None:  # noqa: FBT001 - hypothesis gives by position
        read = understood(command, value)
        assume(read is not None)
        assert read is not None
        operation, parameters = read
        if with_callbacks:
            parameters = operation.fill_callbacks(
                parameters, lambda kind: f"https://hooks.example.com/{kind}?command=1"
            )
        check(operation.request(parameters), parameters.__class__.__name__)

    conforms()


def check(request: Request, what: str) -> None:
    theirs, in_path = known(request.method, request.path.replace("{AccountSid}", ACCOUNT))
    for name, text in in_path.items():
        assert re.search(theirs.path[name].get("pattern", ""), text), (what, name)
    pairs = [*request.query, *(request.form or ())]
    names = {name for name, _ in pairs}
    assert names <= {*theirs.fields, *SDK_ONLY.get(theirs.name, ())}, what
    assert names >= theirs.required, what
    assert all(names & group for group in GROUPS.get(theirs.name, [])), what
    for name, text in pairs:
        if name in theirs.fields:
            conform(name, text, theirs.fields[name])
    repeated = [name for name in names if sum(1 for other, _ in pairs if other == name) > 1]
    assert all(theirs.fields[name]["type"] == "array" and name not in JOINED for name in repeated), what


def conform(name: str, text: str, schema: Mapping[str, Any]) -> None:
    """A text of the form or the query fits what it stands for."""
    kind = schema.get("type", "string")
    if kind == "array":
        for part in text.split(" ") if name in JOINED else [text]:
            conform(name, part, resolved(schema["items"]))
        return
    fits = {
        "boolean": lambda: text in {"true", "false"},
        "integer": lambda: re.fullmatch(r"-?[0-9]+", text) is not None,
        "number": lambda: float(text) >= 0,
        "string": lambda: formatted(text, str(schema.get("format", ""))),
    }
    assert fits[kind](), (name, text)
    assert "enum" not in schema or text in schema["enum"], (name, text)
    assert re.search(schema.get("pattern", ""), text), (name, text)
    assert schema.get("minimum", 0) <= int(text) <= schema.get("maximum", 10**9) if kind == "integer" else True


def formatted(text: str, name: str) -> bool:
    match name:
        case "uri":
            return bool(urlsplit(text).scheme and urlsplit(text).netloc)
        case "date-time":
            return text.endswith("Z") is (len(text) > len("2026-11-24")) and datetime.fromisoformat(text) is not None
        case "date":
            return re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
        case "http-method":
            return text in {"GET", "POST"}
        case _:
            return True
