"""What the broker allows us, asked without trying: authorized operations of topics, and who may find a coordinator."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from connector.kafka import aiokafka_internals
from connector.kafka.acls import Acl
from connector.kafka.clients import administration
from connector.settings import KafkaSettings

ANSWER_SECONDS = 10.0
# Kafka, AclOperation: the code of each, which is its bit among the authorized operations (KIP-430).
BITS: Mapping[str, int] = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
UNKNOWN_TOPIC = 3
TOPIC_DENIED, GROUP_DENIED, TRANSACTIONAL_ID_DENIED = 29, 30, 53
COORDINATORS: Mapping[str, tuple[int, int]] = {
    "group": (0, GROUP_DENIED),
    "transactional-id": (1, TRANSACTIONAL_ID_DENIED),
}


class _MetadataResponse(Response):  # type: ignore[misc]  # untyped in the library
    """Version 8, which tells what is allowed; the client's own is older."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]  # untyped in the library
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, struct: type[_MetadataStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct(self._topics, False, False, True)  # noqa: FBT003 - the protocol's order


async def missing(kafka: KafkaSettings, acls: Sequence[Acl]) -> list[Acl]:
    """Which of these rights the broker does not give us.

    None when it is too old to tell (before Kafka 2.3). Raises Unavailable when no broker answers.
    """
    async with administration(kafka) as admin:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return [*await _of_topics(admin, acls), *await _of_coordinators(admin, kafka, acls)]
        except (KafkaError, NotImplementedError, TimeoutError):
            return []


async def _of_topics(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> list[Acl]:
    wanted = [acl for acl in acls if acl.resource == "topic" and not acl.prefixed and acl.name != "*"]
    response = await aiokafka_internals.ask(admin, _MetadataRequest(list(dict.fromkeys(acl.name for acl in wanted))))
    # The check of topics reports what does not exist.
    allowed = {
        topic["topic"]: 0 if topic["error_code"] == TOPIC_DENIED else topic["authorized_operations"]
        for topic in response.to_object()["topics"]
        if topic["error_code"] != UNKNOWN_TOPIC
    }
    return [acl for acl in wanted if acl.name in allowed and not allowed[acl.name] >> BITS[acl.operation] & 1]


async def _of_coordinators(admin: AIOKafkaAdminClient, kafka: KafkaSettings, acls: Sequence[Acl]) -> list[Acl]:
    """Finding the coordinator takes Describe, which only comes with the right that we need."""
    found = []
    for acl in acls:
        if acl.resource in COORDINATORS:
            kind, denied = COORDINATORS[acl.resource]
            # Any partition has a transactional id of this kind.
            key = f"{acl.name}{kafka.partitions - 1}" if acl.prefixed else acl.name
            response = await aiokafka_internals.ask(admin, FindCoordinatorRequest(key, kind))
            found += [acl] if response.error_code == denied else []
    return found
