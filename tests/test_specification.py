"""The walk: each row of the coverage table against the simulator, over real Kafka, with the real process."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema_rs
import orjson
import pytest

from connector.resources import CALLBACKS, WATCHES
from connector.schemas.documents import documents
from connector.settings.watches import FILTERS
from connector.simulator import ACCOUNT_SID
from connector.simulator import events as event_streams
from connector.simulator.callbacks import Delivery
from connector.simulator.journal import Entry
from connector.watcher.records import identity
from tests.contract.coverage import modules
from tests.running import headers_of, read_all, values, wait_for_records
from tests.specification.callbacks import FORMS, Called, streamed
from tests.specification.commands import examples
from tests.specification.example import Example
from tests.specification.watches import Watched, watches
from tests.specification.world import World, world

EVENT_IDS = ("EZ1", "EZ2", "EZ3")


@pytest.mark.timeout(240)
async def test_every_row_of_the_specification_is_served(kafka: str, prefix: str, tmp_path: Path) -> None:
    async with world(kafka, prefix, tmp_path) as walk:
        chosen = examples(walk.rows)
        last = [example for example in chosen if example.command == "delete"]
        await check_watches(walk)
        await walk.execute([example for example in chosen if example not in last])
        await walk.execute(last)
        for example in chosen:
            check_command(walk, example)
        await check_callbacks_of_calls(walk)
        await check_message_callbacks(walk)
        await check_forms(walk)
        await check_events(walk)
        check_connection(walk)
        await check_schemas(walk, {example.command for example in chosen})
        assert walk.simulator.journal.unknown_parameters() == set()
        assert await read_all(kafka, walk.topic("dead-letters")) == []
        assert '"level": "error"' not in walk.process.log
    assert unserved(walk.served) == []


def unserved(served: set[tuple[str, str]]) -> list[str]:
    """The rows of the table that no example has shown."""
    return [
        f"{module['module']}: {parameter['name']}"
        for module in modules()
        for parameter in module["parameters"]
        if (" ".join(module["by"].values()), parameter["field"]) not in served
    ]


# --- watches --------------------------------------------------------------------------------------------------------
async def check_watches(walk: World) -> None:
    table = watches(walk.rows)
    shown = {(item.resource, name) for item in table for name in item.filters}
    assert shown == {(resource, name) for resource, names in FILTERS.items() for name in names}
    for item in table:
        check_watch(walk, item, await published(walk, item))


async def published(walk: World, item: Watched) -> list[Any]:
    """What a watch has published, as soon as all that is expected is there."""
    async with asyncio.timeout(60):
        while True:
            records = await read_all(walk.kafka, walk.topic(item.resource))
            mine = [record for record in records if headers_of(record)["ce_watch"] == item.name]
            is_logged = sum(polls(walk, item)) >= len(mine)
            if is_logged and {record.key.decode() for record in mine} >= set(item.sids):
                return mine
            await asyncio.sleep(0.1)


def check_watch(walk: World, item: Watched, mine: Sequence[Any]) -> None:
    counted = Counter(record.key.decode() for record in mine)
    row = WATCHES[item.resource]
    assert {key: count for key, count in counted.items() if key in item.among} == dict.fromkeys(item.sids, 1), item
    for record in mine:
        headers = headers_of(record)
        assert headers["ce_type"] == f"twilio.{row.noun}.created.v1"
        assert headers["ce_source"] == f"/twilio/{ACCOUNT_SID}/{item.resource}"
        key = identity(orjson.loads(record.value), row.key)
        assert headers["ce_id"] == headers["ce_subject"] == record.key.decode() == key
    for partition in {record.partition for record in mine}:
        times = [headers_of(record)["ce_time"] for record in mine if record.partition == partition]
        assert times == sorted(times), item
    asked = [dict(entry.parameters) for entry in walk.simulator.journal.of(item.operation)]
    assert any(item.sends.items() <= parameters.items() for parameters in asked), (item, asked[:20])
    assert max(polls(walk, item)) <= item.limit
    walk.served |= {(item.resource, name) for name in item.filters}
    if item.limit < len(item.sids):
        walk.served.add((item.resource, "limit"))


def polls(walk: World, item: Watched) -> list[int]:
    """How many events each poll of a watch has published, as it logs it."""
    lines = [orjson.loads(line) for line in walk.process.log.splitlines() if '"event": "published"' in line]
    return [line["events"] for line in lines if line["watch"] == item.name]


# --- commands -------------------------------------------------------------------------------------------------------
def check_command(walk: World, example: Example) -> None:
    (result,) = walk.results[example.id]
    assert result["outcome"] == example.outcome, (example.id, result)
    assert result["last"]
    assert result["attempts"] == 1, result
    if example.sids is not None:
        sids = [bundle["sid"] for bundle in result["bundles"]]
        assert sorted(sids) == sorted(example.sids), (example.id, result)
    if example.expects:
        bundle = result["bundles"][0]
        assert {name: bundle.get(name) for name in example.expects} == dict(example.expects), example.id
    entries = [entry for entry in walk.simulator.journal if is_request_of(walk, example, entry)]
    assert entries, (example.id, [entry.parameters for entry in walk.simulator.journal.of(example.operation)])
    served = " ".join(filter(None, [example.command, example.resource]))
    walk.served |= {(served, name) for name in example.value}


def is_request_of(walk: World, example: Example, entry: Entry) -> bool:
    pairs = [
        (name, item) for name, given in example.sends.items() for item in ([given] if isinstance(given, str) else given)
    ]
    url = f"{walk.process.callbacks}/callbacks"
    pairs += [(name, f"{url}/{kind}?command={example.id}#rc=3") for name, kind in example.ours.items()]
    return (
        entry.operation == example.operation
        and entry.path.endswith(example.path)
        and (not example.method or entry.method == example.method)
        and sorted(entry.parameters) == sorted(pairs)
    )


def check_connection(walk: World) -> None:
    """Account and token of the connection are in every request."""
    entries = list(walk.simulator.journal)
    assert {entry.account_sid for entry in entries if entry.operation} == {ACCOUNT_SID}
    assert all(entry.status != 401 for entry in entries)
    walk.served |= {("connections", "account_sid"), ("connections", "auth_token")}


async def check_schemas(walk: World, commands: set[str]) -> None:
    """Every record on every topic of the specification's is what its published schema says."""
    watched = {row.topic for row in WATCHES.values() if row.is_standard}
    named = {"events": watched | {row.topic for row in CALLBACKS.values()}, "results": commands, "commands": commands}
    for path, document in documents().items():
        kind, _, name = path.removesuffix(".json").partition("/")
        if name in named.get(kind, ()):
            topic = walk.topic(name if kind == "events" else f"{kind}.{name}")
            validator = jsonschema_rs.Draft202012Validator(document, validate_formats=True)
            records = await read_all(walk.kafka, topic)
            assert records, topic
            for value in values(records):
                validator.validate(value)


