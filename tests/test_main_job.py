import asyncio
import contextlib
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event

from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import configuration, headers_of, read_all, running, values, wait_for_records

PHONE = "+15551234567"


async def test_a_message_commanded_by_another_client_is_sent_reported_and_watched(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    watches = [{"resource": "messages", "interval": "500ms"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    async with running(document, tmp_path) as (process,):
        await process.wait_for_log("watch starts anew")
        command = {"to": "+15557654321", "from": PHONE, "body": "Hello"}
        headers = {"id": "c-1", "correlation-id": "order-7"}
        sent = Message(f"{prefix}.commands.send-message", command, "k", headers)
        await asyncio.to_thread(produce, kafka, [sent])
        (record,) = await wait_for_records(kafka, f"{prefix}.results.send-message", 1)
        statuses = await wait_for_records(kafka, f"{prefix}.message-status", 2)
        (watched,) = await wait_for_records(kafka, f"{prefix}.messages", 1)

    (result,) = values([record])
    sid = result["bundles"][0]["sid"]
    assert result["outcome"] == "succeeded"
    assert result["command"]["id"] == "c-1"
    event = from_kafka_event(KafkaMessage(headers=dict(record.headers), key=record.key, value=record.value))
    assert event.get_type() == "twilio.command.result.v1"
    assert event.get_subject() == sid
    assert event.get_extension("correlationid") == "order-7"
    assert [value["message_status"] for value in values(statuses)][-1] == "delivered"
    assert {headers_of(status)["ce_causationid"] for status in statuses} == {"c-1"}
    assert {headers_of(status)["ce_correlationid"] for status in statuses} == {"order-7"}
    assert watched.key.decode() == sid
    assert headers_of(watched)["ce_id"] == sid


async def test_an_invalid_command_is_rejected_and_dead_lettered_with_the_reason(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    raw = b'{"to": "+15557654321", "from": "+15551234567", "boddy": "x"}'
    async with running(document, tmp_path):
        sent = Message(f"{prefix}.commands.send-message", raw, "k", {"id": "bad", "x": "y"})
        await asyncio.to_thread(produce, kafka, [sent])
        (result,) = values(await wait_for_records(kafka, f"{prefix}.results.send-message", 1))
        (letter,) = await wait_for_records(kafka, f"{prefix}.dead-letters", 1)
    assert result["outcome"] == "rejected"
    assert "did you mean body?" in result["error"]["message"]
    assert letter.value == raw
    headers = headers_of(letter)
    assert headers["x"] == "y"
    assert headers["dlq.errors.stage"] == "command"
    assert headers["dlq.errors.topic"] == f"{prefix}.commands.send-message"
    assert "did you mean body?" in headers["dlq.errors.message"]
    assert simulator.journal.entries == [] or all(entry.method != "POST" for entry in simulator.journal.entries)


async def test_a_message_is_deleted_by_command_and_a_second_delete_succeeds_too(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    (sid,) = simulator.fill("messages", count=1)
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    command = {"resource": "message", "sid": sid}
    async with running(document, tmp_path):
        await asyncio.to_thread(produce, kafka, [Message(f"{prefix}.commands.delete", command, "k")] * 2)
        results = values(await wait_for_records(kafka, f"{prefix}.results.delete", 2))
    assert [result["outcome"] for result in results] == ["succeeded", "succeeded"]


def assert_exactly_once_oldest_first(records: list[Any], sids: list[str]) -> None:
    """Each SID in one record, and within a partition in the order in which they were created."""
    assert Counter(record.key.decode() for record in records) == Counter(sids)
    age = {sid: position for position, sid in enumerate(sids)}
    for partition in {record.partition for record in records}:
        ages = [age[record.key.decode()] for record in records if record.partition == partition]
        assert ages == sorted(ages)


@pytest.mark.parametrize("count", [1, 2])
async def test_5000_messages_are_published_exactly_once_though_the_process_is_killed(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path, count: int
) -> None:
    watches = [{"resource": "messages", "interval": "200ms", "limit": 100, "start": "2026-01-01T00:00:00Z"}]
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches)
    sids = simulator.fill("messages", count=5000)
    topic = f"{prefix}.messages"
    async with running(document, tmp_path, count=count) as processes:
        await wait_for_records(kafka, topic, 500)
        for process in processes:
            if '"watch opened"' in process.log:
                await process.kill()
        if count == 1:
            await processes[0].start()
        records = await wait_for_records(kafka, topic, 5000, within=90)
    assert len(await read_all(kafka, topic)) == 5000
    assert_exactly_once_oldest_first(records, sids)


async def test_sigterm_ends_the_process_with_exit_code_0(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,):
        assert await process.stop(within=20) == 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
