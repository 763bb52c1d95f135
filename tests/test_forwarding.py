"""Commands of one key, or of one id without a key, meet in one partition, whoever produced them."""

import asyncio
import zlib
from functools import partial

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its module lists nothing as exported
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from hypothesis import given
from hypothesis import strategies as st
from structlog.typing import EventDict

from connector.events import Position, Record
from connector.executor.command import (
    FORWARDED,
    FORWARDED_FROM,
    Command,
    Origin,
    command_of,
    done,
    forwarded_record,
    origin_of,
    partition_of_command,
)
from connector.executor.outcome import Outcome
from connector.kafka import transactions
from connector.kafka.sending.batches import partition_of
from connector.state import journal
from tests.executing import SEND, Executing, executing, message
from tests.guarantees.without import taken_away
from tests.running import read_all, until, values

TOPIC = "twilio.commands.send-message"
# librdkafka's default partitioner places it elsewhere.
STRAY = next(key for number in range(100) if zlib.crc32(key := f"key-{number}".encode()) % 2 != partition_of(key, 2))
HERE, THERE = partition_of(STRAY, 2), zlib.crc32(STRAY) % 2


def _command(headers: list[tuple[str, bytes | None]], *, key: bytes | None = STRAY, partition: int = THERE) -> Command:
    return command_of(
        topic=TOPIC,
        partition=partition,
        offset=7,
        key=key,
        value=b"{}",
        headers=headers,
        milliseconds=1_764_000_000_000,
        command=SEND,
    )


header_lists = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=5)


@given(header_lists)
def test_a_command_that_is_sent_on_is_the_same_byte_for_byte(headers: list[tuple[str, bytes | None]]) -> None:
    command = _command(headers)
    sent = forwarded_record(command, prefix="twilio", partition=HERE)
    assert (sent.topic, sent.partition, sent.key, sent.value) == (
        "twilio.forwarded-commands",
        HERE,
        command.key,
        command.value,
    )
    origin = origin_of(sent.headers, {TOPIC})
    assert origin == Origin(Position(TOPIC, THERE, 7), 1_764_000_000_000, headers)


@given(header_lists)
def test_no_header_of_a_caller_tells_where_a_command_was_sent(headers: list[tuple[str, bytes | None]]) -> None:
    forged: list[tuple[str, bytes | None]] = [(FORWARDED_FROM, b"0/99999"), (FORWARDED_FROM, b"x/0/9/9")]
    assert _command([*headers, *forged]).origin == Position(TOPIC, THERE, 7)


@pytest.mark.parametrize(
    "value", [None, b"", b"0/99999", b"other.topic/0/1/2", TOPIC.encode(), f"{TOPIC}/0/1/2/3".encode(), b"\xff/0/1/2"]
)
def test_what_no_owner_can_have_written_has_no_origin(value: bytes | None) -> None:
    assert origin_of([("id", b"x"), (FORWARDED_FROM, value)], {TOPIC}) is None
    assert origin_of([(FORWARDED_FROM, f"{TOPIC}/0/1/2".encode()), ("id", b"x")], {TOPIC}) is None


def test_a_key_decides_before_an_id_and_without_both_a_command_stays() -> None:
    assert partition_of_command(_command([("id", b"1")]), 2) == HERE
    assert {partition_of_command(_command([("id", b"1")], key=None, partition=p), 2) for p in (0, 1)} in (
        {0},
        {1},
    )
    assert [partition_of_command(_command([], key=None, partition=p), 2) for p in (0, 1)] == [0, 1]
    assert partition_of_command(_command([], key=b""), 2) == partition_of(b"", 2)


# --- with Kafka and the simulator -------------------------------------------------------------------------------------
def _has_created(running: Executing, count: int) -> bool:
    return len(running.created()) >= count


def _librdkafka(running: Executing) -> Producer:
    return Producer({"bootstrap.servers": running.kafka.bootstrap_servers})


