"""Records joined into stories: a command, its result, the status events that follow, the watched record."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from zlib import crc32

from rich.text import Text

from connector import privacy
from connector.errors import InvalidRecord
from connector.events import Received, decode
from connector.terminal import visible

REMEMBERED = 10_000
HELD_OF_A_STORY = 50
COLOURS = (
    "cyan",
    "magenta",
    "yellow",
    "blue",
    "green",
    "bright_cyan",
    "bright_magenta",
    "bright_yellow",
    "bright_blue",
)
KINDS = {"commands": "command", "results": "result"}
GOOD = frozenset({"succeeded", "delivered", "received", "completed", "read", "duplicate"})
BAD = frozenset({"failed", "rejected", "undelivered", "unknown", "expired", "busy", "no-answer", "canceled"})


@dataclass(frozen=True, slots=True)
class Line:
    """One record in a story. `story` is what joins it: the command's id, else the SID."""

    moment: datetime
    kind: str
    name: str
    story: str
    sid: str
    state: str
    detail: str
    topic: str
    type: str
    key: str


class Stories:
    """Remembers which SID belongs to which command; bounded."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._story_of: OrderedDict[str, str] = OrderedDict()
        self._began: OrderedDict[str, datetime] = OrderedDict()

    def line(self, record: Received) -> Line:
        """The line of a record, whatever it is."""
        topic, headers = record.topic, record.headers
        moment = datetime.fromtimestamp(record.timestamp / 1000, UTC)
        name = topic.removeprefix(f"{self._prefix}.")
        kind = KINDS.get(name.partition(".")[0], "event")
        named = {header: (raw or b"").decode(errors="replace") for header, raw in headers}
        shown_key = (record.key or b"").decode(errors="replace")
        if kind == "command":
            story = _own_id(named) or f"{topic}/{record.partition}/{record.offset}"
            line = Line(moment, kind, name.partition(".")[2], story, "", "", "", topic, "", shown_key)
        else:
            line = self._event(record, moment, kind, name)
        self._began.setdefault(line.story, moment)
        _bound(self._began)
        return line

    def _event(self, record: Received, moment: datetime, kind: str, name: str) -> Line:
        topic, key = record.topic, (record.key or b"").decode(errors="replace")
        try:
            event = decode(record.value, record.headers)
        except InvalidRecord:
            named = {header: (raw or b"").decode(errors="replace") for header, raw in record.headers}
            place = "/".join(named.get(f"dlq.errors.{part}", "") for part in ("topic", "partition", "offset"))
            story = _own_id(named) or place.strip("/") or f"{topic}/{record.partition}/{record.offset}"
            message = privacy.sentence(named.get("dlq.errors.message", ""))
            return Line(moment, "dead letter", name, story, "", "", message, topic, "", key)
        data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
        sid = event.subject or key
        story = event.extensions.get("causationid") or self._story_of.get(sid) or sid
        if story != sid:
            self._story_of[sid] = story
            _bound(self._story_of)
        states = ("outcome", "message_status", "call_status", "recording_status", "answered_by", "status", "log_level")
        state = next((str(data[field]) for field in states if data.get(field)), "")
        return Line(
            moment, kind, name.removeprefix("results."), story, sid, state, _detail(data), topic, event.type, key
        )

    def render(self, line: Line, *, whole: bool = False) -> Text:
        """The line for people: time, story, what, state; no body, and numbers shortened.

        With `whole` ids are not shortened: a file has room for them.
        """

        def shown(name: str) -> str:
            return visible(name if whole else _short(name))

        began = self._began.get(line.story, line.moment)
        elapsed = (line.moment - began).total_seconds()
        colour = COLOURS[crc32(line.story.encode()) % len(COLOURS)]
        state_style = "green" if line.state in GOOD else "red" if line.state in BAD else "default"
        text = Text()
        text.append(line.moment.astimezone().strftime("%H:%M:%S.%f")[:-3] + " ", style="dim")
        text.append(f"{shown(line.story):<14} ", style=colour)
        text.append("● " if elapsed == 0 else "└ ", style=colour)
        text.append(f"{line.kind:<7} ", style="bold" if line.kind == "command" else "default")
        text.append(f"{visible(line.name):<18} ")
        text.append(f"{visible(line.state):<12}", style=state_style)
        text.append(f"{shown(line.sid):<14} ", style="dim")
        text.append(f"+{elapsed:.3f} s " if elapsed else "", style="dim")
        text.append(visible(line.detail), style="dim")
        return text


def _own_id(named: Mapping[str, str]) -> str | None:
    """The id that a command's headers give it; a replay has one of its own."""
    given = named.get("id") or named.get("ce_id")
    replay = named.get("dlq.replay.count")
    return f"{given}#replay-{replay}" if given and replay else given


class Condition(NamedTuple):
    """A field of a line and the text that it must have; `*` stands for any text."""

    field: str
    wanted: str

    def holds(self, line: Line) -> bool:
        """Whether a line fulfils it."""
        return self.fits(str(getattr(line, {"command": "story"}.get(self.field, self.field))))

    def fits(self, found: str) -> bool:
        """Whether this is the text; a topic may be given without its prefix."""
        wanted = self.wanted.replace("[", "[[]")
        return fnmatchcase(found, wanted) or (self.field == "topic" and fnmatchcase(found, f"*.{wanted}"))


class Selection:
    """Which lines are shown. Conditions on `sid` and `command` choose whole stories, the others single lines.

    A command does not know the SID that it will have: its line is held back until its result names it. Bounded.
    """

    def __init__(self, conditions: Sequence[Condition]) -> None:
        self._of_stories = [condition for condition in conditions if condition.field in ("sid", "command")]
        self._of_lines = [condition for condition in conditions if condition not in self._of_stories]
        self._chosen: OrderedDict[str, bool] = OrderedDict()
        self._held: OrderedDict[str, list[tuple[Line, Received]]] = OrderedDict()

    def take(self, line: Line, record: Received) -> list[tuple[Line, Received]]:
        """What is to be shown now that this line has come."""
        if all(condition.holds(line) for condition in self._of_stories):
            self._chosen[line.story] = True
            _bound(self._chosen)
        if line.story not in self._chosen:
            self._hold(line, record)
            return []
        shown = [*self._held.pop(line.story, ()), (line, record)]
        return [item for item in shown if all(condition.holds(item[0]) for condition in self._of_lines)]

    def _hold(self, line: Line, record: Received) -> None:
        held = self._held.setdefault(line.story, [])
        if len(held) < HELD_OF_A_STORY:
            held.append((line, record))
        _bound(self._held)


def _detail(data: dict[str, Any]) -> str:
    error = data.get("error")
    if isinstance(error, dict):
        return f"{error.get('code') or ''} {privacy.sentence(str(error.get('message') or ''))}".strip()
    ends = [privacy.address(str(data[end])) for end in ("from", "to") if data.get(end)]
    return " → ".join(ends)


def _short(name: str) -> str:
    return name if len(name) <= 13 else f"{name[:6]}…{name[-6:]}"  # noqa: PLR2004 - fits its column


def _bound(mapping: "OrderedDict[str, Any]") -> None:
    if len(mapping) > REMEMBERED:
        mapping.popitem(last=False)
