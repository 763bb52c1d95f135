"""Writes that need no transaction: acknowledged by every in-sync replica before the caller goes on."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from connector.errors import Unavailable, Unwritable
from connector.events import Record
from connector.kafka import clients
from connector.kafka.sending.sender import BATCH_BYTES, Sender
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

log = logger(__name__)

ACK_SECONDS = 5.0
# What brokers take by default, less the headers and a margin. A refused batch would fail all who share it.
LARGEST_VALUE = 1_000_000
# A topic may take less than a batch: after each refusal fewer records share one.
LEAST_BATCH_BYTES = 1024
# How long unanswered writes are tolerated before the client is rebuilt; a broker that comes back is found sooner.
REBUILD_SECONDS = 30.0
RETRY_SECONDS = 0.5


class Publisher:
    """One idempotent producer for the whole process, rebuilt when it is of no more use."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._sender: Sender | None = None
        self._building: asyncio.Task[None] | None = None
        self._unanswered_since: float | None = None
        self._batch_bytes = BATCH_BYTES

    async def open(self) -> None:
        """Connect. Raises Unavailable when no broker answers."""
        sender = Sender(
            self._kafka,
            batch_bytes=self._batch_bytes,
            late=lambda: self._note_unanswered(sender),
            failed=lambda error: self._give_up(sender, error),
        )
        self._sender = await clients.start(sender)

    def publish(self, records: Sequence[Record]) -> "asyncio.Future[Any]":
        """Begin at once to store records; what is returned is done when every one is acknowledged.

        It raises Unavailable after five seconds, or at once while there is no connection (the records may still
        arrive), and Unwritable for a record that Kafka refuses for what it is.
        """
        if self._sender is None:
            return _failed(Unavailable("Kafka is not connected."))
        for record in records:
            if record.value is not None and len(record.value) > LARGEST_VALUE:
                told = f"A value of {len(record.value)} bytes is too large for a record of Kafka's."
                return _failed(Unwritable(told))
        is_answered = self._unanswered_since is None
        stored = self._sender.put(records, seconds=ACK_SECONDS) if is_answered else None
        return asyncio.ensure_future(self._publish(self._sender, records)) if stored is None else stored

    async def _publish(self, sender: Sender, records: Sequence[Record]) -> None:
        """Publish what has to wait for the number of a topic's partitions, or to tell that Kafka answers again."""
        try:
            await sender.write(records, seconds=ACK_SECONDS)
        except TimeoutError as error:
            raise Unavailable("Kafka does not tell the partitions of a topic.") from error
        except Unwritable as error:
            # An operator may create the topic, or allow it.
            if error.is_of_topic:
                raise Unavailable(str(error)) from error
            raise
        if self._unanswered_since is not None:
            log.info("kafka acknowledges again")
            self._unanswered_since = None

    def _note_unanswered(self, sender: Sender) -> None:
        now = time.monotonic()
        if self._unanswered_since is None:
            log.warning("kafka does not acknowledge", seconds=ACK_SECONDS)
            self._unanswered_since = now
        elif now - self._unanswered_since > REBUILD_SECONDS:
            self._rebuild(sender)
            self._unanswered_since = now

    def _give_up(self, sender: Sender, error: Exception) -> Unavailable:
        """What the broker refuses for good ends its producer: another one has another id, and sequences of its own."""
        if isinstance(error, Unwritable) and not error.is_of_topic:
            self._batch_bytes = max(LEAST_BATCH_BYTES, self._batch_bytes // 2)
        self._rebuild(sender)
        return Unavailable(f"Kafka refused records: {error!r:.200}")

    def _rebuild(self, sender: Sender) -> None:
        if sender is self._sender:
            self._sender = None
            self._building = asyncio.create_task(self._replace(sender), name="publisher-rebuild")

    async def _replace(self, old: Sender) -> None:
        await clients.end(old)
        while self._sender is None:
            try:
                await self.open()
            except Unavailable:
                await asyncio.sleep(RETRY_SECONDS)

    async def close(self) -> None:
        """End the producer, after what was sent has been acknowledged where that is possible."""
        if self._building is not None:
            self._building.cancel()
            await asyncio.wait({self._building})
        sender, self._sender = self._sender, None
        if sender is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(ACK_SECONDS):
                    await sender.flush()
            await clients.end(sender)


def _failed(error: Exception) -> "asyncio.Future[Any]":
    future = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    return future
