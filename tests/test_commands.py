"""What commands do beyond a single answer: long lists, patience, refusals. One process serves the whole module."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import pytest_asyncio
from aiokafka import ConsumerRecord

from connector.simulator import Simulator
from tests.producing import Message, produce
from tests.running import configuration, headers_of, read_all, running, until, values

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGEST_RECORD = 512 * 1024
BASE = "/2010-04-01/Accounts/{AccountSid}"
_numbers = itertools.count(1)


@dataclass
class Desk:
    """Sends commands to the process and reads its results."""

    kafka: str
    prefix: str
    simulator: Simulator

    async def send(self, command: str, value: Any, **headers: str) -> str:
        """Returns the command's id."""
        name = f"{command}-{next(_numbers)}"
        topic = f"{self.prefix}.commands.{command}"
        await asyncio.to_thread(produce, self.kafka, [Message(topic, value, name, {"id": name, **headers})])
        return name

    async def results(self, command: str, name: str) -> list[ConsumerRecord]:
        """The records of the command's result, once the last is there."""
        async with asyncio.timeout(60):
            while True:
                records = await read_all(self.kafka, f"{self.prefix}.results.{command}")
                mine = [record for record in records if orjson.loads(record.value)["command"]["id"] == name]
                if mine and orjson.loads(mine[-1].value)["last"]:
                    return mine
                await asyncio.sleep(0.1)

    async def run(self, command: str, value: Any, **headers: str) -> dict[str, Any]:
        """Send, and wait for the only result."""
        (record,) = await self.results(command, await self.send(command, value, **headers))
        return dict(orjson.loads(record.value))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def desk(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    prefix = f"t{os.getpid()}-desk-{next(_numbers)}"
    async with Simulator(seed=1) as simulator:
        document = configuration(simulator, kafka=kafka, prefix=prefix, roles=["commands"])
        async with running(document, tmp_path_factory.mktemp("desk")):
            # What Twilio is asked at the start, its time, counts as no command.
            await until(lambda: list(simulator.journal.of("FetchAccount")))
            yield Desk(kafka, prefix, simulator)


async def test_a_list_of_thousands_of_rows_is_several_results_under_512_kib(desk: Desk) -> None:
    sids = desk.simulator.fill("messages", count=3500, body="bulk {n} " + "x" * 300)
    records = await desk.results("list", await desk.send("list", {"resource": "messages"}))
    results = values(records)
    listed = [bundle["sid"] for result in results for bundle in result["bundles"]]
    assert listed == sids[::-1]
    assert len(records) > 4
    assert max(len(record.value) for record in records) <= LARGEST_RECORD
    assert [result["page"] for result in results] == list(range(len(records)))
    assert [result["last"] for result in results] == [False] * (len(records) - 1) + [True]
    assert {result["outcome"] for result in results} == {"succeeded"}
    assert len({headers_of(record)["ce_id"] for record in records}) == len(records)
    assert [dict(entry.parameters)["PageSize"] for entry in desk.simulator.journal.of("ListMessage")] == ["1000"] * 4


async def test_a_list_ends_at_its_limit(desk: Desk) -> None:
    sids = desk.simulator.fill("calls", count=1200)
    results = values(await desk.results("list", await desk.send("list", {"resource": "calls", "limit": 1100})))
    assert [bundle["sid"] for result in results for bundle in result["bundles"]] == sids[:99:-1]


@pytest.mark.parametrize(
    ("resource", "status"), [("message", "sent"), ("call", "ringing"), ("recording", "processing")]
)
async def test_a_delete_waits_until_the_resource_is_final(desk: Desk, resource: str, status: str) -> None:
    (sid,) = desk.simulator.fill(f"{resource}s", rows=[{"status": status}])
    operation = f"Delete{resource.title()}"
    name = await desk.send("delete", {"resource": resource, "sid": sid})
    await until(lambda: any(entry.code == 20009 for entry in desk.simulator.journal.of(operation)))
    desk.simulator.set_status(sid, "delivered" if resource == "message" else "completed")
    (result,) = values(await desk.results("delete", name))
    assert result["outcome"] == "succeeded"
    assert result["attempts"] >= 2


async def test_a_delete_that_waits_in_vain_expires(desk: Desk) -> None:
    (sid,) = desk.simulator.fill("messages", rows=[{"status": "sending"}])
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    value = {"resource": "message", "sid": sid}
    assert (await desk.run("delete", value, **{"expires-at": soon.isoformat()}))["outcome"] == "expired"


async def test_fields_that_twilio_has_added_pass_through_bundles(desk: Desk) -> None:
    new = {"brand_new": {"nested": [1, None]}, "carrier": "acme"}
    (sid,) = desk.simulator.fill("messages", rows=[{"extra": new}])
    (bundle,) = (await desk.run("get", {"resource": "message", "sid": sid}))["bundles"]
    assert {name: bundle[name] for name in new} == new


REFUSED: Mapping[str, dict[str, Any]] = {
    "another host": {"url": "https://evil.example.com/2010-04-01/Accounts.json"},
    "a host of nobody's": {"url": f"{BASE}/Messages.json", "host": "evil.example.com"},
    "another host without a scheme": {"url": "//evil.example.com/x"},
    "a host behind a backslash": {"url": "/\\evil.example.com/x"},
    "other credentials": {"url": f"{BASE}/Messages.json", "headers": {"authorization": "Basic Zm9yZ2Vk"}},
    "another Host header": {"url": f"{BASE}/Messages.json", "headers": {"Host": "evil.example.com"}},
    "a header that breaks the line": {"url": f"{BASE}/Messages.json", "headers": {"X-A": "1\r\nX-B: 2"}},
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_call_api_cannot_leave_its_host_nor_carry_other_credentials(desk: Desk, reason: str) -> None:
    before = desk.simulator.journal.total
    result = await desk.run("call-api", REFUSED[reason])
    assert result["outcome"] == "rejected"
    assert desk.simulator.journal.total == before
    letters = await read_all(desk.kafka, f"{desk.prefix}.dead-letters")
    assert orjson.dumps(REFUSED[reason]) in [orjson.dumps(orjson.loads(letter.value)) for letter in letters]


async def test_an_api_call_that_twilio_does_not_document_is_rejected_unless_it_says_so(desk: Desk) -> None:
    wrong: list[dict[str, Any]] = [
        {"url": f"{BASE}/Mesages.json"},
        {"url": f"{BASE}/Messages.json", "query": {"DateSentAfter": "2026-11-24"}},
        {"url": f"{BASE}/Messages.json", "method": "POST", "body": {"To": {"a": 1}}},
    ]
    before = desk.simulator.journal.total
    results = [await desk.run("call-api", value) for value in wrong]
    climbing = await desk.run("call-api", {"url": f"{BASE}/%2e%2e/Messages.json", "strict": False})
    assert {one["outcome"] for one in (*results, climbing)} == {"rejected"}
    assert desk.simulator.journal.total == before
    sent = [await desk.run("call-api", {**value, "strict": False}) for value in wrong]
    assert [one["outcome"] for one in sent] == ["failed", "succeeded", "failed"]
    assert desk.simulator.journal.total == before + 3


async def test_call_api_with_an_absolute_path_goes_to_the_connections_host(desk: Desk) -> None:
    result = await desk.run("call-api", {"url": "/@evil.example.com/2010-04-01", "strict": False})
    assert result["outcome"] == "failed"
    assert result["error"]["http_status"] == 404
    assert desk.simulator.journal.entries[-1].path == "/@evil.example.com/2010-04-01"


@pytest.mark.parametrize("html", [False, True])
async def test_a_refused_call_api_has_twilios_answer_in_its_bundles(desk: Desk, *, html: bool) -> None:
    desk.simulator.fault("error", "ListMessage", status=403, code=20403, html=html, times=1)
    result = await desk.run("call-api", {"url": f"{BASE}/Messages.json"})
    assert result["outcome"] == "failed"
    assert result["error"]["http_status"] == 403
    (answer,) = result["bundles"]
    assert ("<html" in answer.lower()) if html else (answer["code"] == 20403)


async def test_an_answer_too_large_for_a_record_is_left_out_and_said_so(desk: Desk) -> None:
    desk.simulator.fill("messages", count=1000, body="y" * 500)
    result = await desk.run("call-api", {"url": f"{BASE}/Messages.json", "query": {"PageSize": 1000}})
    assert result["outcome"] == "succeeded"
    assert result["bundles"] == []
    assert result["error"]["kind"] == "too-large"
