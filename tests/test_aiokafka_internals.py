"""What is private of aiokafka is still there, does what we use it for, and is used in one file only."""

import ast
import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest

import connector
from connector.events import Record, boot_seconds
from connector.kafka import aiokafka_internals as internals
from connector.kafka import clients, header_names, topics
from connector.kafka.produce import send
from connector.kafka.sending.sender import Sender
from connector.kafka.topics import Topic
from connector.settings import KafkaSettings
from tests.executing import kafka_settings
from tests.running import until

NOWHERE = "127.0.0.1:1"
PUBLIC = {
    "aiokafka",
    "aiokafka.abc",
    "aiokafka.admin",
    "aiokafka.admin.config_resource",
    "aiokafka.coordinator.assignors.range",
    "aiokafka.errors",
    "aiokafka.structs",
}


def _of_aiokafka(file: Path) -> set[tuple[str, str]]:
    """Module and name of each import from aiokafka."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = [
        (node.module or "", name.name) if isinstance(node, ast.ImportFrom) else (name.name, "")
        for node in nodes
        for name in node.names
    ]
    return {(module, name) for module, name in imported if module.split(".")[0] == "aiokafka"}


def test_nothing_private_is_used_elsewhere() -> None:
    files = {*Path(connector.__file__).parent.rglob("*.py")} - {Path(internals.__file__)}
    private = {
        f"{file.name}: {module} {name}"
        for file in files
        for module, name in _of_aiokafka(file)
        if name.startswith("_") or (module not in PUBLIC and not module.startswith("aiokafka.protocol."))
    }
    assert private == set()
    kafka = {file for file in files if file.parent.name in ("kafka", "state")}
    assert [file.name for file in kafka if "SLF001" in file.read_text()] == []
    assert len(kafka) > 20


# --- connections ------------------------------------------------------------------------------------------------------
async def test_each_kind_of_client_has_connections() -> None:
    sender, consumer, admin = Sender(kafka_settings(NOWHERE, "p")), AIOKafkaConsumer(), AIOKafkaAdminClient()
    for client in (sender, consumer, admin):
        assert isinstance(internals.connections_of(client), AIOKafkaClient)
    await sender.stop()
    await consumer.stop()
    await admin.close()


async def test_a_client_that_finds_no_broker_pauses() -> None:
    for seconds, is_pausing in ((0, False), (3600, True)):
        client = AIOKafkaConsumer(bootstrap_servers=NOWHERE)
        internals.pause_without_brokers(client, seconds)
        connections = internals.connections_of(client)
        updating = asyncio.create_task(connections._metadata_update(connections.cluster, []))
        await asyncio.wait({updating}, timeout=0.2 if is_pausing else 20)
        assert updating.done() != is_pausing
        updating.cancel()
        await client.stop()


async def test_the_next_connection_uses_the_new_context_and_password(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []

    async def connect(*_: object, **options: object) -> None:
        used.append(options)
        raise OSError("no connection")

    monkeypatch.setattr("aiokafka.client.create_conn", connect)
    for client in (Sender(kafka_settings(NOWHERE, "p")), AIOKafkaConsumer(bootstrap_servers=NOWHERE)):
        context = ssl.create_default_context()
        internals.use_context(client, context)
        internals.use_password(client, "user", "password")
        with suppress(OSError, KafkaError):
            await internals.connections_of(client).bootstrap()
        options = used.pop()
        assert options["ssl_context"] is context
        assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("user", "password")
        await client.stop()


async def test_a_broker_answers_a_request_that_the_client_has_no_method_for(kafka: str, prefix: str) -> None:
    async with clients.administration(kafka_settings(kafka, prefix)) as admin:
        assert (await internals.ask(admin, MetadataRequest([]))).brokers


async def test_the_partitions_of_topics_that_exist_are_told(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.one", 2, 1), Topic(f"{prefix}.two", 1, 1)])
    async with clients.reading(settings) as consumer:
        found = await internals.partitions_of(consumer, [f"{prefix}.one", f"{prefix}.two", f"{prefix}.one"])
    assert found == {f"{prefix}.one": [0, 1], f"{prefix}.two": [0]}


async def test_a_topic_is_counted_once_it_is_known(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.two", 2, 1)])
    connections = internals.connections(**clients.options(settings))
    await connections.bootstrap()
    assert await internals.count_of(connections, f"{prefix}.two") == 2
    await connections.close()


async def test_the_next_fetch_waits_as_long_as_it_is_told_to() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=NOWHERE, fetch_max_wait_ms=500)
    with suppress(KafkaError):
        await consumer.start()
    fetching = fetcher.Fetcher(consumer._client, consumer._subscription, fetch_max_wait_ms=500)
    consumer._fetcher = fetching
    assert fetching._fetch_max_wait_ms == 500
    internals.wait_for_records(consumer, 2_000)
    assert fetching._fetch_max_wait_ms == 2_000
    await fetching.close()
    await consumer.stop()


async def test_it_is_told_when_what_the_group_answers_was_sent(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.one", 1, 1)])
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=prefix, session_timeout_ms=3_000, heartbeat_interval_ms=200
    )
    consumer.subscribe([f"{prefix}.one"])
    known: list[float] = []
    internals.note_known(consumer, known.append)
    before = boot_seconds()
    await consumer.start()
    await until(lambda: len(known) >= 3)
    assert before < known[0] < known[1] < known[2] < boot_seconds()
    await consumer.stop()


# --- batches ----------------------------------------------------------------------------------------------------------
def test_a_batch_says_when_it_is_full() -> None:
    builder = internals.BatchBuilder(2, 0, 1, -1, -1, 0, 100)
    assert builder.append(0, None, None, b"x" * 1000, []) is not None
    assert builder.append(1, None, b"k", b"x", [("h", b"x")]) is None
    assert builder.size() > 1000


@pytest.mark.parametrize("name", internals.CODECS)
def test_a_batch_knows_its_producer_and_its_compression(name: str) -> None:
    builder = internals.BatchBuilder(2, internals.CODECS[name], 1, -1, -1, 0, 10_000)
    builder.append(0, None, b"k", b"x" * 1000, [("h", b"y")])
    builder.set_producer_state(7, 8, 9)
    batch = internals.MemoryRecords(bytes(builder.build())).next_batch()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (7, 8, 9)
    assert (batch.compression_type, batch.is_transactional) == (internals.CODECS[name], True)
    assert [(record.key, record.value, record.headers) for record in batch] == [(b"k", b"x" * 1000, [("h", b"y")])]


# --- consumers --------------------------------------------------------------------------------------------------------
def test_consumers_read_with_our_classes() -> None:
    assert fetcher.MemoryRecords is header_names.Fetched
    assert fetcher.PartitionRecords is header_names.PartitionRecords
    # Both are looked up when a fetch has brought something.
    names = fetcher.Fetcher._proc_fetch_request.__code__.co_names
    assert {"MemoryRecords", "PartitionRecords"} <= {*names}


async def test_where_a_consumer_reads_on_is_told_without_waiting(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.read", 1, 1, {})])
    where = TopicPartition(f"{prefix}.read", 0)
    await send(settings, *(Record(where.topic, None, b"x", [], partition=0) for _ in range(3)))
    async with clients.reading(settings) as consumer:
        consumer.assign([where])
        assert internals.position(consumer, where) is None
        while not await consumer.getmany(timeout_ms=1_000):
            pass
        assert internals.position(consumer, where) == 3


# --- fetch sessions ---------------------------------------------------------------------------------------------------
@dataclass
class Fetches:
    """What a consumer asks of three partitions; `altering` changes the next request."""

    consumer: AIOKafkaConsumer
    places: list[TopicPartition]
    asked: list[int] = field(default_factory=list)
    altering: Callable[[Any], None] | None = None

    async def write(self, settings: KafkaSettings, *numbers: int) -> None:
        topic = self.places[0].topic
        await send(settings, *(Record(topic, None, b"x", [], partition=number) for number in numbers))

    async def read(self, count: int) -> list[tuple[int, int]]:
        """Partition and offset of the next records."""
        found: list[tuple[int, int]] = []
        async with asyncio.timeout(30):
            while len(found) < count:
                for records in (await self.consumer.getmany(timeout_ms=500)).values():
                    found += [(record.partition, record.offset) for record in records]
        return found


@asynccontextmanager
async def fetching(settings: KafkaSettings, *, changes: bool = True) -> AsyncIterator[Fetches]:
    await topics.apply(settings, [Topic(f"{settings.topic_prefix}.read", 3, 1, {})])
    consumer = clients.reader(settings, fetch_max_wait_ms=100)
    connections = internals.connections_of(consumer)
    seen = Fetches(consumer, [TopicPartition(f"{settings.topic_prefix}.read", number) for number in range(3)])
    sent = connections.send

    async def spy(node: int, request: Any, **options: Any) -> Any:
        if isinstance(request, FetchRequest):
            seen.asked.append(sum(len(partitions) for _, partitions in request.topics))
            if seen.altering is not None:
                seen.altering(request)
                seen.altering = None
        return await sent(node, request, **options)

    connections.send = spy
    if changes:
        internals.fetch_changes(consumer)
    await clients.start(consumer)
    try:
        consumer.assign(seen.places)
        yield seen
    finally:
        await clients.end(consumer)


@pytest.mark.parametrize("changes", [True, False])
async def test_a_fetch_names_only_what_has_changed_and_everything_is_read(
    kafka: str,
    prefix: str,
    changes: bool,  # noqa: FBT001
) -> None:
    settings = kafka_settings(kafka, prefix)
    async with fetching(settings, changes=changes) as seen:
        await seen.write(settings, 0, 1, 2, 0)
        first = await seen.read(4)
        await until(lambda: len(seen.asked) > 5)
        del seen.asked[:]
        await until(lambda: len(seen.asked) >= 5)
        assert set(seen.asked) == ({0} if changes else {3})
        for number in (2, 0, 1, 1):
            await seen.write(settings, number)
            first += await seen.read(1)
        seen.consumer.pause(seen.places[0])
        await seen.write(settings, 0, 1)
        first += await seen.read(1)
        seen.consumer.resume(seen.places[0])
        first += await seen.read(1)
        seen.consumer.seek(seen.places[2], 0)
        again = await seen.read(2)
    assert sorted(first) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (2, 0), (2, 1)]
    assert again == [(2, 0), (2, 1)]


@pytest.mark.parametrize("session", [(1234567, 5), (0, 7)])
async def test_a_session_that_the_broker_does_not_know_is_begun_again(
    kafka: str, prefix: str, session: tuple[int, int]
) -> None:
    settings = kafka_settings(kafka, prefix)

    def alter(request: Any) -> None:
        request._session = (session[0] or request._session[0], session[1], [])

    async with fetching(settings) as seen:
        await seen.write(settings, 0)
        await seen.read(1)
        await until(lambda: seen.asked[-1:] == [0])
        seen.altering = alter
        await until(lambda: seen.asked[-1:] == [3])
        await seen.write(settings, 1)
        assert await seen.read(1) == [(1, 0)]


async def test_another_assignment_is_told_what_the_one_before_knew(kafka: str, prefix: str) -> None:
    settings = kafka_settings(kafka, prefix)
    async with fetching(settings) as seen:
        await seen.write(settings, 0)
        # While a record is not taken nothing is fetched.
        await until(lambda: seen.consumer.highwater(seen.places[1]) == 0)
        seen.consumer.assign(seen.places)
        assert await seen.read(1) == [(0, 0)]
        await until(lambda: seen.consumer.highwater(seen.places[1]) == 0)
