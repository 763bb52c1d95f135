"""Writes that need no transaction: acknowledged by every in-sync replica before the caller goes on."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import clients
from connector.kafka.batches import Batches
from connector.kafka.registry import stamped
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

ACK_SECONDS = 5.0
# How long unanswered writes are tolerated before the client is rebuilt; a broker that comes back is found sooner.
REBUILD_SECONDS = 30.0
RETRY_SECONDS = 0.5


class Publisher:
    """One idempotent producer for the whole process, rebuilt when it is of no more use."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._batches: Batches | None = None
        self._building: asyncio.Task[None] | None = None
        self._unanswered_since: float | None = None

    async def open(self) -> None:
        """Connect. Raises Unavailable when no broker answers."""
        producer = self._producer = await clients.start(clients.producer(self._kafka))
        self._batches = Batches(
            producer,
            seconds=ACK_SECONDS,
            acknowledged=self._note_answer,
            late=lambda: self._note_unanswered(producer),
            # A record refused by the broker poisons the producer for its partition (no epoch bump in the client).
            failed=lambda: self._rebuild(producer),
        )

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when every record is acknowledged.

        Raises Unavailable after five seconds, or at once while there is no connection (the records may still arrive),
        and Unwritable for a record that Kafka refuses for what it is.
        """
        if self._batches is None:
            raise Unavailable("Kafka is not connected.")
        await self._batches.publish(stamped(records))

    def _note_answer(self) -> None:
        if self._unanswered_since is not None:
            log.info("kafka acknowledges again")
            self._unanswered_since = None

    def _note_unanswered(self, producer: AIOKafkaProducer) -> None:
        now = time.monotonic()
        if self._unanswered_since is None:
            log.warning("kafka does not acknowledge", seconds=ACK_SECONDS)
            self._unanswered_since = now
        elif now - self._unanswered_since > REBUILD_SECONDS:
            self._rebuild(producer)
            self._unanswered_since = now

    def _rebuild(self, producer: AIOKafkaProducer) -> None:
        if producer is self._producer:
            self._disconnect()
            self._building = asyncio.create_task(self._replace(producer), name="publisher-rebuild")

    def _disconnect(self) -> None:
        batches, self._batches, self._producer = self._batches, None, None
        if batches is not None:
            batches.end(Unavailable("Kafka is not connected."))

    async def _replace(self, old: AIOKafkaProducer) -> None:
        await clients.end(old)
        while self._producer is None:
            try:
                await self.open()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """End the producer, after what was sent has been acknowledged where that is possible."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.wait({self._building})
        producer = self._producer
        if producer is not None:
            await clients.end(producer, timeout=ACK_SECONDS)
            self._disconnect()
