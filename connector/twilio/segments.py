"""How many segments Twilio makes of a text (pure): 160 GSM-7 or 70 UCS-2 units in one, 153 or 67 in each of several.

Sources: GSM 03.38 for the alphabet; Twilio, messaging/services#smart-encoding for the look-alikes. Long emoji sequences
may take one segment more at Twilio, which does not cut them.
"""

from collections.abc import Iterable

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")  # two units each: an escape and the character
_WIDTHS = dict.fromkeys(_BASIC, 1) | dict.fromkeys(_EXTENSION, 2)

_LOOK_ALIKES = {
    '"': "\u00ab\u00bb\u201c\u201d\u201e\u201f\u02ba\u02ee\u275d\u275e\u301d\u301e\uff02",
    "'": "\u2017\u2018\u2019\u201b\u02bb\u02c8\u02bc\u02bd\u02b9\u02ca\u02cb\u00b4\u0060\u275b\u275c\u0313\u0314"
    "\ufe10\ufe11\uff07",
    "/": "\u00f7\u29f8\u0337\u0338\u2044\u2215\uff0f",
    "\\": "\u29f9\u29f5\u20e5\ufe68\uff3c",
    "_": "\u0332\uff3f",
    "|": "\u20d2\u20d3\u2223\uff5c\u23b8\u23b9\u23d0\u239c\u239f",
    "-": "\u2010\u2013\u2014\u2015\u2022\u2043\u23bc\u23bd\ufe63\uff0d",
    "@": "\ufe6b\uff20",
    "$": "\ufe69\uff04",
    "!": "\u01c3\ufe15\ufe57\uff01",
    "#": "\ufe5f\uff03",
    "%": "\ufe6a\uff05",
    "&": "\ufe60\uff06",
    ",": "\u201a\u0326\u3001\ufe50\ufe51\uff0c\uff64",
    "(": "\u2768\u276a\ufe59\uff08\u27ee\u2985",
    ")": "\u2769\u276b\ufe5a\uff09\u27ef\u2986",
    "*": "\u204e\u2217\u229b\u2722\u2723\u2724\u2725\u2731\u2732\u2733\u273a\u273b\u273c\u273d\u2743\u2749\u274a\u274b"
    "\u29c6\ufe61\uff0a",
    "+": "\u02d6\ufe62\uff0b",
    ".": "\u3002\ufe52\uff0e\uff61",
    ":": "\u02d0\u02f8\u2982\ua789\ufe13\uff1a",
    ";": "\u204f\ufe14\ufe54\uff1b",
    "<": "\u203a\ufe64\uff1c",
    ">": "\u2039\ufe65\uff1e",
    "=": "\u0347\ua78a\ufe66\uff1d",
    "?": "\ufe16\ufe56\uff1f",
    "^": "\u02c6\u0302\u1dcd\uff3e",
    "{": "\u2774\ufe5b\uff5b",
    "}": "\u2775\ufe5c\uff5d",
    "[": "\uff3b",
    "]": "\uff3d",
    "~": "\u02dc\u02f7\u0303\u0330\u0334\u223c\uff5e",
    " ": "\u2001\u2028\u2029",
    "  ": "\u00a0\u2000\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u0080\u008d\u0090\u009b"
    "\u009f",
    " " * 7: "\t",
    "": "\u0000\u0003\u0004\u0010\u0011\u0012\u0013\u0014\u0017\u0019\u200b\u2060\ufeff",
    "1/4": "\u00bc",
    "1/2": "\u00bd",
    "3/4": "\u00be",
    "!!": "\u203c",
    "...": "\u2026",
}
_SMALL_CAPITALS = dict(
    zip(
        "\u1d00\u0299\u1d04\u1d05\u1d07\ua730\u0262\u029c\u026a\u1d0a\u1d0b\u029f\u1d0d\u0274\u1d0f\u1d18\u0280\ua731"
        "\u1d1b\u1d1c\u1d20\u1d21\u028f\u1d22",
        "ABCDEFGHIJKLMNOPRSTUVWYZ",
        strict=True,
    )
)
_FULL_WIDTH = {chr(ord(letter) + 0xFEE0): letter for letter in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_SMART = str.maketrans(
    {letter: plain for plain, letters in _LOOK_ALIKES.items() for letter in letters} | _SMALL_CAPITALS | _FULL_WIDTH
)


def segments(body: str, *, smart_encoded: bool = False) -> int:
    """Segments of a text; an empty one (media alone) is one."""
    text = body.translate(_SMART) if smart_encoded else body
    if all(letter in _WIDTHS for letter in text):
        return _parts([_WIDTHS[letter] for letter in text], whole=160, part=153)
    return _parts([1 if letter <= "\uffff" else 2 for letter in text], whole=70, part=67)


def _parts(widths: Iterable[int], *, whole: int, part: int) -> int:
    """Parts of this many units; a character of two units is never cut."""
    widths = list(widths)
    if sum(widths) <= whole:
        return 1
    count, used = 1, 0
    for width in widths:
        if used + width > part:
            count, used = count + 1, 0
        used += width
    return count
