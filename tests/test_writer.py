"""Group commit: what a failed write has come to is read from the journal, and nothing is written twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from connector.errors import Superseded, Unavailable, Unwritable
from connector.events import Record
from connector.executor.writer import Writer
from connector.kafka import journal, topics
from connector.kafka.fitness import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from tests.executing import kafka_settings
from tests.running import read_all


class Failing(Transactions):
    """Fails as told, one write after the other: `before` or `after` the records are durable, or is `slow`."""

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        super().__init__(settings, transactional_id)
        self.plan: list[str] = []
        self.opened = 0

    async def open(self) -> None:
        await super().open()
        self.opened += 1

    async def write(self, records: Sequence[Record]) -> list[int]:
        step = self.plan.pop(0) if self.plan else ""
        if step == "before":
            self.usable = False
            raise Unavailable("nobody knows")
        offsets = await super().write(records)
        if step == "after":
            self.usable = False
            raise Unavailable("nobody knows")
        self.usable = step != "slow"
        return offsets


@asynccontextmanager
async def writing(kafka: str, prefix: str) -> AsyncIterator[tuple[Writer, Failing]]:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.{name}", 1, 1) for name in ("journal", "results", "replies")])
    transactions = Failing(settings, f"{prefix}-0")
    await transactions.open()
    writer = Writer(
        transactions,
        journal=f"{prefix}.journal",
        end=0,
        since=partial(journal.since, settings, 0),
    )
    task = asyncio.create_task(writer.run())
    try:
        yield writer, transactions
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Superseded):
            await task
        await transactions.close()


def step(prefix: str, number: int) -> list[Record]:
    return [
        Record(f"{prefix}.results", b"key", f"result {number}".encode(), [], 0),
        Record(f"{prefix}.journal", f"id-{number}".encode(), f"done {number}".encode(), [], 0),
    ]


async def _written(kafka: str, prefix: str) -> list[bytes]:
    return [record.value for record in await read_all(kafka, f"{prefix}.results")]


@pytest.mark.parametrize(
    "plan",
    [[], ["before"], ["after"], ["slow"], ["before", "after"], ["after", "before", "slow"], ["before"] * 3],
    ids="-".join,
)
async def test_every_result_is_written_once_however_often_the_write_fails(
    kafka: str, prefix: str, plan: list[str]
) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        transactions.plan = list(plan)
        applied: list[int] = []
        offsets = [await writer.write(step(prefix, number), applied.append) for number in range(5)]
    assert await _written(kafka, prefix) == [f"result {number}".encode() for number in range(5)]
    places = [record.offset for record in await read_all(kafka, f"{prefix}.journal")]
    assert offsets == applied == places
    assert transactions.opened == 1 + len(plan)


async def test_many_writers_share_a_transaction_and_a_failure(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        transactions.plan = ["after", "before"]
        offsets = await asyncio.gather(*(writer.write(step(prefix, number)) for number in range(50)))
    assert sorted(await _written(kafka, prefix)) == sorted(f"result {number}".encode() for number in range(50))
    assert len(set(offsets)) == 50
    assert transactions.opened <= 4


async def test_an_owner_that_finds_another_s_entry_after_a_failure_ends(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        await writer.write(step(prefix, 0))
        other = Transactions(kafka_settings(kafka, prefix), transactions.transactional_id)
        await other.open()
        await other.write(step(prefix, 99))
        await other.close()
        transactions.plan = ["before"]
        with pytest.raises(Superseded):
            await writer.write(step(prefix, 1))
    assert await _written(kafka, prefix) == [b"result 0", b"result 99"]


async def test_a_fenced_owner_ends_without_opening_again(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        await writer.write(step(prefix, 0))
        other = Transactions(kafka_settings(kafka, prefix), transactions.transactional_id)
        await other.open()
        with pytest.raises(Superseded):
            await writer.write(step(prefix, 1))
        assert transactions.opened == 1
        await other.close()


async def test_a_record_that_kafka_refuses_stops_nobody_else(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, _):
        large = [Record(f"{prefix}.replies", b"key", b"x" * 1_500_000, [], 0), *step(prefix, 1)]
        done = await asyncio.gather(
            writer.write(step(prefix, 0)),
            writer.write(large),
            writer.write(step(prefix, 2)),
            return_exceptions=True,
        )
        assert isinstance(done[1], Unwritable)
        await writer.write(step(prefix, 3))
    assert await _written(kafka, prefix) == [b"result 0", b"result 2", b"result 3"]
