"""Kafka clients from settings, and how to end one. Every client is disposable: on doubt end it and build another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from connector.errors import Unavailable
from connector.kafka import aiokafka_internals, credentials, failures, header_names, sought
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger

REQUEST_TIMEOUT_MS = 5_000
START_SECONDS = 30.0
STOP_SECONDS = 2.0
COMMIT_SECONDS = 5.0
# A client that finds no broker would ask again at once, thousands of times a second where connections are refused.
AWAY_SECONDS = 0.2
# Of one partition in a fetch. What a paused partition still had in the client is thrown away and fetched again.
FETCH_BYTES = 256 * 1024
# Session timeouts in a rebalance timeout: a member that drains longer is replaced while it still works, and it drains
# for half of it.
SESSIONS_IN_A_REBALANCE = 3
HEARTBEATS_IN_A_SESSION = 5
# How often a consumer looks by itself whether there is something to fetch; each event that it knows of wakes it.
LOOK_MS = 2_000

header_names.install()

log = logger(__name__)

Offsets = Mapping[str, tuple[int, str]]
"""For each topic the offset to go on from, and metadata."""
Client = TypeVar("Client", bound=aiokafka_internals.Connected)


def options(kafka: KafkaSettings) -> dict[str, Any]:
    """What every client needs to connect. Raises ConfigurationError for certificates that cannot be used."""
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        **credentials.options(kafka),
    }


def reader(kafka: KafkaSettings, *, committed: bool = True, **more: Any) -> AIOKafkaConsumer:
    """A consumer without a group, for reading what is there."""
    isolation = "read_committed" if committed else "read_uncommitted"
    named = {"isolation_level": isolation, "enable_auto_commit": False, "auto_offset_reset": "earliest", **more}
    return patient(AIOKafkaConsumer(**options(kafka), consumer_timeout_ms=LOOK_MS, **named))


def member(
    kafka: KafkaSettings, *, group: str, topics: Sequence[str], listener: ConsumerRebalanceListener
) -> AIOKafkaConsumer:
    """A member of a group, range-assigned: partition p of every topic goes to one member."""
    consumer = AIOKafkaConsumer(
        **options(kafka),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        consumer_timeout_ms=LOOK_MS,
        max_partition_fetch_bytes=FETCH_BYTES,
        session_timeout_ms=int(session_seconds(kafka) * 1000),
        heartbeat_interval_ms=int(session_seconds(kafka) * 1000 / HEARTBEATS_IN_A_SESSION),
        rebalance_timeout_ms=int(rebalance_seconds(kafka) * 1000),
        partition_assignment_strategy=(RangePartitionAssignor,),
    )
    consumer.subscribe(list(topics), listener=listener)
    # Nine command topics of six partitions, most of them silent, in every fetch.
    aiokafka_internals.fetch_changes(consumer)
    return patient(consumer)


def patient(client: Client) -> Client:
    """The client, which pauses after it has found no broker, and hears of new secrets."""
    aiokafka_internals.pause_without_brokers(client, AWAY_SECONDS)
    return credentials.noted(client)


def session_seconds(kafka: KafkaSettings) -> float:
    """After so long without a heartbeat a member is taken out of its group."""
    return kafka.session_timeout.total_seconds()


def rebalance_seconds(kafka: KafkaSettings) -> float:
    """So long the group waits for its members to give up their partitions."""
    return session_seconds(kafka) * SESSIONS_IN_A_REBALANCE


async def end(client: aiokafka_internals.Connected, *, timeout: float = STOP_SECONDS) -> None:  # noqa: ASYNC109
    """Stop a client within `timeout` seconds, whatever its state.

    While the broker is away a consumer's `stop()` raises CancelledError of its own, with connections and tasks left
    behind; a task of its own keeps that away from the caller, and what is left is cut off.
    """
    task = asyncio.create_task(client.stop(), name="kafka-client-stop")
    await asyncio.wait({task}, timeout=timeout)
    if task.done() and not task.cancelled() and task.exception() is None:
        return
    task.cancel()
    cutting = asyncio.create_task(_cut_off(client), name="kafka-client-cut-off")
    _cutting.add(cutting)
    cutting.add_done_callback(_cutting.discard)


_cutting: set[asyncio.Task[None]] = set()


async def _cut_off(client: aiokafka_internals.Connected) -> None:
    """End the connections of a client that does not stop."""
    with suppress(KafkaError, OSError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await aiokafka_internals.connections_of(client).close()


async def start(client: Client, *, timeout: float = START_SECONDS) -> Client:  # noqa: ASYNC109
    """Start a client.

    Raises Unavailable when no broker answers, or not in time; the client must not be used then.
    """
    try:
        async with asyncio.timeout(timeout):
            await client.start()
    except (KafkaError, OSError, TimeoutError) as error:
        await end(client)
        raise Unavailable(reason(error)) from error
    except asyncio.CancelledError as error:
        await end(client)
        if failures.is_cancelled():
            raise
        raise Unavailable("The client has ended by itself.") from error
    return client


@asynccontextmanager
async def reading(
    kafka: KafkaSettings, *, committed: bool = True, needles: Sequence[bytes] = (), **more: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """A started reader that is ended in any case; with `needles` it passes over batches in which none of them is."""
    with sought.only(needles):
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
        await client.close()
        raise Unavailable(reason(error)) from error
    try:
        yield client
    finally:
        await client.close()


def mark_retrieved(future: "asyncio.Future[Any]") -> None:
    """Mark the exception as retrieved, so that asyncio does not log it."""
    if future.done() and not future.cancelled():
        future.exception()


def reason(error: BaseException) -> str:
    """One sentence for what a client said when it could not connect."""
    text = str(error).strip().removeprefix("KafkaConnectionError: ") or type(error).__name__
    if text.startswith("Unable to bootstrap"):
        return "No broker accepts connections there."
    return f"{text.rstrip('.')}."


# --- what a group has committed --------------------------------------------------------------------------------------
async def committed(kafka: KafkaSettings, group: str, wanted: Sequence[TopicPartition]) -> Offsets:
    """For each topic the committed offset and its metadata; those without a commit are left out. Raises Unavailable."""
    async with administration(kafka) as admin:
        try:
            async with asyncio.timeout(START_SECONDS):
                found = await admin.list_consumer_group_offsets(group, partitions=wanted)
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"Committed offsets cannot be read: {error!r:.200}") from error
    return offsets_in(found, wanted)


def offsets_in(found: Mapping[TopicPartition, OffsetAndMetadata], wanted: Iterable[TopicPartition]) -> Offsets:
    """The committed offsets in an answer of the coordinator.

    Raises Unavailable when a partition that was asked for is not in it: while the coordinator loads its group after a
    restart it answers with none of them, and the client does not look at the error. Nothing committed looks different,
    each partition with -1.
    """
    missing = [where for where in wanted if where not in found]
    if missing:
        raise Unavailable(f"The group's coordinator did not tell the offsets of {len(missing)} partitions.")
    return {where.topic: (held.offset, held.metadata or "") for where, held in found.items() if held.offset >= 0}


async def commit(consumer: AIOKafkaConsumer, offsets: Mapping[int, Offsets]) -> bool:
    """Commit offsets of these partition numbers; False when that was refused or not answered in time."""
    values = {
        TopicPartition(topic, partition): OffsetAndMetadata(*value)
        for partition, by_topic in offsets.items()
        for topic, value in by_topic.items()
    }
    try:
        async with asyncio.timeout(COMMIT_SECONDS):
            await consumer.commit(values)
    except (KafkaError, IllegalStateError, TimeoutError) as error:
        log.debug("commit refused", partitions=[*offsets], reason=f"{error!r:.120}")
        return False
    return True


# --- whether a group knows us -----------------------------------------------------------------------------------------
class Confirmations:
    """Commits that tell the group nothing new, in one request for all that ask in one turn of the loop."""

    def __init__(self, commit: Callable[[Mapping[int, Offsets]], Awaitable[bool]]) -> None:
        self._commit = commit
        self._asked: dict[int, Offsets] = {}
        self._answer: asyncio.Task[bool] | None = None

    async def confirm(self, partition: int, offsets: Offsets) -> bool:
        """Whether the group has accepted these offsets of the partition once more, with all that ask just now."""
        self._asked[partition] = offsets
        if self._answer is None:
            self._answer = asyncio.create_task(self._ask(), name="confirmation")
        return await asyncio.shield(self._answer)

    async def _ask(self) -> bool:
        await asyncio.sleep(0)
        asked, self._asked, self._answer = self._asked, {}, None
        return await self._commit(asked)
