"""An account: counts by name, and which promises were broken."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

SHOWN = 5


@dataclass(slots=True)
class Account:
    """Counts by name; for each broken promise some of its offenders. `promised` are the names of the promises."""

    counts: dict[str, int] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)
    promised: set[str] = field(default_factory=set)

    def promise(self, name: str, offenders: Iterable[object]) -> None:
        """Count the offenders: there must be none."""
        found = [str(one) for one in offenders]
        self.promised.add(name)
        self.counts[name] = len(found)
        if found:
            self.broken[name] = found[:SHOWN]

    def add(self, name: str, other: "Account") -> None:
        """Add another account's counts and promises under a name of its own."""
        self.counts |= {f"{name}: {what}": count for what, count in other.counts.items()}
        self.broken |= {f"{name}: {what}": offenders for what, offenders in other.broken.items()}
        self.promised |= {f"{name}: {what}" for what in other.promised}

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    def table(self) -> str:
        """The counts, one a line, and the offenders."""
        width = max((len(name) for name in self.counts), default=0)
        lines = [f"{name:<{width}} {count:>8}" for name, count in self.counts.items()]
        return "\n".join([*lines, *(f"BROKEN {name}: {', '.join(some)}" for name, some in self.broken.items())])


def repeated(names: Iterable[str]) -> Sequence[str]:
    """The names that occur more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def falling(marks: Iterable[tuple[str, int]]) -> Sequence[str]:
    """Of names with their numbers, those whose number is lower than one before it."""
    highest: int | None = None
    found = []
    for name, number in marks:
        if highest is not None and number < highest:
            found.append(name)
        highest = number if highest is None else max(highest, number)
    return found
