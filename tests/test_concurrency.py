"""The adaptive limit on concurrent requests."""

import asyncio

import pytest
from aiohttp import web

from connector.errors import NotExecuted
from connector.simulator import Simulator
from connector.twilio.client import TwilioClient
from connector.twilio.pacing import Concurrency
from tests.twilio_servers import LIST, SEND, connected, sample, serving

pytestmark = pytest.mark.simulated(auto_advance=False)

DEADLINE_SECONDS = 10.0


async def test_no_more_requests_run_at_once_than_the_limit() -> None:
    running = highest = 0

    async def slow(_request: web.BaseRequest) -> web.Response:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0.02)
        running -= 1
        return web.json_response({})

    async with serving(slow) as base, connected(base, max_concurrency=3) as client:
        await asyncio.gather(*(client.request(LIST) for _ in range(20)))
    assert highest == 3


async def test_a_429_shrinks_the_limit_and_answers_let_it_grow_again(simulator: Simulator) -> None:
    async with connected(simulator.url, max_concurrency=10) as client:
        simulator.fault("throttle", "ListMessage", times=1)
        with pytest.raises(NotExecuted) as caught:
            await client.send(LIST)
        assert caught.value.code == 20429
        assert client.concurrency_limit == pytest.approx(7)
        assert sample("twilio_kafka_twilio_concurrency_limit", connection="default") == pytest.approx(7)
        for _ in range(40):
            await client.send(LIST)
        assert client.concurrency_limit == 10


async def test_an_account_with_a_hidden_limit_is_served_without_a_lost_request(simulator: Simulator) -> None:
    simulator.configure(concurrency_limit=4)
    simulator.fault("latency", "ListMessage", seconds=0.01)
    async with connected(simulator.url, max_concurrency=20) as client:
        answers = await asyncio.gather(*(client.request(LIST) for _ in range(100)))
    assert {answer.status for answer in answers} == {200}


async def test_a_full_queue_of_a_sender_does_not_shrink_the_limit() -> None:
    async def full(_request: web.BaseRequest) -> web.Response:
        return web.json_response({"code": 21611, "message": "queue"}, status=429)

    async with serving(full) as base, connected(base, max_concurrency=10) as client:
        with pytest.raises(NotExecuted):
            await client.send(SEND)
        assert client.concurrency_limit == 10


async def test_the_limit_shrinks_once_per_round_trip_and_stays_at_least_one() -> None:
    limit = Concurrency(10)
    now = asyncio.get_running_loop().time()
    for _ in range(5):
        limit.throttled(sent_at=now - 1)  # all sent before the first of these answers
    assert limit.limit == pytest.approx(7)
    for _ in range(50):
        limit.throttled(sent_at=asyncio.get_running_loop().time())
    assert limit.limit == 1
    await limit.acquire()


async def test_a_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    limit = Concurrency(1)
    await limit.acquire()
    first, second = asyncio.create_task(limit.acquire()), asyncio.create_task(limit.acquire())
    await asyncio.sleep(0)
    limit.release()  # hands the place to the first, which is cancelled before it runs
    first.cancel()
    await asyncio.wait_for(second, DEADLINE_SECONDS)
    assert limit.running == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    limit.release()
    assert limit.running == 0


async def test_waiters_are_served_in_order_and_none_overtakes() -> None:
    limit = Concurrency(1)
    await limit.acquire()
    served: list[int] = []

    async def wait(number: int) -> None:
        await limit.acquire()
        served.append(number)
        limit.release()

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(wait(number))
        await asyncio.sleep(0)
        limit.release()
    assert served == list(range(10))


async def test_a_slot_is_given_back_when_its_holder_fails(client: TwilioClient) -> None:
    with pytest.raises(RuntimeError, match="mine"):
        async with client.slot(LIST):
            raise RuntimeError("mine")
    assert client._concurrency.running == 0
