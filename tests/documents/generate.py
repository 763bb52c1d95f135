"""The generated parts of the documents: `python -m tests.documents.generate` writes them, a test compares.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.commands import Operation
from connector.resources.rows import Callback, Watch
from connector.schemas import pretty
from connector.schemas.asynchronous import COMMAND_HEADERS, EVENT_HEADERS, LETTER_HEADERS, MEDIA_HEADERS
from connector.schemas.documents import documents as generated_schemas
from connector.settings import explain
from connector.settings.shape import root
from tests.documents import command_line, simulated

ROOT = Path(__file__).parent.parent.parent
PART = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FILES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")))

SCHEMAS = generated_schemas()

Schema = Mapping[str, Any]
Row = Sequence[object]


def table(head: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_cell(item) for item in row)} |" for row in rows)]


def _cell(item: object) -> str:
    return str(item).replace("|", "\\|").replace("\n", " ").strip()


def code(text: object) -> str:
    """As code, nothing for nothing."""
    return f"`{text}`" if text not in (None, "") else ""


# --- topics and shapes ------------------------------------------------------------------------------------------------
def _types(row: Watch | Callback) -> str:
    kinds = row.event_types if isinstance(row, Watch) else [row.event_type] if row.event_type else []
    return " ".join(code(kind) for kind in kinds) or "Twilio's own"


def _link(topic: str) -> str:
    return f"[`{{prefix}}.{topic}`](#{topic})"


def topics() -> Iterator[str]:
    """Every topic: key, what it holds, its types."""
    watched = [(_link(row.topic), code(row.key_text), f"watch `{name}`", _types(row)) for name, row in WATCHES.items()]
    called = [
        (_link(row.topic), code(row.key), f"callback `/callbacks/{row.kind}`", _types(row))
        for row in CALLBACKS.values()
    ]
    others: list[Row] = [
        ("[`{prefix}.commands.<command>`](commands.md)", "yours: the ordering domain", "your commands", "-"),
        ("[`{prefix}.results.<command>`](#results)", "the command's", "results", "`twilio.command.result.v1`"),
        ("[`{prefix}.recording-media`](#recording-media)", "recording SID", "media", "`twilio.recording.media.v1`"),
        ("[`{prefix}.dead-letters`](#dead-letters)", "the original's", "what could not be used", "-"),
        ("[`{prefix}.cursors`](#the-connectors-own-memory)", "watch name", "where each watch stands", "-"),
        ("[`{prefix}.checkpoints`](#the-connectors-own-memory)", "`commands`", "what was executed", "-"),
        ("[`{prefix}.forwarded-commands`](#the-connectors-own-memory)", "the command's", "commands sent on", "-"),
        ("[`{prefix}.journal`](#the-connectors-own-memory)", "topic/command id", "what was attempted", "-"),
        ("[`{prefix}.control`](#the-connectors-own-memory)", "watch name", "requests to watches, answers", "-"),
    ]
    yield from table(("topic", "key", "holds", "`ce_type`"), [*watched, *called, *others])


def event_headers() -> Iterator[str]:
    """The headers of every event."""
    yield from _headers(EVENT_HEADERS)


def media_headers() -> Iterator[str]:
    """Those that chunks of media have beside them."""
    names = set(MEDIA_HEADERS["properties"]) - set(EVENT_HEADERS["properties"])
    yield from _headers({**MEDIA_HEADERS, "properties": {name: MEDIA_HEADERS["properties"][name] for name in names}})


def command_headers() -> Iterator[str]:
    """The headers of a command."""
    yield from _headers(COMMAND_HEADERS)


def letter_headers() -> Iterator[str]:
    """The headers of a dead letter."""
    yield from wrapped(", ".join(code(name) for name in LETTER_HEADERS["properties"]))


def wrapped(sentence: str) -> list[str]:
    """Lines that fit a screen."""
    return textwrap.wrap(sentence, 120, break_long_words=False, break_on_hyphens=False)


def _headers(schema: Schema) -> Iterator[str]:
    required = schema.get("required", ())
    rows = [
        (code(name), "always" if name in required else "", item.get("description") or _const(item))
        for name, item in schema["properties"].items()
    ]
    yield from table(("header", "", "meaning"), sorted(rows) if "chunk" in schema["properties"] else rows)


def _const(item: Schema) -> str:
    return f"`{item['const']}`" if "const" in item else ""


def shapes() -> Iterator[str]:
    """Each event's shape with an example."""
    rows: list[tuple[Watch | Callback, str]] = [
        *((row, f"What the watches of {name} see") for name, row in WATCHES.items()),
        *((row, f"What Twilio sends to `/callbacks/{row.kind}`") for row in CALLBACKS.values()),
    ]
    for row, origin in rows:
        path = f"events/{row.topic}"
        schema = SCHEMAS[f"{path}.json"]
        key = row.key_text if isinstance(row, Watch) else row.key
        yield from (f"### {row.topic}", *wrapped(f"{origin}. Key: `{key}`. Type: {_types(row)}."), "")
        yield from _example(path, schema["examples"][0])
        yield from ("<details><summary>Fields</summary>", "")
        yield from fields(schema)
        yield from ("", f"Schema: [`schemas/{path}.json`](../schemas/{path}.json)", "", "</details>", "")


