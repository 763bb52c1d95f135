r"""Conditions such as `state=failed`: a field and the text that it must have. Pure.

`*` and `…` stand for any text, as ids are shortened with the latter where people read; `\*` stands for a star.
"""

import re
from functools import lru_cache
from typing import NamedTuple

ENTRY_FIELDS = (
    *("code", "command", "connection", "correlation", "ends", "key", "kind", "name", "sid", "state", "topic", "type"),
    "watch",
)
"""Of an entry of a timeline; `command` is its id, `ends` the last digits of its numbers."""
LETTER_FIELDS = ("class", "connection", "decision", "group", "id", "key", "message", "stage", "topic", "twilio-code")
"""Of a dead letter; `decision` is open, replayed or discarded; those of one `group` have one reason."""


class Condition(NamedTuple):
    """A field and the text that it must have."""

    field: str
    wanted: str

    def fits(self, text: str) -> bool:
        """Whether this is the text; a topic may be given without its prefix."""
        if _pattern(self.wanted).fullmatch(text):
            return True
        return self.field == "topic" and _pattern(f"*.{self.wanted}").fullmatch(text) is not None


@lru_cache(maxsize=256)
def _pattern(wanted: str) -> re.Pattern[str]:
    return re.compile("".join(_regular(part) for part in re.findall(r"\\.|.", wanted, re.DOTALL)), re.DOTALL)


def _regular(part: str) -> str:
    if part in ("*", "…"):
        return ".*"
    return re.escape(part[1] if part in (r"\*", r"\…", "\\\\") else part)
