"""Watch cursors in the compacted topic: which partition a watch lives in, and what was written last."""

from collections.abc import Mapping
from contextlib import suppress

from connector.events import BEGINNING, Record
from connector.kafka import reading
from connector.settings import KafkaSettings

TOPIC = "cursors"


def partition_of(watch: str, count: int) -> int:
    """The partition of a watch's cursor; the same in every process and for ever (FNV-1a, 32 bits)."""
    value = 0x811C9DC5
    for byte in watch.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value % count


def record(prefix: str, watch: str, cursor: bytes, *, partition: int) -> Record:
    """The record that becomes a watch's cursor when its transaction commits."""
    headers = [("content-type", b"application/json")]
    return Record(f"{prefix}.{TOPIC}", watch.encode(), cursor, headers, partition=partition)


async def restore(kafka: KafkaSettings, partition: int) -> dict[str, bytes]:
    """The cursor of each watch of a partition, as JSON bytes. The fencing producer must be open. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    end = await reading.end_of(kafka, topic, partition)
    held: dict[bytes, bytes | None] = {}
    async for batch in reading.between(kafka, topic, partition, end=end):
        held |= {item.key: item.value for item in batch if item.key is not None}
    return _by_name(held)


async def latest(kafka: KafkaSettings) -> dict[str, bytes]:
    """The present cursor of every watch, as JSON bytes, without being its owner. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.{TOPIC}"
    held: dict[bytes, bytes | None] = {}
    async for item in reading.follow(kafka, [topic], since=BEGINNING, until_end=True):
        if item.key is not None:
            held[item.key] = item.value
    return _by_name(held)


def _by_name(held: Mapping[bytes, bytes | None]) -> dict[str, bytes]:
    """Each cursor by the name of its watch; a key that is not text belongs to none."""
    named: dict[str, bytes] = {}
    for key, value in held.items():
        with suppress(UnicodeDecodeError):
            if value is not None:
                named[key.decode()] = value
    return named
