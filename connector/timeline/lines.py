"""Entries of timelines as lines on a terminal."""

from collections import OrderedDict
from datetime import datetime
from zlib import crc32

from rich.text import Text

from connector.terminal import visible
from connector.timeline.model import BAD, GOOD, REMEMBERED, Entry

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
SHORT = 13


class Lines:
    """Renders entries one after the other: remembers when each timeline began; bounded."""

    def __init__(self) -> None:
        self._began: OrderedDict[str, datetime] = OrderedDict()

    def line(self, entry: Entry, *, whole: bool = False) -> Text:
        """The entry for people: time, timeline, what, state; no body, and numbers shortened.

        With `whole` ids are not shortened: a file has room for them.
        """

        def shown(name: str) -> str:
            return visible(name if whole else _short(name))

        began = self._began.setdefault(entry.timeline, entry.at)
        if len(self._began) > REMEMBERED:
            self._began.popitem(last=False)
        elapsed = (entry.at - began).total_seconds()
        colour = COLOURS[crc32(entry.timeline.encode()) % len(COLOURS)]
        state_style = "green" if entry.state in GOOD else "red" if entry.state in BAD else "default"
        text = Text()
        text.append(entry.at.astimezone().strftime("%H:%M:%S.%f")[:-3] + " ", style="dim")
        text.append(f"{shown(entry.timeline):<14} ", style=colour)
        text.append("● " if elapsed == 0 else "└ ", style=colour)
        text.append(f"{entry.kind:<7} ", style="bold" if entry.kind == "command" else "default")
        text.append(f"{visible(entry.name):<18} ")
        text.append(f"{visible(entry.state):<12}", style=state_style)
        text.append(f"{shown(entry.sid):<14} ", style="dim")
        text.append(f"+{elapsed:.3f} s " if elapsed else "", style="dim")
        text.append(visible(entry.detail), style="dim")
        return text


def _short(name: str) -> str:
    return name if len(name) <= SHORT else f"{name[:6]}…{name[-6:]}"
