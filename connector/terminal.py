"""Text of strangers on a terminal: what could steer it, hide, or turn the reading order around is shown escaped.

Ids, reasons, names and bodies come from other people. A terminal obeys ESC and the C1 controls, reorders text at bidi
controls, draws nothing for zero-width characters, and cannot print half of a surrogate pair.
"""

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Unicode's categories Cc (without tab and new line), Cs, Cf, Zl, Zp and the non-characters, and letters without ink.
_UNSAFE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ud800-\udfff\ufe00-\ufe0e\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_CONTROLS = re.compile(f"[{_UNSAFE}]")
_CONTROLS_AND_BREAKS = re.compile(f"[{_UNSAFE}\t\n]")
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\x1b": r"\x1b"}


def visible(text: str) -> str:
    r"""The text on one line: `\n`, `\x1b`, `\u202e`, `\U000e0041` instead of what does not show as itself."""
    return _CONTROLS_AND_BREAKS.sub(_escaped, text)


def visible_lines(text: str) -> str:
    """The same, with its tabs and line breaks: for sentences of ours whose parts are `visible` already."""
    return _CONTROLS.sub(_escaped, text)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON that means the same and holds no such character: within strings each is written as JSON escapes it."""
    return _CONTROLS.sub(_json_escaped, json.dumps(value, indent=indent, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if number <= 0xFF:  # noqa: PLR2004 - two digits
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004 - four digits


def _json_escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else r"\u007f"


def console(*, stderr: bool = False) -> "Console":
    """Where people read: styled on a terminal only, and plain where NO_COLOR is set. No markup, and nothing unsafe."""
    made = _class()(stderr=stderr, **_PLAIN)
    if made.no_color or not made.is_terminal:
        return _class()(stderr=stderr, color_system=None, **_PLAIN)
    return made


_PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


@lru_cache(maxsize=1)
def _class() -> "type[Console]":
    """Rich is imported only where something is printed: help must answer at once."""
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.segment import Segment  # noqa: PLC0415 - see above

    class SafeConsole(Console):
        """Escapes what is left in any text; its own control codes and styles go through."""

        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(visible_lines(segment.text), segment.style)

    return SafeConsole
