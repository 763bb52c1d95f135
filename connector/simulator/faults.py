"""Faults on request: each is a row that matches operations and says what goes wrong, how often and with which chance.

`late-visibility` knows three operations that no client requests: InboundMessage, CreateRecording and CreateAlert.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does, and whether the operation is executed and answered all the same."""

    effect: str
    executed: bool = True
    answered: bool = True


KINDS: Mapping[str, Kind] = {
    "error": Kind("`status`/`code` instead of doing anything; `html: true` answers a gateway's page", executed=False),
    "throttle": Kind("429 / 20429, with `Retry-After` when `seconds` is set", executed=False),
    "unauthorized": Kind("401 / 20003", executed=False),
    "bad-token": Kind("400 / 21481", executed=False),
    "drop": Kind("the connection is closed before anything is done", executed=False, answered=False),
    "latency": Kind("waits `seconds` ± `jitter` before doing it"),
    "slow-answer": Kind("waits `seconds` ± `jitter` after doing it"),
    "error-after": Kind("does it, then answers `status`"),
    "lose-answer": Kind("does it, then closes the connection", answered=False),
    "cut-answer": Kind("does it, then closes the connection in the middle of the answer", answered=False),
    "odd-answer": Kind("does it, then answers `status` with `headers` and `body`, or its own body after each `swap`"),
    "wrong-date": Kind("does it, then answers with a `Date` that is `seconds` ahead of Twilio's clock"),
    "late-visibility": Kind("what it creates shows up in lists `seconds` later"),
    "short-page": Kind("the page has only `rows` rows though more follow"),
    "delete-while-paging": Kind("`rows` rows at the page boundary vanish before the next page is asked for"),
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault; `operation` is a name or pattern such as CreateMessage, List* or *."""

    kind: str
    operation: str = "*"
    probability: float = 1.0
    times: int | None = None  # None: until cleared
    skip: int = 0  # so many matching requests pass first
    match: Mapping[str, str] = field(default_factory=dict)  # only requests with these parameter values
    status: int = 500
    code: int = 0
    html: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)  # of an odd answer
    body: str | None = None  # of an odd answer; None: its own
    swap: Mapping[str, str] = field(default_factory=dict)  # parts of an odd answer's body, replaced once each
    seconds: float = 0.0
    jitter: float = 0.0
    rows: int = 1
    hit: int = 0  # how often it struck

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; use one of {sorted(KINDS)}")


class Faults:
    """The faults that are set; choices come from a seeded generator."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.rows: list[Fault] = []

    def add(self, kind: str, operation: str = "*", **options: Any) -> Fault:
        """Set a fault; raises ValueError for an unknown kind or option."""
        if unknown := sorted(set(options) - {item.name for item in fields(Fault)}):
            raise ValueError(f"unknown fault options {unknown}; known are {[item.name for item in fields(Fault)]}")
        fault = Fault(kind=kind, operation=operation, **options)
        self.rows.append(fault)
        return fault

    def clear(self, kind: str = "") -> None:
        """Remove all faults, or those of one kind."""
        self.rows = [fault for fault in self.rows if kind and fault.kind != kind]

    def strike(self, kind: str, operation: str, parameters: Mapping[str, list[str]] | None = None) -> Fault | None:
        """Return the first fault of a kind that strikes this request, counting it."""
        for fault in self.rows:
            if fault.kind == kind and self._strikes(fault, operation, parameters or {}):
                fault.hit += 1
                return fault
        return None

    def wait(self, fault: Fault | None) -> float:
        """Return how long a latency fault waits."""
        if fault is None:
            return 0.0
        return max(0.0, fault.seconds + self.random.uniform(-fault.jitter, fault.jitter))

    def short_page(self, operation: str, rows: int) -> int:
        """Return how many of a page's rows are shown."""
        fault = self.strike("short-page", operation) if self.rows and rows > 1 else None
        return rows if fault is None else min(rows, max(1, fault.rows))

    def deletions(self, operation: str) -> int:
        """Return how many rows vanish at the end of this page."""
        fault = self.strike("delete-while-paging", operation) if self.rows else None
        return 0 if fault is None else fault.rows

    def hidden_for(self, operation: str) -> float:
        """Return how long what this operation creates stays out of lists."""
        return self.wait(self.strike("late-visibility", operation)) if self.rows else 0.0

    def _strikes(self, fault: Fault, operation: str, parameters: Mapping[str, list[str]]) -> bool:
        if fault.times is not None and fault.hit >= fault.times:
            return False
        if not fnmatchcase(operation, fault.operation):
            return False
        if any(value not in parameters.get(name, ()) for name, value in fault.match.items()):
            return False
        if fault.skip > 0:
            fault.skip -= 1
            return False
        return fault.probability >= 1.0 or self.random.random() < fault.probability
