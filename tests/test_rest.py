"""Rest and loss: offsets that expired, journals that are gone, topics created anew, records that were deleted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient
from structlog.typing import EventDict

from connector.events import Record
from connector.executor import repeats
from connector.executor.command import command_of
from connector.kafka import topics
from connector.state.journal import Entry
from tests.executing import SEND, Executing, executing, message
from tests.guarantees.without import taken_away
from tests.running import read_all, until, values

COMMAND_TOPIC = f"commands.{SEND}"


class Operator:
    """What time, and people with rights on the cluster, do to topics and groups."""

    def __init__(self, running: Executing) -> None:
        self._running = running
        self._admin = AdminClient({"bootstrap.servers": running.kafka.bootstrap_servers, "log_level": 0})

    async def forget_offsets(self) -> None:
        """As after offsets.retention.minutes without a member."""
        group = f"{self._running.prefix}-command"
        await asyncio.to_thread(self._admin.delete_consumer_groups([group])[group].result, 20)

    async def empty(self, name: str) -> None:
        """As after the topic's retention."""
        place = Place(self._running.topic(name), 0, -1)
        await asyncio.to_thread(self._admin.delete_records([place])[place].result, 20)

    async def delete(self, *names: str) -> None:
        """Delete topics and wait until they are gone."""
        wanted = [self._running.topic(name) for name in names]
        for future in self._admin.delete_topics(wanted).values():
            await asyncio.to_thread(future.result, 20)
        await until(lambda: not {*wanted} & self._admin.list_topics(timeout=10).topics.keys())

    async def create_anew(self, *names: str) -> None:
        """Delete topics and create them again."""
        await self.delete(*names)
        kafka = self._running.kafka
        await topics.apply(kafka, topics.wanted(kafka, events=[], commands=self._running.commands))

    async def set_offset(self, name: str, offset: int) -> None:
        """As with a tool for offsets."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._running.kafka.bootstrap_servers, group_id=f"{self._running.prefix}-command"
        )
        await consumer.start()
        place = TopicPartition(self._running.topic(name), 0)
        consumer.assign([place])
        await consumer.commit({place: OffsetAndMetadata(offset, "")})
        await consumer.stop()


@asynccontextmanager
async def rested(kafka: str, prefix: str, *, executed: int = 5) -> AsyncIterator[tuple[Executing, Operator]]:
    """So many messages were sent, each with an id and a key of its own, and the connector was stopped in order."""
    async with executing(kafka, prefix, also=["list"]) as running:
        for number in range(executed):
            await running.send(message(f"before-{number}"), key=f"{number}", id=f"before-{number}")
        await running.results(executed)
        await running.stop()
        yield running, Operator(running)


async def outcomes(running: Executing, count: int, *, command: str = SEND) -> dict[str, list[str]]:
    """The outcomes of each command id, in their order."""
    found: dict[str, list[str]] = {}
    for one in await running.results(count, command=command):
        found.setdefault(one["command"]["id"], []).append(one["outcome"])
    return found


BEFORE = [f"before-{number}" for number in range(5)]


@pytest.mark.parametrize("without", ["", "checkpoints"])
async def test_after_ten_days_at_rest_what_was_executed_is_not_and_what_was_written_meanwhile_is(
    kafka: str, prefix: str, logged: list[EventDict], without: str
) -> None:
    """Without checkpoints what was written meanwhile would be in doubt."""
    with taken_away(without):
        executed = await _executed_meanwhile(kafka, prefix)
    assert (sorted(executed) == sorted([*BEFORE, *(f"meanwhile-{number}" for number in range(3))])) is not bool(without)
    assert ("commands in doubt" in [line["event"] for line in logged]) is bool(without)


async def _executed_meanwhile(kafka: str, prefix: str) -> list[str]:
    async with rested(kafka, prefix) as (running, operator):
        await operator.empty("journal")
        await operator.forget_offsets()
        for number in range(3):
            await running.send(message(f"meanwhile-{number}"), key=f"{number}")
        await running.start()
        await running.results(8)
    return running.created()


async def test_without_doubt_creates_of_which_nothing_is_known_would_be_executed_again(kafka: str, prefix: str) -> None:
    """What the next test shows to be safe."""
    with taken_away("doubt"):
        async with rested(kafka, prefix) as (running, operator):
            await operator.empty("journal")
            await operator.forget_offsets()
            await operator.create_anew("checkpoints")
            await operator.empty(f"results.{SEND}")
            await running.start()
            await until(lambda: len(running.created()) == 2 * len(BEFORE))
    assert sorted(running.created()) == sorted(2 * BEFORE)


@pytest.mark.parametrize("results_are_left", [True, False])
async def test_where_nothing_tells_what_was_executed_creates_are_unknown_and_the_rest_is_executed(
    kafka: str, prefix: str, logged: list[EventDict], *, results_are_left: bool
) -> None:
    """Then, and after a crash: a doubt is not forgotten before what it is about is answered.

    What has its result gets no other one, as far as results are left.
    """
    async with rested(kafka, prefix) as (running, operator):
        await operator.empty("journal")
        await operator.forget_offsets()
        await operator.create_anew("checkpoints")
        if not results_are_left:
            await operator.empty(f"results.{SEND}")
        await running.send(message("meanwhile"), id="meanwhile")
        await running.send(b"{", id="unreadable")
        await running.send({"resource": "messages", "limit": 1}, command="list", id="harmless")
        running.simulator.fault("latency", "ListMessage", seconds=0.5)
        await running.start()
        assert await outcomes(running, 1, command="list") == {"harmless": ["succeeded"]}
        found = await outcomes(running, 7)
        await running.break_off()
        await running.start()
        await running.send(message("afterwards"), id="afterwards")
        assert (await outcomes(running, 8))["afterwards"] == ["succeeded"]
        await running.send(message("meanwhile"), id="meanwhile")
        assert (await outcomes(running, 9))["meanwhile"] == ["unknown", "duplicate"]
    assert found == {
        **{known: ["succeeded" if results_are_left else "unknown"] for known in BEFORE},
        "meanwhile": ["unknown"],
        "unreadable": ["unknown"],
    }
    assert running.created() == [*BEFORE, "afterwards"]
    assert "commands in doubt" in [line["event"] for line in logged]


async def test_a_journal_that_holds_only_fences_is_not_taken_for_a_whole_one(kafka: str, prefix: str) -> None:
    """Each start writes one, before it looks what there is."""
    async with rested(kafka, prefix) as (running, operator):
        await operator.forget_offsets()
        await operator.create_anew("checkpoints", "journal")
        await running.send(message("meanwhile"), id="meanwhile")
        await running.start()
        found = await outcomes(running, 6)
    assert found == {**{known: ["succeeded"] for known in BEFORE}, "meanwhile": ["unknown"]}
    assert running.created() == BEFORE


@pytest.mark.parametrize("loss", ["emptied", "created anew"])
async def test_an_id_of_the_window_is_known_though_the_journal_is_lost(kafka: str, prefix: str, loss: str) -> None:
    async with rested(kafka, prefix) as (running, operator):
        await (operator.empty("journal") if loss == "emptied" else operator.create_anew("journal"))
        await running.write(Record(running.topic(f"results.{SEND}"), b"stranger", b'{"command": 1}', [], 0))
        await running.send(message("again"), id="before-3")
        await running.start()
        (result,) = [one for one in await running.results(7) if one.get("outcome") == "duplicate"]
        await running.stop()
        await running.start()
        await running.send(message("and again"), id="before-4")
        later = (await running.results(8))[-1]
    assert (result["bundles"][0]["body"], later["outcome"], running.created()) == ("before-3", "duplicate", BEFORE)


@pytest.mark.parametrize(
    ("headers", "seconds", "is_answered"),
    [
        ([("id", b"x")], -1, True),
        ([("id", b"y")], -1, False),
        ([], -1, False),
        pytest.param([("id", b"x")], 1, False, id="written later, in a topic created anew"),
    ],
)
def test_a_result_at_the_place_of_a_command_need_not_be_its_own(
    headers: list[tuple[str, bytes | None]], *, seconds: float, is_answered: bool
) -> None:
    finished = datetime(2026, 11, 24, 12, tzinfo=UTC)
    milliseconds = int((finished + timedelta(seconds=seconds)).timestamp() * 1000)
    place: dict[str, Any] = {"topic": "t", "partition": 0, "offset": 7, "key": None, "value": b"", "command": SEND}
    command = command_of(**place, headers=headers, milliseconds=milliseconds)
    entry = Entry(state="done", topic="t", offset=-1, id="x" if headers else command.id, at=finished)
    assert repeats.is_answer_to(entry, command) is is_answered


async def test_a_journal_that_was_created_anew_after_an_orderly_stop_is_not_missed(kafka: str, prefix: str) -> None:
    async with rested(kafka, prefix) as (running, operator):
        await operator.create_anew("journal")
        await running.send(message("meanwhile"))
        await running.start()
        await running.results(6)
    assert running.created() == [*BEFORE, "meanwhile"]


async def test_a_journal_that_is_created_anew_while_it_is_written_puts_creates_in_doubt_and_nothing_is_done_twice(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        operator = Operator(running)
        for number in range(20):
            await running.send(message(f"{number}"), key=f"{number}")
        await running.results(20)
        await operator.create_anew("journal")
        for number in range(20, 40):
            await running.send(message(f"{number}"), key=f"{number}")
        await running.results(40, within=60)
        await running.break_off()
        await running.start()
        await running.send(message("afterwards"), id="afterwards")
        await until(lambda: "afterwards" in running.created(), within=60)
    assert len(running.created()) == len(set(running.created()))


async def test_of_a_topic_created_anew_what_is_in_it_is_unknown_and_what_comes_is_executed(
    kafka: str, prefix: str, logged: list[EventDict]
) -> None:
    """It may be a copy: longer than before, its commands look as if they had been executed."""
    async with rested(kafka, prefix) as (running, operator):
        await operator.create_anew(COMMAND_TOPIC)
        for number in range(7):
            await running.send(message(f"copy-{number}"), key=f"{number}", id=f"copy-{number}")
        await running.start()
        await running.results(12)
        await running.send(message("afterwards"), id="afterwards")
        found = await outcomes(running, 13)
    assert [found[f"copy-{number}"] for number in range(7)] == [["unknown"]] * 7
    assert running.created() == [*BEFORE, "afterwards"]
    assert any("created anew" in line.get("reason", "") for line in logged)


async def test_a_topic_that_is_created_anew_while_it_is_read_goes_on(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        for number in range(5):
            await running.send(message(f"before-{number}"), id=f"before-{number}")
        await running.results(5)
        await Operator(running).create_anew(COMMAND_TOPIC)
        async with asyncio.timeout(60):
            number = 0
            while f"afterwards-{number}" not in running.created():
                number += 1
                await running.send(message(f"afterwards-{number}"), id=f"afterwards-{number}")
                await asyncio.sleep(1)
        results = values(await read_all(kafka, running.topic(f"results.{SEND}")))
    assert len(running.created()) == len(set(running.created()))
    told = [one["command"]["id"] for one in results]
    assert len(told) == len(set(told))


async def test_an_operator_skips_commands_by_the_groups_offset_and_does_not_repeat_any(kafka: str, prefix: str) -> None:
    async with rested(kafka, prefix) as (running, operator):
        await running.send(message("skipped"))
        await operator.set_offset(COMMAND_TOPIC, 6)
        await running.send(message("next"))
        await running.start()
        await running.results(6)
        await running.stop()
        await operator.set_offset(COMMAND_TOPIC, 0)
        await running.start()
        await running.send(message("last"))
        await running.results(7)
    assert running.created() == [*BEFORE, "next", "last"]


# --- records that are gone --------------------------------------------------------------------------------------------
async def _killed_in_mid_request(running: Executing) -> None:
    struck = running.simulator.fault("slow-answer", "CreateMessage", seconds=1.5, times=1)
    await running.send(message("gone"), id="gone", key="customer", correlation_id="order-7")
    await until(lambda: struck.hit > 0)
    await running.break_off()


async def test_a_command_whose_record_is_gone_is_answered_and_its_id_and_key_go_on(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await _killed_in_mid_request(running)
        await Operator(running).empty(COMMAND_TOPIC)
        await running.send(message("gone"), id="gone", key="another")
        await running.send(message("next"), id="next", key="customer")
        await running.start()
        found = await running.records(f"results.{SEND}", 3)
    by_id = {(one["command"]["id"], one["outcome"]) for one in values(found)}
    assert by_id == {("gone", "unknown"), ("gone", "duplicate"), ("next", "succeeded")}
    first = next(record for record in found if values([record])[0]["outcome"] == "unknown")
    assert (first.key, dict(first.headers)["ce_correlationid"]) == (b"customer", b"order-7")
    assert running.created() == ["gone", "next"]


async def test_a_command_whose_record_goes_while_nothing_comes_after_it_is_answered(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await _killed_in_mid_request(running)
        await Operator(running).empty(COMMAND_TOPIC)
        await running.start()
        assert await outcomes(running, 1) == {"gone": ["unknown"]}
        await running.stop()
        await running.start()
        await running.send(message("next"))
        await running.results(2)
    assert running.created() == ["gone", "next"]


async def test_an_attempt_in_a_topic_that_was_created_anew_is_answered_before_the_present_one_is_read(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        await _killed_in_mid_request(running)
        await Operator(running).create_anew(COMMAND_TOPIC)
        await running.start()
        assert await outcomes(running, 1) == {"gone": ["unknown"]}
        # It lies where the other one lay.
        assert await running.send(message("next"), id="next") == "0/0"
        assert (await outcomes(running, 2))["next"] == ["succeeded"]
        await running.break_off()
        await running.start()
        await running.send(message("last"), id="last")
        assert (await outcomes(running, 3))["last"] == ["succeeded"]
    assert running.created() == ["gone", "next", "last"]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"\xff", b'{"state": "done", "topic": 1}'], ids=str)
async def test_what_a_stranger_writes_into_the_journal_is_passed_over(kafka: str, prefix: str, value: bytes) -> None:
    async with rested(kafka, prefix, executed=1) as (running, _):
        await running.write(Record(running.topic("journal"), b"stranger", value, []))
        await running.write(Record(running.topic("journal"), b"ids", value, []))
        await running.send(message("next"))
        await running.start()
        await running.results(2)
    assert running.created() == ["before-0", "next"]
