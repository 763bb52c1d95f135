"""Requests that the client does not know: transactions of Kafka 4 (KIP-890), and whether the brokers have them.

There each transaction has an epoch of its own: a late copy of a request can touch no other one. Partitions need no
request before their records, and the end of a transaction tells the next epoch.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from aiokafka.protocol.api import Request, RequestStruct, Response, ResponseHeader_v0
from aiokafka.protocol.types import (
    Boolean,
    CompactArray,
    CompactBytes,
    CompactString,
    Int16,
    Int32,
    Int64,
    Schema,
    TaggedFields,
)

import connector

TEXT = CompactString("utf-8")
ALL_REPLICAS = -1
FINALIZED = 2
"""The tagged field of ApiVersions that holds the features on which the brokers have agreed (KIP-584)."""
FEATURES = CompactArray(("name", TEXT), ("to", Int16), ("from", Int16), ("tags", TaggedFields))
NO_TAGS: dict[int, bytes] = {}

Batches = Mapping[str, Mapping[int, bytearray]]
"""For each topic the encoded batch of each partition."""


class _ProduceResponse(Response):  # type: ignore[misc]  # untyped in the library
    API_KEY = 0
    API_VERSION = 12
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("offset", Int64),
                        ("timestamp", Int64),
                        ("log_start_offset", Int64),
                        (
                            "record_errors",
                            CompactArray(("index", Int32), ("message", TEXT), ("tags", TaggedFields)),
                        ),
                        ("error_message", TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _ProduceStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    FLEXIBLE_VERSION = True
    API_KEY = 0
    API_VERSION = 12
    RESPONSE_TYPE = _ProduceResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("required_acks", Int16),
        ("timeout", Int32),
        (
            "topics",
            CompactArray(
                ("topic", TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("records", CompactBytes), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class Produce(Request[_ProduceStruct]):  # type: ignore[misc]  # untyped in the library
    """Records that join the transaction as they are."""

    API_KEY = 0

    def __init__(self, transactional_id: str, timeout: int, batches: Batches) -> None:
        self._given = transactional_id, ALL_REPLICAS, timeout, _tagged(batches), NO_TAGS

    def build(self, struct: type[_ProduceStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct(*self._given)


def _tagged(batches: Batches) -> list[tuple[Any, ...]]:
    return [
        (topic, [(partition, records, NO_TAGS) for partition, records in partitions.items()], NO_TAGS)
        for topic, partitions in batches.items()
    ]


class _EndResponse(Response):  # type: ignore[misc]  # untyped in the library
    API_KEY = 26
    API_VERSION = 5
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("tags", TaggedFields),
    )


class _EndStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    FLEXIBLE_VERSION = True
    API_KEY = 26
    API_VERSION = 5
    RESPONSE_TYPE = _EndResponse
    SCHEMA = Schema(
        ("transactional_id", TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("transaction_result", Boolean),
        ("tags", TaggedFields),
    )


class EndTransaction(Request[_EndStruct]):  # type: ignore[misc]  # untyped in the library
    """Commit or abort; the answer has producer id and epoch of the next transaction."""

    API_KEY = 26

    def __init__(self, transactional_id: str | None, producer_id: int, epoch: int, *, commits: bool) -> None:
        self._given = transactional_id, producer_id, epoch, commits, NO_TAGS

    def build(self, struct: type[_EndStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct(*self._given)


class _FeaturesResponse(Response):  # type: ignore[misc]  # untyped in the library
    API_KEY = 18
    API_VERSION = 3
    SCHEMA = Schema(
        ("error_code", Int16),
        ("api_versions", CompactArray(("key", Int16), ("from", Int16), ("to", Int16), ("tags", TaggedFields))),
        ("throttle_time_ms", Int32),
        ("tags", TaggedFields),
    )


class _FeaturesStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    FLEXIBLE_VERSION = True
    API_KEY = 18
    API_VERSION = 3
    RESPONSE_TYPE = _FeaturesResponse
    SCHEMA = Schema(("software", TEXT), ("version", TEXT), ("tags", TaggedFields))

    def parse_response_header(self, read_buffer: Any) -> ResponseHeader_v0:
        """Its answer has the old header, so that every client can read it."""
        return ResponseHeader_v0.decode(read_buffer)


class Features(Request[_FeaturesStruct]):  # type: ignore[misc]  # untyped in the library
    """Asks a broker what it knows (ApiVersions)."""

    API_KEY = 18

    def build(self, struct: type[_FeaturesStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct("twilio-kafka-connector", connector.__version__, NO_TAGS)


def feature(response: Any, name: str) -> int:
    """The level of a feature on which the brokers have agreed; 0 where there is none."""
    agreed = response.tags.get(FINALIZED)
    levels = {found: level for found, level, *_ in FEATURES.decode(BytesIO(agreed))} if agreed else {}
    return int(levels.get(name, 0))
