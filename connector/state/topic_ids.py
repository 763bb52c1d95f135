"""Kafka's own ids of topics (KIP-516): another one of the same name, deleted and created anew, has another id."""

import asyncio
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.protocol.abstract import AbstractType
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from connector.errors import Unavailable
from connector.kafka import aiokafka_internals
from connector.kafka.clients import administration
from connector.settings import KafkaSettings

ANSWER_SECONDS = 10.0
UUID_BYTES = 16


class _Uuid(AbstractType[str]):  # type: ignore[misc]  # untyped in the library
    """Sixteen bytes, here as hexadecimal."""

    @classmethod
    def encode(cls, value: str) -> bytes:
        return bytes.fromhex(value)

    @classmethod
    def decode(cls, data: BytesIO) -> str:
        return data.read(UUID_BYTES).hex()


class _MetadataResponse(Response):  # type: ignore[misc]  # untyped in the library
    """Version 10, the first that tells the ids; the client's own is older."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]  # untyped in the library
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics: list[tuple[str, str, dict[int, bytes]]] = [("00" * UUID_BYTES, name, {}) for name in topics]

    def build(self, struct: type[_MetadataStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct(self._topics, False, False, False, {})  # noqa: FBT003 - the protocol's order


async def topic_ids(kafka: KafkaSettings, topics: Sequence[str]) -> Mapping[str, str]:
    """The id of each topic that exists; none from brokers that have no ids (before Kafka 2.8). Raises Unavailable."""
    async with administration(kafka) as admin:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                response = await aiokafka_internals.ask(admin, _MetadataRequest(topics))
        except NotImplementedError:
            return {}
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"The topics' ids cannot be read: {error!r:.200}") from error
    found = response.to_object()["topics"]
    return {
        topic["name"]: topic["topic_id"] for topic in found if not topic["error_code"] and int(topic["topic_id"], 16)
    }
