"""The last few thousand stories: what belongs to one command or one SID, without any content. Bounded."""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

STORIES = 3_000
STEPS = 40
ROWS = 1_000
# Longer than a request to Twilio may take, so that what has no answer by then is in doubt.
IN_DOUBT_AFTER = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Step:
    """One record of a story. `kind`: command, attempt, result, event or dead letter; `name` its topic's name."""

    at: datetime
    kind: str
    name: str
    state: str
    detail: str
    sid: str
    place: Place


@dataclass(slots=True)
class Story:
    """What is known of one command or SID, in the order in which it was read; the first and last steps are kept."""

    id: str
    began: datetime
    updated: datetime
    command: str = ""
    outcome: str = ""
    sid: str = ""
    last: str = ""
    attempted_at: datetime | None = None
    attempts: int = 0
    dropped: int = 0
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Take a step in."""
        if step.state and step.at >= self.updated:
            self.last = step.state
        self.updated = max(self.updated, step.at)
        self.began = min(self.began, step.at)
        self.sid = step.sid or self.sid
        match step.kind:
            case "command":
                self.command = step.name
            case "attempt":
                self.attempts += 1
                self.attempted_at = step.at
                self.command = self.command or step.name
            case "result":
                self.command = self.command or step.name
                self.outcome = step.state
            case _:
                pass
        self.steps.append(step)
        if len(self.steps) > STEPS:
            del self.steps[STEPS // 2]
            self.dropped += 1

    def state(self, now: datetime) -> str:
        """The outcome; without one waiting, in flight or in doubt."""
        if self.outcome:
            return self.outcome
        if self.attempted_at is None:
            return "waiting" if self.command else ""
        return "in doubt" if now - self.attempted_at > IN_DOUBT_AFTER else "in flight"


class Ring:
    """Stories by id, the least lately updated dropped first; and the last callbacks."""

    def __init__(self, *, stories: int = STORIES, rows: int = ROWS) -> None:
        self._stories: OrderedDict[str, Story] = OrderedDict()
        self._limit = stories
        self.callbacks: deque[tuple[str, Step]] = deque(maxlen=rows)
        self.recent: deque[tuple[str, Step]] = deque(maxlen=60)

    def add(self, story: str, step: Step, *, is_callback: bool = False) -> None:
        """Take a step of a story in."""
        found = self._stories.get(story)
        if found is None:
            found = self._stories[story] = Story(story, step.at, step.at)
            if len(self._stories) > self._limit:
                self._stories.popitem(last=False)
        else:
            self._stories.move_to_end(story)
        found.add(step)
        if is_callback:
            self.callbacks.append((story, step))
        if step.kind != "attempt":
            self.recent.append((story, step))

    def __len__(self) -> int:
        return len(self._stories)

    def story(self, name: str) -> Story | None:
        """The story of a command's id or of a SID, while it is remembered."""
        return self._stories.get(name)

    def commands(self) -> Iterator[Story]:
        """Stories of commands, latest first."""
        return (story for story in reversed(self._stories.values()) if story.command)

    def counts(self, now: datetime) -> dict[str, int]:
        """How many remembered commands are in each state."""
        found: dict[str, Any] = {}
        for story in self._stories.values():
            if story.command:
                state = story.state(now)
                found[state] = found.get(state, 0) + 1
        return found
