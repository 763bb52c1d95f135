"""The process at Twilio's pace, against the simulator's own limits: no 429 when paced, none lost when not."""

import asyncio
import datetime as dt
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from connector.simulator import Simulator
from connector.simulator.journal import Entry
from tests.guarantees.windows import scene
from tests.running import Connector, configuration, running, until, values, wait_for_records

SLOW, QUICK, CALLER = "+15550100001", "+15550100002", "+15550100003"
TO = "+15557654321"
TWO_SEGMENTS = "x" * 200
# Who is further ahead of the allowed pace is refused: a busy machine is not, somebody who does not pace is.
QUEUE_SECONDS = 2.0

Command = tuple[str, dict[str, Any], dict[str, str]]


async def send(kafka: str, prefix: str, commands: Sequence[Command]) -> None:
    """Write commands, each with a key of its own so that only Twilio's pace orders them."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    await producer.start()
    try:
        for number, (name, value, headers) in enumerate(commands):
            named = [(header, text.encode()) for header, text in headers.items()]
            key = f"k{number}".encode()
            await producer.send(f"{prefix}.commands.{name}", orjson.dumps(value), key=key, headers=named)
        await producer.flush()
    finally:
        await producer.stop()


def pace(entries: Sequence[Entry]) -> float:
    """How many units (calls, segments) go out in a second: the usual pause after each, by its units."""
    units = [2 if dict(entry.parameters).get("Body") == TWO_SEGMENTS else 1 for entry in entries]
    pauses = [later.time - entry.time for entry, later in itertools.pairwise(entries)]
    return statistics.median(number / pause for number, pause in zip(units, pauses, strict=False))


def message(sender: str, body: str = "short", **headers: str) -> Command:
    return "send-message", {"to": TO, "from": sender, "body": body}, headers


def call(**headers: str) -> Command:
    return "place-call", {"to": TO, "from": CALLER, "twiml": "<Response/>"}, headers


def asked(simulator: Simulator, operation: str, sender: str) -> list[Entry]:
    """The requests of an operation and sender in the order of their arrival."""
    return [
        entry
        for entry in simulator.journal
        if entry.operation == operation and dict(entry.parameters).get("From") == sender
    ]


async def metric(process: Connector, name: str) -> float:
    async with aiohttp.ClientSession() as session, session.get(f"{process.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def connections(simulator: Simulator, **values: Any) -> dict[str, Any]:
    base = configuration(simulator, kafka="", prefix="")["connections"]["default"]
    return {"default": {**base, **values}}


async def test_one_call_and_one_segment_a_second_provoke_no_429_and_delay_nobody_else(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    simulator.configure(calls_per_second=1, segments_per_second={SLOW: 1}, queue_seconds=QUEUE_SECONDS)
    paced = connections(simulator, calls_per_second=1, message_segments_per_second={"default": 0, SLOW: 1})
    document = configuration(simulator, kafka=kafka, prefix=prefix, connections=paced)
    slow = [message(SLOW), message(SLOW, TWO_SEGMENTS), message(SLOW), message(SLOW), message(SLOW, TWO_SEGMENTS)]
    quick = [message(QUICK) for _ in range(40)]
    calls = [call() for _ in range(7)]
    async with running(document, tmp_path) as (process,):
        await send(kafka, prefix, [*slow, *calls, *quick])
        await wait_for_records(kafka, f"{prefix}.results.place-call", len(calls), within=60)
        results = await wait_for_records(kafka, f"{prefix}.results.send-message", len(slow) + len(quick), within=60)
        throttled = await metric(process, "twilio_kafka_twilio_throttled_total")
        waited = await metric(process, "twilio_kafka_pacing_wait_seconds_sum")
    assert throttled == 0
    assert {result["outcome"] for result in values(results)} == {"succeeded"}
    assert {entry.status for entry in simulator.journal if entry.method == "POST"} == {201}

    placed = asked(simulator, "CreateCall", CALLER)
    assert pace(placed) == pytest.approx(1, rel=0.05)
    sent = asked(simulator, "CreateMessage", SLOW)
    assert pace(sent) == pytest.approx(1, rel=0.05)
    others = asked(simulator, "CreateMessage", QUICK)
    assert others[-1].time - others[0].time < 1.5
    assert waited > sum(range(len(calls) - 1))


async def test_without_pacing_the_same_limits_refuse(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    simulator.configure(segments_per_second={SLOW: 1}, queue_seconds=QUEUE_SECONDS)
    document = configuration(simulator, kafka=kafka, prefix=prefix, connections=connections(simulator))
    async with running(document, tmp_path) as (process,):
        await send(kafka, prefix, [message(SLOW, TWO_SEGMENTS) for _ in range(5)])
        async with asyncio.timeout(30):
            while not await metric(process, "twilio_kafka_twilio_throttled_total"):  # noqa: ASYNC110 - a metric
                await asyncio.sleep(0.1)


async def test_who_waits_for_the_pace_does_not_wait_longer_than_the_command_is_valid(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    paced = connections(simulator, calls_per_second=0.25)
    document = configuration(simulator, kafka=kafka, prefix=prefix, connections=paced)
    async with running(document, tmp_path):
        await send(kafka, prefix, [call()])
        await wait_for_records(kafka, f"{prefix}.results.place-call", 1)
        soon = (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2)).isoformat()
        await send(kafka, prefix, [*(call(**{"expires-at": soon}) for _ in range(3)), call()])
        records = await wait_for_records(kafka, f"{prefix}.results.place-call", 5, within=30)
    outcomes = [result["outcome"] for result in values(records)]
    assert sorted(outcomes) == ["expired", "expired", "expired", "succeeded", "succeeded"]
    expired = [record.timestamp / 1000 for record in records if orjson.loads(record.value)["outcome"] == "expired"]
    assert max(expired) < dt.datetime.fromisoformat(soon).timestamp() + 1
    # Turns that came too late for those who expired were left to the last one.
    first, last = (entry.time for entry in asked(simulator, "CreateCall", CALLER))
    assert last - first == pytest.approx(4, abs=0.3)


async def test_two_processes_and_a_takeover_keep_the_pace_of_the_account(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        for process in (playing.first, playing.second):
            process.document["connections"]["default"]["calls_per_second"] = 2

        def placed(by: Connector | None = None) -> list[Entry]:
            user = by.document["connections"]["default"]["api_key"] if by else None
            return [entry for entry in playing.simulator.journal.of("CreateCall") if user in (None, entry.credential)]

        await playing.start(playing.first)
        await send(kafka, prefix, [call() for _ in range(150)])
        await until(lambda: len(placed()) >= 4)
        await playing.start(playing.second)
        await until(lambda: len(placed(playing.second)) >= 8, within=60)
        await playing.first.kill()
        alone = len(placed())
        await until(lambda: len(placed()) >= alone + 12, within=60)
        times = [entry.time for entry in placed()]
    # Thirteen take six seconds; a pace for each process would let them through in three.
    assert all(later - earlier > 4 for earlier, later in zip(times, times[12:], strict=False))
    # The successor has the whole pace.
    assert pace(placed()[-8:]) == pytest.approx(2, rel=0.2)


async def test_under_a_storm_of_429_the_limit_settles_at_twilios_and_nothing_is_lost(
    simulator: Simulator, kafka: str, prefix: str, tmp_path: Path
) -> None:
    allowed, count = 10, 600
    simulator.configure(concurrency_limit=allowed)
    simulator.fault("latency", "CreateMessage", seconds=0.2, jitter=0.02)
    document = configuration(simulator, kafka=kafka, prefix=prefix, connections=connections(simulator))
    limits = []
    async with running(document, tmp_path) as (process,):
        await send(kafka, prefix, [message(QUICK, f"{number}") for number in range(count)])
        for done in range(count // 2, count + 1, 20):
            records = await wait_for_records(kafka, f"{prefix}.results.send-message", done, within=90)
            limits.append(await metric(process, "twilio_kafka_twilio_concurrency_limit"))
        throttled = await metric(process, "twilio_kafka_twilio_throttled_total")
    assert throttled > 0
    assert statistics.fmean(limits) == pytest.approx(allowed, rel=0.2)
    assert [result["outcome"] for result in values(records)] == ["succeeded"] * count
    executed = [dict(entry.parameters)["Body"] for entry in simulator.journal.of("CreateMessage") if entry.executed]
    assert sorted(executed, key=int) == [f"{number}" for number in range(count)]