def results() -> Iterator[str]:
    """The shape of results."""
    schema = SCHEMAS["results/send-message.json"]
    yield from _example("results/send-message", schema["examples"][0])
    yield from fields(schema)
    yield ""
    yield "`error`, where there is one:"
    yield ""
    yield from fields(schema["$defs"]["Error"])


def _example(path: str, value: object) -> Iterator[str]:
    yield from (f"<!-- schema: {path} -->", "```json", pretty(value), "```", "")


def fields(schema: Schema) -> Iterator[str]:
    """A table of the fields of an object."""
    required = schema.get("required", ())
    yield from table(
        ("field", "type", "meaning"),
        [
            (code(name) + (" *" if name in required else ""), kind(item, schema), item.get("description", ""))
            for name, item in schema["properties"].items()
        ],
    )


def kind(item: Schema, schema: Schema) -> str:
    """A field's type in words; whether it may be null says every text."""
    if "$ref" in item:
        return kind(schema.get("$defs", {}).get(item["$ref"].rpartition("/")[2], {"type": "object"}), schema)
    if options := item.get("anyOf", item.get("oneOf")):
        found = [kind(option, schema) for option in options]
        return " or ".join(dict.fromkeys(part for part in found if part != "null"))
    if choices := item.get("enum", [item["const"]] if "const" in item else None):
        return ", ".join(code(choice) for choice in choices if choice is not None)
    kinds = item.get("type", "any")
    named = [name for name in ([kinds] if isinstance(kinds, str) else kinds) if name != "null"]
    words = {"string": "text", "array": "list", "object": "object", "boolean": "true/false"}
    if item.get("format") in ("date-time", "date"):
        return "time" if item["format"] == "date-time" else "day"
    return " or ".join(words.get(name, name) for name in named) or "null"


def parameters() -> Iterator[str]:
    """The parameters of each command, with an example."""
    for name, command in COMMANDS.items():
        schema = SCHEMAS[f"commands/{name}.json"]
        yield from (f"### {name}", f"Schema: [`schemas/commands/{name}.json`](../schemas/commands/{name}.json)", "")
        if None in command.operations:
            yield from _example(f"commands/{name}", schema["examples"][0])
            yield from (*fields(schema), "")
            continue
        for resource, operation in command.operations.items():
            title = operation.parameters.__name__
            examples = (item for item in schema["examples"] if item["resource"] == resource)
            yield from (f"**`{name}` with `resource` `{resource}`**", "")
            yield from _example(f"commands/{name}", next(examples))
            yield from (*fields({**schema, **schema["$defs"][title]}), "")


def semantics() -> Iterator[str]:
    """What each command does when its answer is lost."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, command in COMMANDS.items():
        for resource, operation in command.operations.items():
            grouped.setdefault((code(name), _when_lost(operation)), []).append(code(resource))
    rows = [(name, " ".join(resources), sentence) for (name, sentence), resources in grouped.items()]
    yield from table(("command", "`resource`", "when the answer is lost"), rows)


def _when_lost(operation: Operation) -> str:
    if operation.repeats is not None:
        return "sent again where that changes nothing more, else `unknown`"
    if operation.method == "GET":
        return "asked again"
    if operation.repeatable:
        codes = sorted(operation.done_codes | operation.repeat_done_codes)
        return "sent again" + (f"; {', '.join(map(str, codes))} then means that it was done" if codes else "")
    row = operation.reconciliation
    if row is None:
        return "at most once: `unknown`"
    names = dict.fromkeys(name.removesuffix("_") for name in (*row.filters, *row.compared))
    return f"looked up in Twilio's list by {', '.join(map(code, names))}; not found: `unknown`"


# --- configuration ----------------------------------------------------------------------------------------------------
def configuration() -> Iterator[str]:
    """Every key by section: type, default, variable, description."""
    for section in root().children:
        found = explain(section)
        yield from (f"### {section}", "")
        rows = [(code(item.key), _values(item.kind), code(item.default), item.description) for item in found]
        yield from (*table(("key", "value", "default", "what it is"), rows), "")


def _values(kind: str) -> str:
    """What a key may be, briefly: examples of durations and sizes are told once."""
    brief = {"a duration": "duration", "a size": "size", "text, a secret": "secret", "texts, a secret": "secrets"}
    found = next((word for beginning, word in brief.items() if kind.startswith(beginning)), kind)
    return found.removeprefix("one of ").removeprefix("a ")


PARTS: Mapping[str, Callable[[], Iterator[str]]] = {
    "topics": topics,
    "event-headers": event_headers,
    "media-headers": media_headers,
    "command-headers": command_headers,
    "letter-headers": letter_headers,
    "shapes": shapes,
    "results": results,
    "parameters": parameters,
    "semantics": semantics,
    "configuration": configuration,
    "command-line": command_line.reference,
    "faults": simulated.faults,
    "fault-options": simulated.fault_options,
    "simulator-routes": simulated.routes,
    "simulator-settings": simulated.settings,
}


def current(text: str) -> str:
    """The text of a document with its generated parts as they should be."""
    return PART.sub(lambda found: found[1] + "\n".join(PARTS[found["name"]]()).strip() + "\n" + found[3], text)


def main() -> None:
    """Write every document whose generated parts are not current."""
    for name in FILES:
        file = ROOT / name
        text = file.read_text(encoding="utf-8")
        if (new := current(text)) != text:
            file.write_text(new, encoding="utf-8")
            print(f"wrote {name}")  # noqa: T201 - a program


if __name__ == "__main__":
    main()
