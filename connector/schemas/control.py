"""The control topic as JSON Schema: requests to watches, their answers, decisions about dead letters."""

from typing import Any, get_args

from connector.state.control import ACTIONS, Decision

TEXT = {"type": "string"}
TIME = {"type": "string", "format": "date-time"}
WATCH = {**TEXT, "description": "The watch's name."}
BY = {**TEXT, "description": "Who asked: console, command line, or what you write."}
ID = {**TEXT, "description": "Comes back with the answer; control/0/<offset> unless given."}

REQUEST: dict[str, Any] = {
    "type": "object",
    "description": "Carried out once by the owner of the watch, wherever that runs.",
    "required": ["action", "watch"],
    # That is an answer.
    "not": {"required": ["outcome"]},
    "properties": {
        "action": {**TEXT, "enum": list(ACTIONS)},
        "watch": WATCH,
        "to": {"type": ["string", "null"], "format": "date-time", "description": "Where a rewind goes."},
        "id": ID,
        "by": BY,
        "at": TIME,
    },
    "examples": [{"action": "rewind", "watch": "messages", "to": "2026-11-24T08:00:00Z", "id": "rewind-1"}],
}
ANSWER: dict[str, Any] = {
    "type": "object",
    "description": "Written in the transaction that changes the cursor.",
    "required": ["action", "watch", "id", "outcome", "message", "at"],
    "properties": {
        "action": TEXT,
        "watch": WATCH,
        "id": {**TEXT, "description": "The request's."},
        "outcome": {**TEXT, "enum": ["done", "refused"]},
        "message": {**TEXT, "description": "What was done, or why not."},
        "at": TIME,
    },
    "examples": [
        {
            "action": "pause",
            "watch": "messages",
            "id": "pause-1",
            "outcome": "done",
            "message": "Paused.",
            "at": "2026-11-24T08:00:00Z",
        }
    ],
}
DECISION: dict[str, Any] = {
    "type": "object",
    "description": "`replayed` is written in the transaction that writes the record again: a letter is replayed once.",
    "required": ["letter", "decision"],
    "properties": {
        "letter": {**TEXT, "pattern": "^[0-9]+/[0-9]+$", "description": "Partition and offset of the dead letter."},
        "decision": {**TEXT, "enum": list(get_args(Decision))},
        "note": TEXT,
        "by": BY,
        "at": TIME,
    },
    "examples": [{"letter": "3/7", "decision": "discarded", "note": "A test.", "by": "console"}],
}
