"""A watch that fails stops itself alone, says since when and why, and goes on by itself when it can."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connector.errors import InvalidRecord, Refused, Unwritable
from connector.events import Record
from connector.kafka.produce import send
from connector.simulator import Simulator
from connector.state.control import Request as Asked
from connector.watcher.cursor import Cursor, Failing, Seen, first
from connector.watcher.records import KEPT_BYTES
from tests.running import Connector, configuration, read_all, until, wait_for_records
from tests.test_control import command_line, listed, receive
from tests.twilio_servers import changing
from tests.watching import NOW, WITHIN, Kafka, Twilio, logged, message, running, sid, wait_for, watcher

START = NOW - timedelta(minutes=1)


class Strict(Kafka):
    """A Kafka that refuses some records."""

    def __init__(self, refuses: Callable[[Record], bool], *, is_of_topic: bool = False) -> None:
        super().__init__()
        self.refuses = refuses
        self.refused = 0
        self._is_of_topic = is_of_topic

    async def commit(self, records: Sequence[Record], cursor: Cursor | None) -> None:
        if any(self.refuses(record) for record in records):
            self.refused += 1
            raise Unwritable("too large", is_of_topic=self._is_of_topic)
        await super().commit(records, cursor)


def letters(kafka: Kafka) -> list[Record]:
    return [record for record in kafka.records if record.topic == "t.dead-letters"]


# --- one row that Kafka refuses -------------------------------------------------------------------------------------
async def test_a_row_that_kafka_refuses_is_dead_lettered_and_its_neighbours_are_published() -> None:
    twilio = Twilio(*(message(number, body="x" * (2_000 if number in (3, 17) else 10)) for number in range(20)))
    kafka = Strict(lambda record: record.topic == "t.messages" and len(record.value or b"") > 1_500)
    async with running(watcher(twilio, kafka, start=START)):
        await kafka.until(lambda: len(kafka.sids) == 20)
        twilio.rows.insert(0, message(99))
        await kafka.until(lambda: sid(99) in kafka.sids)
    assert sorted(kafka.sids) == [*(sid(number) for number in range(20)), sid(99)]
    assert {record.key for record in letters(kafka)} == {sid(3).encode(), sid(17).encode()}


@pytest.mark.parametrize(("largest", "kept"), [(70_000, KEPT_BYTES), (1_500, 1_024), (10, None)])
async def test_a_dead_letter_that_kafka_refuses_becomes_shorter_and_at_last_a_line_in_the_log(
    largest: int, kept: int | None
) -> None:
    twilio = Twilio(message(1), message(2, body="x" * 100_000))
    kafka = Strict(lambda record: record.key == sid(2).encode() and len(record.value or b"") > largest)
    with logged() as lines:
        async with running(watcher(twilio, kafka, start=START)):
            await kafka.until(lambda: kafka.cursor is not None and sid(2) in kafka.cursor.seen)
    assert [len(record.value or b"") for record in letters(kafka)] == ([kept] if kept else [])
    assert kafka.sids.count(sid(1)) == 1
    told = [line["sid"] for line in lines if line["event"] == "row left out"]
    assert told == ([] if kept else [sid(2)])


async def test_an_update_that_kafka_refuses_spoils_no_other_update() -> None:
    followed = {sid(number): Seen(NOW - timedelta(hours=1), "0a1b2c3d", is_open=True) for number in range(5)}
    cursor = Cursor(since=NOW, complete_until=NOW, started_at=NOW, polled_at=NOW, followed=followed)
    twilio = Twilio()
    twilio.unlisted += [message(number, NOW, body="x" * (2_000 if number == 3 else 10)) for number in range(5)]
    kafka = Strict(lambda record: record.topic == "t.messages" and len(record.value or b"") > 1_500)
    async with running(watcher(twilio, kafka, emit="changes"), cursor):
        await kafka.until(lambda: len(kafka.sids) == 5)
    assert [record.key for record in letters(kafka)] == [sid(3).encode()]


async def test_a_topic_that_takes_nothing_stops_the_watch_and_costs_no_row() -> None:
    twilio = Twilio(message(1), message(2))
    kafka = Strict(lambda record: record.topic == "t.messages", is_of_topic=True)
    watch = watcher(twilio, kafka, start=START)
    async with running(watch):
        await wait_for(lambda: kafka.refused >= 2)
        assert watch.failing is not None
        assert watch.failing.why == "too large"
        kafka.refuses = lambda _record: False
        await kafka.until(lambda: len(kafka.sids) == 2)
        await wait_for(lambda: watch.failing is None)
    assert letters(kafka) == []


# --- what the watch says ----------------------------------------------------------------------------------------------
async def test_code_that_breaks_stops_the_watch_until_it_works_again() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    twilio.failures.extend([RuntimeError("with +15550100001")] * 2)  # type: ignore[list-item]  # of our own
    watch = watcher(twilio, kafka, start=START)
    with logged() as lines:
        async with running(watch):
            await wait_for(lambda: watch.failing is not None)
            assert watch.failing is not None
            assert watch.failing.why == "RuntimeError in the connector: its log has the traceback."
            await kafka.until(lambda: bool(kafka.sids))
    said = [line["event"] for line in lines if "watch failed" in line["event"] or "poll" in line["event"]]
    assert said == ["watch failed", "polling fails", "polling works again"]


async def test_a_failure_that_lasts_is_written_into_the_cursor_until_it_is_over() -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=START)):
        await kafka.until(lambda: bool(kafka.sids))
        twilio.failures.extend([Refused("no", status=400, code=20001)] * 2)
        await kafka.until(lambda: kafka.cursor is not None and kafka.cursor.failing is not None)
        assert kafka.cursor is not None
        assert kafka.cursor.failing is not None
        assert kafka.cursor.failing.why == "Refused status=400 code=20001"
        await kafka.until(lambda: kafka.cursor is not None and kafka.cursor.failing is None)
    assert kafka.sids == [sid(1)]


async def test_a_successor_knows_since_when_the_watch_stands_still() -> None:
    twilio, kafka = Twilio(), Kafka()
    twilio.failures.append(Refused("no", status=400, code=20001))
    failing = Failing(NOW - timedelta(days=1), "as before")
    watch = watcher(twilio, kafka)
    async with running(watch, replace(first(NOW), failing=failing)):
        await wait_for(lambda: watch.failing is not None)
        assert watch.failing == Failing(failing.since, "Refused status=400 code=20001")


# --- a cursor that cannot be read -------------------------------------------------------------------------------------
async def test_a_watch_whose_cursor_cannot_be_read_waits_for_a_rewind() -> None:
    twilio, kafka = Twilio(message(2), message(1, NOW - timedelta(minutes=2))), Kafka()
    watch, stop = watcher(twilio, kafka), asyncio.Event()
    task = asyncio.create_task(watch.run(None, stop, unreadable=InvalidRecord("The cursor cannot be read: why.")))
    await wait_for(lambda: watch.failing is not None)
    assert watch.failing is not None
    assert watch.failing.why.startswith("The cursor cannot be read: why. Update the connector, or go on from a time:")
    watch.ask(4, Asked(action="resume", watch="inbox"))
    watch.ask(5, Asked(action="rewind", watch="inbox", to=START))
    await kafka.until(lambda: kafka.sids.count(sid(2)) == 1)
    stop.set()
    await asyncio.wait_for(task, WITHIN)
    answers = [orjson.loads(record.value or b"")["outcome"] for record in kafka.records if record.topic == "t.control"]
    assert answers == ["refused", "done"]
    assert twilio.requests
    assert kafka.transactions[0][1] is None
    assert kafka.cursor is not None
    assert kafka.cursor.control == 6
    assert sid(1) not in kafka.sids


FUTURE = b'{"v": 2, "position": "somewhere"}'


@asynccontextmanager
async def one_partition(simulator: Simulator, kafka: str, prefix: str, folder: Path) -> AsyncIterator[Connector]:
    """A process whose watches share one partition of the cursors; not started yet."""
    start = "2026-01-01T00:00:00Z"
    watches = [{"resource": name, "interval": "200ms", "start": start} for name in ("messages", "calls")]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches, roles=["watch"])
    document["kafka"]["partitions"] = 1
    process = Connector(document, folder)
    await process.apply_topics()
    try:
        yield process
    finally:
        await process.kill()


async def test_a_cursor_that_cannot_be_read_stops_one_watch_and_a_rewind_repairs_it(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with one_partition(simulator, kafka, prefix, tmp_path) as process:
        for key, value in ((b"calls", FUTURE), (b"\xff\xfe", b"\xff"), (b"other", b"\xff")):
            await send(process.settings.kafka, Record(f"{prefix}.cursors", key, value, partition=0))
        await process.start()
        sent = receive(simulator, 2)
        records = await wait_for_records(kafka, f"{prefix}.messages", 2)
        assert {record.key.decode() for record in records} == set(sent)
        status = (await listed(process))["calls"]
        assert (status["state"], status["failing"]) == (
            "unreadable",
            "The cursor cannot be read: its version is 2, this connector's is 1.",
        )
        _, output, _ = await command_line(process, "watches", "list")
        assert "calls stands still: The cursor cannot be read: its version is 2" in output
        async with aiohttp.ClientSession() as session, session.get(f"{process.admin}/readyz") as answer:
            assert answer.status == 200
            assert "The watch calls stands still since " in await answer.text()
        assert (await read_all(kafka, f"{prefix}.cursors"))[-1].value != FUTURE
        code, _, problem = await command_line(process, "watches", "pause", "calls")
        assert code == 1
        assert "rewind it" in problem
        code, output, problem = await command_line(process, "watches", "rewind", "calls", "--to", "1h", "--yes")
        assert code == 0, problem
        simulator.fill("calls", count=1, step=1)
        await wait_for_records(kafka, f"{prefix}.calls", 1)
        assert (await listed(process))["calls"]["state"] in ("watching", "catching up")
        # Over a restart nothing is asked again.
        await process.stop()
        await process.start()
        receive(simulator)
        await wait_for_records(kafka, f"{prefix}.messages", 3)
        assert len(await read_all(kafka, f"{prefix}.calls")) == 1
    assert process.log.count("polling fails") == 1


async def test_a_row_that_the_topic_does_not_take_stops_neither_its_neighbours_nor_other_watches(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with one_partition(simulator, kafka, prefix, tmp_path) as process:
        await limited(kafka, f"{prefix}.messages", 20_000)
        await process.start()
        sids = [
            simulator.receive(from_="+15550100001", to="+15550100002", body="x" * size).sid for size in (10, 30_000, 10)
        ]
        simulator.fill("calls", count=2, step=1)
        records = await wait_for_records(kafka, f"{prefix}.messages", 2)
        assert {record.key.decode() for record in records} == {sids[0], sids[2]}
        (letter,) = await wait_for_records(kafka, f"{prefix}.dead-letters", 1)
        assert letter.key.decode() == sids[1]
        await wait_for_records(kafka, f"{prefix}.calls", 2)
        assert (await listed(process))["messages"]["state"] == "watching"
    assert "owner reopens" not in process.log


async def limited(kafka: str, topic: str, size: int) -> None:
    """Let the topic take no larger records."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    limit = ConfigResource(ConfigResourceType.TOPIC, topic, configs={"max.message.bytes": str(size)})
    await admin.alter_configs([limit])
    await admin.close()


