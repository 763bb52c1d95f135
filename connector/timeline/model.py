"""Records joined for people: a command, its attempts, its result, the status events that follow, the watched record.

One model for `tail`, for the console, and for what is searched in the topics. Pure.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from connector import privacy
from connector.conditions import Condition
from connector.dead_letters.record import PREFIX as REASON
from connector.dead_letters.record import REPLAY_COUNT
from connector.errors import InvalidRecord
from connector.events import Event, Position, Received, decode, identity, moment_of, texts
from connector.resources import COMMANDS

REMEMBERED = 10_000
HELD_OF_A_TIMELINE = 50
MOST_ENTRIES = 40
"""Of one timeline in memory: its first and its last ones."""
# Longer than a request to Twilio may take, so that what has no answer by then is in doubt.
IN_DOUBT_AFTER = timedelta(seconds=15)

KINDS = {"commands": "command", "results": "result", "dead-letters": "dead letter"}
GOOD = frozenset({"succeeded", "delivered", "received", "completed", "read", "duplicate"})
BAD = frozenset({"failed", "rejected", "undelivered", "unknown", "expired", "busy", "no-answer", "canceled"})
FINAL = frozenset(
    {"delivered", "undelivered", "failed", "read", "received", "completed", "busy", "no-answer", "canceled"}
)
"""States in which Twilio is done with a message or a call."""
CREATING = frozenset(
    name
    for name, command in COMMANDS.items()
    if any(operation.reconciliation for operation in command.operations.values())
)
"""Commands that make something at Twilio: its SID is theirs from then on."""
STATES = ("outcome", "message_status", "call_status", "recording_status", "answered_by", "status", "log_level")
"""Fields that tell a state, the first one that says something counts."""
SOURCE = re.compile(r"/twilio/(AC[0-9a-f]{32})(?:/|$)")
LONGEST_CODE = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One record. `timeline` is what joins it: the command's id, else the SID; `name` that of its topic.

    `kind`: command, attempt, result, event or dead letter. `numbers` are whole: they are compared and never shown.
    """

    at: datetime
    kind: str
    name: str
    timeline: str
    position: Position
    sid: str = ""
    state: str = ""
    code: str = ""
    error: str = ""
    correlation: str = ""
    connection: str = ""
    watch: str = ""
    type: str = ""
    key: str = ""
    numbers: tuple[str, ...] = field(default=(), repr=False)

    @property
    def own_sid(self) -> str:
        """The SID of what it is about or has made; none for the result of a command that only asked or changed."""
        return self.sid if self.kind == "event" or self.name in CREATING else ""

    @property
    def topic(self) -> str:
        """The whole name of its topic."""
        return self.position.topic

    @property
    def ends(self) -> str:
        """From and to by their last digits."""
        return " → ".join(privacy.address(number) for number in self.numbers)

    @property
    def detail(self) -> str:
        """Why it failed, else whom it is about; nothing that must not be shown."""
        return f"{self.code} {self.error}".strip() if self.error else self.ends

    def shortened(self) -> "Entry":
        """The same with the last digits of its numbers alone, for memory."""
        return replace(self, numbers=tuple(privacy.address(number) for number in self.numbers))


