"""Dead letters for people: what is wrong, what each holds, what was decided, the record that replays it. Pure."""

import base64
import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from connector import privacy
from connector.dead_letters.record import PREFIX, REPLAY_COUNT
from connector.errors import InvalidRecord
from connector.events import Headers, Received, Record, timestamp
from connector.resources import COMMANDS
from connector.resources.commands import mistakes
from connector.state.control import Verdict

# Headers that hold names, ids and times; what else a producer wrote beside a record is content.
KNOWN = frozenset(
    {"id", "ce_id", "correlation-id", "connection", "expires-at", "reply-to", "content-type", REPLAY_COUNT}
)

LONGEST_NUMBER = 9

Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its content. `id` is that of the command it was, empty for what came from Twilio."""

    partition: int
    offset: int
    milliseconds: int
    reasons: Mapping[str, str]
    key: str
    id: str
    size: int
    replays: int

    @property
    def place(self) -> Place:
        """Partition and offset."""
        return (self.partition, self.offset)

    @property
    def topic(self) -> str:
        """Where the original came from, empty for what came from Twilio."""
        return self.reasons.get("topic", "")

    @property
    def group(self) -> str:
        """What letters with one reason have in common: ten hexadecimal digits of topic, stage, class and message."""
        reason = "\0".join(self.reasons.get(name, "") for name in ("topic", "stage", "class", "message"))
        return hashlib.blake2s(reason.encode(errors="replace"), digest_size=5).hexdigest()


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided about dead letters, oldest first. Of letters before `since` (ms) some may be forgotten."""

    verdicts: dict[Place, list[Verdict]] = field(default_factory=dict)
    since: int = 0

    def of(self, place: Place) -> Verdict | None:
        """The latest decision about the letter at a place."""
        found = self.verdicts.get(place)
        return found[-1] if found else None

    def replays(self, place: Place) -> int:
        """How often it was replayed."""
        return sum(verdict.decision == "replayed" for verdict in self.verdicts.get(place, ()))

    def add(self, verdict: Verdict) -> None:
        """Take note of a new one."""
        self.verdicts.setdefault((verdict.partition, verdict.offset), []).append(verdict)


class Refusal(NamedTuple):
    """Why a letter is not replayed. `again`: it is, if the operator insists."""

    kind: Literal["decided", "forgotten", "no command"]
    sentence: str
    again: bool = False


def read(record: Received) -> DeadLetter:
    """Read a record of the dead letters."""
    named = _named(record)
    reasons = {name.removeprefix(PREFIX): text for name, text in named.items() if name.startswith(PREFIX)}
    key = privacy.key((record.key or b"").decode(errors="replace"))
    replays = _number(named.get(REPLAY_COUNT, "")) or 0
    size = len(record.value or b"")
    own = _id(named, reasons, replays)
    return DeadLetter(record.partition, record.offset, record.timestamp, reasons, key, own, size, replays)


def fields(record: Received, decisions: Decisions) -> dict[str, str]:
    """What the conditions of a choice are compared with, by name."""
    found = read(record)
    verdict = decisions.of(found.place)
    named = {name: found.reasons.get(name, "") for name in ("topic", "stage", "class", "message", "twilio-code")}
    named |= {"group": found.group, "id": found.id, "key": (record.key or b"").decode(errors="replace")}
    named |= {"connection": _named(record).get("connection", "default") if found.topic else ""}
    return named | {"decision": verdict.decision if verdict else "open"}


def as_json(found: DeadLetter, verdict: Verdict | None, *, replayable: bool) -> dict[str, Any]:
    """What is shown of a dead letter without being asked for."""
    reasons = found.reasons
    return {
        "partition": found.partition,
        "offset": found.offset,
        "at": found.milliseconds,
        "stage": reasons.get("stage", ""),
        "class": reasons.get("class", ""),
        "message": privacy.sentence(reasons.get("message", "")),
        "topic": reasons.get("topic", ""),
        "group": found.group,
        "id": privacy.masked(found.id, "id"),
        "origin": {name: reasons.get(name, "") for name in ("topic", "partition", "offset", "timestamp", "group")},
        "twilio": {name: reasons[name] for name in ("twilio-code", "http-status", "request-id") if name in reasons},
        "key": found.key,
        "size": found.size,
        "replays": found.replays,
        "replayable": replayable,
        "verdict": None if verdict is None else _verdict(verdict),
    }


