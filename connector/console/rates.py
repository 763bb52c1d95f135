"""Counts by second over the last minutes, for small plots. Pure, and of constant size."""

from collections.abc import Sequence

SECONDS = 300
"""How far back the plots go."""
BAR_SECONDS = 5


class Rates:
    """How many records there were, by flow and second of their timestamps."""

    def __init__(self, flows: Sequence[str]) -> None:
        self.flows = tuple(flows)
        self._counts: dict[str, list[int]] = {flow: [0] * SECONDS for flow in flows}
        self._seconds: list[int] = [0] * SECONDS

    def count(self, flow: str, second: int, *, now: int, records: int = 1) -> None:
        """Count records of a second (Unix time); what is older than the plots or in the future is left out."""
        if now - SECONDS < second <= now + 1:
            self._slot(second)
            self._counts[flow][second % SECONDS] += records

    def bars(self, flow: str, *, now: int) -> list[int]:
        """Counts of every five seconds, oldest first; the last one is of seconds that are over."""
        counts = [self._at(flow, second) for second in range(now - SECONDS + 1, now + 1)]
        return [sum(counts[start : start + BAR_SECONDS]) for start in range(0, SECONDS, BAR_SECONDS)]

    def per_second(self, flow: str, *, now: int, seconds: int = 10) -> float:
        """The rate over the last so many seconds that are over."""
        return sum(self._at(flow, second) for second in range(now - seconds, now)) / seconds

    def _at(self, flow: str, second: int) -> int:
        return self._counts[flow][second % SECONDS] if self._seconds[second % SECONDS] == second else 0

    def _slot(self, second: int) -> None:
        place = second % SECONDS
        if self._seconds[place] < second:
            self._seconds[place] = second
            for counts in self._counts.values():
                counts[place] = 0
