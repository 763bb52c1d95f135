"""The topics as an AsyncAPI 3.1 document: channels, messages, operations and their replies. Pure."""

from typing import Any

from connector import __version__
from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.commands import Command
from connector.schemas.control import ANSWER, DECISION, REQUEST

Document = dict[str, Any]

FORMAT = "application/schema+json;version=draft-2020-12"
BINDING = "0.5.0"
TEXT = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}
CORRELATION = "$message.header#/ce_correlationid"

EVENT_HEADERS: Document = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "content-type"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {**TEXT, "description": "Deterministic: equal for a repeat of the same fact."},
        "ce_source": {**TEXT, "description": "/twilio/{AccountSid}/{resource}"},
        "ce_type": TEXT,
        "ce_time": {**TIME, "description": "Twilio's time of the fact."},
        "ce_subject": {**TEXT, "description": "The SID."},
        "ce_dataschema": {**TEXT, "format": "uri"},
        "ce_correlationid": {**TEXT, "description": "Of the command that led to it."},
        "ce_causationid": {**TEXT, "description": "The id of the command that caused it."},
        "ce_recordedtime": {**TIME, "description": "When the connector saw it."},
        "ce_watch": {**TEXT, "description": "The watch that published it."},
        "ce_twilioidempotencytoken": {
            **TEXT,
            "description": "Twilio's token of a callback's delivery. It is not signed.",
        },
        "content-type": TEXT,
        "traceparent": TEXT,
    },
}
COMMAND_HEADERS: Document = {
    "type": "object",
    "properties": {
        "id": {**TEXT, "description": "The command's id; topic/partition/offset unless given."},
        "correlation-id": {**TEXT, "description": "Travels to the result and to the events; the id unless given."},
        "connection": {**TEXT, "description": "The Twilio account to use; `default` unless given."},
        "expires-at": {**TIME, "description": "Not to be executed afterwards."},
        "reply-to": {
            **TEXT,
            "description": "A further topic for the result. It must exist, must not be one of the connector's own, and "
            "must be allowed in the configuration; else the command is rejected, and nothing is written there.",
        },
        "traceparent": TEXT,
    },
}
MEDIA_HEADERS: Document = {
    **EVENT_HEADERS,
    "required": [*EVENT_HEADERS["required"], "chunk", "chunks", "sha256"],
    "properties": {
        **EVENT_HEADERS["properties"],
        "chunk": {**TEXT, "description": "Counts from 0."},
        "chunks": {**TEXT, "description": "How many there are."},
        "sha256": {**TEXT, "description": "Of the whole file, hexadecimal."},
    },
}
LETTER_HEADERS: Document = {
    "type": "object",
    "properties": {
        f"dlq.errors.{name}": TEXT
        for name in (
            *("topic", "partition", "offset", "timestamp", "group", "message", "class", "stage"),
            *("twilio-code", "http-status", "request-id"),
        )
    },
}


def asyncapi() -> Document:
    """The document, with references to the JSON Schema files beside it."""
    channels = {**_event_channels(), **_command_channels(), **_other_channels()}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Twilio-Kafka connector",
            "version": __version__,
            "description": "Events of Twilio on Kafka topics, and commands that are executed at Twilio.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "`kafka.bootstrap_servers`"}
        },
        "channels": channels,
        "operations": _operations(),
        "components": {
            "schemas": {
                "EventHeaders": EVENT_HEADERS,
                "CommandHeaders": COMMAND_HEADERS,
                "MediaHeaders": MEDIA_HEADERS,
                "DeadLetterHeaders": LETTER_HEADERS,
            },
            "parameters": {"prefix": {"description": "`kafka.topic_prefix`", "default": "twilio"}},
        },
    }


def identifier(topic: str) -> str:
    """A topic as a name in the document: `commands.send-message` -> `commandsSendMessage`."""
    first, *rest = topic.replace(".", "-").split("-")
    return first + "".join(part.capitalize() for part in rest)


def _channel(topic: str, summary: str, message: Document, *, policy: str = "delete") -> Document:
    return {
        "address": f"{{prefix}}.{topic}",
        "summary": summary,
        "parameters": {"prefix": {"$ref": "#/components/parameters/prefix"}},
        "messages": {identifier(topic): message},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [policy]}, "bindingVersion": BINDING}},
    }


def _message(title: str, headers: str, payload: Document, key: str, correlation: str | None = CORRELATION) -> Document:
    return {
        "title": title,
        **({"headers": {"$ref": f"#/components/schemas/{headers}"}} if headers else {}),
        "payload": payload,
        **({"correlationId": {"location": correlation}} if correlation else {}),
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": BINDING}},
    }


