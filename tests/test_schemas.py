"""The generated documents: committed as they are, valid, in step with the models, and never broken."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from connector.errors import Rejected
from connector.openapi.paths import oddity
from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.commands import parse
from connector.resources.rows import Callback, Watch
from connector.schemas import asyncapi, breaking, export, generated, self_contained
from connector.schemas.documents import bundle_example, documents
from connector.state.control import Answer, Entry, Request, Verdict, decode, encode
from tests.examples import examples
from tests.json_values import ODD, values

ROOT = Path(__file__).parents[1]
CONTRACT = Path(__file__).parent / "contract"
DOCUMENTS = documents()
COMMAND_PATHS = [f"commands/{name}.json" for name in COMMANDS]
ROWS: list[Watch | Callback] = [*WATCHES.values(), *CALLBACKS.values()]
READ_PATHS = [path for path in DOCUMENTS if path.split("/")[0] in {"bundles", "events"}]


def validator(document: dict[str, Any]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


# --- the committed folder ----------------------------------------------------------------------------------------
def test_the_committed_folder_is_what_the_models_say() -> None:
    assert export(ROOT / "schemas", check=True) == []


def test_export_writes_what_is_missing_and_removes_what_is_stale(tmp_path: Path) -> None:
    stale = tmp_path / "bundles" / "fax.json"
    stale.parent.mkdir()
    stale.write_text("{}")
    kept = tmp_path / "README.md"
    kept.write_text("by hand")
    assert "bundles/fax.json is not generated any more." in export(tmp_path, check=True)
    assert stale.exists()
    export(tmp_path, check=False)
    assert export(tmp_path, check=True) == []
    assert not stale.exists()
    assert kept.read_text() == "by hand"


def test_export_names_a_file_that_was_edited(tmp_path: Path) -> None:
    export(tmp_path, check=False)
    (tmp_path / "events" / "calls.json").write_text("{}\n")
    assert export(tmp_path, check=True) == ["events/calls.json differs from the models."]


def test_every_generated_file_ends_with_a_newline_and_parses() -> None:
    for path, text in generated().items():
        assert text.endswith("\n")
        assert yaml.safe_load(text) if path.endswith(".yaml") else json.loads(text)


# --- JSON Schema -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_is_json_schema_with_identity_title_description_and_examples(path: str) -> None:
    document = DOCUMENTS[path]
    assert jsonschema_rs.meta.is_valid(document)
    assert document["$id"] == f"https://twilio-kafka.dev/schemas/{path}"
    assert document["title"]
    assert document["description"]
    assert document["examples"]


@pytest.mark.parametrize("path", DOCUMENTS)
def test_the_examples_fit_their_schema(path: str) -> None:
    check = validator(DOCUMENTS[path])
    for example in DOCUMENTS[path]["examples"]:
        check.validate(example)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_every_field_says_what_it_means(path: str) -> None:
    document = DOCUMENTS[path]
    for part in (document, *document.get("$defs", {}).values()):
        silent = [name for name, field in part.get("properties", {}).items() if not field.get("description")]
        assert silent == []


@pytest.mark.parametrize("path", READ_PATHS)
def test_an_unknown_field_of_twilio_fits_a_bundle(path: str) -> None:
    assert validator(DOCUMENTS[path]).is_valid({**DOCUMENTS[path]["examples"][0], "brand_new": {"a": [1]}})


@pytest.mark.parametrize("path", COMMAND_PATHS)
def test_an_unknown_field_does_not_fit_a_command(path: str) -> None:
    for example in DOCUMENTS[path]["examples"]:
        assert not validator(DOCUMENTS[path]).is_valid({**example, "brand_new": 1})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_a_command_is_accepted(name: str) -> None:
    for example in DOCUMENTS[f"commands/{name}.json"]["examples"]:
        parse(COMMANDS[name], orjson.dumps(example))


def test_every_watch_callback_and_command_has_its_documents() -> None:
    topics = [row.topic for row in ROWS]
    for path in [f"events/{topic}.json" for topic in topics] + [f"results/{name}.json" for name in COMMANDS]:
        assert path in DOCUMENTS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.topic)
def test_the_schema_that_an_event_names_is_the_one_it_fits(row: Watch | Callback) -> None:
    path = (row.dataschema or "").removeprefix("https://twilio-kafka.dev/schemas/")
    validator(DOCUMENTS[path]).validate(bundle_example(row.bundle))


def test_a_result_of_the_wrong_shape_does_not_fit() -> None:
    document = DOCUMENTS["results/send-message.json"]
    example = document["examples"][0]
    for wrong in ({"outcome": "maybe"}, {"bundles": [{"body": "no sid"}]}, {"page": -1}, {"error": "text"}):
        assert not validator(document).is_valid({**example, **wrong})


# --- the schemas and the models agree ----------------------------------------------------------------------------
def accepted(name: str, value: Any) -> bool:
    try:
        parse(COMMANDS[name], orjson.dumps(value))
    except Rejected:
        return False
    return True


@st.composite
def attempts(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An example with some fields replaced: by what fits, or by what hardly does."""
    document = DOCUMENTS[f"commands/{name}.json"]
    value = dict(draw(st.sampled_from(document["examples"])))
    variants = [document["$defs"][item["$ref"].removeprefix("#/$defs/")] for item in document.get("oneOf", ())]
    meant = [item for item in variants if item["properties"]["resource"]["const"] == value["resource"]]
    fields = {name: field for name, field in (*meant, document)[0]["properties"].items() if name != "resource"}
    for field in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)):
        value[field] = draw(st.one_of(values(fields[field], document), ODD))
    for field in draw(st.lists(st.sampled_from(sorted(value)), max_size=1)):
        del value[field]
    return value


