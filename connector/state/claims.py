"""What commands of all partitions have claimed or are attempting: who reconciles must not take another's resource."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer

from connector.errors import Unavailable
from connector.events import Position, boot_seconds
from connector.kafka import clients, failures, reading
from connector.kafka.reading import Ends, Start
from connector.settings import KafkaSettings
from connector.state import journal

READ_SECONDS = 30.0
# Attempts that began a little earlier may stand for the same thing.
MARGIN = timedelta(minutes=1)
LATEST = 2_000


class Seen(NamedTuple):
    """An open attempt, and when it was first seen here, by the clock never set."""

    entry: journal.Entry
    seen: float


@dataclass
class View:
    """`owners` says by SID whose it is; `attempts` are those that are open."""

    owners: dict[str, Position] = field(default_factory=dict)
    attempts: dict[Position, Seen] = field(default_factory=dict)

    def note(self, entry: journal.Entry, partition: int) -> None:
        """Take one entry in, in the order of its partition."""
        position = Position(entry.topic, partition, entry.offset)
        if entry.sid:
            self.owners[entry.sid] = position
        if entry.state == "attempting":
            self.attempts[position] = Seen(entry, boot_seconds())
        else:
            self.attempts.pop(position, None)

    def taken(self, me: Position) -> set[str]:
        """The SIDs that other commands have claimed."""
        return {sid for sid, position in self.owners.items() if position != me}

    def others(self, me: Position, alike: str) -> dict[Position, Seen]:
        """The open attempts of other commands that look alike."""
        return {
            position: attempt
            for position, attempt in self.attempts.items()
            if position != me and attempt.entry.alike == alike
        }


class Claims:
    """Follows the journals of all partitions, as long as an owner reconciles."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._consumer: AIOKafkaConsumer | None = None
        self._since: datetime | None = None
        self._view = View()
        self._users = 0

    @asynccontextmanager
    async def used(self) -> AsyncIterator[None]:
        """Keep the connection for as long as an owner is inside."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                await self._close()

    async def view(self, since: datetime) -> View:
        """What is committed now, from this time on. Raises Unavailable."""
        async with self._lock:
            try:
                with failures.reading("The journals cannot be read"):
                    async with asyncio.timeout(READ_SECONDS):
                        consumer = await self._positioned(since - MARGIN)
                        await self._catch_up(consumer)
            except Unavailable:
                await self._close()
                raise
        return self._view

    async def _positioned(self, since: datetime) -> AIOKafkaConsumer:
        if self._consumer is not None and self._since is not None and self._since <= since:
            return self._consumer
        await self._close()
        consumer = await self._stack.enter_async_context(clients.reading(self._kafka))
        self._uncommitted = await self._stack.enter_async_context(clients.reading(self._kafka, committed=False))
        ends = await reading.assign(consumer, {journal.topic_of(self._kafka): Start(since=since)})
        await self._rewind(consumer, ends)
        self._consumer, self._since, self._view = consumer, since, View()
        return consumer

    async def _rewind(self, consumer: AIOKafkaConsumer, ends: Ends) -> None:
        """Read the last entries whatever their times say: each writer's own clock has timed them."""
        firsts: Ends = await consumer.beginning_offsets(list(ends))
        for partition, end in ends.items():
            latest = max(firsts[partition], end - LATEST)
            if await consumer.position(partition) > latest:
                consumer.seek(partition, latest)

    async def _catch_up(self, consumer: AIOKafkaConsumer) -> None:
        """Read to the end, open transactions included: one may be committed already without being visible.

        That of an owner that is gone is ended by its successor, or by the broker when its time is over.
        """
        ends: Ends = await self._uncommitted.end_offsets(list(consumer.assignment()))
        while await reading.unread(consumer, ends):
            for partition, batch in (await reading.fetch(consumer)).items():
                for entry, _ in journal.decoded(batch):
                    self._view.note(entry, partition.partition)

    async def _close(self) -> None:
        self._consumer = None
        await self._stack.aclose()
