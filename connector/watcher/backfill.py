"""A back-fill: publish what was created in a stretch of the past, in the foreground, with a cursor of its own.

The events have the ids of the watch's, so that consumers recognise what they have already. The cursor is in the topic
of cursors, written with each step: a back-fill that was interrupted goes on where it stood.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connector.errors import BadCredentials, ConfigurationError, InvalidRecord, Unavailable
from connector.events import Record, now, timestamp
from connector.kafka import topics
from connector.kafka.clients import administration
from connector.kafka.transactions import Transactions
from connector.resources import WATCHES
from connector.settings import Settings, WatchSettings
from connector.twilio.client import TwilioClient
from connector.twilio.connecting import client_of, open_session
from connector.watcher import catch_up
from connector.watcher import cursor as cursors
from connector.watcher import watcher as engine
from connector.watcher.cursor import Cursor
from connector.watcher.owner import watcher_of
from connector.watcher.status import Stretch, brief
from connector.watcher.watcher import Watcher

AGAIN_SECONDS = 1.0
TRIES = 5
# Twilio's lists show what is younger than this late; it is the running watch's.
SETTLED = timedelta(minutes=10)


@dataclass(kw_only=True)
class Backfill:
    """One back-fill; `run` it. What it is doing can be read meanwhile."""

    settings: Settings
    stretch: Stretch
    limit: int = 1000
    published: int = 0
    is_resumed: bool = False
    cursor: Cursor | None = None
    _watcher: Watcher | None = field(default=None, repr=False)

    @property
    def failing(self) -> str | None:
        """Why Twilio cannot be asked at present."""
        return self._watcher.failing.why if self._watcher and self._watcher.failing else None

    @property
    def is_complete(self) -> bool:
        """Whether everything has been published."""
        return self.cursor is not None and self.cursor.catch_up is None

    @property
    def stands_at(self) -> datetime:
        """Everything before it has been published."""
        if self.cursor is None:
            return self.stretch.since
        present = self.cursor.catch_up
        if present is None or present.phase == "undated":
            return self.stretch.until
        return min(max(present.low, present.position[0] if present.position else present.low), self.stretch.until)

    async def run(self, stop: asyncio.Event, *, again: bool = False) -> None:
        """Publish until everything is, or `stop` is set; `again` starts over.

        Raises BadCredentials, Superseded when the same back-fill is started elsewhere, and Unavailable when Kafka stays
        away.
        """
        kafka, name = self.settings.kafka, self.stretch.connection
        if name not in self.settings.connections:
            raise ConfigurationError(f"{name!r} is no connection: there are {', '.join(self.settings.connections)}.")
        transactions = Transactions(kafka, f"{kafka.topic_prefix}-{self.stretch.name}")
        failures = 0
        try:
            while not stop.is_set() and not self.is_complete:
                try:
                    await self._attempt(transactions, stop, again=again and self.cursor is None)
                except Unavailable:
                    failures += 1
                    if failures >= TRIES:
                        raise
                    await asyncio.sleep(AGAIN_SECONDS * failures)
        finally:
            await transactions.close()

    async def _attempt(self, transactions: Transactions, stop: asyncio.Event, *, again: bool) -> None:
        """Fence a predecessor, read where it stood, and go on from there."""
        kafka = self.settings.kafka
        if self.cursor is None:
            await self._check_topic()
        await transactions.open()
        name = self.stretch.name
        partition = cursors.partition_of(name, kafka.partitions)
        held = (await cursors.restore(kafka, partition)).get(name)
        self.is_resumed = held is not None and not again

        write = engine.commit_to(transactions, kafka, name, partition, asyncio.Lock())

        async def commit(records: Sequence[Record], cursor: Cursor | None) -> None:
            await write(records, cursor)
            self.cursor = cursor
            self.published += len(records)

        begun = self._held(held) if held is not None and not again else self._first()
        if begun.catch_up is None:
            self.cursor = begun
            return
        await self._catch_up(begun, commit, stop)

    async def _check_topic(self) -> None:
        """Raise ConfigurationError when the topic is missing, as that of a list that nothing watches is."""
        kafka, row = self.settings.kafka, WATCHES[self.stretch.resource]
        name = f"{kafka.topic_prefix}.{row.topic}"
        wanted = [topic for topic in topics.wanted(kafka, events=[row.topic], commands=()) if topic.name == name]
        async with administration(kafka) as admin:
            is_missing = any(difference.missing for difference in await topics.differences(admin, wanted))
        if is_missing:
            is_watched = row.is_standard or any(watch.row is row for watch in self.settings.watches)
            watching = "" if is_watched else f"add `- resource: {row.resource}` to watches, and "
            raise ConfigurationError(
                f"Topic {name} does not exist: {watching}create it with `twilio-kafka topics apply`."
            )

    @staticmethod
    def _held(held: bytes) -> Cursor:
        try:
            return Cursor.from_json(held)
        except InvalidRecord as error:
            raise ConfigurationError(f"{error} Update the connector, or start over with --again.") from error

    def _first(self) -> Cursor:
        row, present = WATCHES[self.stretch.resource], now().replace(microsecond=0)
        if row.retention and self.stretch.until <= catch_up.earliest(row, present):
            days = row.retention.days
            raise ConfigurationError(f"Twilio keeps {row.resource} for {days} days only: give a later --to.")
        return catch_up.backfill(row, since=self.stretch.since, until=self.stretch.until, now=present)

    async def _catch_up(self, begun: Cursor, commit: Any, stop: asyncio.Event) -> None:
        name = self.stretch.connection
        watch = WatchSettings(resource=self.stretch.resource, name=self.stretch.name, connection=name, limit=self.limit)
        async with open_session() as session:
            client = client_of(name, self.settings.connections[name], session)
            await client.learn_time()
            self._check_end(client)
            self._watcher = watcher_of(watch, client, self.settings.kafka, commit)
            watching = asyncio.create_task(self._watch(client), name="backfill-credentials")
            running = asyncio.create_task(self._watcher.catch_up(begun, stop), name="backfill")
            try:
                await asyncio.wait({watching, running}, return_when=asyncio.FIRST_COMPLETED)
                await (watching if watching.done() else running)
                self._check_end(client)
            finally:
                for task in (watching, running):
                    task.cancel()
                await asyncio.gather(watching, running, return_exceptions=True)
        if self._watcher.cursor is not None:
            await commit((), self._watcher.cursor)

    async def _watch(self, client: TwilioClient) -> None:
        """A watch would wait for better credentials; the operator at the terminal must be told."""
        while not client.refused:
            await asyncio.sleep(0.2)
            if self._watcher is not None and self._watcher.cursor is not None:
                self.cursor = self._watcher.cursor
        name = self.stretch.connection
        raise BadCredentials(f"Twilio refuses the credentials of connection {name} (401).", status=401)

    def _check_end(self, client: TwilioClient) -> None:
        """Raise ConfigurationError when the end has not come yet by Twilio's clock: later rows would be left out."""
        present = client.clock.now()
        if client.clock.is_known and self.stretch.until > present:
            raise ConfigurationError(
                f"The back-fill ends at {timestamp(self.stretch.until)}, but by Twilio's clock it is "
                f"{timestamp(present.replace(microsecond=0))}: "
                "set this machine's clock (NTP), and start over with --again."
            )


def latest_end(resource: str) -> datetime:
    """The latest time that a back-fill of these may end at."""
    return (now() - max(SETTLED, WATCHES[resource].lateness)).replace(microsecond=0)


async def unfinished(
    settings: Settings, resource: str, connection: str, *, since: datetime | None, until: datetime | None
) -> Stretch | None:
    """A back-fill that was interrupted, with this beginning and end where they are given. Raises Unavailable."""
    held = await cursors.latest(settings.kafka)
    for name in sorted(held, reverse=True):
        found = Stretch.of(name)
        if found is None or (found.resource, found.connection) != (resource, connection):
            continue
        cursor = brief(held[name]).cursor
        is_open = cursor is not None and cursor.catch_up is not None
        if is_open and since in (None, found.since) and until in (None, found.until):
            return found
    return None
