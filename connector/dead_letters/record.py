"""Dead letters: the original bytes and headers, and why they could not be used."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from connector.errors import MESSAGE_BYTES, WORD_BYTES, bounded
from connector.events import Record, now, timestamp

TOPIC = "dead-letters"
PREFIX = "dlq.errors."
REPLAY_COUNT = "dlq.replay.count"
"""How often a dead letter has been replayed; a replay keeps the other headers of the original."""


def dead_letter(
    prefix: str,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    error: BaseException | str,
    stage: str,
    topic: str = "",
    partition: int | None = None,
    offset: int | None = None,
    group: str = "",
    occurred: datetime | None = None,
    twilio: Mapping[str, object] | None = None,
) -> Record:
    """The dead letter of a record; `twilio` holds what Twilio answered (`twilio-code`, `http-status`, `request-id`).

    The message of the error must hold nothing of the record's content. A former dead letter's headers are replaced.
    """
    described = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp(occurred or now()),
        "group": group,
        "message": str(error),
        "class": type(error).__name__ if isinstance(error, BaseException) else "",
        "stage": stage,
        **(twilio or {}),
    }
    kept = [(name, raw or b"") for name, raw in headers if not name.startswith(PREFIX)]
    bounds = {"message": MESSAGE_BYTES}
    added = [
        (PREFIX + name, bounded(str(item), bounds.get(name, WORD_BYTES)).encode())
        for name, item in described.items()
        if item not in (None, "")
    ]
    return Record(f"{prefix}.{TOPIC}", key, value, [*kept, *added])
