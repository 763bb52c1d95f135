"""Faults on request, and the journal that tells executed from answered."""

import asyncio
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest

from connector.simulator import Simulator
from tests.simulator.simulator_world import ask, send


def stored(simulator: Simulator) -> int:
    return len(simulator.state.stores[simulator.account_sid].messages.rows)


@pytest.mark.parametrize(
    ("kind", "options", "status", "code", "executed"),
    [
        ("error", {"status": 503}, 503, 20503, False),
        ("error", {"status": 500}, 500, 20500, False),
        ("error", {"status": 400, "code": 21408}, 400, 21408, False),
        ("throttle", {}, 429, 20429, False),
        ("unauthorized", {}, 401, 20003, False),
        ("bad-token", {}, 400, 21481, False),
        ("error-after", {"status": 500}, 500, 20500, True),
        ("error-after", {"status": 503}, 503, 20503, True),
    ],
)
async def test_an_error_is_answered_before_or_after_executing(
    simulator: Simulator, kind: str, options: dict[str, Any], status: int, code: int, *, executed: bool
) -> None:
    simulator.fault(kind, "CreateMessage", times=1, **options)
    refused = await send(simulator)
    assert (refused.status, refused.code, stored(simulator)) == (status, code, int(executed))
    (entry,) = simulator.journal.of("CreateMessage")
    assert (entry.executed, entry.answered, entry.faults, bool(entry.sid)) == (executed, True, [kind], executed)
    assert (await send(simulator)).status == 201


@pytest.mark.parametrize(("kind", "executed"), [("drop", False), ("lose-answer", True), ("cut-answer", True)])
async def test_a_lost_answer_leaves_the_client_in_doubt(simulator: Simulator, kind: str, *, executed: bool) -> None:
    simulator.fault(kind, "CreateMessage", times=1)
    with pytest.raises(aiohttp.ClientError):
        await send(simulator)
    assert stored(simulator) == int(executed)
    (entry,) = simulator.journal.of("CreateMessage")
    assert (entry.executed, entry.answered) == (executed, False)


async def test_media_can_be_cut_short(simulator: Simulator) -> None:
    (sid,) = simulator.fill("recordings", count=1, duration=60)
    simulator.fault("cut-answer", "FetchRecordingMedia")
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(simulator, "GET", f"Recordings/{sid}.wav")


async def test_a_gateway_answers_html(simulator: Simulator) -> None:
    simulator.fault("error", status=502, html=True)
    answer = await send(simulator)
    assert (answer.status, answer.headers["Content-Type"]) == (502, "text/html")
    assert answer.body.startswith(b"<!DOCTYPE html>")


async def test_throttling_says_how_long_when_told(simulator: Simulator) -> None:
    simulator.fault("throttle", seconds=2, times=1)
    assert (await send(simulator)).headers["Retry-After"] == "2"
    simulator.fault("throttle", times=1)
    assert "Retry-After" not in (await send(simulator)).headers


@pytest.mark.parametrize("kind", ["latency", "slow-answer"])
async def test_latency_delays_the_answer(simulator: Simulator, kind: str) -> None:
    simulator.fault(kind, seconds=0.15, jitter=0.05, times=1)
    await send(simulator)
    assert next(iter(simulator.journal)).duration >= 0.1


