"""Metrics of the real process under load: they equal what is in the topics, and a scrape costs little."""

import asyncio
import re
from collections import Counter as Counted
from collections.abc import Iterable
from pathlib import Path

import aiohttp
from aiokafka import ConsumerRecord

from connector.simulator import Simulator
from tests.producing import produce
from tests.running import PARTITIONS, Connector, configuration, read_all, running, values, wait_for_records
from tests.scraping import CALLBACKS, COMMANDS, Scrape, call_back, scrape, work

FILLED = 500

CONTRACT = """
watch_published_total{watch} watch_lag_seconds{watch} watch_cursor_age_seconds{watch} watch_polls_total{watch,outcome}
watch_interval_seconds{watch} role_info{role} loop_lag_seconds twilio_answers_total{connection,outcome}
callbacks_total{kind,outcome} callback_seconds commands_total{command,outcome} command_seconds{command}
commands_in_flight commands_in_doubt command_lag{command} twilio_requests_total{connection,operation,status,code}
twilio_request_seconds{operation} twilio_concurrency_limit{connection} twilio_throttled_total{connection}
pacing_wait_seconds{connection} dead_letters_total{stage} kafka_produce_seconds owners{role} build_info{version}
"""


def outcomes(records: Iterable[ConsumerRecord]) -> Counted[str]:
    return Counted(value["outcome"] for value in values(list(records)))


async def test_after_a_load_the_counters_equal_what_is_in_the_topics(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.fill("messages", count=FILLED)
    simulator.fill("calls", count=FILLED)
    watches = [
        {"resource": "messages", "name": "m", "interval": "300ms", "start": "2026-01-01T00:00:00Z", "limit": 100},
        {"resource": "calls", "name": "c", "interval": "300ms", "start": "2026-01-01T00:00:00Z", "limit": 100},
    ]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    async with running(document, tmp_path) as (process,), aiohttp.ClientSession() as session:
        samples: list[Scrape] = []
        sampling = asyncio.create_task(sample(process, samples))
        await asyncio.to_thread(produce, kafka, work(prefix))
        answers = await asyncio.gather(
            *(call_back(session, process, simulator.auth_token, number) for number in range(CALLBACKS))
        )
        results = [
            *await wait_for_records(kafka, f"{prefix}.results.send-message", COMMANDS * 9 // 10, within=60),
            *await wait_for_records(kafka, f"{prefix}.results.get", COMMANDS // 10),
        ]
        sent = sum(value["outcome"] == "succeeded" for value in values(results))
        messages = await wait_for_records(kafka, f"{prefix}.messages", FILLED + sent, within=60)
        calls = await wait_for_records(kafka, f"{prefix}.calls", FILLED)
        statuses = await settled(kafka, f"{prefix}.message-status", sent + answers.count(204))
        letters = await read_all(kafka, f"{prefix}.dead-letters")
        after = await quiet(process)
        sampling.cancel()

    assert after.by("commands_total", "outcome") == outcomes(results)
    assert after.by("commands_total", "command") == {"send-message": COMMANDS * 9 // 10, "get": COMMANDS // 10}
    assert after.total("command_seconds_count") == len(results)
    assert {"succeeded", "failed", "rejected", "expired", "duplicate"} == set(outcomes(results))

    assert after.by("watch_published_total", "watch") == {"m": len(messages), "c": len(calls)}
    assert after.total("watch_polls_total", outcome="published") >= 10

    stored = after.by("callbacks_total", "outcome", kind="message-status")
    assert stored["stored"] == len(statuses)
    assert stored["forbidden"] == answers.count(403)
    assert stored["invalid"] == answers.count(415)
    assert after.total("callback_seconds_count") == len(statuses)

    assert after.by("dead_letters_total", "stage") == Counted(
        dict(record.headers)["dlq.errors.stage"].decode() for record in letters
    )
    made = [entry for entry in simulator.journal.entries if entry.method == "POST" and "Messages.json" in entry.path]
    assert after.total("twilio_requests_total", operation="CreateMessage") == len(made)
    assert after.total("twilio_request_seconds_count", operation="CreateMessage") == len(made)

    assert after.by("owners", "role") == {"watch": PARTITIONS, "commands": PARTITIONS}
    assert after.total("commands_in_flight") == 0
    assert after.total("commands_in_doubt") == 0
    assert after.total("command_lag") == 0
    assert max(found.total("command_lag") for found in samples) > 10
    assert max(found.total("commands_in_flight") for found in samples) >= 1
    assert max(found.total("commands_in_flight") for found in samples) <= 256
    assert after.total("watch_lag_seconds") == 0
    assert 0 <= after.total("watch_cursor_age_seconds", watch="m") < 120
    assert after.total("twilio_concurrency_limit", connection="default") >= 1

    assert_contract(after)


async def sample(process: Connector, samples: list[Scrape]) -> None:
    """Scrape again and again."""
    while True:
        samples.append(await scrape(process))
        await asyncio.sleep(0.02)


async def settled(kafka: str, topic: str, least: int) -> list[ConsumerRecord]:
    """The records of a topic when no more come: each message has several statuses."""
    found = await wait_for_records(kafka, topic, least)
    async with asyncio.timeout(30):
        while True:
            await asyncio.sleep(1.0)
            again = await read_all(kafka, topic)
            if len(again) == len(found):
                return again
            found = again


async def quiet(process: Connector) -> Scrape:
    """The metrics when the last commits are done."""
    async with asyncio.timeout(10):
        while (found := await scrape(process)).total("command_lag"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
    return found


def assert_contract(found: Scrape) -> None:
    """Every metric of the contract is there, with the labels that it says and no others."""
    for name, _, labels in re.findall(r"([a-z_]+)(\{([a-z,]+)\})?", CONTRACT):
        wanted = set(labels.split(",")) - {""}
        sample = next(
            (f"{name}{suffix}" for suffix in ("", "_count") if f"twilio_kafka_{name}{suffix}" in found.names), None
        )
        assert sample is not None, name
        assert found.labels_of(sample) == wanted, name
