"""The oldest rows that a walk finds: bounded memory, without losing the order in which rows are published. Pure."""

from dataclasses import dataclass
from datetime import datetime

from connector.watcher.advance import Found
from connector.watcher.cursor import Position

SLACK = 1.25
"""How far beyond the capacity rows pile up before the newest are dropped, so that sorting is seldom."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many new rows, and how many bytes of them, a walk keeps in memory; one row always is."""

    rows: int = 20_000
    bytes: int = 24 * 1024 * 1024


class Oldest:
    """The oldest of the rows that are added, as many as fit, each SID once, in its latest version.

    `is_cut`: newer rows have been dropped.
    """

    def __init__(self, capacity: Capacity) -> None:
        self.is_cut = False
        self._capacity = capacity
        self._bytes = 0
        self._rows: dict[str, Found] = {}
        self._ceiling: Position | None = None

    def takes(self, created: datetime, sid: str) -> bool:
        """Whether there is room for such a row: not where older ones fill the capacity."""
        return self._ceiling is None or (created, sid) <= self._ceiling

    def add(self, row: Found) -> None:
        """Keep a row that is taken."""
        known = self._rows.get(row.sid)
        self._bytes += len(row.row.data) - (len(known.row.data) if known else 0)
        self._rows[row.sid] = row
        if self._is_beyond(SLACK):
            self._cut()

    def ordered(self) -> list[Found]:
        """What has been kept, oldest first."""
        if self._is_beyond(1.0):
            self._cut()
        return sorted(self._rows.values(), key=position)

    @property
    def is_over(self) -> bool:
        """Whether there are more rows than are kept."""
        return self.is_cut or self._is_beyond(1.0)

    def _is_beyond(self, factor: float) -> bool:
        too_many = len(self._rows) > factor * self._capacity.rows
        return len(self._rows) > 1 and (too_many or self._bytes > factor * self._capacity.bytes)

    def _cut(self) -> None:
        kept: list[Found] = []
        size = 0
        for row in sorted(self._rows.values(), key=position)[: self._capacity.rows]:
            size += len(row.row.data)
            if kept and size > self._capacity.bytes:
                size -= len(row.row.data)
                break
            kept.append(row)
        self._rows = {row.sid: row for row in kept}
        self._bytes = size
        self._ceiling = position(kept[-1])
        self.is_cut = True


def position(row: Found) -> Position:
    """Where the row stands in the order of publishing."""
    return row.created, row.sid
