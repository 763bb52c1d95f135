"""Commands from topic to result: order, retries, refusals, repeats, replies."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from connector.events import Record, now
from connector.executor.writer import Attempts
from connector.kafka import clients
from connector.kafka.ownership import Assignment
from connector.receiver.form import names_cause
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from connector.state import journal
from connector.telemetry import metrics
from tests.executing import SEND, Executing, executing, message
from tests.running import headers_of, until, wait_for_records


async def test_commands_of_a_key_are_executed_in_their_order_and_keys_in_parallel(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=2) as running:
        running.simulator.fault("latency", "CreateMessage", seconds=0.15, jitter=0.1)
        for number in range(5):
            for key in range(8):
                await running.send(message(f"{key}/{number}"), key=f"key-{key}")
        await running.results(40)
    bodies = running.created()
    for key in range(8):
        assert [body for body in bodies if body.startswith(f"{key}/")] == [f"{key}/{number}" for number in range(5)]
    assert max(entry.concurrent for entry in running.simulator.journal.of("CreateMessage")) > 4


async def test_commands_without_a_key_do_not_wait_for_each_other(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("slow-answer", "CreateMessage", seconds=1.0)
        for number in range(5):
            await running.send(message(str(number)), key=None)
        await running.results(5)
    assert max(entry.concurrent for entry in running.simulator.journal.of("CreateMessage")) == 5


async def test_one_busy_key_does_not_keep_the_others_waiting(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("latency", "CreateMessage", seconds=0.3, match={"Body": "busy"})
        for _ in range(20):
            await running.send(message("busy"), key="busy")
        await running.send(message("other"), key="other")
        await until(lambda: "other" in running.created())
        assert running.created().count("busy") < 5


async def test_a_result_says_what_was_executed_for_whom(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        place = await running.send(message(), id="order-7", correlation_id="order")
        (record,) = await running.records("results.send-message", 1)
        (result,) = await running.results(1)
    headers = headers_of(record)
    partition, offset = map(int, place.split("/"))
    assert result["command"] == {
        "id": "order-7",
        "name": "send-message",
        "topic": f"{prefix}.commands.send-message",
        "partition": partition,
        "offset": offset,
    }
    assert (result["outcome"], result["attempts"], result["last"], result["page"]) == ("succeeded", 1, True, 0)
    assert record.key == b"key"
    assert headers["ce_id"] == "order-7"
    assert headers["ce_correlationid"] == headers["correlation-id"] == "order"
    assert headers["ce_causationid"] == "order-7"
    assert headers["ce_subject"] == result["bundles"][0]["sid"]


async def test_without_an_id_the_place_of_the_record_is_the_id(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        place = await running.send(message())
        (result,) = await running.results(1)
    assert result["command"]["id"] == f"{prefix}.commands.send-message/{place}"


@pytest.mark.parametrize(
    ("value", "headers", "sentence"),
    [
        (b"not json", {}, "not JSON"),
        (None, {}, "empty"),
        (message(colour="red"), {}, "colour"),
        (message(), {"connection": "nobody"}, "not configured"),
        (message(), {"expires_at": "tomorrow"}, "expires-at"),
        (message(), {"expires_at": "0001-01-01T00:00:00+14:00"}, "expires-at"),
        (message(), {"reply_to": "anywhere"}, "reply-to"),
        (message(), {"id": "x" * 300}, "header id"),
        (message("x" * 1601), {}, "body"),
    ],
)
async def test_what_cannot_be_sent_is_rejected_and_dead_lettered_and_the_next_goes_on(
    kafka: str, prefix: str, value: bytes | dict[str, str] | None, headers: dict[str, Any], sentence: str
) -> None:
    async with executing(kafka, prefix) as running:
        await running.send(value, **headers)
        await running.send(message("next"))
        rejected, done = await running.results(2)
        (letter,) = await running.records("dead-letters", 1)
    assert (rejected["outcome"], done["outcome"]) == ("rejected", "succeeded")
    assert rejected["error"]["kind"] == "invalid"
    assert sentence in rejected["error"]["message"]
    assert running.created() == ["next"]
    assert headers_of(letter)["dlq.errors.stage"] == "command"
    assert headers_of(letter)["dlq.errors.topic"] == f"{prefix}.commands.send-message"


async def test_records_that_a_client_could_choke_on_are_rejected_too(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        topic = running.topic("commands.send-message")
        for value, key, headers, moment in (
            (b"\x00\xff", b"key", [("id", b"\xff\xfe"), ("connection", None)], 0),
            (b"{}", b"", [("", b"")], 1),
            (b"[" * 5000, b"k" * 100_000, [("expires-at", b"")], 1),
            (b"x" * 1_000_000, b"large", [], 1),
        ):
            await running.producer.send_and_wait(topic, value, key=key, headers=headers, timestamp_ms=moment)
        await running.send(message("next"))
        results = await running.results(5)
        letters = await running.records("dead-letters", 4)
    assert [one["outcome"] for one in results].count("rejected") == 4
    assert running.created() == ["next"]
    assert {len(letter.value) for letter in letters} >= {2, 5000}


async def test_an_expired_command_is_not_executed(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await running.send(message(), expires_at="2020-01-01T00:00:00Z")
        (result,) = await running.results(1)
    assert result["outcome"] == "expired"
    assert running.created() == []


async def test_a_command_expires_while_twilio_throttles_and_the_next_of_its_key_goes_on(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        fault = running.simulator.fault("throttle", "CreateMessage", match={"Body": "late"})
        await running.serving()
        soon = datetime.now(UTC) + timedelta(seconds=1.5)
        await running.send(message("late"), expires_at=soon.isoformat())
        await running.send(message("next"))
        results = await running.results(2)
    assert [one["outcome"] for one in results] == ["expired", "succeeded"]
    assert fault.hit > 1
    assert running.created() == ["next"]


async def test_a_refused_command_fails_and_is_not_repeated(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("error", "CreateMessage", status=400, code=21211)
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["attempts"], result["error"]["code"]) == ("failed", 1, 21211)
    assert len(running.simulator.journal.of("CreateMessage")) == 1


async def test_what_was_certainly_not_executed_is_tried_again(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("throttle", "CreateMessage", times=2, seconds=0)
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["attempts"]) == ("succeeded", 3)
    assert running.created() == ["Hello"]


async def test_while_the_group_may_have_given_it_away_nothing_is_sent_nor_written_down(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        await running.send(message("before"))
        await running.results(1)
        monkeypatch.setattr(Assignment, "known_until", float("-inf"))
        soon = now() + timedelta(seconds=6)
        await running.send(message("late"), expires_at=soon.isoformat(), key="a")
        await running.send(message("waits"), key="b")
        await running.send({"resource": "messages", "limit": 1}, command="list", key="c")
        await running.results(1, command="list")
        assert [one["outcome"] for one in await running.results(2)] == ["succeeded", "expired"]
        assert running.created() == ["before"]
        entries = [journal.decode(one.value) for one in await running.records("journal", 5) if b"/" in one.key]
        assert [one.state for one in entries] == ["attempting", "done", "done", "done"]
        monkeypatch.undo()
        await running.results(3)
    assert running.created() == ["before", "waits"]


async def test_an_attempt_that_was_written_down_when_the_group_last_knew_its_owner_is_given_back(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, write, forgotten = Assignment.known_until, Attempts.write, [float("-inf")]

    async def written_late(self: Attempts, record: Record) -> int:
        offset = await write(self, record)
        if forgotten and not journal.is_fence(record):
            monkeypatch.setattr(Assignment, "known_until", forgotten.pop())
            asyncio.get_running_loop().call_later(0.5, monkeypatch.setattr, Assignment, "known_until", known)
        return offset

    monkeypatch.setattr(Attempts, "write", written_late)
    async with executing(kafka, prefix) as running:
        await running.send(message())
        (result,) = await running.results(1)
        found = [journal.decode(one.value) for one in await running.records("journal", 5) if b"/" in one.key]
    assert [one.state for one in found] == ["attempting", "withdrawn", "attempting", "done"]
    assert (result["outcome"], result["attempts"]) == ("succeeded", 2)
    assert running.created() == ["Hello"]
    assert len(running.simulator.journal.of("CreateMessage")) == 1


async def test_wrong_credentials_are_tried_again_before_it_is_said_so(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("unauthorized", "CreateMessage", times=2)
        await running.send(message("rotated"))
        await running.results(1)
        running.simulator.fault("unauthorized", "CreateMessage")
        await running.send(message("refused"))
        first, second = await running.results(2)
    assert (first["outcome"], first["attempts"]) == ("succeeded", 3)
    assert (second["outcome"], second["attempts"], second["error"]["http_status"]) == ("failed", 3, 401)


async def test_what_may_be_repeated_is_repeated_until_it_is_answered(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["get"]) as running:
        await running.send(message())
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        running.simulator.fault("error", "FetchMessage", times=2, status=503)
        await running.send({"resource": "message", "sid": sid}, command="get")
        (result,) = await running.results(1, command="get")
    assert (result["outcome"], result["attempts"], result["bundles"][0]["sid"]) == ("succeeded", 3, sid)


async def test_deleting_what_is_being_sent_waits(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["delete"], simulated={"queue_delay": 0.8}) as running:
        await running.send(message())
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        await running.send({"resource": "message", "sid": sid}, command="delete")
        (result,) = await running.results(1, command="delete")
    assert result["outcome"] == "succeeded"
    assert result["attempts"] > 1
    assert 20009 in {entry.code for entry in running.simulator.journal.of("DeleteMessage")}


async def test_deleting_again_succeeds(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["delete"]) as running:
        await running.send(message())
        sid = (await running.results(1))[0]["bundles"][0]["sid"]
        await running.simulator.settle()
        for _ in range(2):
            await running.send({"resource": "message", "sid": sid}, command="delete")
        results = await running.results(2, command="delete")
    assert [one["outcome"] for one in results] == ["succeeded", "succeeded"]


async def test_a_reply_goes_to_an_allowed_topic_as_well(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, reply_topics=[f"{prefix}-*"]) as running:
        topic = await running.create_topic("replies", partitions=3)
        await running.send(message("one"), reply_to=topic, id="one")
        await running.send(message("two"), reply_to=f"{prefix}-missing", id="two")
        await running.send(message("three"), kafka_replyTopic=topic, kafka_replyPartition="\0\0\0\2", id="three")
        await running.send(message("four"), kafka_replyTopic=topic, kafka_replyPartition="1", id="four")
        await running.send(message("five"), kafka_replyTopic=topic, kafka_replyPartition="3", id="five")
        results = await running.results(5)
        replies = {headers_of(reply)["ce_id"]: reply for reply in await wait_for_records(kafka, topic, 3)}
    assert [one["outcome"] for one in results] == ["succeeded", "rejected", "succeeded", "succeeded", "rejected"]
    assert "does not exist" in results[1]["error"]["message"]
    assert "has 3 partitions" in results[4]["error"]["message"]
    assert replies.keys() == {"one", "three", "four"}
    assert (replies["three"].partition, replies["four"].partition) == (2, 1)
    assert dict(replies["three"].headers)["kafka_replyPartition"] == b"\0\0\0\2"


async def test_the_pages_of_a_reply_without_a_key_lie_in_one_partition(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["list"], reply_topics=[f"{prefix}-*"]) as running:
        topic = await running.create_topic("replies", partitions=8)
        running.simulator.fill("messages", count=1_000, body="x" * 1500)
        await running.send({"resource": "messages"}, command="list", key=None, reply_to=topic, id="listed")
        replies = await wait_for_records(kafka, topic, 4)
    assert len({reply.partition for reply in replies}) == 1
    assert [orjson.loads(reply.value)["page"] for reply in replies] == list(range(len(replies)))


async def test_a_reply_never_goes_to_a_topic_of_ours(kafka: str, prefix: str) -> None:
    ours = ["journal", "cursors", "control", "dead-letters", "commands.send-message", "results.send-message", "replies"]
    async with executing(kafka, prefix, reply_topics=["*"]) as running:
        for name in ours:
            await running.send(message(name), reply_to=running.topic(name))
            await running.send(message(name), kafka_replyTopic=running.topic(name))
        await running.send(message("offsets"), reply_to="__consumer_offsets")
        *results, last = await running.results(2 * len(ours) + 1)
        assert running.created() == []
        assert await running.records("control", 0) == []
    assert {one["outcome"] for one in (*results, last)} == {"rejected"}
    assert all("one of the connector's own" in one["error"]["message"] for one in results)
    assert "one of Kafka's own" in last["error"]["message"]


async def test_an_address_of_ours_that_names_another_command_is_refused_wherever_it_stands(
    kafka: str, prefix: str
) -> None:
    ours = partial(names_cause, "https://hooks.example.com")
    forged = "https://hooks.example.com/callbacks/message-status?command=another"
    call = {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER}
    form = {"To": OTHER_PHONE_NUMBER, "From": PHONE_NUMBER, "Body": "x", "StatusCallback": forged}
    path = "/2010-04-01/Accounts/{AccountSid}/Messages.json"
    commands: list[tuple[str, dict[str, Any]]] = [
        ("send-message", message(status_callback=forged)),
        ("send-message", message(media_url=["https://example.com/a.png", forged])),
        ("place-call", call | {"url": forged}),
        ("place-call", call | {"twiml": f"<Response><Redirect>{forged}</Redirect></Response>"}),
        ("call-api", {"url": path, "method": "POST", "body": form}),
        ("call-api", {"url": path, "method": "POST", "body": urlencode(form)}),
        ("call-api", {"url": path, "query": {"a": [{"b": forged}]}, "strict": False}),
        ("call-api", {"url": f"{path}?{urlencode(form)}", "strict": False}),
    ]
    async with executing(kafka, prefix, also=["call-api", "place-call"], names_cause=ours) as running:
        for command, value in commands:
            await running.send(value, command=command)
        own = message(status_callback="https://hooks.example.com/callbacks/message-status?tag=1")
        await running.send(own, id="own")
        results = [
            result
            for command, count in (("send-message", 3), ("place-call", 2), ("call-api", 4))
            for result in await running.results(count, command=command)
        ]
        assert running.created() == ["Hello"]
    assert [one["command"]["id"] for one in results if one["outcome"] == "succeeded"] == ["own"]
    refused = [one["error"]["message"] for one in results if one["outcome"] == "rejected"]
    assert len(refused) == len(commands)
    assert all("an address of the connector's" in sentence for sentence in refused)


async def test_nothing_is_written_to_a_topic_that_is_not_allowed_not_even_that_it_is_not(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        await running.send(message("one"), id="one")
        await running.results(1)
        await running.send(message("two"), reply_to=f"{prefix}.control", id="two")
        # The repeat of what had succeeded is answered, but not there either.
        await running.send(message("one"), reply_to=f"{prefix}.control", id="one")
        results = await running.results(3)
        assert await running.records("control", 0) == []
    assert [one["outcome"] for one in results] == ["succeeded", "rejected", "duplicate"]


async def test_spring_s_correlation_comes_back_as_it_came_and_is_a_uuid_elsewhere(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        raw = bytes(range(200, 216))
        await running.producer.send_and_wait(
            running.topic("commands.send-message"), b'{"to": 1}', headers=[("kafka_correlationId", raw)]
        )
        (record,) = await running.records("results.send-message", 1)
    headers = dict(record.headers)
    assert headers["kafka_correlationId"] == raw
    assert headers["correlation-id"] == headers["ce_correlationid"] == str(uuid.UUID(bytes=raw)).encode()


async def test_ids_are_bytes_and_the_last_one_counts(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        topic = running.topic("commands.send-message")
        longs = [number.to_bytes(8, "big") for number in (128, 129, 130)]
        given = [*longs, longs[0], uuid.UUID(int=255).bytes, b"order-9"]
        for number, raw in enumerate(given):
            headers = [("id", b"first"), ("id", raw)]
            await running.producer.send_and_wait(topic, orjson.dumps(message(str(number))), key=b"k", headers=headers)
        results = await running.results(len(given))
    assert [one["command"]["id"] for one in results] == [
        *(f"{number:016x}" for number in (128, 129, 130, 128)),
        str(uuid.UUID(int=255)),
        "order-9",
    ]
    assert [one["outcome"] for one in results] == [*["succeeded"] * 3, "duplicate", *["succeeded"] * 2]


async def test_a_long_list_comes_in_pages_of_less_than_half_a_mebibyte(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        running.simulator.fill("messages", count=2500, body="x" * 1500)
        await running.send({"resource": "messages", "limit": 2400}, command="list")
        records = await running.records("results.list", 12)
        results = await running.results(12, command="list")
    assert all(len(record.value) < 512 * 1024 for record in records)
    assert [one["page"] for one in results] == list(range(len(results)))
    assert [one["last"] for one in results] == [False] * (len(results) - 1) + [True]
    sids = [bundle["sid"] for one in results for bundle in one["bundles"]]
    assert len(sids) == len(set(sids)) == 2400


async def test_lists_do_not_wait_for_themselves_when_twilio_allows_one_request_at_a_time(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix, also=["list"]) as running:
        running.simulator.fill("messages", count=30)
        running.clients["default"]._concurrency.limit = 1
        for number in range(3):
            await running.send({"resource": "messages"}, command="list", key=str(number))
        results = await running.results(3, command="list")
    assert [len(one["bundles"]) for one in results] == [30, 30, 30]


async def test_an_answer_that_no_record_holds_is_left_out(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["call-api"]) as running:
        running.simulator.fill("messages", count=1000, body="x" * 1500)
        url = f"/2010-04-01/Accounts/{running.simulator.account_sid}/Messages.json"
        await running.send({"url": url, "method": "GET", "query": {"PageSize": "1000"}}, command="call-api")
        await running.send({"url": url, "method": "GET", "query": {"PageSize": "1"}}, command="call-api")
        large, small = await running.results(2, command="call-api")
    assert (large["outcome"], large["bundles"], large["error"]["kind"]) == ("succeeded", [], "too-large")
    assert (small["outcome"], small["error"]) == ("succeeded", None)


async def test_paced_commands_take_no_slots_from_the_others(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["place-call"], max_in_flight=4) as running:
        client = running.clients["default"]
        client._pacing = type(client._pacing)(calls_per_second=0.25)
        for number in range(12):
            call = {"to": f"+1555000{number:04}", "from": "+15551234567", "url": "https://example.com/"}
            await running.send(call, command="place-call", key=f"call-{number}")
        await asyncio.sleep(0)
        for number in range(12):
            await running.send(message(str(number)), key=f"message-{number}")
        await running.results(12)
        assert len(running.created("CreateCall")) < 9


# --- repeats of the caller --------------------------------------------------------------------------------------------
async def test_an_id_that_was_seen_is_not_executed_again(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        for _ in range(3):
            await running.send(message(), id="same")
        results = await running.results(3)
    assert [one["outcome"] for one in results] == ["succeeded", "duplicate", "duplicate"]
    assert results[1]["bundles"] == results[2]["bundles"] == results[0]["bundles"]
    assert running.created() == ["Hello"]


async def test_a_repeat_under_another_key_waits_for_the_first(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("slow-answer", "CreateMessage", seconds=0.7)
        await running.send(message(), id="same", key="a")
        await running.send(message(), id="same", key="b")
        results = await running.results(2)
    assert sorted(one["outcome"] for one in results) == ["duplicate", "succeeded"]
    assert results[0]["bundles"] == results[1]["bundles"]
    assert running.created() == ["Hello"]


async def test_without_a_key_repeats_meet_wherever_they_were_sent(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, partitions=4) as running:
        places = [await running.send(message(), id="same", key=None, partition=number) for number in range(4)]
        results = await running.results(4)
    assert sorted(one["outcome"] for one in results) == ["duplicate"] * 3 + ["succeeded"]
    assert {f"{one['command']['partition']}/{one['command']['offset']}" for one in results} == set(places)
    assert running.created() == ["Hello"]


async def test_ids_are_known_after_a_restart(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await running.send(message(), id="same")
        await running.results(1)
        await running.stop()
        await running.start()
        await running.send(message(), id="same")
        first, second = await running.results(2)
    assert (first["outcome"], second["outcome"]) == ("succeeded", "duplicate")
    assert second["bundles"] == first["bundles"]


async def test_after_the_window_an_id_is_new(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, dedupe_window=timedelta(seconds=0)) as running:
        await running.send(message(), id="same")
        await running.results(1)
        await running.send(message(), id="same")
        results = await running.results(2)
    assert [one["outcome"] for one in results] == ["succeeded", "succeeded"]


async def test_the_id_of_a_command_that_was_never_sent_is_free(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await running.send(message(colour="red"), id="same")
        await running.send(message(), id="same", expires_at="2020-01-01T00:00:00Z")
        await running.send(message(), id="same")
        results = await running.results(3)
    assert [one["outcome"] for one in results] == ["rejected", "expired", "succeeded"]


# --- restarts ---------------------------------------------------------------------------------------------------------
async def _offsets(running: Executing) -> dict[str, tuple[int, str]]:
    assert running.membership is not None
    member = running.membership
    return dict(
        await clients.committed(member.kafka, member.group, [TopicPartition(name, 0) for name in member.topics])
    )


async def test_an_orderly_stop_finishes_what_is_in_flight_and_commits(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("slow-answer", "CreateMessage", seconds=0.5)
        for number in range(10):
            await running.send(message(str(number)), key=str(number))
        await until(lambda: len(running.created()) == 10)
        await running.stop()
        assert [one["outcome"] for one in await running.results(10)] == ["succeeded"] * 10
        assert (await _offsets(running))[running.topic("commands.send-message")][0] == 10


async def test_what_was_finished_above_the_slowest_is_not_executed_again(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        slow = running.simulator.fault("throttle", "CreateMessage", match={"Body": "slow"})
        await running.send(message("slow"), key="slow")
        for number in range(10):
            await running.send(message(str(number)), key=str(number))
        await running.results(10)
        await running.stop()
        assert (await _offsets(running))[running.topic("commands.send-message")][0] == 0
        running.simulator.faults.rows.remove(slow)
        await running.start()
        await running.results(11)
    assert sorted(running.created()) == sorted(["slow", *map(str, range(10))])


async def test_what_the_journal_shows_as_finished_is_skipped_after_a_crash_and_after_another(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix) as running:
        for number in range(20):
            await running.send(message(str(number)), key=str(number))
        await running.results(20)
        for _ in range(3):
            # Whatever was committed before, the journal knows more.
            await running.break_off()
            await running.start()
        await running.send(message("last"))
        await running.results(21)
    assert sorted(running.created()) == sorted([*map(str, range(20)), "last"])


async def test_what_no_command_stands_for_is_not_behind_and_what_hangs_in_a_transaction_is(
    kafka: str, prefix: str
) -> None:
    """Markers of transactions, ours among what is sent on, and a caller's transaction that does not end."""

    def behind() -> float:
        (metric,) = metrics.COMMAND_LAG.collect()
        return sum(sample.value for sample in metric.samples if sample.labels == {"command": SEND})

    async with executing(kafka, prefix) as running:
        producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{prefix}-caller")
        async with producer:
            topic, value = running.topic(f"commands.{SEND}"), orjson.dumps(message())
            async with producer.transaction():
                await producer.send_and_wait(topic, value, partition=0)
            await running.results(1)
            await until(lambda: behind() == 0)
            await producer.begin_transaction()
            for _ in range(3):
                await producer.send_and_wait(topic, value, partition=0)
            await until(lambda: behind() == 3)
            await producer.abort_transaction()
            await until(lambda: behind() == 0)
