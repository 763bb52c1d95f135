"""Reading topics as they grow; sending a command and waiting for its result. For command line and console."""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from heapq import heappop, heappush
from itertools import chain
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from connector.errors import Unavailable
from connector.events import Record, decode
from connector.kafka import clients, failures, partitions, reading
from connector.settings import KafkaSettings

# Records of one partition that wait for older ones of others.
AHEAD = 2_000


async def follow(
    kafka: KafkaSettings, topics: Sequence[str], *, since: datetime | None = None, until_end: bool = False
) -> AsyncGenerator[ConsumerRecord, None]:
    """Committed records of these topics: from now on, or from a moment on; for ever, or to the present end.

    The past comes in the order of time over all partitions, the present as far as it arrives together.
    Raises Unavailable when no broker answers or a topic does not exist.
    """
    async with clients.reading(kafka) as consumer:
        ends = await _assign_and_seek(consumer, topics, since=since)
        async with aclosing(_past(consumer, ends)) as past:
            async for record in past:
                yield record
        while not until_end:
            fetched = await reading.fetch(consumer)
            for record in sorted(chain.from_iterable(fetched.values()), key=_by_time):
                yield record


async def _past(consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> AsyncGenerator[ConsumerRecord, None]:
    """The records up to these ends, merged by their time; a partition that is far ahead of the others waits."""
    queues: dict[TopicPartition, deque[ConsumerRecord]] = {place: deque() for place in ends}
    released = 0
    heads: list[tuple[int, TopicPartition]] = []
    unread = set(ends)
    while True:
        unread = {place for place in unread if await consumer.position(place) < ends[place]}
        empty = {place for place in unread if not queues[place]}
        while heads and not empty:
            _, place = heappop(heads)
            yield queues[place].popleft()
            released += 1
            if released % reading.RECORDS_IN_A_TURN == 0:
                # Thousands may have waited for the oldest record of another partition.
                await asyncio.sleep(0)
            if queues[place]:
                heappush(heads, (_by_time(queues[place][0]), place))
            elif place in unread:
                empty.add(place)
        if not unread:
            return
        # Pausing the others would throw away what the client has of them.
        behind = [place for place in unread if len(queues[place]) < AHEAD]
        for place, records in (await reading.fetch(consumer, *behind)).items():
            if not queues[place]:
                heappush(heads, (_by_time(records[0]), place))
            queues[place].extend(records)


def _by_time(record: ConsumerRecord) -> int:
    return int(record.timestamp)


async def _assign_and_seek(
    consumer: AIOKafkaConsumer, topics: Sequence[str], *, since: datetime | None
) -> Mapping[TopicPartition, int]:
    """Assign every partition and seek; returns where they end."""
    ends = await partitions.assign(consumer, topics)
    starts: Mapping[TopicPartition, Any] = {}
    if since is not None:
        with failures.reading("Offsets of a time cannot be read"):
            starts = await consumer.offsets_for_times(dict.fromkeys(ends, int(since.timestamp() * 1000)))
    for place, end in ends.items():
        start = starts.get(place)
        consumer.seek(place, start.offset if start is not None else end)
    return ends


async def send(kafka: KafkaSettings, record: Record) -> None:
    """Write one record and wait for its acknowledgement. Raises Unavailable."""
    producer = await clients.start(clients.producer(kafka))
    try:
        async with asyncio.timeout(clients.START_SECONDS):
            await producer.send_and_wait(
                record.topic, record.value, key=record.key, headers=record.headers, partition=record.partition
            )
    except (KafkaError, TimeoutError) as error:
        raise Unavailable(f"The record was not acknowledged: {error!r:.200}") from error
    finally:
        await clients.end(producer)


async def command(
    kafka: KafkaSettings,
    name: str,
    value: bytes,
    *,
    key: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """Send a command and yield its results until the last one. Raises Unavailable; give it a deadline."""
    command_id = (headers or {}).get("id") or str(uuid.uuid4())
    results = f"{kafka.topic_prefix}.results.{name}"
    named = [(header, text.encode()) for header, text in {**(headers or {}), "id": command_id}.items()]
    record = Record(f"{kafka.topic_prefix}.commands.{name}", key.encode() if key else None, value, named)
    async with clients.reading(kafka) as consumer:
        await _assign_and_seek(consumer, [results], since=None)
        await send(kafka, record)
        while True:
            for records in (await reading.fetch(consumer)).values():
                for found in records:
                    if command_id.encode() not in (found.value or b""):
                        continue
                    result = decode(found.value, found.headers).data
                    if result["command"]["id"] == command_id:
                        yield result
                        if result["last"]:
                            return


def as_json(record: ConsumerRecord) -> dict[str, Any]:
    """A record for machines: where it is, key, headers and value as text or JSON."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key.decode(errors="replace") if record.key is not None else None,
        "headers": {name: (raw or b"").decode(errors="replace") for name, raw in record.headers},
        "value": _value(record.value),
    }


def _value(raw: bytes | None) -> Any:
    if raw is None:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return f"{len(raw)} bytes"