# --- callbacks ------------------------------------------------------------------------------------------------------
async def check_callbacks_of_calls(walk: World) -> None:
    """Placing a call brings all four steps, the recording and who answered, each with the command's id."""
    expected = {
        "call-status": ("call_status", ["completed", "in-progress", "initiated", "ringing"]),
        "recording-status": ("recording_status", ["completed", "in-progress"]),
        "amd-status": ("answered_by", ["human"]),
    }
    for topic, (name, found) in expected.items():
        for cause in ("call-with-our-callbacks", "call-with-our-callbacks-by-get"):
            records = await caused_by(walk, topic, cause, len(found))
            assert sorted(value[name] for value in values(records)) == found
            call = walk.results[cause][0]["bundles"][0]["sid"]
            assert {value["call_sid"] for value in values(records)} == {call}
    methods = {(row.kind, row.method) for row in walk.simulator.deliveries.rows if walk.process.callbacks in row.url}
    assert methods >= {(kind, method) for kind in expected for method in ("GET", "POST")}


async def check_message_callbacks(walk: World) -> None:
    records = await caused_by(walk, "message-status", "send-text", 2)
    assert {value["message_status"] for value in values(records)} == {"sent", "delivered"}
    walk.served.add(("message-status", "callbacks.public_url"))


async def caused_by(walk: World, topic: str, command: str, count: int) -> list[Any]:
    """The records of a topic that a command has caused."""
    async with asyncio.timeout(60):
        while True:
            records = await read_all(walk.kafka, walk.topic(topic))
            caused = [record for record in records if headers_of(record).get("ce_causationid") == command]
            assert {headers_of(record)["ce_correlationid"] for record in caused} <= {command}
            if len(caused) >= count:
                return caused
            await asyncio.sleep(0.1)


async def check_forms(walk: World) -> None:
    """Each kind by POST and by GET: topic, key, headers, typed fields."""
    deliveries = [(item, method, deliver(walk, item, method)) for item in FORMS for method in ("POST", "GET")]
    await walk.simulator.settle()
    for item, method, delivery in deliveries:
        assert delivery.outcome == "delivered", (item.kind, method, delivery.attempts)
        found = await read_all(walk.kafka, walk.topic(item.topic))
        (record,) = [
            record for record in found if headers_of(record).get("ce_twilioidempotencytoken") == delivery.token
        ]
        headers = headers_of(record)
        assert record.key.decode() == headers["ce_subject"] == item.key
        assert headers["ce_type"] == item.type
        assert headers["ce_source"] == f"/twilio/{ACCOUNT_SID}/{item.resource}"
        assert headers["ce_causationid"] == headers["ce_correlationid"] == f"by {method}"
        assert headers["content-type"] == "application/json"
        assert headers["ce_time"] == (item.time or headers["ce_recordedtime"])
        value = orjson.loads(record.value)
        assert {name: value.get(name) for name in item.fields} == dict(item.fields)


def deliver(walk: World, item: Called, method: str) -> Delivery:
    url = f"{walk.process.callbacks}/callbacks/{item.kind}?command=by%20{method}"
    delivery = walk.simulator.deliveries.send(
        kind=item.kind, url=url, account_sid=ACCOUNT_SID, parameters=item.form, method=method
    )
    assert delivery is not None
    return delivery


async def check_events(walk: World) -> None:
    """Event Streams alone and in a batch, untouched; a repeated delivery has the same id."""
    url = f"{walk.process.callbacks}/callbacks/events"
    alone, *batch = [streamed(identity) for identity in EVENT_IDS]
    for events, is_batch in (([alone], False), (batch, True), ([alone], False)):
        event_streams.deliver(walk.simulator.state, ACCOUNT_SID, url, events, batch=is_batch)
        await walk.simulator.settle()
    records = await wait_for_records(walk.kafka, walk.topic("events"), 4)
    assert Counter(headers_of(record)["ce_id"] for record in records) == {"EZ1": 2, "EZ2": 1, "EZ3": 1}
    assert all(record.key.decode() == orjson.loads(record.value)["id"] for record in records)
    assert {record.value for record in records} == {orjson.dumps(event) for event in (alone, *batch)}
    assert {headers_of(record)["ce_type"] for record in records} == {alone["type"]}
