"""Links inside the documents: files that exist, anchors that a heading makes. Pure but for reading the files."""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from tests.documents.snippets import FENCE, ROOT

LINK = re.compile(
    r"\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^)\s]+)(?: \"[^\"]*\")?\)"
    r"|<(?:img|a)[^>]+(?:src|href)=\"(?P<other>[^\"]+)\""
)
HEADING = re.compile(r"^#{1,6} +(?P<text>.+?) *#*$", re.MULTILINE)
ANCHOR = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")
OUTSIDE = ("http://", "https://", "mailto:")


def broken(document: str) -> Iterator[str]:
    """A sentence for each link of a document that leads nowhere."""
    file = ROOT / document
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    for found in LINK.finditer(text):
        target = unquote(found["target"] or found["other"])
        if target.startswith(OUTSIDE):
            continue
        path, _, anchor = target.partition("#")
        place = (file.parent / path).resolve() if path else file
        if not place.exists():
            yield f"{document}: {target}: there is no {path}"
        elif not place.is_relative_to(ROOT):
            yield f"{document}: {target}: outside of the repository"
        elif anchor and place.suffix == ".md" and anchor not in anchors(place):
            yield f"{document}: {target}: {place.name} has no heading for it"


@lru_cache
def anchors(file: Path) -> frozenset[str]:
    """The anchors of a document, as GitHub makes them from headings: lower case, without punctuation, hyphens."""
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    found: list[str] = []
    for heading in HEADING.finditer(text):
        name = _anchor(heading["text"])
        repeats = sum(1 for other in found if other == name or re.fullmatch(rf"{re.escape(name)}-\d+", other))
        found.append(f"{name}-{repeats}" if repeats else name)
    return frozenset([*found, *ANCHOR.findall(text)])


def _anchor(heading: str) -> str:
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
