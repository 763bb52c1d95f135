"""Writes that need no transaction: acknowledged by every in-sync replica before the caller goes on."""

import asyncio
import time
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import clients
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)

ACK_SECONDS = 5.0
# How long unanswered writes are tolerated before the client is rebuilt; a broker that comes back is found sooner.
REBUILD_SECONDS = 30.0


class Publisher:
    """One idempotent producer for the whole process, rebuilt when it is of no more use."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._producer: AIOKafkaProducer | None = None
        self._building: asyncio.Task[None] | None = None
        self._unanswered_since: float | None = None

    async def open(self) -> None:
        """Connect. Raises Unavailable when no broker answers."""
        self._producer = await clients.start(clients.producer(self._kafka))

    async def publish(self, records: Sequence[Record]) -> None:
        """Return when every record is acknowledged.

        Raises Unavailable after five seconds, or at once while there is no connection. The records may still arrive.
        """
        producer = self._producer
        if producer is None:
            raise Unavailable("Kafka is not connected.")
        started = time.monotonic()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                sent = [
                    await producer.send(
                        record.topic, record.value, key=record.key, headers=record.headers, partition=record.partition
                    )
                    for record in records
                ]
                for future in sent:
                    await asyncio.shield(future)
        except TimeoutError as error:
            self._note_unanswered(producer)
            raise Unavailable(f"Kafka has not acknowledged within {ACK_SECONDS:.0f} s.") from error
        except KafkaError as error:
            # A record refused by the broker poisons the producer for its partition (no epoch bump in the client).
            self._rebuild(producer)
            raise Unavailable(f"Kafka refused a record: {error!r:.200}") from error
        telemetry.KAFKA_PRODUCE_SECONDS.observe(time.monotonic() - started)
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
        if producer is self._producer and (self._building is None or self._building.done()):
            self._producer = None
            self._building = asyncio.create_task(self._replace(producer), name="publisher-rebuild")

    async def _replace(self, old: AIOKafkaProducer) -> None:
        await clients.end(old)
        while self._producer is None:
            try:
                await self.open()
            except Unavailable:
                await asyncio.sleep(0.5)

    async def close(self) -> None:
        """End the producer, after what was sent has been acknowledged where that is possible."""
        if self._building is not None:
            self._building.cancel()
        if self._producer is not None:
            await clients.end(self._producer, timeout=ACK_SECONDS)
            self._producer = None
