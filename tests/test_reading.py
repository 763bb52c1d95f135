"""Readers of topics: however much comes in one fetch, the event loop turns between its portions."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

import connector
from connector.events import BEGINNING, now
from connector.kafka import clients, reading, scanning, topics
from connector.kafka.ownership import Assignment, Membership
from connector.kafka.sending.sender import Sender
from connector.kafka.topics import Topic
from connector.settings import KafkaSettings
from connector.state import control, journal
from tests.executing import kafka_settings
from tests.running import until

MANY = 12_000


class Turns:
    """Counts how many records are taken in each turn of the event loop."""

    def __init__(self) -> None:
        self.records: Counter[int] = Counter()
        self._turn = 0

    def take(self, count: int = 1) -> None:
        self.records[self._turn] += count

    @property
    def total(self) -> int:
        return self.records.total()

    @asynccontextmanager
    async def counted(self) -> AsyncIterator["Turns"]:
        loop = asyncio.get_running_loop()

        def turn() -> None:
            self._turn += 1
            self._handle = loop.call_soon(turn)

        turn()
        try:
            yield self
        finally:
            self._handle.cancel()


async def _owner(settings: KafkaSettings, turns: Turns) -> None:
    topic, stop = journal.topic_of(settings), asyncio.Event()

    async def serve(assignment: Assignment) -> None:
        assignment.start_reading({topic: 0}, lambda _topic, records: turns.take(len(records)))
        await assignment.leaving.wait()

    group = f"{settings.topic_prefix}-many"
    membership = Membership(settings, role="test", group=group, topics=[topic], serve=serve)
    task = asyncio.create_task(membership.run(stop))
    await until(lambda: turns.total >= MANY)
    stop.set()
    await task


async def _between(settings: KafkaSettings, turns: Turns) -> None:
    async for batch in reading.between(settings, journal.topic_of(settings), 0, end=MANY):
        turns.take(len(batch))


async def _entries(settings: KafkaSettings, turns: Turns) -> None:
    async for _ in journal.entries(settings, 0, start=0, end=MANY):
        turns.take()


async def _past(settings: KafkaSettings, turns: Turns) -> None:
    names = [journal.topic_of(settings), f"{settings.topic_prefix}.control"]
    async for _ in reading.follow(settings, names, since=BEGINNING, until_end=True):
        turns.take()


async def _newest(settings: KafkaSettings, turns: Turns) -> None:
    starts = {journal.topic_of(settings): reading.Start(records=MANY)}
    async with aclosing(reading.newest(settings, starts, behind=MANY)) as batches:
        async for batch in batches:
            turns.take(len(batch.records))
            if turns.total == MANY:
                return


async def _requests(settings: KafkaSettings, turns: Turns) -> None:
    async with aclosing(control.follow(settings, 0)) as entries:
        async for _ in entries:
            turns.take()
            if turns.total == MANY:
                return


async def _scan(settings: KafkaSettings, turns: Turns) -> None:
    async for portion in scanning.scan(settings, {journal.topic_of(settings): None}):
        turns.take(len(portion.records))


READERS: list[Callable[[KafkaSettings, Turns], Awaitable[None]]] = [
    _owner,
    _between,
    _entries,
    _past,
    _newest,
    _requests,
    _scan,
]


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__.strip("_"))
async def test_a_large_fetch_is_taken_in_portions(
    read: Callable[[KafkaSettings, Turns], Awaitable[None]], large: KafkaSettings
) -> None:
    async with Turns().counted() as turns:
        await read(large, turns)
    assert turns.total >= MANY
    assert max(turns.records.values()) <= reading.RECORDS_IN_A_TURN


@pytest.fixture
async def large(kafka: str, prefix: str) -> KafkaSettings:
    """Journal and control topic, each with more records in one partition than a fetch should deliver at once."""
    settings = kafka_settings(kafka, prefix)
    names = [f"{prefix}.journal", f"{prefix}.control"]
    await topics.apply(settings, [Topic(name, 1, 1) for name in names])
    entry = journal.Entry("done", "t", 0, "i", now())
    attempt = journal.encode(prefix, entry, partition=0)
    request = control.encode(prefix, control.Request(action="pause", watch="w"))
    sender = await clients.start(Sender(settings, batch_bytes=1_000_000))
    try:
        await sender.write([attempt] * MANY + [request] * MANY)
    finally:
        await clients.end(sender)
    return settings


def test_records_are_fetched_in_one_place_only() -> None:
    """Any other loop over a fetch would stop the event loop for as long as the fetch is large."""
    files = Path(connector.__file__).parent.rglob("*.py")
    fetching = [
        file.name for file in files if re.search(r"\.getmany\(|\.getone\(|async for \w+ in consumer", file.read_text())
    ]
    assert fetching == ["reading.py"]
