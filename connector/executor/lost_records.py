"""A command whose record is gone while its attempt is open: what the attempt left in the journal answers it. Pure.

Records go when their retention is over, or with their topic. Whether such a command was executed, its value cannot tell
any more; but it is answered, its key goes on, and its id stays known.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.events import Headers
from connector.executor.forwarding import HEADER
from connector.executor.pending import RESULT_HEADERS, Pending
from connector.kafka.journal import Entry

# Of key and headers together, so that an entry stays small.
LARGEST_BYTES = 2048
PAIR = 2


@dataclass(frozen=True, slots=True)
class LostRecord:
    """Stands for the record of an attempt: without its value."""

    entry: Entry
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    headers: Headers
    value: bytes | None = None


def traces(command: Pending) -> Mapping[str, Any]:
    """What an attempt keeps of a command beside its id: members of a journal entry. What is too large is left out."""
    left = LARGEST_BYTES
    headers: list[tuple[str, str]] = []
    for name, raw in command.headers:
        if name in RESULT_HEADERS and raw is not None and len(raw) <= left:
            left -= len(raw)
            headers.append((name, raw.decode("latin-1")))
    has_key = command.key is not None and len(command.key) <= left
    return {
        "headers": headers or None,
        "key_text": command.key.decode("latin-1") if command.key is not None and has_key else None,
    }


def lost_record(entry: Entry, partition: int) -> LostRecord:
    """What stands for the record of an attempt."""
    pairs = [tuple(pair) for pair in entry.headers or () if len(pair) == PAIR]
    headers = [(str(name), str(text).encode("latin-1", "replace")) for name, text in pairs]
    if entry.sent_to is not None:
        headers.append((HEADER, entry.sent_to.encode()))
    key = entry.key_text.encode("latin-1", "replace") if entry.key_text is not None else None
    return LostRecord(entry, entry.topic, partition, entry.offset, int(entry.at.timestamp() * 1000), key, headers)
