"""Reading much of the topics for a person who looks for something: little at a time, and only what may fit."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from connector.errors import Unavailable
from connector.kafka import aiokafka_internals, clients, failures
from connector.kafka.reading import PROGRESS_SECONDS, Start, fetch, milliseconds, offsets_of, patiently
from connector.kafka.sending.batches import partition_of
from connector.settings import KafkaSettings

# Of all partitions that are scanned, so much at a time, and then a pause several times as long as that took, within
# these bounds: callbacks and commands go first, here and at the broker.
SCAN_BYTES = 1024 * 1024
REST = 3
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.035, 0.2


@dataclass(frozen=True, slots=True)
class Portion:
    """Some records of what is scanned; so many of `total` are behind them. Transaction markers count as well."""

    records: Sequence[ConsumerRecord]
    done: int
    total: int


async def scan(
    kafka: KafkaSettings,
    wanted: Mapping[str, bytes | None],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    needles: Sequence[bytes] = (),
) -> AsyncGenerator[Portion, None]:
    """The committed records of these topics that were written in [since, until), each partition in its order.

    `wanted` gives a key to each topic of which only the partition of that key is read, None to the others. Ends at the
    present end. A topic that does not exist is left out. With `needles` records are left out of whose batch none of
    them is a part. Little is held in memory. Raises Unavailable.
    """
    async with clients.reading(kafka) as consumer:
        ranges = await _ranges(consumer, wanted, since=since, until=until)
    left = {partition: end - begin for partition, (begin, end) in ranges.items() if begin < end}
    total, clock = sum(left.values()), asyncio.get_running_loop().time
    yield Portion((), 0, total)
    if not left:
        return
    async with clients.reading(
        kafka, needles=needles, max_partition_fetch_bytes=SCAN_BYTES // 2, fetch_max_bytes=SCAN_BYTES
    ) as consumer:
        consumer.assign(list(left))
        for partition in left:
            consumer.seek(partition, ranges[partition][0])
        moved = clock()
        while left:
            began = clock()
            with failures.reading("Topics cannot be read"):
                fetched = await fetch(consumer, wait_ms=0)
            before = sum(left.values())
            # Behind the last records of a partition may be markers of transactions alone.
            for partition in [*left]:
                left[partition] = ranges[partition][1] - await consumer.position(partition)
                if left[partition] <= 0:
                    del left[partition]
                    consumer.pause(partition)
            found = [
                record
                for partition, batch in fetched.items()
                for record in batch
                if record.offset < ranges[partition][1]
            ]
            rest = sum(left.values())
            moved = clock() if rest < before else moved
            if clock() - moved > PROGRESS_SECONDS:
                raise Unavailable("Topics cannot be read: an open transaction holds readers back.")
            yield Portion(found, total - rest, total)
            await asyncio.sleep(min(max(SHORTEST_PAUSE_SECONDS, REST * (clock() - began)), LONGEST_PAUSE_SECONDS))


async def _ranges(
    consumer: AIOKafkaConsumer, wanted: Mapping[str, bytes | None], *, since: datetime | None, until: datetime | None
) -> dict[TopicPartition, tuple[int, int]]:
    """The first offset of each partition to read, and where to end."""
    with failures.reading("Topics cannot be read"):
        async with asyncio.timeout(PROGRESS_SECONDS):
            existing = await aiokafka_internals.partitions_of(consumer, list(wanted))
            assigned = [
                TopicPartition(topic, number)
                for topic, numbers in existing.items()
                for number in _keyed(wanted[topic], numbers)
            ]
            consumer.assign(assigned)
            ends = await patiently(consumer.end_offsets, assigned)
            begins = await offsets_of(consumer, dict.fromkeys(existing, Start(since=since)), ends)
            if until is not None and assigned:
                dated = await patiently(consumer.offsets_for_times, dict.fromkeys(assigned, milliseconds(until)))
                ends |= {partition: found.offset for partition, found in dated.items() if found is not None}
    return {partition: (begins[partition], ends[partition]) for partition in assigned}


def _keyed(key: bytes | None, partitions: Sequence[int]) -> Sequence[int]:
    """The partition of a key; without one all of them."""
    return partitions if key is None else [partition_of(key, len(partitions))]