def _produce(producer: Producer, running: Executing, body: str, *, key: bytes = STRAY, **headers: str) -> None:
    value = orjson.dumps(message(body))
    producer.produce(running.topic(f"commands.{SEND}"), value, key=key, headers=list(headers.items()) or None)


async def test_an_id_under_a_key_is_executed_once_whatever_partitioner_its_producers_have(
    kafka: str, prefix: str, logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        producer = _librdkafka(running)
        _produce(producer, running, "crc32", id="order-7")
        producer.flush(10)
        (first,) = await running.results(1)
        await running.send(message("murmur2"), key=STRAY.decode(), id="order-7")
        _produce(producer, running, "crc32 again", id="order-7")
        producer.flush(10)
        found = await running.records(f"results.{SEND}", 3)
    assert [one["outcome"] for one in values(found)] == ["succeeded", "duplicate", "duplicate"]
    assert running.created() == ["crc32"]
    assert {record.partition for record in found} == {HERE}
    assert first["command"] == {
        "id": "order-7",
        "name": SEND,
        "topic": running.topic(f"commands.{SEND}"),
        "partition": THERE,
        "offset": 0,
    }
    (warning,) = [line for line in logged if line["event"] == "commands sent on"]
    assert (warning["topic"], warning["remedy"]) == (running.topic(f"commands.{SEND}"), "partitioner=murmur2_random")


async def test_without_forwarded_commands_an_id_under_a_key_would_be_executed_twice(kafka: str, prefix: str) -> None:
    """What the test before shows to be safe."""
    with taken_away("forwarded commands"):
        async with executing(kafka, prefix, partitions=2) as running:
            producer = _librdkafka(running)
            _produce(producer, running, "crc32", id="order-7")
            producer.flush(10)
            await running.results(1)
            await running.send(message("murmur2"), key=STRAY.decode(), id="order-7")
            await running.results(2)
    assert running.created() == ["crc32", "murmur2"]


async def test_what_one_producer_sends_under_a_key_is_executed_in_its_order(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        producer = _librdkafka(running)
        keys = [f"key-{number}".encode() for number in range(8)]
        for number in range(10):
            for key in keys:
                _produce(producer, running, f"{key.decode()}/{number}", key=key)
        producer.flush(10)
        await running.results(80)
    for key in keys:
        of_key = [body for body in running.created() if body.startswith(f"{key.decode()}/")]
        assert of_key == [f"{key.decode()}/{number}" for number in range(10)]


async def test_a_header_that_a_caller_writes_is_not_believed(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        topic = running.topic(f"commands.{SEND}")
        for partition, forged in ((0, "0/99999"), (1, "1/99998"), (0, f"{topic}/0/99999/1")):
            await running.send(message("once"), key=None, partition=partition, id="one", forwarded_from=forged)
        results = await running.results(3)
    assert sorted(one["outcome"] for one in results) == ["duplicate", "duplicate", "succeeded"]
    assert sorted((one["command"]["partition"], one["command"]["offset"]) for one in results) == [
        (0, 0),
        (0, 1),
        (1, 0),
    ]
    assert running.created() == ["once"]


async def test_commands_are_sent_on_once_though_their_owner_dies_again_and_again(kafka: str, prefix: str) -> None:
    # One that dies between journal and request has sent nothing; without `resend` such a command is unknown.
    async with executing(kafka, prefix, partitions=2, resend=True) as running:
        running.simulator.fault("latency", "CreateMessage", seconds=0.05)
        producer = _librdkafka(running)
        for number in range(200):
            _produce(producer, running, f"{number}", key=STRAY if number % 2 else f"key-{number}".encode())
        producer.flush(10)
        for count in (10, 60):
            await until(partial(_has_created, running, count))
            await running.break_off()
            await running.start()
        results = await running.results(200, within=60)
        assert len(await read_all(kafka, running.topic(f"results.{SEND}"))) == 200
    assert sorted(running.created(), key=int) == [str(number) for number in range(200)]
    of_key = [int(body) for body in running.created() if int(body) % 2]
    assert of_key == sorted(of_key)
    assert len({(one["command"]["partition"], one["command"]["offset"]) for one in results}) == 200


async def test_a_forwarded_command_that_is_rejected_names_where_its_caller_sent_it(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        producer = _librdkafka(running)
        producer.produce(running.topic(f"commands.{SEND}"), b"{", key=STRAY, headers=[("x", b"\xff")])
        producer.flush(10)
        (letter,) = await running.records("dead-letters", 1)
        (result,) = await running.results(1)
    named = dict(letter.headers)
    assert (named["dlq.errors.topic"].decode(), named["dlq.errors.partition"]) == (
        running.topic(f"commands.{SEND}"),
        str(THERE).encode(),
    )
    assert (named["x"], FORWARDED_FROM in named) == (b"\xff", False)
    assert (result["outcome"], result["command"]["partition"]) == ("rejected", THERE)


async def test_what_a_stranger_writes_among_the_forwarded_commands_is_kept_and_not_executed(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        topic = running.topic(FORWARDED)
        await running.write(Record(topic, b"key", orjson.dumps(message("forged")), [("id", b"forged")]))
        (letter,) = await running.records("dead-letters", 1)
        await running.send(message("next"))
        await running.results(1)
    assert (letter.key, dict(letter.headers)["dlq.errors.topic"].decode()) == (b"key", topic)
    assert running.created() == ["next"]


async def test_a_command_that_cannot_be_sent_on_is_rejected_and_the_next_one_goes_on(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        producer = Producer({"bootstrap.servers": kafka, "message.max.bytes": 2_000_000})
        await _limit(running, FORWARDED, 100_000)
        producer.produce(running.topic(f"commands.{SEND}"), b"x" * 200_000, key=STRAY)
        _produce(producer, running, "next")
        producer.flush(10)
        outcomes = sorted(one["outcome"] for one in await running.results(2))
    assert outcomes == ["rejected", "succeeded"]
    assert running.created() == ["next"]


async def test_a_command_that_cannot_be_sent_on_for_the_moment_waits_and_its_owner_goes_on(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict]
) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        await running.send(message("first"), key=STRAY.decode(), partition=HERE)
        await running.send(message("its owner has begun"), partition=THERE)
        await running.results(2)
        assert running.membership is not None
        owners = set(running.membership._tasks.values())
        monkeypatch.setattr(transactions, "ACK_SECONDS", 0.0)
        await running.send(message("waits"), key=STRAY.decode(), partition=THERE, id="waits")
        await until(lambda: "command waits to be sent on" in [line["event"] for line in logged])
        monkeypatch.undo()
        *_, last = await running.results(3)
        assert set(running.membership._tasks.values()) == owners
    assert (last["command"]["id"], last["outcome"]) == ("waits", "succeeded")
    assert running.created()[2:] == ["waits"]


async def _limit(running: Executing, name: str, size: int) -> None:
    admin = AdminClient({"bootstrap.servers": running.kafka.bootstrap_servers})
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, running.topic(name), incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        await asyncio.to_thread(future.result, 10)


async def test_an_id_that_was_executed_where_it_lay_is_not_executed_where_it_is_sent_on_to(
    kafka: str, prefix: str
) -> None:
    """As it was before commands were sent on."""
    async with executing(kafka, prefix, partitions=2) as running:
        topic = running.topic(f"commands.{SEND}")
        await running.stop()
        sent = await running.send(message("before"), key=STRAY.decode(), partition=THERE, id="order-7")
        assert sent == f"{THERE}/0"
        former = command_of(
            topic=topic,
            partition=THERE,
            offset=0,
            key=STRAY,
            value=b"",
            headers=[("id", b"order-7")],
            milliseconds=0,
            command=SEND,
        )
        entry = done(former, Outcome("succeeded"))
        await running.write(journal.encode(prefix, entry, partition=THERE))
        await running.send(message("again"), key=STRAY.decode(), partition=THERE, id="order-7")
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], result["command"]["offset"], running.created()) == ("duplicate", 1, [])
