"""Every request that reached the simulator, for accounting: what was asked, whether it was done and answered."""

from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

LIMIT = 500_000
ANSWERS = 200  # of so many newest requests the answers are kept
ANSWER_BYTES = 64 * 1024


@dataclass(slots=True, kw_only=True)
class Entry:
    """One request; `unknown` lists the parameters that Twilio does not know and silently ignored."""

    number: int
    time: float  # by this machine's clock
    method: str
    target: str  # as on the wire, percent-encoding untouched
    path: str
    agent: str = ""  # the client's User-Agent
    parameters: list[tuple[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    operation: str = ""
    account_sid: str = ""
    credential: str = ""  # who asked: the account or the API key
    request_id: str = ""
    sid: str = ""  # of the resource that was created, changed, read or deleted
    status: int = 0
    code: int = 0
    executed: bool = False
    answered: bool = False
    faults: list[str] = field(default_factory=list)
    duration: float = 0.0
    concurrent: int = 0
    answer: bytes = b""  # its body, of the newest requests only

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value, without the answer."""
        return {name: value for name, value in asdict(self).items() if name != "answer"}


class Journal:
    """The entries in order of arrival; `dropped` counts the oldest ones that did not fit any more."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.entries: deque[Entry] = deque(maxlen=limit)
        self.total = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self.entries))

    @property
    def dropped(self) -> int:
        """How many entries are gone."""
        return self.total - len(self.entries)

    def add(self, entry: Entry) -> None:
        """Write down a request."""
        self.total += 1
        self.entries.append(entry)
        if len(self.entries) > ANSWERS:
            self.entries[-ANSWERS - 1].answer = b""

    def clear(self) -> None:
        """Start anew."""
        self.entries.clear()
        self.total = 0

    def of(self, operation: str) -> list[Entry]:
        """Return the requests of one operation, such as CreateMessage."""
        return [entry for entry in self.entries if entry.operation == operation]

    def unknown_parameters(self) -> set[str]:
        """Return all parameter names that Twilio would have ignored; empty in a correct client."""
        return {name for entry in self.entries for name in entry.unknown}

    def exchange(self, number: int) -> dict[str, Any]:
        """Return one request with its answer as a JSON value. Raises KeyError when it is not kept."""
        for entry in reversed(self.entries):
            if entry.number == number:
                return entry.as_json() | {"answer": entry.answer.decode(errors="replace")}
        raise KeyError(f"request {number} is not kept")

    def as_json(self, *, operation: str = "", after: int = 0, limit: int = 0) -> dict[str, Any]:
        """Return entries as JSON values, optionally of one operation and after a number."""
        chosen = [e for e in self.entries if e.number > after and (not operation or e.operation == operation)]
        return {
            "total": self.total,
            "dropped": self.dropped,
            "entries": [entry.as_json() for entry in (chosen[:limit] if limit else chosen)],
        }
