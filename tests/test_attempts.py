"""Attempts, which are written to the journal beside the transactions of their owner, behind its fence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from connector.dev.broker import QUICK, Broker
from connector.errors import Superseded, Unavailable
from connector.events import Record
from connector.executor import offsets
from connector.executor import writer as module
from connector.executor.writer import Attempts, Writer
from connector.kafka import clients, reading, topics
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from connector.settings import KafkaSettings
from connector.state import checkpoints, journal
from connector.state.claims import Claims
from connector.state.journal import Entry
from tests.executing import SEND, executing, kafka_settings, message
from tests.guarantees.without import taken_away
from tests.kafka_proxy import END, JOIN, PRODUCE, Exchange, proxied
from tests.running import read_all, until, values
from tests.test_writer import Failing, step

COMMANDS = "t.commands.send-message"
ID = "owner-0"


def attempt(settings: KafkaSettings, number: int) -> Record:
    moment = datetime.now(UTC)
    entry = Entry(state="attempting", topic=COMMANDS, offset=number, id=f"c{number}", at=moment, alike="x")
    return journal.encode(settings.topic_prefix, entry, partition=0)


@pytest.fixture
async def settings(kafka: str, prefix: str) -> KafkaSettings:
    found = kafka_settings(kafka, prefix)
    compacted = Topic(checkpoints.topic_of(found), 1, 1, {"cleanup.policy": "compact"})
    await topics.apply(found, [compacted, *(Topic(f"{prefix}.{name}", 1, 1) for name in ("journal", "results"))])
    return found


@asynccontextmanager
async def attempting(settings: KafkaSettings) -> AsyncIterator[Attempts]:
    """An owner's attempts, opened."""
    found = Attempts(settings, f"{settings.topic_prefix}-{ID}", 0)
    await found.open()
    try:
        yield found
    finally:
        await found.close()


async def _restored(settings: KafkaSettings) -> set[int]:
    """The commands whose attempts a successor finds open."""
    end = await reading.end_of(settings, journal.topic_of(settings), 0)
    state = await journal.restore(settings, 0, low=0, end=end)
    return {offset for _, offset in state.open}


@pytest.mark.parametrize("hides_epochs", [False, True], ids=["epochs", "joining"])
async def test_an_attempt_takes_one_request_and_many_share_one(
    kafka: str, settings: KafkaSettings, *, hides_epochs: bool
) -> None:
    async with proxied(kafka, hides_epochs=hides_epochs) as proxy:
        through = settings.model_copy(update={"bootstrap_servers": proxy.address})
        async with attempting(through) as attempts:
            assert await attempts.write(attempt(settings, 0)) == 1
            # The fence and the attempt.
            assert len(proxy.asked(PRODUCE)) == 2
            offsets = await asyncio.gather(*(attempts.write(attempt(settings, number)) for number in range(1, 101)))
            assert offsets == [*range(2, 102)]
            assert len(proxy.asked(PRODUCE)) == 3
        assert proxy.asked(JOIN) == proxy.asked(END) == []
    assert await _restored(settings) == {*range(101)}


async def test_a_predecessor_is_refused_from_the_fence_on_and_not_before(settings: KafkaSettings) -> None:
    """To open the id alone refuses nobody."""
    async with attempting(settings) as former:
        await former.write(attempt(settings, 1))
        with taken_away("fence"):
            async with attempting(settings):
                await former.write(attempt(settings, 2))
        async with attempting(settings) as successor:
            with pytest.raises(Superseded):
                await former.write(attempt(settings, 3))
            await successor.write(attempt(settings, 4))
        with pytest.raises(Superseded):
            await former.write(attempt(settings, 5))
    assert await _restored(settings) == {1, 2, 4}


async def test_an_attempt_beside_an_open_transaction_is_waited_for_and_found(settings: KafkaSettings) -> None:
    """Readers of committed records see it when the transaction before it has ended: who restores waits for that."""
    transactions = Transactions(settings, f"{settings.topic_prefix}-0")
    await transactions.open()
    assert transactions._sender is not None
    async with attempting(settings) as attempts:
        await transactions._sender.write([Record(journal.topic_of(settings), b"key", b"open", [], 0)])
        await attempts.write(attempt(settings, 1))
        claims = Claims(settings)
        async with claims.used():
            restoring = asyncio.create_task(_restored(settings))
            viewing = asyncio.create_task(claims.view(datetime.now(UTC)))
            await asyncio.sleep(1.5)
            assert not restoring.done()
            assert not viewing.done()
            await transactions._sender.abort()
            assert await restoring == {1}
            assert [one.entry.id for one in (await viewing).attempts.values()] == ["c1"]
    await transactions.close()