async def test_a_list_that_cannot_be_read_stops_one_watch_and_says_so_until_it_can(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    is_odd = asyncio.Event()

    def change(path: str, body: bytes) -> bytes:
        return body[:-20] if is_odd.is_set() and "/Messages.json" in path else body

    async with changing(simulator.url, change) as url, one_partition(simulator, kafka, prefix, tmp_path) as process:
        process.document["connections"]["default"]["api_url"] = url
        await process.start()
        receive(simulator)
        await wait_for_records(kafka, f"{prefix}.messages", 1)
        is_odd.set()
        receive(simulator)
        await until(lambda: "polling fails" in process.log)
        async with asyncio.timeout(30):
            while (status := (await listed(process))["messages"])["state"] != "failing":
                pass
        assert "with a body that is not JSON (application/json)" in status["failing"]
        assert status["failing_since"]
        simulator.fill("calls", count=1, step=1)
        await wait_for_records(kafka, f"{prefix}.calls", 1)
        is_odd.clear()
        await wait_for_records(kafka, f"{prefix}.messages", 2)
        async with asyncio.timeout(30):
            while (await listed(process))["messages"]["state"] != "watching":
                pass
    lines = [orjson.loads(line) for line in process.log.splitlines() if "polling" in line]
    assert [line["event"] for line in lines] == ["polling fails", "polling works again"]
    assert all(line["watch"] == "messages" and line["since"] and "not JSON" in line["reason"] for line in lines)
