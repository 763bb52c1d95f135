"""Kafka clients from settings, and how to end one. Every client is disposable: on doubt end it and build another.

The rebalance timeout is far above the time that draining takes: a member that drains too long is replaced while it
still works.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from aiokafka.helpers import create_ssl_context

from connector.errors import Unavailable
from connector.settings import KafkaSettings, SaslSettings, TlsSettings

REQUEST_TIMEOUT_MS = 5_000
TRANSACTION_TIMEOUT_MS = 20_000
SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 2_000
REBALANCE_TIMEOUT_MS = 30_000
BATCH_BYTES = 128 * 1024
START_SECONDS = 30.0
STOP_SECONDS = 2.0

Client = TypeVar("Client", AIOKafkaProducer, AIOKafkaConsumer)


class FileTokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # untyped in the library
    """OAUTHBEARER tokens as they are: the password of the settings is the token (re-read with the secrets)."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """The bearer token for the next connection."""
        return self._token


def _tls(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if "SSL" not in kafka.security_protocol.split("_"):
        return None
    tls = kafka.tls or TlsSettings()
    return create_ssl_context(  # type: ignore[no-any-return]  # untyped in the library
        cafile=tls.ca_file and str(tls.ca_file),
        certfile=tls.cert_file and str(tls.cert_file),
        keyfile=tls.key_file and str(tls.key_file),
        password=tls.key_password and tls.key_password.get_secret_value(),
    )


def _sasl(sasl: SaslSettings) -> dict[str, Any]:
    password = sasl.password.get_secret_value() if sasl.password else None
    if sasl.mechanism == "OAUTHBEARER":
        return {"sasl_mechanism": sasl.mechanism, "sasl_oauth_token_provider": FileTokenProvider(password or "")}
    return {
        "sasl_mechanism": sasl.mechanism,
        "sasl_plain_username": sasl.username,
        "sasl_plain_password": password,
    }


def options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every client needs to connect."""
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "ssl_context": _tls(kafka),
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        **(_sasl(kafka.sasl) if kafka.sasl and kafka.security_protocol.startswith("SASL") else {}),
    }


def producer(kafka: KafkaSettings, *, transactional_id: str | None = None, **more: Any) -> AIOKafkaProducer:
    """An idempotent producer (acks from all in-sync replicas), transactional where an id is given."""
    transaction = {"transactional_id": transactional_id, "transaction_timeout_ms": TRANSACTION_TIMEOUT_MS}
    named = {
        "enable_idempotence": True,
        "acks": "all",
        "max_batch_size": BATCH_BYTES,
        "compression_type": None if kafka.compression == "none" else kafka.compression,
        **(transaction if transactional_id else {}),
        **more,
    }
    return AIOKafkaProducer(**options(kafka), **named)


def reader(kafka: KafkaSettings, *, committed: bool = True, **more: Any) -> AIOKafkaConsumer:
    """A consumer without a group, for reading what is there."""
    isolation = "read_committed" if committed else "read_uncommitted"
    named = {"isolation_level": isolation, "enable_auto_commit": False, "auto_offset_reset": "earliest", **more}
    return AIOKafkaConsumer(**options(kafka), **named)


def member(
    kafka: KafkaSettings, *, group: str, topics: list[str], listener: ConsumerRebalanceListener
) -> AIOKafkaConsumer:
    """A member of a group, range-assigned: partition p of every topic goes to one member."""
    consumer = AIOKafkaConsumer(
        **options(kafka),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    consumer.subscribe(topics, listener=listener)
    return consumer


async def end(client: AIOKafkaProducer | AIOKafkaConsumer, *, timeout: float = STOP_SECONDS) -> None:  # noqa: ASYNC109
    """Stop a client within `timeout` seconds, whatever its state.

    While the broker is away a producer's `stop()` hangs and a consumer's raises CancelledError of its own; a task of
    its own keeps both away from the caller.
    """
    task = asyncio.create_task(client.stop(), name="kafka-client-stop")
    await asyncio.wait({task}, timeout=timeout)
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.exception()


async def start(client: Client) -> Client:
    """Start a client.

    Raises Unavailable when no broker answers, or not in time; the client must not be used then.
    """
    try:
        async with asyncio.timeout(START_SECONDS):
            await client.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await end(client)
        raise Unavailable(reason(error)) from error
    return client


@asynccontextmanager
async def reading(kafka: KafkaSettings, *, committed: bool = True, **more: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A started reader that is ended in any case."""
    consumer = await start(reader(kafka, committed=committed, **more))
    try:
        yield consumer
    finally:
        await end(consumer)


@asynccontextmanager
async def administration(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client that is closed in any case.

    Raises Unavailable when no broker answers.
    """
    client = AIOKafkaAdminClient(**options(kafka))
    try:
        async with asyncio.timeout(START_SECONDS):
            await client.start()
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(reason(error)) from error
    try:
        yield client
    finally:
        await client.close()


def reason(error: BaseException) -> str:
    """One sentence for what a client said when it could not connect."""
    text = str(error).strip().removeprefix("KafkaConnectionError: ") or type(error).__name__
    if text.startswith("Unable to bootstrap"):
        return "No broker accepts connections there."
    return f"{text.rstrip('.')}."