class Joiner:
    """Makes entries of records. Remembers which SID belongs to which command; bounded.

    `connections` are the names of connections by their accounts.
    """

    def __init__(self, prefix: str, connections: Mapping[str, str] | None = None) -> None:
        self._prefix = f"{prefix}."
        self._connections = connections or {}
        self._timeline_of: OrderedDict[str, str] = OrderedDict()

    def entry(self, record: Received) -> Entry:
        """The entry of a record, whatever it is."""
        name = record.topic.removeprefix(self._prefix)
        kind = KINDS.get(name.partition(".")[0], "event")
        if kind == "command":
            return _command(record, name.partition(".")[2])
        if kind == "dead letter":
            return self._dead_letter(record)
        try:
            event = decode(record.value, record.headers)
        except (InvalidRecord, AttributeError, TypeError, ValueError):
            position = _position(record)
            return Entry(_moment(record), kind, name, "/".join(map(str, position)), position, key=_key(record))
        return self._event(record, event, kind, name.removeprefix("results."))

    def timeline_of(self, sid: str) -> str:
        """The timeline that a SID belongs to: that of a command, where one is known, or its own."""
        return self._timeline_of.get(sid, sid)

    def _dead_letter(self, record: Received) -> Entry:
        named = texts(record.headers)
        reasons = {name: named.get(f"{REASON}{name}", "") for name in ("topic", "partition", "offset", "message")}
        origin = "/".join(reasons[name] for name in ("topic", "partition", "offset"))
        position = _position(record)
        return Entry(
            _moment(record),
            "dead letter",
            reasons["topic"].removeprefix(f"{self._prefix}commands."),
            own_id(named) or (origin if reasons["topic"] else f"dead-letter/{position.partition}/{position.offset}"),
            position,
            state=named.get(f"{REASON}stage", ""),
            code=named.get(f"{REASON}twilio-code", "")[:LONGEST_CODE],
            error=privacy.sentence(reasons["message"]),
            correlation=named.get("correlation-id", ""),
            connection=named.get("connection", "default") if reasons["topic"] else "",
            key=_key(record),
        )

    def _event(self, record: Received, event: Event, kind: str, name: str) -> Entry:
        data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
        error: dict[str, Any] = given if isinstance(given := data.get("error"), dict) else {}
        sid = str(event.subject or _key(record))
        owns = kind == "event" or name in CREATING
        account = SOURCE.match(str(event.source))
        return Entry(
            _moment(record),
            kind,
            name,
            self._joined(sid, str(event.extensions.get("causationid") or ""), data, owns=owns),
            _position(record),
            sid=sid if privacy.SID.fullmatch(sid) else "",
            state=next((str(data[name]) for name in STATES if data.get(name)), ""),
            code=str(error.get("code") or data.get("error_code") or "")[:LONGEST_CODE],
            error=privacy.sentence(str(error.get("message") or data.get("error_message") or "")),
            correlation=_correlation(record, event),
            connection=self._connections.get(account[1], account[1]) if account else "",
            watch=str(event.extensions.get("watch") or ""),
            type=str(event.type),
            key=_key(record),
            numbers=_numbers(data),
        )

    def _joined(self, sid: str, causation: str, data: Mapping[str, Any], *, owns: bool) -> str:
        """The timeline of an event: that of the command that caused it, of what it is about, or its own.

        `owns`: from then on the SID belongs to it.
        """
        command = data.get("command")
        if isinstance(command, dict) and isinstance(command.get("id"), str):
            causation = causation or command["id"]
        about = str(data.get("resource_sid") or "") or sid
        timeline = causation or self.timeline_of(about)
        if owns and timeline != sid:
            self.join(sid, timeline)
        return timeline

    def join(self, sid: str, timeline: str) -> None:
        """From now on what is about this SID belongs to this timeline."""
        self._timeline_of[sid] = timeline
        _bound(self._timeline_of)


def own_id(named: Mapping[str, str]) -> str:
    """The id that a command's headers give it, empty without one; a replay has one of its own."""
    given = named.get("id") or named.get("ce_id") or ""
    replays = named.get(REPLAY_COUNT)
    return f"{given}#replay-{replays}" if given and replays else given


def _command(record: Received, name: str) -> Entry:
    named = texts(record.headers)
    position = _position(record)
    own = own_id(named) or "/".join(map(str, position))
    correlation = named.get("correlation-id") or named.get("ce_correlationid") or named.get("kafka_correlationId")
    try:
        value = orjson.loads(record.value or b"null")
    except orjson.JSONDecodeError:
        value = None
    return Entry(
        _moment(record),
        "command",
        name,
        own,
        position,
        correlation=correlation or own.partition("#replay-")[0],
        connection=named.get("connection") or "default",
        key=_key(record),
        numbers=_numbers(value if isinstance(value, dict) else {}),
    )


def _correlation(record: Received, event: Event) -> str:
    plain = next((raw for name, raw in record.headers if name == "correlation-id"), None)
    return identity(plain) if plain else str(event.extensions.get("correlationid") or "")


def _numbers(data: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(data[end]) for end in ("from", "to") if data.get(end))


def _moment(record: Received) -> datetime:
    return moment_of(record.timestamp)


def _position(record: Received) -> Position:
    return Position(record.topic, record.partition, record.offset)


def _key(record: Received) -> str:
    return identity(record.key or b"")