def _file(path: str) -> Document:
    return {"schemaFormat": FORMAT, "schema": {"$ref": f"./{path}"}}


def _event_channels() -> Document:
    found = {}
    for watch in WATCHES.values():
        title, file = " or ".join(watch.event_types), _file(f"events/{watch.topic}.json")
        message = _message(title, "EventHeaders", file, f"`{watch.key_text}`")
        found[identifier(watch.topic)] = _channel(watch.topic, f"What the watches of {watch.resource} see.", message)
    for row in CALLBACKS.values():
        title = row.event_type or "An event of Twilio's Event Streams"
        message = _message(title, "EventHeaders", _file(f"events/{row.topic}.json"), f"`{row.key}`")
        found[identifier(row.topic)] = _channel(row.topic, f"What Twilio calls back at {row.kind}.", message)
    return found


def _command_channels() -> Document:
    found = {}
    for command in COMMANDS.values():
        name = command.name
        asked = _message(
            f"Parameters of {name}",
            "CommandHeaders",
            _file(f"commands/{name}.json"),
            "The caller's choice: commands of one key are executed in order.",
            "$message.header#/correlation-id",
        )
        found[identifier(f"commands.{name}")] = _channel(f"commands.{name}", f"{name}, to be executed.", asked)
        answer = _message(f"Result of {name}", "EventHeaders", _file(f"results/{name}.json"), "The command's key.")
        found[identifier(f"results.{name}")] = _channel(f"results.{name}", f"What became of each {name}.", answer)
    return found


def _other_channels() -> Document:
    media = _message(
        "Bytes of a recording", "MediaHeaders", {"type": "string", "format": "binary"}, "The recording's SID."
    )
    letter = _message("The original record", "DeadLetterHeaders", {}, "The original key.", None)
    return {
        "recordingMedia": _channel(
            "recording-media",
            "Media of downloaded recordings, at most 512 KiB a record.",
            {**media, "contentType": "application/octet-stream"},
        ),
        "deadLetters": _channel("dead-letters", "Records that could not be read or validated.", letter),
        "control": _control_channel(),
    }


def _control_channel() -> Document:
    """One topic for what is asked, answered and decided, so that it has one order; one partition."""
    asked = _message("A request to a watch", "", REQUEST, "The watch's name.", "$message.payload#/id")
    answer = _message("Its answer", "", ANSWER, "The watch's name.", "$message.payload#/id")
    decision = _message("A decision about a dead letter", "", DECISION, "Partition/offset of the letter.", None)
    channel = _channel("control", "Requests to watches, answers, and decisions about dead letters.", asked)
    messages = {"watchRequest": asked, "watchAnswer": answer, "letterDecision": decision}
    bindings = {"kafka": {"partitions": 1, **channel["bindings"]["kafka"]}}
    return {**channel, "messages": messages, "bindings": bindings}


def _sending(topic: str) -> Document:
    name = identifier(topic)
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _executing(command: Command) -> Document:
    asked, answer = identifier(f"commands.{command.name}"), identifier(f"results.{command.name}")
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{asked}"},
        "messages": [{"$ref": f"#/channels/{asked}/messages/{asked}"}],
        "reply": {
            "channel": {"$ref": f"#/channels/{answer}"},
            "messages": [{"$ref": f"#/channels/{answer}/messages/{answer}"}],
        },
    }


def _operations() -> Document:
    topics = [row.topic for row in WATCHES.values()] + [row.topic for row in CALLBACKS.values()]
    publishing = {f"publish{identifier(f'-{topic}')}": _sending(topic) for topic in (*topics, "recording-media")}
    executing = {f"execute{identifier(f'-{name}')}": _executing(command) for name, command in COMMANDS.items()}
    return {**publishing, **executing, "publishDeadLetters": _sending("dead-letters"), **_controlling()}


def _controlling() -> Document:
    channel = {"$ref": "#/channels/control"}
    asked, answer, decision = (
        [{"$ref": f"#/channels/control/messages/{name}"}] for name in ("watchRequest", "watchAnswer", "letterDecision")
    )
    reply = {"channel": channel, "messages": answer}
    return {
        "controlWatch": {"action": "receive", "channel": channel, "messages": asked, "reply": reply},
        "decideDeadLetter": {"action": "send", "channel": channel, "messages": decision},
    }