OBJECTS = (
    *("content_variables", "attributes", "rate_limits", "channel_configuration", "tags"),
    "template_custom_substitutions",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_accepted_exactly_when_it_fits_its_schema(name: str) -> None:
    check = validator(DOCUMENTS[f"commands/{name}.json"])

    @settings(max_examples=examples(150))
    @given(attempts(name))
    def agree(value: dict[str, Any]) -> None:
        # What the text of an object must be, a schema cannot say.
        assume(not any(isinstance(value.get(name), str) for name in OBJECTS))
        # Nor what Twilio documents.
        value |= {"strict": False} if name == "call-api" else {}
        assume(oddity(str(value.get("url"))) is None)
        assert accepted(name, value) == check.is_valid(value)

    agree()


# --- AsyncAPI ----------------------------------------------------------------------------------------------------
def test_the_asyncapi_document_fits_asyncapis_own_schema() -> None:
    schema = json.loads((CONTRACT / "asyncapi-3.1.0.json").read_text())
    jsonschema_rs.Draft7Validator(schema).validate(asyncapi())


def test_the_printed_asyncapi_document_holds_every_schema_and_fits_asyncapis_own_schema() -> None:
    document = self_contained()
    schema = json.loads((CONTRACT / "asyncapi-3.1.0.json").read_text())
    jsonschema_rs.Draft7Validator(schema).validate(document)
    references = set(_references(document))
    assert len(references) > 100
    for reference in references:
        assert reference.startswith("#/")
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def test_the_asyncapi_document_refers_to_what_exists() -> None:
    document = asyncapi()

    def check(part: Any) -> None:
        if isinstance(part, dict):
            if "$ref" in part:
                resolve(part["$ref"])
            for item in part.values():
                check(item)
        elif isinstance(part, list):
            for item in part:
                check(item)

    def resolve(reference: str) -> None:
        if reference.startswith("./"):
            assert reference.removeprefix("./") in DOCUMENTS
            return
        found: Any = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]

    check(document)


def test_the_asyncapi_document_has_every_topic_and_a_reply_for_every_command() -> None:
    document = asyncapi()
    addresses = {channel["address"] for channel in document["channels"].values()}
    topics = [row.topic for row in ROWS]
    commands = [f"{kind}.{name}" for name in COMMANDS for kind in ("commands", "results")]
    assert addresses == {
        f"{{prefix}}.{name}" for name in (*topics, *commands, "recording-media", "dead-letters", "control")
    }
    receiving = [operation for operation in document["operations"].values() if operation["action"] == "receive"]
    assert len(receiving) == len(COMMANDS) + 1
    assert all("reply" in operation for operation in receiving)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("watchRequest", Request(action="pause", watch="messages", by="a test")),
        ("watchRequest", Request(action="rewind", watch="messages", to=datetime(2026, 3, 10, tzinfo=UTC))),
        ("watchAnswer", Answer(id="1", action="pause", watch="messages", done=False, message="Why.")),
        ("letterDecision", Verdict(partition=3, offset=7, decision="replayed", by="console")),
    ],
)
def test_what_is_written_to_the_control_topic_fits_its_message(name: str, entry: Entry) -> None:
    messages = asyncapi()["channels"]["control"]["messages"]
    value = json.loads(encode("twilio", entry).value or b"")
    assert [other for other, found in messages.items() if validator(found["payload"]).is_valid(value)] == [name]
    for example in messages[name]["payload"]["examples"]:
        assert isinstance(decode(json.dumps(example).encode(), at=datetime.now(UTC)), type(entry))


