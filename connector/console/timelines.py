"""The last few thousand timelines, without any content. Bounded."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from connector.timeline.model import Entry, Timeline

TIMELINES = 3_000
EVENTS = 3_000
CALLBACKS = 1_000
RECENT = 60


class Timelines:
    """Timelines by id, the least lately updated dropped first; and the last records of all of them."""

    def __init__(self, *, timelines: int = TIMELINES, events: int = EVENTS) -> None:
        self._timelines: OrderedDict[str, Timeline] = OrderedDict()
        self._limit = timelines
        self.events: deque[Entry] = deque(maxlen=events)
        """Events, results and dead letters, in the order in which they were read."""
        self.callbacks: deque[Entry] = deque(maxlen=CALLBACKS)
        self.recent: deque[Entry] = deque(maxlen=RECENT)

    def add(self, entry: Entry, *, is_callback: bool = False) -> None:
        """Take an entry in that has just been read."""
        timeline = self._timeline(entry.timeline, entry.at)
        timeline.add(entry)
        if entry.own_sid != entry.timeline and (former := self._timelines.pop(entry.own_sid, None)):
            # What is of another topic may be read before the record that tells which command has made it.
            for earlier in former.entries:
                timeline.add(replace(earlier, timeline=entry.timeline))
        if is_callback:
            self.callbacks.append(entry)
        if entry.kind != "attempt":
            self.recent.append(entry)
        if entry.kind not in ("attempt", "command"):
            self.events.append(entry)

    def complete(self, name: str, sids: Iterable[str], entries: Iterable[Entry], *, is_over: bool) -> None:
        """Give a timeline what a search has found of it, and what was taken for timelines of their own."""
        former = [timeline for sid in sids if sid != name and (timeline := self._timelines.pop(sid, None))]
        known = [entry for timeline in former for entry in timeline.entries]
        for entry in sorted([*entries, *known], key=lambda entry: entry.at):
            timeline = self._timeline(name, entry.at)
            timeline.add(replace(entry, timeline=name))
            timeline.is_searched |= is_over

    def _timeline(self, name: str, began: datetime) -> Timeline:
        found = self._timelines.get(name)
        if found is not None:
            self._timelines.move_to_end(name)
            return found
        if len(self._timelines) >= self._limit:
            self._timelines.popitem(last=False)
        return self._timelines.setdefault(name, Timeline(name, began, began))

    def entries(self) -> Iterator[Entry]:
        """Every entry that is remembered."""
        return (entry for timeline in self._timelines.values() for entry in timeline.entries)

    def __len__(self) -> int:
        return len(self._timelines)

    def find(self, name: str) -> Timeline | None:
        """The timeline of a command's id or of a SID, while it is remembered."""
        return self._timelines.get(name)

    def commands(self) -> Iterator[Timeline]:
        """Timelines of commands, latest first."""
        return (timeline for timeline in reversed(self._timelines.values()) if timeline.command)

    def counts(self, now: datetime) -> dict[str, int]:
        """How many remembered commands are in each state."""
        found: dict[str, int] = {}
        for timeline in self._timelines.values():
            if timeline.command:
                state = timeline.state(now)
                found[state] = found.get(state, 0) + 1
        return found
