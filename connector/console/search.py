"""Finding in the topics what is not in memory: by key where there is one, else over a stretch of time. Bounded.

A search reads few records at a time, so that callbacks and commands are served between them. What it holds is the
entries that it has found, without their content.
"""

import re
import shlex
from collections.abc import AsyncGenerator, Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from connector import privacy
from connector.conditions import ENTRY_FIELDS, Condition
from connector.errors import InvalidRecord
from connector.events import Position, Received, now
from connector.kafka.reading import records_at
from connector.kafka.scanning import scan
from connector.settings import KafkaSettings
from connector.timeline.model import Entry, Joiner, holds

MOST_FOUND = 200
"""Entries of one search; it ends when it has found so many."""
MOST_NAMES = 50
"""Ids and SIDs that one timeline is looked for by."""
LEAST_CHARACTERS = 4
LONGEST_TEXT = 250
NEAR = timedelta(minutes=15)
"""So far around what was found the rest of its timeline is looked for."""
RECENTLY = timedelta(hours=24)
POSITION = re.compile(r"([A-Za-z0-9._-]{1,249})/(\d{1,9})/(\d{1,18})")
DIGITS = re.compile(r"\+?[\d ()-]{3,20}")
WRITTEN = frozenset({"code", "correlation", "ends", "sid", "state"})
"""Fields whose text stands in the record as it is."""
SURROGATE = re.compile("[\ud800-\udfff]")
WILD = re.compile(r"[*…]")


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. `kind`: position, sid, digits (of a number; it may be an id as well), id or conditions."""

    kind: str
    text: str
    position: Position | None = None
    conditions: Sequence[Condition] = ()

    @property
    def digits(self) -> str:
        """The digits alone."""
        return re.sub(r"\D", "", self.text) if self.kind == "digits" else ""

    def fits(self, entry: Entry) -> bool:
        """Whether this entry is one of those that are looked for."""
        if self.conditions:
            return all(holds(condition, entry) for condition in self.conditions)
        wanted = Condition("id", self.text)
        names = (entry.timeline, entry.timeline.partition("#replay-")[0], entry.correlation, entry.sid, entry.key)
        if any(name and wanted.fits(name) for name in names):
            return True
        return bool(self.digits) and holds(Condition("ends", self.digits), entry)

    def needles(self) -> list[bytes]:
        """Bytes of which one is in every record that fits: whatever has none of them need not be read."""
        if self.conditions:
            written = (_longest(condition.wanted) for condition in self.conditions if condition.field in WRITTEN)
            return _written(max(written, key=len, default="")) or [b""]
        return [*_written(_longest(self.text)), *([self.digits.encode()] if self.digits else [])]


def _longest(text: str) -> str:
    """The longest part of a pattern that stands for itself."""
    return max(WILD.split(text), key=len)


def parse(text: str, prefix: str, topics: Container[str], *, is_name: bool = False) -> Query:
    """What a person has typed, or the name of a timeline. Raises InvalidRecord, which says what may be looked for."""
    text, least = text.strip(), 1 if is_name else LEAST_CHARACTERS
    if len(text) > LONGEST_TEXT or len(WILD.sub("", text)) < least or SURROGATE.search(text):
        raise InvalidRecord(
            f"Give at least {least} and at most {LONGEST_TEXT} characters: a SID, an id of a command, a correlation "
            "id, the last digits of a number, or topic/partition/offset."
        )
    if not is_name and (conditions := _conditions(text)):
        return Query("conditions", text, conditions=conditions)
    found = POSITION.fullmatch(text)
    if found and (topic := _topic(found[1], prefix)) in topics:
        return Query("position", f"{topic}/{found[2]}/{found[3]}", Position(topic, int(found[2]), int(found[3])))
    if privacy.SID.fullmatch(text):
        return Query("sid", text)
    if DIGITS.fullmatch(text) and len(re.sub(r"\D", "", text)) >= LEAST_CHARACTERS:
        return Query("digits", text)
    return Query("id", text)


def _conditions(text: str) -> list[Condition]:
    """Conditions such as `state=failed code=30003`; none when a word is no condition."""
    try:
        words = [word.partition("=") for word in shlex.split(text)]
    except ValueError:
        return []
    are_all = all(sign and name in ENTRY_FIELDS for name, sign, _ in words)
    return [Condition(name, wanted) for name, _, wanted in words] if are_all else []


def _topic(name: str, prefix: str) -> str:
    """The whole name of a topic; a dead letter without an id is called `dead-letter/PARTITION/OFFSET`."""
    whole = name if name.startswith(f"{prefix}.") else f"{prefix}.{name}"
    return f"{prefix}.dead-letters" if whole == f"{prefix}.dead-letter" else whole


def _written(text: str) -> list[bytes]:
    """How a text stands in records: as it is, escaped in JSON, or as the bytes that it stands for."""
    found = [text.encode(), orjson.dumps(text)[1:-1]]
    with suppress(ValueError):
        found.append(UUID(text).bytes)
    with suppress(ValueError):
        found.append(bytes.fromhex(text))
    return [needle for needle in dict.fromkeys(found) if needle]


# --- where it is looked for -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Step:
    """One pass over topics: `topics` gives a key to each of which only that key's partition is read."""

    words: str
    topics: Mapping[str, bytes | None]
    since: datetime | None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step is: records behind it, and all of them."""

    words: str
    done: int
    total: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that are searched: those whose records are keyed by their SID, and the others."""

    by_sid: Sequence[str]
    others: Sequence[str]

    @classmethod
    def of(cls, flows: Mapping[str, str]) -> "Topics":
        """From the flow of each topic."""
        by_sid = [topic for topic, flow in flows.items() if flow in ("watched", "callbacks")]
        return cls(by_sid, [topic for topic, flow in flows.items() if flow in ("commands", "results", "dead-letters")])

    def all(self) -> dict[str, bytes | None]:
        """Every partition of all of them."""
        return dict.fromkeys([*self.by_sid, *self.others])

    def keyed(self, sid: str) -> dict[str, bytes | None]:
        """The partitions that a SID's records lie in."""
        return dict.fromkeys(self.by_sid, sid.encode())


