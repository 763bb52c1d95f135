"""The simulator for others: a fixture in anybody's test suite, a page for people."""

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from connector.simulator import Simulator
from connector.simulator.background import BackgroundSimulator
from connector.simulator.faults import KINDS

SUITE = """
import pytest
from twilio.base.exceptions import TwilioRestException

TO = "+15550100002"


def test_a_message_is_delivered(twilio_simulator):
    client = twilio_simulator.client()
    sent = client.messages.create(to=TO, from_=twilio_simulator.phone_number, body="Hello")
    twilio_simulator.settle()
    assert client.messages(sent.sid).fetch().status == "delivered"
    assert [entry.operation for entry in twilio_simulator.requests()] == ["CreateMessage", "FetchMessage"]


def test_a_fault_is_answered(twilio_simulator):
    assert twilio_simulator.requests() == []
    twilio_simulator.fault("throttle", "CreateMessage", times=1)
    with pytest.raises(TwilioRestException) as refused:
        twilio_simulator.client().messages.create(to=TO, from_=twilio_simulator.phone_number, body="Hello")
    assert refused.value.code == 20429


def test_a_message_arrives(twilio_simulator):
    twilio_simulator.receive(from_=TO, body="Hello")
    assert [row.body for row in twilio_simulator.client().messages.list()] == ["Hello"]
"""


def test_any_test_suite_finds_the_fixture_and_every_test_finds_it_as_new(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    command += ["-o", "asyncio_default_fixture_loop_scope=function"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_the_plug_in_loads_nothing_before_a_test_asks_for_it() -> None:
    program = (
        "import pytest, sys; import connector.simulator.pytest_plugin; "
        "print([name for name in ('aiohttp', 'pydantic', 'connector.simulator.simulator') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert done.stdout == "[]\n"


def test_the_fixture_is_steered_from_plain_functions(twilio_simulator: BackgroundSimulator) -> None:
    (first, _) = twilio_simulator.fill("messages", count=2)
    twilio_simulator.configure(auto_advance=False)
    call = twilio_simulator.client().calls.create(
        to="+15550100002", from_=twilio_simulator.phone_number, twiml="<Response/>"
    )
    twilio_simulator.set_status(call.sid, "busy")
    assert twilio_simulator.client().calls(call.sid).fetch().status == "busy"
    assert twilio_simulator.environment["TWILIO_ACCOUNT_SID"] == twilio_simulator.account_sid
    twilio_simulator.reset(seed=3)
    (other, _) = twilio_simulator.fill("messages", count=2)
    assert other != first


async def get(url: str, **headers: str) -> aiohttp.ClientResponse:
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
        await answer.read()
        return answer


@pytest.mark.parametrize("path", ["/_sim", "/_sim/"])
async def test_browsers_get_a_page_and_programs_get_json(simulator: Simulator, path: str) -> None:
    page = await get(simulator.url + path, Accept="text/html,*/*;q=0.8")
    data = await get(simulator.url + path)
    assert page.content_type == "text/html"
    assert str(page.url).endswith("/_sim/")
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert (await data.json())["base_url"] == simulator.url


async def test_the_kinds_of_faults_say_what_they_do(simulator: Simulator) -> None:
    found = await (await get(f"{simulator.url}/_sim/kinds")).json()
    assert set(found) == set(KINDS)
    assert found["lose-answer"] == {
        "effect": "does it, then closes the connection",
        "executed": True,
        "answered": False,
    }


async def test_the_newest_deliveries_can_be_asked_for(simulator: Simulator) -> None:
    for number in range(3):
        simulator.receive(from_="+15550100002", to="+15551234567", body=str(number), url="http://127.0.0.1:1/")
    await simulator.settle()
    found = await (await get(f"{simulator.url}/_sim/callbacks?last=2")).json()
    assert [dict(row["parameters"])["Body"] for row in found] == ["1", "2"]
