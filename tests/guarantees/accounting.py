"""What has become of all that was asked for, by Kafka (read_committed) and the simulator's journal. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that was sent; its id begins with its name and a slash.

    `number` counts within its key, `repeats` how often it was sent in all.
    """

    id: str
    key: str | None
    number: int
    repeats: int = 1

    @property
    def lane(self) -> str | None:
        """What has an order: a key of one command's topic."""
        return f"{self.id.partition('/')[0]}/{self.key}" if self.key is not None else None


@dataclass(slots=True)
class Account:
    """Counts by name, and what to look at when a promise is broken."""

    counts: dict[str, int] = field(default_factory=dict)
    broken: dict[str, list[str]] = field(default_factory=dict)

    def promise(self, name: str, offenders: Sequence[str]) -> None:
        """Nobody may be among the offenders."""
        self.counts[name] = len(offenders)
        if offenders:
            self.broken[name] = list(offenders[:5])

    def add(self, name: str, other: "Account") -> None:
        """Another account's counts and broken promises, under a name of its own."""
        self.counts |= {f"{name}: {what}": count for what, count in other.counts.items()}
        self.broken |= {f"{name}: {what}": found for what, found in other.broken.items()}

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.broken

    def table(self) -> str:
        """The counts, one a line, and the offenders."""
        lines = [f"{name:<42} {count:>8}" for name, count in self.counts.items()]
        return "\n".join([*lines, *(f"BROKEN {name}: {', '.join(found)}" for name, found in self.broken.items())])


def of_commands(asked: Sequence[Asked], executed: Sequence[str], results: Iterable[Mapping[str, Any]]) -> Account:
    """`executed` are the commands' ids in the order in which the simulator executed them; `results` the values."""
    account = Account()
    times = Counter(executed)
    finals: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    duplicates = Counter[str]()
    for result in results:
        if result["outcome"] == "duplicate":
            duplicates[result["command"]["id"]] += 1
        elif result["last"]:
            finals[result["command"]["id"]].append(result)
    outcomes = Counter(found[0]["outcome"] for found in finals.values())
    account.counts |= {"commands": len(asked), "sent again by the caller": sum(one.repeats - 1 for one in asked)}
    account.counts |= {f"outcome {name}": count for name, count in sorted(outcomes.items())}
    account.counts["reconciled"] = sum(found[0]["reconciled"] for found in finals.values())
    certain = [one.id for one in asked if not times[one.id] and _claims_success(finals.get(one.id, ()))]
    account.promise("lost (neither executed nor said)", [one.id for one in asked if one.id not in finals])
    account.promise("said to be executed, but was not", certain)
    account.promise("executed twice", [one.id for one in asked if times[one.id] > 1])
    account.promise("executed, but said to be unknown", _missed(finals, times))
    account.promise("out of order within a key", _disordered(asked, executed))
    account.promise("results doubled", [name for name, found in finals.items() if len(found) > 1])
    account.promise("repeats not answered", [one.id for one in asked if duplicates[one.id] != one.repeats - 1])
    account.promise("one SID in two results", _shared(finals))
    return account


def _claims_success(found: Sequence[Mapping[str, Any]]) -> bool:
    return bool(found) and found[0]["outcome"] == "succeeded"


def _missed(finals: Mapping[str, Sequence[Mapping[str, Any]]], times: Mapping[str, int]) -> list[str]:
    return [name for name, found in finals.items() if found[0]["outcome"] == "unknown" and times[name]]


def _disordered(asked: Sequence[Asked], executed: Sequence[str]) -> list[str]:
    place = {one.id: (one.lane, one.number) for one in asked}
    last = Counter[str]()
    found = []
    for name in dict.fromkeys(executed):
        lane, number = place.get(name, (None, 0))
        if lane is not None:
            if number < last[lane]:
                found.append(name)
            last[lane] = max(number, last[lane])
    return found


def _shared(finals: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    owners: dict[str, set[str]] = defaultdict(set)
    for name, found in finals.items():
        for bundle in found[0]["bundles"]:
            owners[bundle["sid"]].add(name)
    return [f"{sid}: {sorted(names)}" for sid, names in owners.items() if len(names) > 1]


def of_events(made: Mapping[str, float], late: Iterable[str], events: Sequence[tuple[int, str, str]]) -> Account:
    """`made` gives each SID's time; `late` became visible later than made; `events` are partition, SID and time."""
    account = Account({"records": len(made), "events": len(events)})
    times = Counter(sid for _, sid, _ in events)
    account.promise("lost", [f"{sid} of {made[sid]:.0f}" for sid in made if not times[sid]])
    account.promise("published twice", [sid for sid, count in times.items() if count > 1])
    account.promise("invented", [sid for sid in times if sid not in made])
    account.promise("out of order within a partition", _shuffled(events, set(late)))
    return account


def _shuffled(events: Sequence[tuple[int, str, str]], late: set[str]) -> list[str]:
    last: dict[int, str] = {}
    found = []
    for partition, sid, time in events:
        if sid in late:
            continue
        if time < last.get(partition, ""):
            found.append(sid)
        last[partition] = max(time, last.get(partition, ""))
    return found


def of_callbacks(sent: Mapping[str, bool], stored: Sequence[str]) -> Account:
    """`sent` says of each callback's id whether it was answered with a 2xx; `stored` are the ids in Kafka."""
    account = Account({"callbacks": len(sent), "answered with a 2xx": sum(sent.values()), "stored": len(stored)})
    present = set(stored)
    account.counts["stored more than once"] = len(stored) - len(present)
    account.promise("lost after a 2xx", [name for name, answered in sent.items() if answered and name not in present])
    account.promise("invented", sorted(present - sent.keys()))
    return account
