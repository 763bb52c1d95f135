"""Everything private of aiokafka that we use, each with a test that fails when a new version has it no more."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import UnknownTopicOrPartitionError


def connections_of(client: AIOKafkaProducer | AIOKafkaConsumer) -> Any:
    """What holds a client's connections and metadata (AIOKafkaClient)."""
    return client._client if isinstance(client, AIOKafkaConsumer) else client.client


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Mapping[str, list[int]]:
    """The partitions of those of these topics that exist; the public way knows only subscribed ones.

    Raises what the client raises. Takes seconds when one does not exist.
    """
    connections, found = connections_of(consumer), {}
    wanted = list(dict.fromkeys(topics))
    # All in one request.
    await connections.set_topics(wanted)
    for topic in wanted:
        try:
            found[topic] = sorted(await connections._wait_on_metadata(topic))
        except UnknownTopicOrPartitionError:
            continue
    return found
