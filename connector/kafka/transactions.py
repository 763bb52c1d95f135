"""The fenced transactional producer of one owner: all records of one write become visible together, or none.

Opening ends the predecessor of the same id: the broker refuses its later writes and ends its open transaction.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import NoReturn

from connector.errors import Unavailable
from connector.events import Record
from connector.kafka import clients, failures
from connector.kafka.sending.sender import TRANSACTION_TIMEOUT_MS, Sender
from connector.settings import KafkaSettings
from connector.telemetry import metrics

WRITE_SECONDS = 15.0
# Brokers answer in milliseconds; a partition that has no leader, or too few replicas, does not.
ACK_SECONDS = 8.0
# Where transactions have no epochs of their own, a late copy of a commit could end the next one: the producer is given
# up after a slow one.
SLOW_COMMIT_SECONDS = 2.0
ABORT_SECONDS = 2.0
# Large records in memory at a time.
OUTSTANDING = 4


class Transactions:
    """Writes of one owner. After any failure, and any slow commit, it is not `usable`: open it again.

    Who opens it again after a failure must find out from Kafka whether the write has happened.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        transactional_id: str,
        *,
        transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
        compresses: bool = True,
    ) -> None:
        self._kafka = kafka
        self._timeout_ms = transaction_timeout_ms
        self._compresses = compresses
        self.transactional_id = transactional_id
        self._sender: Sender | None = None
        self.usable = False

    async def open(self) -> None:
        """Fence the predecessor, which may be a former producer of our own. Raises Unavailable."""
        await self.close()
        sender = Sender(
            self._kafka,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=self._timeout_ms,
            compresses=self._compresses,
        )
        self._sender = await clients.start(sender)
        self.usable = True

    async def write(self, records: Sequence[Record]) -> list[int]:
        """Write these records in one transaction and return their offsets.

        Raises Superseded when the broker refuses this owner, Unwritable when it refuses a record for what it is,
        Unavailable on any other failure (the write may have happened). After a slow commit it returns, and `usable` is
        False.
        """
        sender, started = self._taken(), time.monotonic()
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                offsets = await sender.write(records, seconds=ACK_SECONDS)
                if min(offsets, default=0) < 0:
                    unknown = f"Kafka does not tell where records of {self.transactional_id} are."
                    raise Unavailable(unknown)  # noqa: TRY301 - it ends the producer, as any failure does
                committing = time.monotonic()
                await sender.commit()
        except BaseException as error:  # noqa: BLE001 - whatever it is, this producer is of no more use
            self._fail(sender, error)
        finished = time.monotonic()
        metrics.KAFKA_PRODUCE_SECONDS.observe(finished - started)
        self.usable = sender.has_epochs or finished - committing <= SLOW_COMMIT_SECONDS
        return offsets

    async def write_all(self, records: AsyncIterator[Record], *, seconds: float) -> int:
        """Write many large records in one transaction with few of them in memory; returns how many.

        Raises as `write` does, and whatever the iterator raises; nothing of it is visible then.
        """
        sender = self._taken()
        try:
            async with asyncio.timeout(seconds):
                try:
                    count = await _send_all(sender, records)
                    await sender.commit()
                except BaseException:
                    await _abort(sender)
                    raise
        except BaseException as error:  # noqa: BLE001 - whatever it is, this producer is of no more use
            self._fail(sender, error)
        self.usable = True
        return count

    def _taken(self) -> Sender:
        """The producer, which is of no more use unless the write says otherwise. Raises Unavailable."""
        sender = self._opened()
        if not self.usable:
            raise Unavailable(f"The producer {self.transactional_id} has been given up; open another.")
        self.usable = False
        return sender

    def _fail(self, sender: Sender, error: BaseException) -> NoReturn:
        """End the producer whose write has failed, and raise what that means."""
        what = f"A transaction of {self.transactional_id} failed"
        sender.end(Unavailable(f"{what}."))
        with failures.writing(what):
            raise error

    def _opened(self) -> Sender:
        if self._sender is None:
            raise Unavailable(f"The producer {self.transactional_id} has been given up; open another.")
        return self._sender

    async def partitions_of(self, topic: str) -> int:
        """How many partitions the topic has, 0 when it does not exist; it is not created. Raises Unavailable.

        All topics are asked for: the client waits long for one that it is told to look for, and goes on looking.
        """
        client = self._opened().client
        known = client.cluster.partitions_for_topic(topic)
        if not known:
            with failures.reading(f"Kafka does not tell its topics to {self.transactional_id}"):
                known = (await client.fetch_all_metadata()).partitions_for_topic(topic)
        return len(known or ())

    async def close(self) -> None:
        """End the producer; an open transaction is left to the successor."""
        self.usable = False
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.end(Unavailable(f"The producer {self.transactional_id} has been closed."))
            await clients.end(sender)


async def _send_all(sender: Sender, records: AsyncIterator[Record]) -> int:
    """Send with few records in memory, and return how many when all are acknowledged."""
    count = 0
    outstanding: deque[asyncio.Future[list[int]]] = deque()
    async for record in records:
        outstanding.append(await sender.enqueue([record]))
        count += 1
        if len(outstanding) >= OUTSTANDING:
            await outstanding.popleft()
    await asyncio.gather(*outstanding)
    return count


async def _abort(sender: Sender) -> None:
    """End the transaction now, if that is possible: readers would wait for it until the broker's own timeout."""
    with suppress(Exception):
        async with asyncio.timeout(ABORT_SECONDS):
            await sender.abort()
