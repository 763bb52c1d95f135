"""What Kafka does not take of a command's end: the result is there all the same, and its neighbours are not harmed."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import orjson
import pytest
import structlog
from structlog.typing import EventDict

from connector.kafka import clients
from tests.executing import Executing, executing, message
from tests.result_schemas import check
from tests.running import headers_of, read_all, until, wait_for_records

# Neighbours answered by Twilio within this have been harmed by nobody, however busy the machine is.
PATIENT: Mapping[str, Any] = {"request_timeout": timedelta(seconds=20)}
NEIGHBOURS = 80


@pytest.fixture
def _plain_tracebacks() -> Iterator[None]:
    """The library's own tracebacks, in the tests' log, take seconds."""
    *processors, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*processors, plain])
    yield
    structlog.reset_defaults()


async def in_flight(running: Executing) -> None:
    """Have neighbours in flight at Twilio, each with a key of its own."""
    running.simulator.fault("slow-answer", "CreateMessage", seconds=1.0, match={"Body": "neighbour"})
    for number in range(NEIGHBOURS):
        await running.send(message("neighbour"), key=f"neighbour-{number}")


async def outcomes(running: Executing, odd: int) -> list[dict[str, Any]]:
    """The results of the odd commands, which have ids; all neighbours have succeeded."""
    results = await running.results(NEIGHBOURS + odd)
    for result in results:
        check(result)
    mine = [result for result in results if not result["command"]["id"].startswith(running.prefix)]
    neighbours = [result for result in results if result["command"]["id"].startswith(running.prefix)]
    assert [one["outcome"] for one in neighbours] == ["succeeded"] * NEIGHBOURS
    assert [one["reconciled"] for one in neighbours] == [False] * NEIGHBOURS
    return mine


async def test_thirty_thousand_mistakes_are_one_rejection_and_harm_nobody(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, **PATIENT) as running:
        await in_flight(running)
        await running.send(message(persistent_action=[1] * 30_000), id="odd", key="odd")
        await running.send(message("next"), id="next", key="odd")
        rejected, done = await outcomes(running, 2)
        (letter,) = await running.records("dead-letters", 1)
    assert (rejected["outcome"], done["outcome"]) == ("rejected", "succeeded")
    assert rejected["error"]["message"].endswith("… and 29,998 more.")
    assert len(headers_of(letter)["dlq.errors.message"].encode()) <= 2_000
    assert orjson.loads(letter.value)["persistent_action"] == [1] * 30_000


@pytest.mark.parametrize(
    "config",
    [{"cleanup_policy": "compact"}, {"max_message_bytes": "300"}, {"message_timestamp_after_max_ms": "1"}],
    ids=["compacted", "small", "of another time"],
)
async def test_a_reply_topic_that_takes_no_reply_costs_the_reply_alone(
    kafka: str, prefix: str, config: dict[str, str], logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix, reply_topics=[f"{prefix}-*"], **PATIENT) as running:
        topic = await running.create_topic("replies", partitions=1, **config)
        good = await running.create_topic("good")
        await in_flight(running)
        await running.send(message("odd"), id="odd", key=None, reply_to=topic)
        await running.send(message("fine"), id="fine", key="k", reply_to=good)
        await running.send(message("next"), id="next", key=None)
        mine = {one["command"]["id"]: one for one in await outcomes(running, 3)}
        assert running.created().count("odd") == 1
        assert len(await wait_for_records(kafka, good, 1)) == 1
    assert {one["outcome"] for one in mine.values()} == {"succeeded"}
    assert mine["odd"]["bundles"][0]["body"] == "odd"
    said = [line["event"] for line in logged]
    if config.get("message_timestamp_after_max_ms") is None:
        assert await read_all(kafka, topic) == []
        assert said.count("reply left out") == 1


async def test_of_a_long_list_no_page_is_replied_with_where_the_first_is_refused(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["list"], reply_topics=[f"{prefix}-*"]) as running:
        topic = await running.create_topic("replies", max_message_bytes="300000")
        running.simulator.fill("messages", count=3_000, body="x" * 1500)
        await running.send({"resource": "messages"}, command="list", reply_to=topic)
        pages = await running.results(10, command="list")
        while not pages[-1]["last"]:
            pages = await running.results(len(pages) + 1, command="list")
        assert await read_all(kafka, topic) == []
    assert [one["page"] for one in pages] == list(range(len(pages)))
    assert [one["last"] for one in pages] == [False] * (len(pages) - 1) + [True]
    assert sum(len(one["bundles"]) for one in pages) == 3_000


@pytest.mark.parametrize(("limit", "letters"), [(40_000, "reasons"), (300, "none")])
async def test_a_dead_letter_that_its_topic_does_not_take_is_reduced_and_the_result_is_there(
    kafka: str, prefix: str, limit: int, letters: str, logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix) as running:
        await running.configure_topic(running.topic("dead-letters"), max_message_bytes=str(limit))
        await running.send(message(persistent_action=[1] * 30_000), id="odd", key="odd")
        await running.send(message("next"), id="next", key="odd")
        rejected, done = await running.results(2)
        found = await read_all(kafka, running.topic("dead-letters"))
    assert (rejected["outcome"], done["outcome"]) == ("rejected", "succeeded")
    assert rejected["error"]["kind"] == "invalid"
    assert len(found) == (letters == "reasons")
    for letter in found:
        assert headers_of(letter)["dlq.errors.message"].startswith("Without its record, which Kafka does not take here")
        assert headers_of(letter)["dlq.errors.offset"] == "0"
    said = [line["event"] for line in logged]
    assert said.count("dead letter reduced") == 2
    assert said.count("dead letter left out") == (letters == "none")


async def test_a_large_header_of_a_stranger_is_left_out_of_a_dead_letter_before_the_record_is(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        await running.configure_topic(running.topic("dead-letters"), max_message_bytes="40000")
        headers = [("foreign", b"x" * 100_000), ("id", b"odd"), ("connection", b"default")]
        topic = running.topic("commands.send-message")
        await running.producer.send_and_wait(topic, b"{}", key=b"key", headers=headers)
        (letter,) = await running.records("dead-letters", 1)
    named = headers_of(letter)
    assert (letter.key, letter.value, named["id"], named["connection"]) == (b"key", b"{}", "odd", "default")
    assert "foreign" not in named


async def test_a_result_that_its_topic_does_not_take_is_reduced(
    kafka: str, prefix: str, logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        await running.configure_topic(running.topic("results.list"), max_message_bytes="8000")
        running.simulator.fill("messages", count=40, body="x" * 1500)
        await running.send({"resource": "messages"}, command="list", id="large")
        await running.send({"resource": "messages", "limit": 1}, command="list", id="small")
        large, small = await running.results(2, command="list")
    check(large)
    assert (large["outcome"], large["bundles"], large["error"]["kind"]) == ("succeeded", [], "too-large")
    assert (len(small["bundles"]), small["error"]) == (1, None)
    assert [line["event"] for line in logged].count("result reduced") == 1


async def test_a_result_topic_that_takes_nothing_keeps_only_its_own_commands_waiting(
    kafka: str, prefix: str, logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        topic = running.topic("results.list")
        await running.configure_topic(topic, max_message_bytes="300")
        await running.send({"resource": "messages"}, command="list", id="waits")
        for number in range(5):
            await running.send(message("innocent"), key=f"{number}")
        assert {one["outcome"] for one in await running.results(5)} == {"succeeded"}
        await until(lambda: "result waits" in [line["event"] for line in logged])
        assert await read_all(kafka, topic) == []
        await running.configure_topic(topic, max_message_bytes="1000000")
        (waited,) = await running.results(1, command="list")
    assert (waited["command"]["id"], waited["outcome"]) == ("waits", "succeeded")
    assert [line["event"] for line in logged].count("result waits") == 1


@pytest.mark.usefixtures("_plain_tracebacks")
async def test_a_mistake_of_our_own_ends_one_command(kafka: str, prefix: str) -> None:
    def broken(_call: Any) -> Any:
        raise ZeroDivisionError("a mistake")

    async with executing(kafka, prefix, also=["download-recording", "list"], store=broken, **PATIENT) as running:
        await in_flight(running)
        running.simulator.fill("recordings", count=1)
        await running.send({"resource": "recordings"}, command="list")
        sid = (await running.results(1, command="list"))[0]["bundles"][0]["sid"]
        await running.send({"sid": sid}, command="download-recording", id="odd", key="odd")
        (result,) = await running.results(1, command="download-recording")
        assert await outcomes(running, 0) == []
    check(result)
    assert (result["outcome"], result["error"]["kind"]) == ("failed", "connector")
    assert "ZeroDivisionError" in result["error"]["message"]


async def test_keys_of_any_size_are_answered_and_a_record_of_results_stays_below_half_a_mebibyte(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        topic = running.topic("commands.list")
        running.simulator.fill("messages", count=100, body="x" * 1500)
        for key in (b"k" * 1_000, b"k" * 64_000, b"k" * 900_000):
            await running.producer.send_and_wait(topic, b'{"resource":"messages"}', key=key)
        records = await running.records("results.list", 3)
    assert [len(record.key or b"") for record in records] == [1_000, 64_000, 0]
    sizes = [len(record.key or b"") + len(record.value) for record in records]
    assert max(sizes) < 512 * 1024
    assert [len(orjson.loads(record.value)["bundles"]) for record in records] == [100] * 3


async def test_checkpoints_that_kafka_does_not_take_cost_no_owner_its_partition(
    kafka: str, prefix: str, logged: list[EventDict]
) -> None:
    """As when their leader is away, or the topic: a write of one takes longer than an owner may be without commits."""
    async with executing(kafka, prefix, **PATIENT) as running:
        await running.send(message("before"))
        await running.results(1)
        assert running.membership is not None
        owner = set(running.membership._tasks.values())
        async with clients.administration(running.kafka) as admin:
            await admin.delete_topics([running.topic("checkpoints")])
        await running.send(message("at the same time"))
        await until(lambda: any(line["event"] == "journal cannot be written" for line in logged))
        await running.results(2)
        await running.send(message("next"))
        await running.results(3)
        assert set(running.membership._tasks.values()) == owner
    assert running.created() == ["before", "at the same time", "next"]
