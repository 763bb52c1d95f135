"""The fenced transactional producer of one owner: all records of one write become visible together, or none.

Opening ends the predecessor of the same id: the broker refuses its later writes and ends its open transaction.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connector import telemetry
from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import clients, failures, produce
from connector.kafka.produce import Batcher
from connector.settings import KafkaSettings

WRITE_SECONDS = 15.0
# A slow commit may have been repeated on the wire, and the client's protocol has no epoch per transaction: a late copy
# could end the next transaction. The producer is given up instead.
SLOW_COMMIT_SECONDS = 2.0
ABORT_SECONDS = 2.0
# Large records in memory at a time.
OUTSTANDING = 4


class Transactions:
    """Writes of one owner. After any failure, and any slow commit, it is not `usable`: open it again.

    Who opens it again after a failure must find out from Kafka whether the write has happened. `options` are the
    client's.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        transactional_id: str,
        **options: Any,
    ) -> None:
        self._kafka = kafka
        self._options = options
        self.transactional_id = transactional_id
        self._producer: AIOKafkaProducer | None = None
        self._batcher: Batcher | None = None
        self.usable = False

    async def open(self) -> None:
        """Fence the predecessor, which may be a former producer of our own. Raises Unavailable."""
        await self.close()
        producer = clients.producer(self._kafka, transactional_id=self.transactional_id, **self._options)
        self._producer = await clients.start(producer)
        self._batcher = Batcher(producer)
        self.usable = True

    async def write(self, records: Sequence[Record]) -> list[int]:
        """Write these records in one transaction and return their offsets.

        Raises Superseded when the broker refuses this owner, Unwritable when it refuses a record for what it is,
        Unavailable on any other failure (the write may have happened). After a slow commit it returns, and `usable` is
        False.
        """
        started = time.monotonic()
        with self._using() as (producer, batcher):
            async with asyncio.timeout(WRITE_SECONDS):
                await producer.begin_transaction()
                # commit_transaction() does not look at the results: a refused record would be missing silently.
                offsets = await batcher.write(records, seconds=produce.ACK_SECONDS)
                committing = time.monotonic()
                await producer.commit_transaction()
        finished = time.monotonic()
        telemetry.KAFKA_PRODUCE_SECONDS.observe(finished - started)
        self.usable = finished - committing <= SLOW_COMMIT_SECONDS
        return offsets

    async def write_all(self, records: AsyncIterator[Record], *, seconds: float) -> int:
        """Write many large records in one transaction with few of them in memory; returns how many.

        Raises as `write` does, and whatever the iterator raises; nothing of it is visible then.
        """
        with self._using() as (producer, batcher):
            async with asyncio.timeout(seconds):
                await producer.begin_transaction()
                try:
                    count = await _send_all(batcher, records)
                    await producer.commit_transaction()
                except BaseException:
                    await _abort(producer)
                    raise
        self.usable = True
        return count

    @contextmanager
    def _using(self) -> Iterator[tuple[AIOKafkaProducer, Batcher]]:
        """The producer and its batches, which are of no more use unless the write says otherwise."""
        producer, batcher = self._producer, self._batcher
        if producer is None or batcher is None or not self.usable:
            raise Unavailable(f"The producer {self.transactional_id} has been given up; open another.")
        self.usable = False
        what = f"A transaction of {self.transactional_id} failed"
        try:
            yield producer, batcher
        except asyncio.CancelledError as error:
            # The client raises one of its own when it ends its inner tasks.
            if failures.is_cancelled():
                raise
            raise Unavailable(f"{what}: the client has ended.") from error
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            raise failures.of_write(what, error) from error

    async def partitions_of(self, topic: str) -> int:
        """How many partitions the topic has, 0 when it does not exist; it is not created. Raises Unavailable.

        All topics are asked for: the client waits long for one that it is told to look for, and goes on looking.
        """
        if self._producer is None:
            raise Unavailable(f"The producer {self.transactional_id} has been given up; open another.")
        client = self._producer.client
        known = client.cluster.partitions_for_topic(topic)
        if not known:
            with failures.reading(f"Kafka does not tell its topics to {self.transactional_id}"):
                known = (await client.fetch_all_metadata()).partitions_for_topic(topic)
        return len(known or ())

    async def close(self) -> None:
        """End the producer; an open transaction is left to the successor."""
        # One that has failed may hold records that it would go on sending for ever.
        patience = clients.STOP_SECONDS if self.usable else clients.GIVEN_UP_SECONDS
        self.usable = False
        producer, batcher, self._producer, self._batcher = self._producer, self._batcher, None, None
        if batcher is not None:
            batcher.end(Unavailable(f"The producer {self.transactional_id} has been closed."))
        if producer is not None:
            await clients.end(producer, timeout=patience)


async def _send_all(batcher: Batcher, records: AsyncIterator[Record]) -> int:
    """Send with few records in memory, and return how many when all are acknowledged."""
    count = 0
    outstanding: deque[asyncio.Future[list[int]]] = deque()
    async for record in records:
        outstanding.append(await batcher.enqueue([record]))
        count += 1
        if len(outstanding) >= OUTSTANDING:
            await outstanding.popleft()
    await asyncio.gather(*outstanding)
    return count


async def _abort(producer: AIOKafkaProducer) -> None:
    """End the transaction now, if that is possible: readers would wait for it until the broker's own timeout."""
    with suppress(Exception):
        async with asyncio.timeout(ABORT_SECONDS):
            await producer.abort_transaction()
