"""Group commit: what a failed write has come to is read from the journal, and nothing is written twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from connector.errors import Superseded, Unacknowledged, Unavailable, Unwritable
from connector.events import Record
from connector.executor.writer import SILENT_SECONDS, Writer
from connector.kafka import topics
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from connector.state import journal
from tests.executing import kafka_settings
from tests.running import read_all


class Failing(Transactions):
    """Fails as told, one write after the other: `before` or `after` the records are durable, or is `slow`.

    `unheard` topics are never acknowledged, and `broken` ones raise what the client should not.
    """

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        super().__init__(settings, transactional_id)
        self.plan: list[str] = []
        self.opened = 0
        self.unheard: set[str] = set()
        self.broken: set[str] = set()

    async def open(self) -> None:
        await super().open()
        self.opened += 1

    async def write(self, records: Sequence[Record]) -> list[int]:
        step = self.plan.pop(0) if self.plan else ""
        if step == "before":
            self.usable = False
            raise Unavailable("nobody knows")
        for record in records:
            self.usable = self.usable and record.topic not in self.unheard | self.broken
            if record.topic in self.unheard:
                raise Unacknowledged("silence", topic=record.topic)
            if record.topic in self.broken:
                raise ValueError("a bug")
        offsets = await super().write(records)
        if step == "after":
            self.usable = False
            raise Unavailable("nobody knows")
        self.usable = step != "slow"
        return offsets


@asynccontextmanager
async def writing(kafka: str, prefix: str) -> AsyncIterator[tuple[Writer, Failing]]:
    settings = kafka_settings(kafka, prefix)
    names = ("journal", "results", "replies", "other")
    compacted = Topic(f"{prefix}.compacted", 1, 1, {"cleanup.policy": "compact"})
    await topics.apply(settings, [*(Topic(f"{prefix}.{name}", 1, 1) for name in names), compacted])
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


def replying(prefix: str, number: int, topic: str, *, key: bytes | None = b"key", value: bytes = b"x") -> list[Record]:
    return [Record(f"{prefix}.{topic}", key, value, [], 0), *step(prefix, number)]


@pytest.mark.parametrize(
    "odd",
    [
        {"topic": "compacted", "key": None},
        {"topic": "missing"},
        {"topic": "replies", "value": "no bytes"},
        {"topic": "replies", "value": b"x" * 1_500_000},
    ],
    ids=["without a key for a compacted topic", "for a topic that is missing", "not of bytes", "too large"],
)
async def test_a_write_that_kafka_does_not_take_fails_alone_and_names_the_topic(
    kafka: str, prefix: str, odd: dict[str, Any]
) -> None:
    async with writing(kafka, prefix) as (writer, _):
        done = await asyncio.gather(
            writer.write(step(prefix, 0)),
            *(writer.write(replying(prefix, number, **odd)) for number in range(10, 13)),
            *(writer.write(step(prefix, number)) for number in range(1, 6)),
            return_exceptions=True,
        )
    failed = [one for one in done if not isinstance(one, int)]
    assert [type(one) for one in failed] == [Unwritable] * 3
    assert {one.topic for one in failed if isinstance(one, Unwritable)} == {f"{prefix}.{odd['topic']}"}
    assert sorted(await _written(kafka, prefix)) == [f"result {number}".encode() for number in range(6)]
    assert len(await read_all(kafka, f"{prefix}.journal")) == 6


async def test_a_topic_that_is_deleted_under_way_fails_only_its_writes(
    kafka: str, prefix: str, cleaner: AdminClient
) -> None:
    async with writing(kafka, prefix) as (writer, _):
        await writer.write(replying(prefix, 0, "other"))
        (deleted,) = cleaner.delete_topics([f"{prefix}.other"]).values()
        await asyncio.to_thread(deleted.result)
        done = await asyncio.gather(
            *(writer.write(replying(prefix, number, "other")) for number in range(10, 13)),
            *(writer.write(step(prefix, number)) for number in range(1, 6)),
            return_exceptions=True,
        )
    assert [isinstance(one, Unwritable | Unacknowledged) for one in done] == [True] * 3 + [False] * 5
    assert sorted(await _written(kafka, prefix)) == [f"result {number}".encode() for number in range(6)]


async def test_a_silent_topic_fails_its_writes_after_some_tries_and_is_left_alone_for_a_while(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        transactions.unheard = {f"{prefix}.replies"}
        done = await asyncio.gather(
            *(writer.write(replying(prefix, number, "replies")) for number in range(10, 13)),
            *(writer.write(step(prefix, number)) for number in range(5)),
            return_exceptions=True,
        )
        assert [type(one) for one in done] == [Unacknowledged] * 3 + [int] * 5
        opened = transactions.opened
        with pytest.raises(Unacknowledged, match="lately"):
            await writer.write(replying(prefix, 13, "replies"))
        assert transactions.opened == opened
        monkeypatch.setattr(writer, "_clock", lambda: time.monotonic() + SILENT_SECONDS)
        with pytest.raises(Unacknowledged, match="silence"):
            await writer.write(replying(prefix, 14, "replies"))
        assert transactions.opened == opened + 1
        monkeypatch.setattr(writer, "_clock", lambda: time.monotonic() + 2 * SILENT_SECONDS)
        transactions.unheard = set()
        await writer.write(replying(prefix, 5, "replies"))
        await writer.write(replying(prefix, 6, "replies"))
    assert sorted(await _written(kafka, prefix)) == [f"result {number}".encode() for number in range(7)]


async def test_what_the_client_should_not_raise_fails_one_write(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        transactions.broken = {f"{prefix}.replies"}
        done = await asyncio.gather(
            writer.write(replying(prefix, 10, "replies")), writer.write(step(prefix, 0)), return_exceptions=True
        )
    assert [type(one) for one in done] == [Unwritable, int]


async def test_what_only_the_journal_does_not_take_is_written_as_long_as_it_takes(kafka: str, prefix: str) -> None:
    async with writing(kafka, prefix) as (writer, transactions):
        transactions.plan = ["before"] * 25
        await writer.write(step(prefix, 0)[1:])
    assert transactions.opened == 26