# --- compatibility -----------------------------------------------------------------------------------------------
OLD: dict[str, Any] = {
    "type": "object",
    "required": ["to"],
    "properties": {
        "to": {"type": "string", "pattern": "^a", "maxLength": 10},
        "status": {"enum": ["queued", "sent", None], "type": ["string", "null"]},
        "count": {"type": ["integer", "null"], "minimum": 1},
        "price": {"type": "number"},
        "tags": {"type": "array", "items": {"$ref": "#/$defs/Tag"}},
        "body": {"anyOf": [{"type": "object"}, {"type": "string"}]},
    },
    "$defs": {"Tag": {"type": "object", "properties": {"name": {"type": "string"}}}},
}


def changed(path: str, **change: Any) -> dict[str, Any]:
    """OLD with one part replaced; `None` removes a key."""
    new: dict[str, Any] = json.loads(json.dumps(OLD))
    part = new
    for name in filter(None, path.split("/")):
        part = part[name]
    for name, value in change.items():
        if value is None:
            part.pop(name)
        else:
            part[name] = value
    return new


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        (changed("properties", status=None), "status is gone"),
        (changed("", required=["to", "status"]), "status is required now"),
        (changed("properties/to", type="integer"), "to may not be of type string any more"),
        (changed("properties/count", type="integer"), "count may not be of type null any more"),
        (changed("properties/price", type="integer"), "price may not be of type number any more"),
        (changed("properties/status", enum=["queued", None]), "status may not be 'sent' any more"),
        (changed("properties/to", enum=["a"]), "to is restricted to certain values now"),
        (changed("properties/to", maxLength=5), "to has a lower maxLength: 5"),
        (changed("properties/to", minLength=5), "to has a higher minLength: 5"),
        (changed("properties/count", minimum=2), "count has a higher minimum: 2"),
        (changed("properties/to", pattern="^b"), "to has another pattern"),
        (changed("$defs/Tag/properties", name=None), "tags.items.name is gone"),
        (changed("properties/body", anyOf=[{"type": "object"}]), "body may not be of type string any more"),
        (changed("", additionalProperties=False), "the value may not have further fields any more"),
    ],
    ids=lambda item: item if isinstance(item, str) else "",
)
def test_a_change_that_breaks_is_named(new: dict[str, Any], sentence: str) -> None:
    assert breaking(OLD, new) == [sentence]


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        changed("properties", extra={"type": "string"}),
        changed("", required=[]),
        changed("properties/to", type=["string", "null"]),
        changed("properties/to", maxLength=20, pattern=None),
        changed("properties/status", enum=["queued", "sent", "read", None]),
        changed("properties/count", minimum=0, type=["number", "null"]),
        changed("properties/body", anyOf=[{"type": "string"}, {"type": "object"}, {"type": "null"}]),
    ],
)
def test_a_change_that_only_allows_more_is_no_break(new: dict[str, Any]) -> None:
    assert breaking(OLD, new) == []


@pytest.mark.parametrize("path", DOCUMENTS)
def test_a_document_is_compatible_with_itself(path: str) -> None:
    assert breaking(DOCUMENTS[path], DOCUMENTS[path]) == []


@pytest.mark.parametrize("path", DOCUMENTS)
def test_removing_any_field_of_a_document_breaks_it(path: str) -> None:
    document = DOCUMENTS[path]
    reached = [document, *(item for name, item in document.get("$defs", {}).items() if name != "JsonValue")]
    for number, part in enumerate(reached):
        for name in part.get("properties", {}):
            new = json.loads(json.dumps(document))
            parts = [new, *(item for key, item in new.get("$defs", {}).items() if key != "JsonValue")]
            del parts[number]["properties"][name]
            assert any(f"{name} is gone" in sentence for sentence in breaking(document, new))


def test_no_published_schema_is_broken() -> None:
    published = json.loads((CONTRACT / "published_schemas.json").read_text())
    assert published
    for path, old in published.items():
        assert path in DOCUMENTS, f"{path} was published and is gone."
        assert breaking(old, DOCUMENTS[path]) == [], path
