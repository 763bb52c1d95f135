"""What happened lately, read from Kafka by one reader without a group, while a viewer looks.

Any process shows what all of them did. What is kept is bounded and holds no content; content is read again, by
its place, when a viewer asks for it.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from connector.console.rates import Rates
from connector.console.search import Search, Topics, parse
from connector.console.timelines import Timelines
from connector.dead_letters.reading import DeadLetter, read
from connector.errors import InvalidRecord, Unavailable
from connector.events import Position, Received, moment_of
from connector.kafka.reading import Batch, Start, newest
from connector.settings import KafkaSettings
from connector.state import control, journal
from connector.telemetry.logs import logger
from connector.timeline.model import Entry, Joiner, Timeline
from connector.watcher import cursor as cursors
from connector.watcher.status import Brief, brief

log = logger(__name__)

BACK = timedelta(minutes=5)
PAST = Start(records=200, since=BACK)
STARTS: Mapping[str, Start] = {
    "dead-letters": Start(records=200),
    "control": Start(records=2_000),
    # Every watch that runs writes its cursor at least once a minute; a cursor may be as large as a record can be.
    "cursors": Start(records=20, since=timedelta(minutes=2)),
}
LETTERS = 1_000
VERDICTS = 5_000
IDLE_SECONDS = 30.0
AGAIN_SECONDS = 1.0
FLOWS = ("watched", "callbacks", "commands", "results", "dead letters")


class Feed:
    """The background reader. `flows` maps each topic to watched, callbacks, commands, results, or to its own name.

    `connections` are the names of connections by their accounts.
    """

    def __init__(self, kafka: KafkaSettings, flows: Mapping[str, str], connections: Mapping[str, str]) -> None:
        self._kafka = kafka
        self._flows = flows
        self._connections = connections
        self._wanted = asyncio.Event()
        self._looked_at = 0.0
        self._searched = False
        self.problem: str | None = None
        self._reset()

    def _reset(self) -> None:
        self.timelines = Timelines()
        self.rates = Rates(FLOWS)
        self.letters: OrderedDict[tuple[int, int], DeadLetter] = OrderedDict()
        self.verdicts: OrderedDict[tuple[int, int], control.Verdict] = OrderedDict()
        self.cursors: dict[str, Brief] = {}
        self.answers: dict[str, control.Answer] = {}
        self.version = 0
        self.skipped = 0
        self.is_live = False
        self._searched = False
        self._joiner = Joiner(self._kafka.topic_prefix, self._connections)

    def find(self, name: str) -> Timeline | None:
        """The timeline of a command's id or of a SID, while it is remembered."""
        return self.timelines.find(name) or self.timelines.find(self._joiner.timeline_of(name))

    def complete(self, search: Search, *, is_over: bool) -> str:
        """Add what a search has found to the timeline that it belongs to, and return that one's name.

        `is_over`: nothing more would be found.
        """
        sids = [sid for entry in search.found.values() if (sid := entry.own_sid)]
        name = next(
            (entry.timeline for entry in search.found.values() if entry.timeline not in sids), search.query.text
        )
        for sid in sids:
            if sid != name:
                self._joiner.join(sid, name)
        self.timelines.complete(name, sids, search.found.values(), is_over=is_over)
        self.version += 1
        return name

    def search(self, text: str, *, is_name: bool, **options: Any) -> Search:
        """A search in the topics for what a person has typed, or for a timeline. Raises InvalidRecord."""
        prefix = self._kafka.topic_prefix
        query = parse(text, prefix, self._flows, is_name=is_name)
        return Search(self._kafka, Topics.of(self._flows), Joiner(prefix, self._connections), query, **options)

    def is_callback(self, topic: str) -> bool:
        """Whether a topic is one of callbacks."""
        return self._flows.get(topic) == "callbacks"

    def entry(self, record: Received) -> Entry:
        """A record that was read by its position, as an entry."""
        return self._joiner.entry(record).shortened()

    def look(self) -> None:
        """Somebody looks: read on for a while."""
        self._looked_at = time.monotonic()
        self._wanted.set()

    @property
    def is_watched(self) -> bool:
        """Whether a viewer has looked lately."""
        return time.monotonic() - self._looked_at < IDLE_SECONDS

    async def run(self) -> None:
        """Read while a viewer looks, until cancelled; forget everything when the last one has gone."""
        while True:
            await self._wanted.wait()
            try:
                await self._read()
            except Unavailable as error:
                self.problem = str(error)
            except Exception as error:
                # The console must not take the connector with it.
                log.exception("console cannot read")
                self.problem = f"The console cannot read Kafka ({type(error).__name__})."
            if self.is_watched:
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            self._wanted.clear()
            self._reset()

    async def _read(self) -> None:
        starts = {topic: STARTS.get(flow, PAST) for topic, flow in self._flows.items()}
        async with aclosing(newest(self._kafka, starts)) as found:
            async for batch in found:
                self.problem = None
                self._take(batch)
                if self.is_live and not self._searched:
                    self._searched = True
                    await self._search_cursors()
                if not self.is_watched:
                    return

    async def _search_cursors(self) -> None:
        """Read all cursors once: that of a watch which has not been written lately is further back."""
        for name, raw in (await cursors.latest(self._kafka)).items():
            self.cursors.setdefault(name, brief(raw))
        self.version += 1

    # --- records --------------------------------------------------------------------------------------------------
    def _take(self, batch: Batch) -> None:
        now = int(time.time())
        newest: dict[bytes, Received] = {}
        for record in batch.records:
            flow = self._flows[record.topic]
            if flow == "cursors":
                newest[record.key or b""] = record
                continue
            try:
                self._takers[flow](self, record, flow, now)
            except Exception as error:  # noqa: BLE001 - whatever a topic holds, the console goes on
                log.debug("record left out", topic=record.topic, reason=type(error).__name__)
        for key, record in newest.items():
            self._cursor(key.decode(errors="replace"), record.value)
        for topic, count in batch.skipped.items():
            self._skip(self._flows[topic], count, now)
        self.version += bool(batch.records) or batch.is_live != self.is_live
        self.is_live = batch.is_live

    def _event(self, record: Received, flow: str, now: int) -> None:
        self.timelines.add(self._joiner.entry(record).shortened(), is_callback=flow == "callbacks")
        self.rates.count(flow, record.timestamp // 1000, now=now)

    def _attempt(self, record: Received, flow: str, now: int) -> None:
        del flow, now
        if record.value is None:
            return
        found = journal.decode(record.value)
        if found.state != "attempting":
            return
        name = found.topic.removeprefix(f"{self._kafka.topic_prefix}.commands.")
        position = Position(record.topic, record.partition, record.offset)
        self.timelines.add(Entry(found.at, "attempt", name, found.id, position, state="sending"))

    def _letter(self, record: Received, flow: str, now: int) -> None:
        del flow
        found = read(record)
        self.letters[found.partition, found.offset] = found
        _bound(self.letters, LETTERS)
        if record.timestamp / 1000 > now - BACK.total_seconds():
            self.timelines.add(self._joiner.entry(record))
        self.rates.count("dead letters", record.timestamp // 1000, now=now)

    def _control(self, record: Received, flow: str, now: int) -> None:
        del flow, now
        at = moment_of(record.timestamp)
        with contextlib.suppress(InvalidRecord):
            match control.decode(record.value, at=at, offset=record.offset):
                case control.Verdict() as verdict:
                    self.verdicts[verdict.partition, verdict.offset] = verdict
                    _bound(self.verdicts, VERDICTS)
                case control.Answer() as answer:
                    self.answers[answer.watch] = answer
                case _:
                    pass

    def _cursor(self, name: str, value: bytes | None) -> None:
        if value is None:
            self.cursors.pop(name, None)
        else:
            self.cursors[name] = brief(value)

    def _skip(self, flow: str, count: int, now: int) -> None:
        """Skipped records are counted as of now; markers of transactions among them make this an estimate."""
        self.skipped += count
        if flow in FLOWS:
            self.rates.count(flow, now, now=now, records=count)

    _takers: Mapping[str, Callable[["Feed", Received, str, int], None]] = {
        "watched": _event,
        "callbacks": _event,
        "commands": _event,
        "results": _event,
        "journal": _attempt,
        "dead-letters": _letter,
        "control": _control,
    }


def _bound(mapping: "OrderedDict[tuple[int, int], Any]", limit: int) -> None:
    while len(mapping) > limit:
        mapping.popitem(last=False)
