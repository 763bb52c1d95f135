"""Watches: each published event against the rows that the simulator's lists have shown. Pure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tests.guarantees.accounting.account import Account, repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a list. `versions` are the states that it went through; `is_late`: it was shown later than made.

    One that `is_unfit` is no bundle: it becomes a dead letter.
    """

    sid: str
    created: float
    versions: tuple[str, ...] = ()
    is_late: bool = False
    is_unfit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event of a watch, in the order of its partition; `version` is the state that its data show."""

    partition: int
    sid: str
    time: str
    id: str
    version: str = ""
    kind: Literal["created", "updated"] = "created"


def of_events(
    rows: Mapping[str, Row], events: Sequence[Event], *, has_changes: bool = False, letters: Sequence[str] = ()
) -> Account:
    """Every promise about a watch; `letters` are the SIDs of the rows that were dead-lettered."""
    created = [event for event in events if event.kind == "created"]
    updated = [event for event in events if event.kind == "updated"]
    account = Account({"rows": len(rows), "events": len(created), "updates": len(updated), "letters": len(letters)})
    present, dead = {event.sid for event in created}, Counter(letters)
    fit = {sid for sid, row in rows.items() if not row.is_unfit}
    account.promise("lost", [f"{sid} of {rows[sid].created:.0f}" for sid in rows if sid in fit - present])
    account.promise("published twice", repeated(event.sid for event in created))
    account.promise("invented", sorted({event.sid for event in events} - fit))
    account.promise("under another id than its SID", [event.sid for event in created if event.id != event.sid])
    account.promise("out of order within a partition", _disordered(created, rows))
    account.promise("unfit without a dead letter", sorted(rows.keys() - fit - dead.keys()))
    account.promise("dead-lettered twice", [sid for sid, count in dead.items() if count > 1])
    account.promise("fit, but dead-lettered", sorted(dead.keys() - (rows.keys() - fit)))
    _versions(account, rows, events, has_changes=has_changes)
    return account


def _disordered(created: Sequence[Event], rows: Mapping[str, Row]) -> list[str]:
    """Events that are older than one before them; one that was shown late comes when it is seen."""
    last: dict[int, str] = {}
    found = []
    for event in created:
        row = rows.get(event.sid)
        if row is None or row.is_late:
            continue
        if event.time < last.get(event.partition, ""):
            found.append(event.sid)
        last[event.partition] = max(event.time, last.get(event.partition, ""))
    return found


def _versions(account: Account, rows: Mapping[str, Row], events: Sequence[Event], *, has_changes: bool) -> None:
    """Each version that was published: one that the row had, once, after those before it, and the last one too.

    A state between two polls is seen by none, so that only the last is certain.
    """
    by_sid = defaultdict[str, list[Event]](list)
    for event in events:
        by_sid[event.sid].append(event)
    shown = [(rows[sid], some) for sid, some in by_sid.items() if sid in rows and rows[sid].versions]
    updates = [event for event in events if event.kind == "updated"]
    account.promise("updates that were not asked for", [] if has_changes else [event.sid for event in updates])
    account.promise("updates before their row", [sid for sid, some in by_sid.items() if some[0].kind == "updated"])
    account.promise(
        "last versions missing",
        [row.sid for row, some in shown if has_changes and row.versions[-1] not in {one.version for one in some}],
    )
    account.promise(
        "versions invented", [event.sid for row, some in shown for event in some if event.version not in row.versions]
    )
    account.promise(
        "versions published twice",
        repeated(f"{one.sid}@{one.version}" for row, some in shown for one in _steps(some) if one.version),
    )
    account.promise("ids of updates doubled", repeated(event.id for event in updates))
    account.promise("versions out of order", [row.sid for row, some in shown if _goes_back(row, some)])


def _steps(events: Sequence[Event]) -> list[Event]:
    """The created event and the updates: a second created event is counted elsewhere."""
    return [event for number, event in enumerate(events) if event.kind == "updated" or number == 0]


def _goes_back(row: Row, events: Sequence[Event]) -> bool:
    numbers = [row.versions.index(event.version) for event in _steps(events) if event.version in row.versions]
    return numbers != sorted(numbers)
