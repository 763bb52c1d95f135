"""The oldest rows that a walk finds: bounded memory, without losing the order in which rows are published. Pure."""

from connector.watcher.advance import Found
from connector.watcher.cursor import Position


class Oldest:
    """The `capacity` oldest of the rows that are added, each SID once, in its latest version.

    `is_cut`: newer rows have been dropped.
    """

    def __init__(self, capacity: int) -> None:
        self.is_cut = False
        self._capacity = capacity
        self._rows: dict[str, Found] = {}
        self._ceiling: Position | None = None

    def add(self, row: Found) -> None:
        """Take a row, unless older ones fill the capacity."""
        if self._ceiling is not None and (row.created, row.sid) > self._ceiling:
            return
        self._rows[row.sid] = row
        if len(self._rows) >= 2 * self._capacity:
            self._cut()

    def ordered(self) -> list[Found]:
        """What has been kept, oldest first."""
        if len(self._rows) > self._capacity:
            self._cut()
        return sorted(self._rows.values(), key=position)

    @property
    def is_over(self) -> bool:
        """Whether there are more rows than are kept."""
        return self.is_cut or len(self._rows) > self._capacity

    def _cut(self) -> None:
        kept = sorted(self._rows.values(), key=position)[: self._capacity]
        self._rows = {row.sid: row for row in kept}
        self._ceiling = position(kept[-1])
        self.is_cut = True


def position(row: Found) -> Position:
    """Where the row stands in the order of publishing."""
    return row.created, row.sid