async def test_the_broker_is_reminded_of_an_owner_while_it_writes(
    settings: KafkaSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That leaves no marker in the journal, whose end must be known, and disturbs no attempt."""
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    async with attempting(settings) as attempts:
        places: list[int | None] = []
        for number in range(1, 40):
            written, kept = await asyncio.gather(attempts.write(attempt(settings, number)), attempts.keep_regularly())
            places += [written, kept]
        assert sorted(place or -1 for place in places) == [*range(1, 79)]
        end = await reading.end_of(settings, journal.topic_of(settings), 0)
        assert end == 79
        async with attempting(settings):
            with pytest.raises(Superseded):
                await attempts.keep_regularly()
    assert await reading.end_of(settings, checkpoints.topic_of(settings), 0) == 39


async def test_a_journal_that_begins_anew_ends_the_owner(settings: KafkaSettings) -> None:
    async with attempting(settings) as attempts:
        for number in range(3):
            await attempts.write(attempt(settings, number))
        async with clients.administration(settings) as admin:
            await admin.delete_topics([journal.topic_of(settings)])
            await topics.apply(settings, [Topic(journal.topic_of(settings), 1, 1)])
        with pytest.raises((Superseded, Unavailable)):
            await attempts.write(attempt(settings, 3))


async def test_a_journal_in_which_there_are_only_fences_tells_nothing(settings: KafkaSettings) -> None:
    topic = journal.topic_of(settings)
    for _ in range(3):
        async with attempting(settings):
            end = await reading.end_of(settings, topic, 0)
            assert await journal.holds_only_fences(settings, 0, start=0, end=end)
    async with attempting(settings) as attempts:
        await attempts.write(attempt(settings, 1))
    end = await reading.end_of(settings, topic, 0)
    assert not await journal.holds_only_fences(settings, 0, start=0, end=end)


@pytest.mark.parametrize("without", ["", "foreign fence"])
async def test_an_owner_that_finds_the_fence_of_another_one_after_a_failure_ends(
    settings: KafkaSettings, without: str
) -> None:
    """Though the other one has written nothing else yet, and its own attempts lie there as well."""
    prefix = settings.topic_prefix
    transactions = Failing(settings, f"{prefix}-0")
    await transactions.open()
    with taken_away(without):
        async with attempting(settings) as attempts:
            writer = Writer(transactions, journal=journal.topic_of(settings), end=0, since=attempts.since)
            task = asyncio.create_task(writer.run())
            await writer.write(step(prefix, 0))
            await attempts.write(attempt(settings, 1))
            transactions.plan = ["before"]
            await writer.write(step(prefix, 1))
            await attempts.write(attempt(settings, 2))
            async with attempting(settings):
                transactions.plan = ["before"]
                writing = writer.write(step(prefix, 2))
                if without:
                    await writing
                else:
                    with pytest.raises(Superseded):
                        await writing
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await transactions.close()
    assert len(await read_all(settings.bootstrap_servers, f"{prefix}.results")) == (3 if without else 2)


@pytest.mark.parametrize("plan", ["before", "after", "slow"])
async def test_attempts_between_its_entries_tell_a_writer_nothing(settings: KafkaSettings, plan: str) -> None:
    prefix = settings.topic_prefix
    transactions = Failing(settings, f"{prefix}-0")
    await transactions.open()
    async with attempting(settings) as attempts:
        writer = Writer(transactions, journal=journal.topic_of(settings), end=0, since=attempts.since)
        task = asyncio.create_task(writer.run())
        for number in range(10):
            transactions.plan = [plan]
            await asyncio.gather(writer.write(step(prefix, number)), attempts.write(attempt(settings, number)))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await transactions.close()
    found = await read_all(settings.bootstrap_servers, f"{prefix}.results")
    assert [record.value for record in found] == [f"result {number}".encode() for number in range(10)]


async def test_nothing_that_is_written_next_lies_before_the_end_that_a_writer_tells(settings: KafkaSettings) -> None:
    """Not even before the marker of its last transaction, which is written after the commit was answered."""
    prefix = settings.topic_prefix
    transactions = Transactions(settings, f"{prefix}-0")
    await transactions.open()
    before_a_marker = 0
    async with attempting(settings) as attempts:
        writer = Writer(transactions, journal=journal.topic_of(settings), end=0, since=attempts.since)
        task = asyncio.create_task(writer.run())
        for number in range(200):
            place = await writer.write(step(prefix, number))
            end = writer.end
            offset = await attempts.write(attempt(settings, number))
            assert offset >= end
            before_a_marker += offset == place + 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await transactions.close()
    # Or this would show nothing.
    assert before_a_marker > 0


async def test_at_rest_the_end_that_a_writer_tells_is_the_journals(settings: KafkaSettings) -> None:
    """When all of it was deleted after its retention, it can be seen that nothing is missing."""
    prefix, topic = settings.topic_prefix, journal.topic_of(settings)
    transactions = Transactions(settings, f"{prefix}-0")
    await transactions.open()
    async with attempting(settings) as attempts:
        writer = Writer(transactions, journal=topic, end=0, since=attempts.since)
        task = asyncio.create_task(writer.run())
        await attempts.write(attempt(settings, 1))
        await writer.write(step(prefix, 1))
        # A checkpoint.
        await writer.write([Record(checkpoints.topic_of(settings), b"key", b"value", [], 0)])
        assert writer.end == await reading.end_of(settings, topic, 0)
        writer.pass_over(await attempts.write(attempts._fence))
        assert writer.end == await reading.end_of(settings, topic, 0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await transactions.close()


async def test_brokers_as_of_kafka_3_9_refuse_a_predecessor_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.0)
    broker = await Broker(jvm=QUICK, format_arguments=["--release-version", "3.9-IV0"]).start()
    try:
        settings = kafka_settings(broker.bootstrap_servers, "old")
        await topics.apply(settings, [Topic(f"old.{name}", 1, 1) for name in ("journal", "checkpoints")])
        async with attempting(settings) as former:
            await former.write(attempt(settings, 1))
            await former.keep_regularly()
            await former.write(attempt(settings, 2))
            async with attempting(settings):
                for late in (former.keep_regularly(), former.write(attempt(settings, 3))):
                    with pytest.raises(Superseded):
                        await late
        assert await _restored(settings) == {1, 2}
    finally:
        await broker.stop(gracefully=False)


async def test_a_command_that_is_being_ended_while_another_one_is_attempted_gets_one_result(
    kafka: str, prefix: str
) -> None:
    """Its end may stand before an attempt that is durable, and not be known yet when offsets are committed."""
    async with proxied(kafka) as proxy, executing(proxy.address, prefix) as running:
        await running.serving()
        answers = asyncio.Event()

        async def late(exchange: Exchange) -> None:
            await exchange.ask()
            await answers.wait()

        proxy.plan(END, late)
        await running.send({"to": "nobody"}, key="refused")
        await running.results(1)
        slow = running.simulator.fault("slow-answer", "CreateMessage", seconds=3.0, times=1)
        await running.send(message("1"), key="sent")
        await until(lambda: slow.hit > 0)
        await running.send(message("2"), key="sent")
        await _committed(running.kafka, SEND, end=3)
        await running.break_off()
        answers.set()
        await running.start()
        await running.results(3)
    found = await read_all(kafka, f"{prefix}.results.{SEND}")
    assert sorted(one["command"]["offset"] for one in values(found)) == [0, 1, 2]


async def _committed(settings: KafkaSettings, command: str, *, end: int) -> None:
    """Wait until the group knows of so many commands."""
    topic, group = f"{settings.topic_prefix}.commands.{command}", f"{settings.topic_prefix}-command"
    told = 0
    while told < end:
        held = await clients.committed(settings, group, [TopicPartition(topic, 0)])
        commit = offsets.decode(*held[topic]) if topic in held else None
        told = commit.end if commit else 0
        await asyncio.sleep(0.05)
