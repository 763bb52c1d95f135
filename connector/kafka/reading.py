"""Reading of topics: the one place that takes records from a consumer."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

POLL_MS = 200
# A fetch may hold thousands of small records. What readers do with one takes some tenths of a millisecond.
RECORDS_IN_A_TURN = 100


async def fetch(
    consumer: AIOKafkaConsumer, *partitions: TopicPartition, at_most: int = RECORDS_IN_A_TURN
) -> Mapping[TopicPartition, list[ConsumerRecord]]:
    """The next records of these partitions, or of all that are assigned; none when none come soon.

    The event loop turns before each portion: a large fetch does not hold up heartbeats, callbacks and deadlines.
    Raises what the client raises.
    """
    await asyncio.sleep(0)
    records: Mapping[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
        *partitions, timeout_ms=POLL_MS, max_records=at_most
    )
    return records
