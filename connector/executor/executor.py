"""The executor: an owner for each partition number of the command topics that the group assigns to this process."""

from datetime import timedelta
from functools import partial

from connector.executor.command import FORWARDED
from connector.executor.context import ExecutorContext
from connector.executor.execution import Execution
from connector.executor.owner import Owner, Waiting
from connector.kafka.ownership import Assignment

# Commands that are read and not finished, of the whole process: the more, the longer the others of a partition go on
# while one key has much to do. Each topic has its share.
HELD_BYTES = 48 * 1024 * 1024
IN_FLIGHT_BYTES = 4096


class Executor:
    """Executes the commands of `topics`: those that callers write to, and the one through which they are sent on."""

    def __init__(self, process: ExecutorContext, *, max_in_flight: int, dedupe_window: timedelta) -> None:
        self.topics = {**process.topics, f"{process.prefix}.{FORWARDED}": FORWARDED}
        self._process = process
        # What is in flight must be held in any case.
        self._hold = max(HELD_BYTES // len(self.topics), max_in_flight * IN_FLIGHT_BYTES) // process.kafka.partitions
        self._window = dedupe_window

    async def serve(self, assignment: Assignment) -> None:
        """Own one partition number until the group takes it away. Raises what ended it otherwise."""
        owner = Owner(
            assignment,
            kafka=self._process.kafka,
            topics=self.topics,
            work=self._work,
            hold=self._hold,
            dedupe_window=self._window,
            present=self._process.now,
            learn_time=self._process.learn_time,
            behind=partial(self._process.note_behind, assignment.partition),
        )
        try:
            await owner.serve()
        finally:
            for command in self.topics.values():
                self._process.note_behind(assignment.partition, command, 0)

    async def _work(self, owner: Owner, command: Waiting) -> None:
        await Execution(owner, command, self._process).run()