Fits = Callable[[Entry], bool]


@dataclass
class Search:
    """One search. `found` holds what it has found; `is_cut` when there is more than may be held.

    `at` is a moment near which it is, where that is known.
    """

    kafka: KafkaSettings
    topics: Topics
    joiner: Joiner
    query: Query
    since: datetime | None = None
    until: datetime | None = None
    at: datetime | None = None
    found: dict[Position, Entry] = field(default_factory=dict)
    is_cut: bool = False

    def entries(self) -> AsyncGenerator[Progress | Entry, None]:
        """Everything that fits, as it is found, and how far the search is. Raises Unavailable."""
        return self._run(self.query.fits)

    async def timeline(self) -> AsyncGenerator[Progress | Entry, None]:
        """All that belongs to the timeline of an id, a SID or a position: of a SID its command, and so on."""
        looked = set[str]() if self.query.position else {self.query.text}
        async with aclosing(self._run(_belonging(frozenset(looked)))) as first:
            async for item in first:
                yield item
        while (names := self.names() - looked) and len(looked) < MOST_NAMES and not self.is_cut:
            looked |= names
            needles = [needle for name in names for needle in _written(name)]
            for step in self._related(names):
                async with aclosing(self._pass(step, needles, _belonging(frozenset(looked)))) as passing:
                    async for item in passing:
                        yield item

    def remember(self, entry: Entry) -> bool:
        """Take in an entry that is known already, if it fits."""
        if self.is_cut or not self._is_within(entry.at) or not self.query.fits(entry):
            return False
        self.is_cut = len(self.found) >= MOST_FOUND
        if self.is_cut:
            return False
        self.found[entry.position] = entry
        return True

    def _is_within(self, at: datetime) -> bool:
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)

    def names(self) -> set[str]:
        """The ids and SIDs that what was found goes by."""
        return {name for entry in self.found.values() for name in (entry.timeline, entry.own_sid) if name}

    async def _run(self, fits: Fits) -> AsyncGenerator[Progress | Entry, None]:
        if self.query.position is not None:
            records = await records_at(self.kafka, [self.query.position])
            for record in records.values():
                if entry := self._take(record, lambda _: True):
                    yield entry
            return
        known = len(self.found)
        for step in () if self.is_cut else self._steps():
            async with aclosing(self._pass(step, self.query.needles(), fits)) as passing:
                async for item in passing:
                    yield item
            if len(self.found) > known or self.is_cut:
                return

    def _steps(self) -> Iterator[Step]:
        """Where to look, one after the other, until something is found."""
        recently = self.since or now() - RECENTLY
        if self.query.kind == "sid":
            keyed = self.topics.keyed(self.query.text)
            yield Step("the partitions of this SID", keyed, recently, self.until)
            if self.since is None:
                yield Step("all that the partitions of this SID keep", keyed, None, recently)
        elif self.at is not None:
            yield Step("all topics around that time", self.topics.all(), self.at - NEAR, self.at + NEAR)
        yield Step("all topics", self.topics.all(), recently, self.until)

    def _related(self, names: Iterable[str]) -> Iterator[Step]:
        """Where the rest of a timeline is: its events by their keys, its command and results near what was found."""
        times = [entry.at for entry in self.found.values()]
        since, until = min(times) - NEAR, max(times) + NEAR
        for sid in names:
            if privacy.SID.fullmatch(sid):
                yield Step(f"the partitions of {sid}", self.topics.keyed(sid), since)
        yield Step("all topics around it", self.topics.all(), since, until)

    async def _pass(self, step: Step, needles: Sequence[bytes], fits: Fits) -> AsyncGenerator[Progress | Entry, None]:
        scanning = scan(self.kafka, step.topics, since=step.since, until=step.until, needles=needles)
        async with aclosing(scanning) as portions:
            async for portion in portions:
                for record in portion.records:
                    if _holds(record, needles) and (entry := self._take(record, fits)):
                        yield entry
                    if self.is_cut:
                        return
                yield Progress(step.words, portion.done, portion.total, step.since)

    def _take(self, record: Received, fits: Fits) -> Entry | None:
        position = Position(record.topic, record.partition, record.offset)
        try:
            entry = self.joiner.entry(record)
        except Exception:  # noqa: BLE001 - whatever a producer wrote into a topic, the search goes on
            return None
        if position in self.found or not fits(entry):
            return None
        self.is_cut = len(self.found) >= MOST_FOUND
        if self.is_cut:
            return None
        self.found[position] = entry.shortened()
        return self.found[position]


def _belonging(names: frozenset[str]) -> Fits:
    return lambda entry: entry.timeline in names or entry.own_sid in names


def _holds(record: Received, needles: Sequence[bytes]) -> bool:
    """Whether one of the needles is in its key, its value or a header."""
    value, key = record.value or b"", record.key or b""
    headers = b"\0".join([raw for _, raw in record.headers if raw])
    return any(needle in value or needle in headers or needle in key for needle in needles)
