"""Rows kept in sorted indexes, so that a page of a list of 100,000 rows costs what the page costs."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

Rank = tuple[int, int, str]  # second of the sort key, order within the second, SID
FIRST_TIE = -1


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """What every listed resource has; times are epoch seconds (Twilio's resolution)."""

    INDEXED: ClassVar[tuple[str, ...]] = ()  # attributes with an index of their own, for selective filters

    sid: str
    account_sid: str
    created: int
    updated: int
    visible_at: float = 0.0  # hidden in lists before this time
    tie: int = 0
    rank: Rank = (0, 0, "")  # where the indexes hold it
    indexed: tuple[tuple[str, object], ...] = ()
    extra: dict[str, Any] | None = None  # JSON fields that replace or add to what is written: the unexpected

    @property
    def second(self) -> int:
        """The second that lists are sorted by."""
        return self.created


R = TypeVar("R", bound=Row)


class Collection(Generic[R]):
    """The rows of one resource of one account, newest first, with tombstones for the tokens of deleted rows."""

    def __init__(self, row_type: type[R]) -> None:
        self.indexed = row_type.INDEXED
        self.rows: dict[str, R] = {}
        self.tombstones: dict[str, Rank] = {}
        self._all: list[Rank] = []
        self._by: dict[tuple[str, object], list[Rank]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: R) -> None:
        """Insert one row."""
        self.rows[row.sid] = row
        self._index(row)

    def add_many(self, rows: Iterable[R]) -> None:
        """Insert many rows at the cost of one sort."""
        touched = {id(self._all): self._all}
        for row in rows:
            self.rows[row.sid] = row
            _place(row)
            for ranks in self._lists(row):
                ranks.append(row.rank)
                touched[id(ranks)] = ranks
        for ranks in touched.values():
            ranks.sort()

    def touch(self, row: R) -> None:
        """Move a row whose sort key or indexed attributes changed."""
        if self.rows.get(row.sid) is row:
            self._unindex(row)
            self._index(row)

    def discard(self, row: R) -> None:
        """Delete a row without a trace but the position of its token."""
        if self.rows.pop(row.sid, None) is not None:
            self.tombstones[row.sid] = row.rank
            self._unindex(row)

    def where(self, attribute: str, value: object) -> list[R]:
        """Return all rows with that value of an indexed attribute, oldest first."""
        return [self.rows[rank[2]] for rank in self._by.get((attribute, value), ())]

    def first(self, attribute: str, value: object) -> R | None:
        """Return the oldest row with that value of an indexed attribute."""
        ranks = self._by.get((attribute, value))
        return self.rows[ranks[0][2]] if ranks else None

    def position(self, sid: str) -> Rank | None:
        """Where the row of a paging token stands or stood."""
        row = self.rows.get(sid)
        return row.rank if row is not None else self.tombstones.get(sid)

    def newest_first(
        self, *, low: int | None, high: int | None, below: Rank | None, wanted: tuple[tuple[str, object], ...] = ()
    ) -> Iterator[R]:
        """Walk down from `below`, within low <= second < high, through the most selective index of `wanted`."""
        ranks = self._narrowest(wanted)
        start, end = _bounds(ranks, low, high)
        end = end if below is None else min(end, bisect_left(ranks, below))
        for position in range(end - 1, start - 1, -1):
            yield self.rows[ranks[position][2]]

    def oldest_first(
        self, *, low: int | None, high: int | None, above: Rank, wanted: tuple[tuple[str, object], ...] = ()
    ) -> Iterator[R]:
        """Walk up from above `above`: what a previous page shows."""
        ranks = self._narrowest(wanted)
        start, end = _bounds(ranks, low, high)
        start = max(start, bisect_left(ranks, (above[0], above[1], above[2] + "~")))
        for position in range(start, end):
            yield self.rows[ranks[position][2]]

    def _narrowest(self, wanted: tuple[tuple[str, object], ...]) -> list[Rank]:
        return min((self._by.get(pair, []) for pair in wanted), key=len, default=self._all)

    def _lists(self, row: R) -> Iterator[list[Rank]]:
        yield self._all
        for pair in row.indexed:
            yield self._by.setdefault(pair, [])

    def _index(self, row: R) -> None:
        _place(row)
        for ranks in self._lists(row):
            insort(ranks, row.rank)

    def _unindex(self, row: R) -> None:
        for ranks in self._lists(row):
            position = bisect_left(ranks, row.rank)
            if position < len(ranks) and ranks[position] == row.rank:
                del ranks[position]


def _place(row: Row) -> None:
    row.rank = (row.second, row.tie, row.sid)
    row.indexed = tuple((name, getattr(row, name)) for name in row.INDEXED)


def _bounds(ranks: list[Rank], low: int | None, high: int | None) -> tuple[int, int]:
    start = 0 if low is None else bisect_left(ranks, (low, FIRST_TIE, ""))
    end = len(ranks) if high is None else bisect_left(ranks, (high, FIRST_TIE, ""))
    return start, end
