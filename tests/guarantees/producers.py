"""Two producers as callers have them: aiokafka, which partitions as Kafka does, and librdkafka with its default."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from tests.guarantees.accounting.commands import Position

Header = tuple[str, bytes]


class Murmur2:
    """aiokafka: keys by murmur2."""

    name = "murmur2"

    def __init__(self, kafka: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._producer.stop()

    async def send(self, topic: str, value: bytes, *, key: bytes | None, headers: Sequence[Header]) -> Position:
        """Write a record, and return where it stands once Kafka has acknowledged it."""
        written = await self._producer.send_and_wait(topic, value, key=key, headers=list(headers))
        return topic, written.partition, written.offset


class Crc32:
    """librdkafka: keys by CRC32."""

    name = "crc32"

    def __init__(self, kafka: str) -> None:
        self._producer = Producer({"bootstrap.servers": kafka, "enable.idempotence": True, "log_level": 0})
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="librdkafka", daemon=True)

    async def start(self) -> None:
        """Begin to hear of acknowledgements."""
        self._thread.start()

    async def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        await asyncio.to_thread(self._thread.join)

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._producer.poll(0.1)

    async def send(self, topic: str, value: bytes, *, key: bytes | None, headers: Sequence[Header]) -> Position:
        """Write a record, and return where it stands once Kafka has acknowledged it."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[Position] = loop.create_future()

        def acknowledged(error: Any, message: Any) -> None:
            if error is not None:
                loop.call_soon_threadsafe(written.set_exception, RuntimeError(str(error)))
            else:
                position = (topic, message.partition(), message.offset())
                loop.call_soon_threadsafe(written.set_result, position)

        self._producer.produce(topic, value, key, headers=list(headers), on_delivery=acknowledged)
        return await written
