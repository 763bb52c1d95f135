"""The attempts in the journal, which are written beside their owner's transactions: acknowledged in one round trip.

They bear the epoch of an id of their own. To open it alone fences nobody: each partition refuses a predecessor from the
first record of its successor on. So a fence record is written, and acknowledged, before the journal's end is looked up:
every attempt of a predecessor lies below that end, or is refused.
"""

import asyncio
import uuid
from collections.abc import Sequence

from aiokafka import ConsumerRecord

from connector.errors import Superseded, Unavailable
from connector.events import Record, boot_seconds
from connector.kafka import clients, failures
from connector.kafka.sending.sender import Sender
from connector.settings import KafkaSettings
from connector.state import checkpoints, journal
from connector.telemetry.logs import logger

log = logger(__name__)

FENCE_SECONDS = 8.0
# The broker forgets what has not been written for a day (a week, an id), and with it whom it refuses.
KEEP_SECONDS = 3600.0
KEEP_AGAIN_SECONDS = 60.0
KEEP_TIMEOUT_SECONDS = 15.0
# Brokers acknowledge in milliseconds; a partition that has no leader, or too few replicas, does not.
SILENT_SECONDS = 8.0


class Attempts:
    """Of the owner of one partition number, which opens another one after any failure."""

    def __init__(self, kafka: KafkaSettings, transactional_id: str, partition: int) -> None:
        self._kafka = kafka
        self._partition = partition
        self._transactional_id = transactional_id
        self._sender: Sender | None = None
        self._fence = journal.encode_fence(kafka.topic_prefix, uuid.uuid4().hex, partition=partition)
        # Everything below was there when it was last looked.
        self._end = 0
        self._is_silent = False
        self._keep_at = 0.0

    async def open(self) -> None:
        """Fence the predecessor. Read the journal's end afterwards. Raises Superseded, Unavailable."""
        sender = Sender(self._kafka, transactional_id=self._transactional_id, is_beside=True)
        self._sender = await clients.start(sender)
        with failures.writing(f"{self._transactional_id} has no fence"):
            async with asyncio.timeout(FENCE_SECONDS):
                await self._write(self._fence)
        self._keep_at = boot_seconds() + KEEP_SECONDS

    async def write(self, entry: journal.Entry) -> int:
        """Return the offset of an attempt when it is durable; -1 where Kafka does not tell it.

        Waits for Kafka as long as it takes. Raises Superseded when a successor has fenced this owner, or when the
        journal is another one; Unwritable, and Unavailable after which there must be another owner.
        """
        return await self._write(journal.encode(self._kafka.topic_prefix, entry, partition=self._partition))

    async def keep_regularly(self) -> int | None:
        """Let the broker remember this owner, and with it the fence, however long there is nothing to do.

        Returns the offset of a record that does so, None where it is not time; while no coordinator answers it is tried
        again later. Raises as `write` does.
        """
        if boot_seconds() < self._keep_at:
            return None
        self._keep_at = boot_seconds() + KEEP_SECONDS
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_SECONDS):
                with failures.writing(f"{self._transactional_id} cannot be kept"):
                    # The journal's partition gets no marker: its end is to be known.
                    await self._opened().keep_id(checkpoints.topic_of(self._kafka), self._partition)
        except TimeoutError:
            self._keep_at = boot_seconds() + KEEP_AGAIN_SECONDS
            return None
        return await self._write(self._fence)

    async def since(self, start: int) -> Sequence[ConsumerRecord]:
        """Every committed record of the journal from `start` on, without our fences.

        Raises Superseded where there is another owner's fence, Unavailable.
        """
        records = await journal.since(self._kafka, self._partition, start)
        if any(journal.is_fence(record) and record.value != self._fence.value for record in records):
            raise Superseded(f"Another owner has fenced {self._transactional_id}.")
        return [record for record in records if not journal.is_fence(record)]

    async def close(self) -> None:
        """End the producer. What is not acknowledged may be written or not."""
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.end(Unavailable(f"The producer {self._transactional_id} has been closed."))
            await clients.end(sender)

    async def _write(self, record: Record) -> int:
        floor = self._end
        timer = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._note_silence)
        try:
            with failures.writing(f"{self._transactional_id} cannot write"):
                (offset,) = await self._opened().write([record])
        finally:
            timer.cancel()
        if self._is_silent:
            self._is_silent = False
            log.info("journal is written again", transactional_id=self._transactional_id)
        if 0 <= offset < floor:
            raise Superseded(f"{record.topic} begins anew at {offset}: it is another topic, or has lost entries.")
        self._end = max(self._end, offset + 1)
        return offset

    def _opened(self) -> Sender:
        if self._sender is None:
            raise Unavailable(f"The producer {self._transactional_id} has been closed.")
        return self._sender

    def _note_silence(self) -> None:
        if not self._is_silent:
            reason = f"Kafka has not acknowledged an entry within {SILENT_SECONDS:g} s."
            log.warning("journal cannot be written", transactional_id=self._transactional_id, reason=reason)
        self._is_silent = True
