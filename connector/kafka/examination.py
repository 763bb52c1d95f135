"""What a broker lets this configuration do, tried without leaving anything that a reader sees."""

import asyncio
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from connector.errors import Unavailable
from connector.kafka import clients
from connector.kafka.clients import administration
from connector.settings import KafkaSettings

ANSWER_SECONDS = 10.0
FETCH_MS = 500


async def brokers(kafka: KafkaSettings) -> tuple[int, str]:
    """How many brokers the cluster has, and its id. Raises Unavailable."""
    async with administration(kafka) as admin:
        try:
            found = await admin.describe_cluster()
        except KafkaError as error:
            raise Unavailable(clients.reason(error)) from error
    return len(found["brokers"]), str(found.get("cluster_id") or "")


async def may_read(kafka: KafkaSettings, topics: Sequence[str]) -> list[str]:
    """Why topics may not be read, in sentences. Raises Unavailable."""
    places = [TopicPartition(topic, 0) for topic in topics]
    async with clients.reading(kafka) as consumer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                consumer.assign(places)
                await consumer.seek_to_end(*places)
                await consumer.getmany(timeout_ms=FETCH_MS)
        except KafkaError as error:
            return [f"Topics cannot be read: {error!r:.200}"]
        except TimeoutError:
            return [f"Topics cannot be read: no answer within {ANSWER_SECONDS:.0f} s."]
    return []


async def may_write(kafka: KafkaSettings, topic: str, *, transactional_id: str) -> str | None:
    """Why a transaction with this id cannot be written, None when it can; it is aborted, so that nobody reads it."""
    producer = clients.producer(kafka, transactional_id=transactional_id)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await producer.start()
            await producer.begin_transaction()
            await (await producer.send(topic, b"{}", key=b"doctor", partition=0))
            await producer.abort_transaction()
    except KafkaError as error:
        return f"{transactional_id} cannot write a transaction: {type(error).__name__}."
    except TimeoutError:
        return f"{transactional_id} cannot write a transaction: no answer within {ANSWER_SECONDS:.0f} s."
    finally:
        await clients.end(producer)
    return None


async def may_join(kafka: KafkaSettings, groups: Sequence[str]) -> list[str]:
    """The consumer groups that may not be used, as sentences. Raises Unavailable."""
    denied = []
    async with administration(kafka) as admin:
        for group in groups:
            try:
                await admin.list_consumer_group_offsets(group)
            except KafkaError as error:
                denied.append(f"Group {group} cannot be used: {type(error).__name__}.")
    return denied