def headers(record: Received) -> list[list[str]]:
    """The original's headers as they may be shown without being asked for."""
    kept = [(name, (raw or b"").decode(errors="replace")) for name, raw in record.headers if not _is_reason(name)]
    return [[name, privacy.masked(text, "id" if name in KNOWN else "")] for name, text in kept]


def content(record: Received) -> dict[str, Any]:
    """What a dead letter holds, for the operator who asked for it: text where it is text, else base64."""
    raw = record.value or b""
    try:
        text, encoding = raw.decode(), "text"
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(raw).decode(), "base64"
    kept = [[name, (value or b"").decode(errors="replace")] for name, value in record.headers if not _is_reason(name)]
    return {"value": text, "encoding": encoding, "key": (record.key or b"").decode(errors="replace"), "headers": kept}


def refusal(found: DeadLetter, topics: Container[str], decisions: Decisions) -> Refusal | None:
    """Why this letter is not to be replayed to one of these topics; None when it may be."""
    if found.topic not in topics:
        return Refusal(
            "no command",
            "It did not come from a command topic: rewind the watch that found it, once the connector can read it. "
            "A callback cannot be run again.",
        )
    if verdict := decisions.of(found.place):
        by = f" by {verdict.by}" if verdict.by else ""
        return Refusal("decided", f"It was {verdict.decision} already{by} at {timestamp(verdict.at)}.", again=True)
    if found.milliseconds < decisions.since:
        return Refusal(
            "forgotten",
            "It is older than what the control topic still holds: it is unknown whether it was replayed before.",
            again=True,
        )
    return None


def certain_failure(record: Received, prefix: str) -> str:
    """Why replaying this letter as it is must fail again; empty where it may succeed."""
    command = COMMANDS.get(read(record).topic.removeprefix(f"{prefix}.commands."))
    found = mistakes(command, record.value) if command else []
    return found[0].sentence if found else ""


def replay(
    record: Received,
    topics: Container[str],
    *,
    value: bytes | None = None,
    decisions: Decisions | None = None,
    again: bool = False,
    partitions: int = 0,
) -> Record:
    """The record that tries a dead letter again: the original or an edited value, original key and headers, counted.

    It goes to the partition that the letter came from, unless the topic has fewer `partitions`; then its key decides.
    Without an id of its own it gets one that tells which letter it was. Raises InvalidRecord for what did not come from
    one of these topics, and for what was decided already unless `again`.
    """
    found, decisions = read(record), decisions or Decisions()
    refused = refusal(found, topics, decisions)
    if refused and not (again and refused.again):
        raise InvalidRecord(refused.sentence)
    kept: Headers = [
        (name, raw or b"") for name, raw in record.headers if not _is_reason(name) and name != REPLAY_COUNT
    ]
    if not {"id", "ce_id"} & {name for name, _ in kept}:
        kept.append(("id", f"dead-letter/{record.partition}/{record.offset}".encode()))
    kept.append((REPLAY_COUNT, str(found.replays + decisions.replays(found.place) + 1).encode()))
    came_from = _number(found.reasons.get("partition", ""))
    partition = came_from if came_from is not None and came_from < partitions else None
    return Record(found.topic, record.key, record.value if value is None else value, kept, partition)


def id_of_replay(again: Record) -> str:
    """The command id that a replay runs under."""
    named = {name: raw.decode(errors="replace") for name, raw in again.headers}
    return f"{named.get('id') or named.get('ce_id')}#replay-{named[REPLAY_COUNT]}"


def _id(named: Mapping[str, str], reasons: Mapping[str, str], replays: int) -> str:
    """The id under which the command was rejected."""
    given = named.get("id") or named.get("ce_id")
    if given and replays:
        return f"{given}#replay-{replays}"
    place = "/".join(reasons.get(name, "") for name in ("topic", "partition", "offset"))
    return given or (place if reasons.get("topic") else "")


def _named(record: Received) -> dict[str, str]:
    return {name: (raw or b"").decode(errors="replace") for name, raw in record.headers}


def _number(text: str) -> int | None:
    """A count or a partition of ours; None for what is no such number."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None


def _is_reason(name: str) -> bool:
    return name.startswith(PREFIX)


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {"decision": verdict.decision, "note": verdict.note, "by": verdict.by, "at": timestamp(verdict.at)}
