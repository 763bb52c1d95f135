"""The executor: an owner for each partition number of the command topics that the group assigns to this process."""

from collections.abc import Mapping
from datetime import timedelta

from connector.executor.execution import Execution
from connector.executor.owner import HELD_PER_SLOT, Owner
from connector.executor.pending import Pending
from connector.executor.process import Process
from connector.kafka.ownership import Seat


class Executor:
    """Executes the commands of `topics` (topic -> command's name)."""

    def __init__(
        self, process: Process, *, topics: Mapping[str, str], max_in_flight: int, dedupe_window: timedelta
    ) -> None:
        self._process = process
        self._topics = topics
        self._hold = max(64, HELD_PER_SLOT * max_in_flight // process.kafka.partitions)
        self._window = dedupe_window

    async def serve(self, seat: Seat) -> None:
        """Own one partition number until the group takes it away. Raises what ended it otherwise."""
        owner = Owner(
            seat,
            kafka=self._process.kafka,
            topics=self._topics,
            work=self._work,
            hold=self._hold,
            dedupe_window=self._window,
        )
        await owner.serve()

    async def _work(self, owner: Owner, command: Pending) -> None:
        await Execution(owner, command, self._process).run()
