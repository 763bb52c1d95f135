"""Documents cut into snippets. A comment before a fence says what is special about it.

    <!-- not run: needs Docker -->          the reason why nobody executes it
    <!-- exit: 1 -->                        the exit code that it must have; 0 unless said
    <!-- until: Ready after -->             it keeps running: ended by Ctrl-C once it has printed this
    <!-- pytest -->                         Python that is a test module
    <!-- helm values -->                    YAML that is checked against the chart's schema instead of the connector's
    <!-- not checked: another program's --> YAML that is neither
    <!-- schema: events/messages -->        JSON that must fit this schema of `schemas/`

Everything else of a known language is executed, or checked, as it is.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
MARK = re.compile(r"<!-- (?P<name>[a-z ]+?)(?:: (?P<value>.+?))? -->\s*$")
MARKS = {"not run", "exit", "until", "pytest", "helm values", "not checked", "schema"}


@dataclass(frozen=True, slots=True)
class Snippet:
    """A fenced block: the document and line it begins at, its language, its text, the marks before it."""

    document: str
    line: int
    language: str
    text: str
    marks: Mapping[str, str]

    @property
    def place(self) -> str:
        """Where to look."""
        return f"{self.document}:{self.line}"

    @property
    def exit_code(self) -> int:
        """What it must end with."""
        return int(self.marks.get("exit", "0"))


def documents() -> list[str]:
    """README and everything in docs, in the order in which people read."""
    written = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    first = ("README.md", "quick-start.md", "concepts.md")
    order = [name for name in first if name in written] + [name for name in written if name not in first]
    return ["README.md", *(f"docs/{name}" for name in order)]


def snippets(*languages: str) -> Iterator[Snippet]:
    """Every snippet of these languages, document by document."""
    for name in documents():
        text = (ROOT / name).read_text(encoding="utf-8")
        yield from (found for found in cut(name, text) if found.language in languages)


def cut(document: str, text: str) -> Iterator[Snippet]:
    """The snippets of one document."""
    for found in FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        indent = found["indent"]
        content = re.sub(rf"^{indent}", "", found["text"], flags=re.MULTILINE) if indent else found["text"]
        yield Snippet(document, line, found["language"], content, _marks(text[: found.start()]))


def _marks(before: str) -> dict[str, str]:
    """The comments on the lines right before a fence."""
    marks: dict[str, str] = {}
    lines = before.rstrip("\n").splitlines() if before.endswith("\n") and not before.endswith("\n\n") else []
    while lines and (found := MARK.match(lines.pop().strip())):
        marks[found["name"]] = found["value"] or ""
    return {name: value for name, value in marks.items() if name in MARKS}