# --- a timeline -------------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Timeline:
    """What is known of one command or SID, in the order in which it was read; the first and last entries are kept.

    `answered_at`: when its result was written; `settled_at`: when Twilio was done with what it made; `is_searched`: the
    topics were searched for the rest of it.
    """

    id: str
    began: datetime
    updated: datetime
    command: str = ""
    outcome: str = ""
    sid: str = ""
    last: str = ""
    correlation: str = ""
    connection: str = ""
    ends: str = ""
    attempted_at: datetime | None = None
    answered_at: datetime | None = None
    settled_at: datetime | None = None
    attempts: int = 0
    dropped: int = 0
    is_searched: bool = False
    entries: list[Entry] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it may be missing: its command's record is known, or it was searched for."""
        return self.is_searched or any(entry.kind == "command" for entry in self.entries)

    def add(self, entry: Entry) -> None:
        """Take an entry in, once."""
        if any(known.position == entry.position for known in reversed(self.entries)):
            return
        # What is told of a dead letter is where it failed.
        if entry.state and entry.kind != "dead letter" and entry.at >= self.updated:
            self.last = entry.state
        self.updated = max(self.updated, entry.at)
        self.began = min(self.began, entry.at)
        self.sid = entry.sid or self.sid
        self.correlation = entry.correlation or self.correlation
        self.connection = self.connection or entry.connection
        self.ends = self.ends or entry.ends
        self._take_in(entry)
        self.entries.append(entry)
        if len(self.entries) > MOST_ENTRIES:
            del self.entries[MOST_ENTRIES // 2]
            self.dropped += 1

    def _take_in(self, entry: Entry) -> None:
        match entry.kind:
            case "command":
                self.command = entry.name
            case "attempt":
                self.attempts += 1
                self.attempted_at = max(self.attempted_at or entry.at, entry.at)
                self.command = self.command or entry.name
            case "result":
                self.command = self.command or entry.name
                # A repeat is answered as well; what the first one came to stays.
                if entry.state != "duplicate" or not self.outcome:
                    self.outcome, self.answered_at = entry.state, entry.at
            case "event" if entry.state in FINAL:
                self.settled_at = min(self.settled_at or entry.at, entry.at)
            case _:
                pass

    def state(self, now: datetime) -> str:
        """The outcome; without one waiting, in flight or in doubt."""
        if self.outcome:
            return self.outcome
        if self.attempted_at is None:
            return "waiting" if self.command else ""
        return "in doubt" if now - self.attempted_at > IN_DOUBT_AFTER else "in flight"


# --- conditions -------------------------------------------------------------------------------------------------------
def holds(condition: Condition, entry: Entry) -> bool:
    """Whether an entry fulfils it. `command` is a timeline's id, `ends` the last digits of one of its numbers."""
    if condition.field == "ends":
        wanted = condition.wanted.lstrip("…*")
        return any(number.endswith(wanted) for number in entry.numbers)
    return condition.fits(str(getattr(entry, {"command": "timeline"}.get(condition.field, condition.field))))


class Selection:
    """Which entries are shown. Conditions on `sid` and `command` choose whole timelines, the others single entries.

    A command does not know the SID that it will have: its entry is held back until its result names it. Bounded.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._of_timelines = [condition for condition in conditions if condition.field in ("sid", "command")]
        self._of_entries = [condition for condition in conditions if condition not in self._of_timelines]
        self._chosen: OrderedDict[str, bool] = OrderedDict()
        self._held: OrderedDict[str, list[tuple[Entry, Received]]] = OrderedDict()

    def take(self, entry: Entry, record: Received) -> list[tuple[Entry, Received]]:
        """What is to be shown now that this entry has come."""
        if all(holds(condition, entry) for condition in self._of_timelines):
            self._chosen[entry.timeline] = True
            _bound(self._chosen)
        if entry.timeline not in self._chosen:
            self._hold(entry, record)
            return []
        return list(self._shown([*self._held.pop(entry.timeline, ()), (entry, record)]))

    def _shown(self, items: Sequence[tuple[Entry, Received]]) -> Iterator[tuple[Entry, Received]]:
        return (item for item in items if all(holds(condition, item[0]) for condition in self._of_entries))

    def _hold(self, entry: Entry, record: Received) -> None:
        held = self._held.setdefault(entry.timeline, [])
        if len(held) < HELD_OF_A_TIMELINE:
            held.append((entry, record))
        _bound(self._held)


def _bound(mapping: "OrderedDict[str, Any]") -> None:
    if len(mapping) > REMEMBERED:
        mapping.popitem(last=False)