async def test_who_gives_up_waiting_is_not_answered_but_executed(simulator: Simulator) -> None:
    simulator.fault("slow-answer", "CreateMessage", seconds=0.3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await send(simulator)
    (entry,) = simulator.journal.of("CreateMessage")
    async with asyncio.timeout(5):
        while not entry.duration:
            await ask(simulator, "GET", "/_sim")
    assert (entry.executed, entry.answered) == (True, False)


async def test_faults_match_operations_parameters_counts_and_skips(simulator: Simulator) -> None:
    simulator.fault("throttle", "Create*", match={"Body": "b"}, skip=1, times=1)
    statuses = [(await send(simulator, Body=body)).status for body in "abbb"]
    assert statuses == [201, 201, 429, 201]


async def test_chance_is_seeded(simulator: Simulator) -> None:
    async def statuses() -> list[int]:
        simulator.reset(seed=7)
        simulator.fault("throttle", probability=0.5)
        return [(await send(simulator)).status for _ in range(20)]

    first = await statuses()
    assert {201, 429} == set(first)
    assert first == await statuses()


async def test_too_many_requests_at_once_are_refused_unexecuted(simulator: Simulator) -> None:
    simulator.configure(concurrency_limit=3)
    simulator.fault("latency", seconds=0.2)
    answers = await asyncio.gather(*(send(simulator) for _ in range(8)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [201] * 3 + [429] * 5
    assert stored(simulator) == 3
    assert max(int(answer.headers["Twilio-Concurrent-Requests"]) for answer in answers) > 3


async def test_an_odd_answer_takes_the_place_of_the_true_one(simulator: Simulator) -> None:
    headers = {"Retry-After": "99999999"}
    simulator.fault("odd-answer", "CreateMessage", times=1, status=429, headers=headers, body="<html>")
    answer = await send(simulator)
    assert (answer.status, answer.headers["Retry-After"], answer.body) == (429, "99999999", b"<html>")
    (entry,) = simulator.journal.of("CreateMessage")
    assert (entry.executed, stored(simulator), entry.faults) == (True, 1, ["odd-answer"])


async def test_an_odd_answer_can_be_the_true_one_with_a_part_replaced_once(simulator: Simulator) -> None:
    simulator.fill("messages", count=2, body="hello")
    swap = {'"body":"hello"': r'"body":"cut \ud83d"'}
    simulator.fault("odd-answer", "ListMessage", times=1, status=200, swap=swap)
    answer = await ask(simulator, "GET", "Messages.json")
    assert (answer.body.count(rb"cut \ud83d"), answer.body.count(b"hello")) == (1, 1)


async def test_twilios_clock_may_differ_from_ours_and_jump(simulator: Simulator) -> None:
    """What lists hide stays hidden as long as before, whatever the clock does."""
    began = time.time()
    simulator.configure(clock_ahead=-7200.0, visible_after=30.0)
    created = await send(simulator)
    simulator.configure(clock_ahead=7200.0)
    listed = await ask(simulator, "GET", "Messages.json")
    ended = time.time()
    assert listed.json["messages"] == []
    assert began - 7201 <= _second(created.json["date_created"]) <= ended - 7200
    assert began - 7201 <= _second(created.headers["Date"]) <= ended - 7200
    assert began + 7199 <= _second(listed.headers["Date"]) <= ended + 7200
    assert began <= next(iter(simulator.journal)).time <= ended


async def test_a_single_answer_may_have_a_wrong_date(simulator: Simulator) -> None:
    began = time.time()
    simulator.fault("wrong-date", "ListMessage", seconds=3600, times=1)
    wrong, right = [_second((await ask(simulator, "GET", "Messages.json")).headers["Date"]) for _ in range(2)]
    ended = time.time()
    assert began + 3599 <= wrong <= ended + 3600
    assert began - 1 <= right <= ended


def _second(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


async def test_unknown_kinds_and_options_of_faults_are_errors(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="unknown fault kind"):
        simulator.fault("explosion")
    with pytest.raises(ValueError, match="unknown fault options"):
        simulator.fault("error", colour="red")


async def test_answers_carry_twilios_headers(simulator: Simulator) -> None:
    headers = (await ask(simulator, "GET", "Messages.json")).headers
    assert headers["Twilio-Request-Id"].startswith("RQ")
    assert len(headers["Twilio-Request-Id"]) == 34
    assert headers["Twilio-Concurrent-Requests"] == "1"
    assert float(headers["Twilio-Request-Duration"]) < 1
    assert "GMT" in headers["Date"]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/2010-04-01/Nothing.json", 404, 20404),
        ("GET", "/v3/Something", 404, 20404),
        ("GET", "Messages/SM00000000000000000000000000000000.json", 404, 20404),
        ("POST", "Widgets.json", 404, 20404),
        ("PUT", "Messages.json", 405, 20004),
        ("PATCH", "Widgets.json", 405, 20004),
        ("DELETE", "Messages.json", 405, 20004),
        ("GET", "/2010-04-01/Accounts/SK00000000000000000000000000000003/Messages.json", 404, 20404),
    ],
)
async def test_any_other_path_answers_in_twilios_shape(
    simulator: Simulator, method: str, path: str, status: int, code: int
) -> None:
    refused = await ask(simulator, method, path)
    assert (refused.status, refused.code, refused.json["status"]) == (status, code, status)


@pytest.mark.parametrize("header", ["", "Basic", "Basic !!!", "Bearer x", "Basic QUM6eA=="])
async def test_bad_credentials_are_refused(simulator: Simulator, header: str) -> None:
    refused = await ask(simulator, "GET", "Messages.json", headers={"Authorization": header})
    assert (refused.status, refused.code) == (401, 20003)


async def test_a_get_with_a_body_is_forbidden(simulator: Simulator) -> None:
    assert (await ask(simulator, "GET", "Messages.json", data={"To": "+15550100002"})).status == 403


async def test_xml_is_answered_when_json_was_not_asked_for(simulator: Simulator) -> None:
    await send(simulator)
    answer = await ask(simulator, "GET", "Messages")
    assert answer.headers["Content-Type"] == "application/xml"
    assert b"<TwilioResponse><Messages><Item><Body>hello</Body>" in answer.body
