"""The fenced transactional producer of one owner: all records of one write become visible together, or none.

Opening ends the predecessor of the same id: the broker refuses its later writes and ends its open transaction.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import RecordMetadata

from connector import telemetry
from connector.errors import Superseded, Unavailable
from connector.events import Record
from connector.kafka import clients
from connector.settings import KafkaSettings

WRITE_SECONDS = 15.0
# A slow commit may have been repeated on the wire, and the client's protocol has no epoch per transaction: a late copy
# could end the next transaction. The producer is given up instead.
SLOW_COMMIT_SECONDS = 2.0
# Large records in memory at a time.
OUTSTANDING = 4


class Transactions:
    """Writes of one owner. Any failure, and any slow commit, ends it: open another and read the state again."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str, **options: Any) -> None:
        self._kafka = kafka
        self._options = options
        self.transactional_id = transactional_id
        self._producer: AIOKafkaProducer | None = None
        self.usable = False

    async def open(self) -> None:
        """Fence the predecessor. Raises Unavailable when the broker does not answer."""
        self._producer = await clients.start(
            clients.producer(self._kafka, transactional_id=self.transactional_id, **self._options)
        )
        self.usable = True

    async def write(self, records: Sequence[Record]) -> list[RecordMetadata]:
        """Write these records in one transaction and return where they are.

        Raises Superseded when the broker refuses this owner, Unavailable on any other failure (the write may have
        happened). After a slow commit it returns, and `usable` is False.
        """
        producer = self._producer
        if producer is None or not self.usable:
            raise Unavailable("This producer has been given up; open another.")
        self.usable = False
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                started = time.monotonic()
                await producer.begin_transaction()
                sent = [await _send(producer, record) for record in records]
                # commit_transaction() does not look at the sends' results: a refused record would be missing silently.
                written = await asyncio.gather(*sent)
                committing = time.monotonic()
                await producer.commit_transaction()
        except ProducerFenced as error:
            raise Superseded(f"{self.transactional_id} has been taken over, or its transaction timed out.") from error
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise Unavailable(f"A transaction of {self.transactional_id} failed: {error!r:.200}") from error
        finished = time.monotonic()
        telemetry.KAFKA_PRODUCE_SECONDS.observe(finished - started)
        self.usable = finished - committing <= SLOW_COMMIT_SECONDS
        return written

    async def write_all(self, records: AsyncIterator[Record], *, seconds: float) -> int:
        """Write many large records in one transaction with few of them in memory; returns how many.

        Raises as `write` does, and whatever the iterator raises; nothing of it is visible then.
        """
        producer = self._producer
        if producer is None or not self.usable:
            raise Unavailable("This producer has been given up; open another.")
        self.usable = False
        count = 0
        try:
            async with asyncio.timeout(seconds):
                await producer.begin_transaction()
                outstanding: deque[asyncio.Future[RecordMetadata]] = deque()
                async for record in records:
                    outstanding.append(await _send(producer, record))
                    count += 1
                    if len(outstanding) >= OUTSTANDING:
                        await outstanding.popleft()
                await asyncio.gather(*outstanding)
                await producer.commit_transaction()
        except ProducerFenced as error:
            raise Superseded(f"{self.transactional_id} has been taken over, or its transaction timed out.") from error
        except (KafkaError, TimeoutError, AssertionError) as error:
            raise Unavailable(f"A transaction of {self.transactional_id} failed: {error!r:.200}") from error
        self.usable = True
        return count

    async def has_topic(self, topic: str) -> bool:
        """Whether the topic exists, without creating it."""
        if self._producer is None:
            return False
        try:
            return bool(await self._producer.partitions_for(topic))
        except KafkaError:
            return False

    async def close(self) -> None:
        """End the producer; an open transaction is left to the successor."""
        self.usable = False
        if self._producer is not None:
            await clients.end(self._producer)
            self._producer = None


async def _send(producer: AIOKafkaProducer, record: Record) -> "asyncio.Future[RecordMetadata]":
    future: asyncio.Future[RecordMetadata] = await producer.send(
        record.topic, record.value, key=record.key, headers=record.headers, partition=record.partition
    )
    return future
