"""The watches whose cursors live in one partition of the cursors topic, while this process holds it."""

import asyncio
from collections.abc import Callable, Sequence

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import cursors
from connector.kafka.ownership import Seat
from connector.settings import KafkaSettings
from connector.watcher.cursor import Cursor
from connector.watcher.watcher import Commit, Watcher

log = telemetry.logger(__name__)

Build = Callable[[str, Commit], Watcher]


class WatchOwners:
    """Serves partitions of the cursors. `build(name, commit)` makes a watcher; `running` are those here."""

    def __init__(self, kafka: KafkaSettings, *, watches: Sequence[str], build: Build) -> None:
        self.running: dict[str, Watcher] = {}
        self._kafka = kafka
        self._watches = tuple(watches)
        self._build = build

    async def serve(self, seat: Seat) -> None:
        """Run the watches of this partition until it is left. Raises what ended it otherwise.

        The producer is open, so the predecessor is fenced: only now is the cursor that is read the last one.
        """
        mine = [name for name in self._watches if cursors.partition_of(name, self._kafka.partitions) == seat.partition]
        if not mine:
            await seat.leaving.wait()
            return
        held = await cursors.restore(self._kafka, seat.partition)
        writing = asyncio.Lock()
        tasks: list[asyncio.Task[None]] = []
        try:
            for name in mine:
                watcher = self._build(name, self._commit(seat, name, writing))
                cursor = Cursor.from_json(held[name]) if name in held else None
                log.info("watch opened", watch=name, partition=seat.partition, first_start=cursor is None)
                tasks.append(asyncio.create_task(watcher.run(cursor, seat.leaving), name=f"watch-{name}"))
                self.running[name] = watcher
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for name in mine:
                self.running.pop(name, None)

    def _commit(self, seat: Seat, name: str, writing: asyncio.Lock) -> Commit:
        async def commit(records: Sequence[Record], cursor: Cursor) -> None:
            last = cursors.record(self._kafka.topic_prefix, name, cursor.to_json(), partition=seat.partition)
            async with writing:
                await seat.transactions.write([*records, last])
                if not seat.transactions.usable:
                    raise Unavailable("A commit was slow; the producer is replaced.")

        return commit
