"""Records as a caller's client writes them: librdkafka, which is not ours."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Producer

WITHIN_SECONDS = 30


class Message(NamedTuple):
    """A record to write; a value that is not bytes is written as JSON. `milliseconds`: its time, 0 for now."""

    topic: str
    value: Any
    key: str | None = None
    headers: Mapping[str, str] = {}
    milliseconds: int = 0


def produce(kafka: str, messages: Iterable[Message], **options: Any) -> None:
    """Write the records in their order, and wait until Kafka has acknowledged each; `options` are librdkafka's."""
    producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random", **options})
    refused: list[str] = []

    def acknowledged(error: Any, _message: Any) -> None:
        if error is not None:
            refused.append(str(error))

    for topic, value, key, headers, at in messages:
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(topic, raw, key, headers=list(headers.items()), timestamp=at, on_delivery=acknowledged)
    assert producer.flush(WITHIN_SECONDS) == 0
    assert refused == []
