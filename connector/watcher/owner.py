"""The watches whose cursors live in one partition of the cursors topic, while this process holds it."""

import asyncio
from collections.abc import Callable, Sequence

from connector.errors import InvalidRecord
from connector.kafka.ownership import Assignment
from connector.settings import KafkaSettings, WatchSettings
from connector.state import control
from connector.telemetry.logs import logger
from connector.twilio.client import TwilioClient
from connector.watcher import cursor as cursors
from connector.watcher import watcher as engine
from connector.watcher.cursor import Commit, Cursor
from connector.watcher.listener import Listener
from connector.watcher.parents import source_of
from connector.watcher.records import Publication
from connector.watcher.watcher import Watcher

log = logger(__name__)

Build = Callable[[str, Commit], Watcher]


class WatchOwners:
    """Serves partitions of the cursors. `build(name, commit)` makes a watcher; `running` are those here."""

    def __init__(self, kafka: KafkaSettings, *, watches: Sequence[str], build: Build) -> None:
        self.running: dict[str, Watcher] = {}
        self._kafka = kafka
        self._watches = tuple(watches)
        self._build = build
        self._listener = Listener(kafka, self._hand_over)

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
        cursors_read = {name: _read(held.get(name)) for name in mine}
        end = await control.end(self._kafka)
        begins = {name: await self._begin(name, *cursors_read[name], end) for name in mine}
        writing = asyncio.Lock()
        tasks: list[asyncio.Task[None]] = []
        own: dict[str, Watcher] = {}
        try:
            for name, (cursor, unreadable) in cursors_read.items():
                commit = engine.commit_to(assignment.transactions, self._kafka, name, assignment.partition, writing)
                watcher = own[name] = self.running[name] = self._build(name, commit)
                log.info("watch opened", watch=name, partition=assignment.partition, first_start=name not in held)
                running = watcher.run(cursor, assignment.leaving, unreadable=unreadable)
                tasks.append(asyncio.create_task(running, name=f"watch-{name}"))
            self._listener.add(begins)
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            # A successor in this process may have taken their places.
            gone = [name for name, watcher in own.items() if self.running.get(name) is watcher]
            for name in gone:
                del self.running[name]
            await self._listener.remove(gone)

    async def _begin(self, name: str, cursor: Cursor | None, unreadable: InvalidRecord | None, end: int) -> int:
        """The first request that the watch has not carried out; all of them when the topic was created anew since."""
        if unreadable is not None:
            return await control.after_answers(self._kafka, name)
        return cursor.control if cursor is not None and cursor.control <= end else 0

    def _hand_over(self, offset: int, request: control.Request) -> None:
        watcher = self.running.get(request.watch)
        if watcher is not None:
            watcher.ask(offset, request)


def _read(held: bytes | None) -> tuple[Cursor | None, InvalidRecord | None]:
    """The cursor, or why it cannot be read; neither before a first start."""
    try:
        return (Cursor.from_json(held), None) if held is not None else (None, None)
    except InvalidRecord as error:
        return None, error


def watcher_of(
    watch: WatchSettings,
    client: TwilioClient,
    kafka: KafkaSettings,
    commit: Commit,
    *,
    parent: WatchSettings | None = None,
) -> Watcher:
    """The engine of a watch, or of a back-fill."""
    row = watch.row
    publication = Publication(
        name=watch.name,
        watch=row,
        account_sid=client.account_sid,
        prefix=kafka.topic_prefix,
        envelope=kafka.envelope,
        changes=watch.emit == "changes",
    )
    return Watcher(watch, publication, source_of(watch, client, parent), commit)
