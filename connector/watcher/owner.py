"""The watches whose cursors live in one partition of the cursors topic, while this process holds it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import control, cursors
from connector.kafka.ownership import Assignment
from connector.settings import KafkaSettings
from connector.watcher.cursor import Cursor
from connector.watcher.watcher import Commit, Watcher

log = telemetry.logger(__name__)

Build = Callable[[str, Commit], Watcher]

LISTEN_AGAIN_SECONDS = 2.0


class WatchOwners:
    """Serves partitions of the cursors. `build(name, commit)` makes a watcher; `running` are those here."""

    def __init__(self, kafka: KafkaSettings, *, watches: Sequence[str], build: Build) -> None:
        self.running: dict[str, Watcher] = {}
        self._kafka = kafka
        self._watches = tuple(watches)
        self._build = build

    async def serve(self, assignment: Assignment) -> None:
        """Run the watches of this partition until it is left. Raises what ended it otherwise.

        The producer is open, so the predecessor is fenced: only now is the cursor that is read the last one.
        """
        mine = [
            name for name in self._watches if cursors.partition_of(name, self._kafka.partitions) == assignment.partition
        ]
        if not mine:
            await assignment.leaving.wait()
            return
        held = await cursors.restore(self._kafka, assignment.partition)
        if not held.keys() >= set(mine):
            # Partitions were added since: the cursor is where it was before.
            held = await cursors.latest(self._kafka) | held
        writing = asyncio.Lock()
        tasks: list[asyncio.Task[None]] = []
        begins: dict[str, int] = {}
        end = await control.end(self._kafka)
        listening = asyncio.create_task(self._listen(begins), name=f"control-{assignment.partition}")
        try:
            for name in mine:
                watcher = self._build(name, self._commit(assignment, name, writing))
                cursor = Cursor.from_json(held[name]) if name in held else None
                log.info("watch opened", watch=name, partition=assignment.partition, first_start=cursor is None)
                tasks.append(asyncio.create_task(watcher.run(cursor, assignment.leaving), name=f"watch-{name}"))
                self.running[name] = watcher
                begins[name] = _begin(cursor, end)
            await asyncio.gather(*tasks)
        finally:
            for task in (listening, *tasks):
                task.cancel()
            await asyncio.gather(listening, *tasks, return_exceptions=True)
            for name in mine:
                self.running.pop(name, None)

    async def _listen(self, begins: Mapping[str, int]) -> None:
        """Hand each watch the requests that it has not carried out yet, and those that come."""
        position = min(begins.values(), default=0)
        while True:
            try:
                async for offset, entry in control.follow(self._kafka, position):
                    position = offset + 1
                    if isinstance(entry, control.Request):
                        self._hand_over(offset, entry, begins)
            except Unavailable as error:
                log.warning("control topic cannot be read", reason=str(error))
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)

    def _hand_over(self, offset: int, request: control.Request, begins: Mapping[str, int]) -> None:
        watcher = self.running.get(request.watch)
        if watcher is not None and offset >= begins.get(request.watch, offset + 1):
            watcher.ask(offset, request)

    def _commit(self, assignment: Assignment, name: str, writing: asyncio.Lock) -> Commit:
        async def commit(records: Sequence[Record], cursor: Cursor) -> None:
            last = cursors.record(self._kafka.topic_prefix, name, cursor.to_json(), partition=assignment.partition)
            async with writing:
                await assignment.transactions.write([*records, last])
                if not assignment.transactions.usable:
                    raise Unavailable("A commit was slow; the producer is replaced.")

        return commit


def _begin(cursor: Cursor | None, end: int) -> int:
    """The first request that the watch has not carried out; all of them when the topic was created anew since."""
    return cursor.control if cursor is not None and cursor.control <= end else 0
