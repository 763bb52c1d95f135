"""Lanes: order within a key, parallel across keys, nothing kept of keys that have nothing to do."""

import asyncio
from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.executor.under_way import Lanes, Leaving
from tests.running import until

Item = tuple[str | None, int]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(0, 3)), max_size=40))
def test_each_lane_works_in_its_order_and_never_on_two_at_once(items: list[Item]) -> None:
    async def run() -> None:
        seen: dict[str | None, list[int]] = defaultdict(list)
        working: set[str | None] = set()

        async def work(item: tuple[Item, int]) -> None:
            (key, pauses), number = item
            if key is not None:
                assert key not in working
                working.add(key)
            for _ in range(pauses):
                await asyncio.sleep(0)
            seen[key].append(number)
            working.discard(key)

        lanes: Lanes[tuple[Item, int]] = Lanes(work, name="lane")
        for number, item in enumerate(items):
            lanes.put(item[0], (item, number))
        await until(lambda: sum(map(len, seen.values())) == len(items))
        assert not lanes.failure.done()
        assert all(numbers == sorted(numbers) for key, numbers in seen.items() if key is not None)

    asyncio.run(run())


async def test_a_lane_works_in_its_order() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)

    lanes: Lanes[int] = Lanes(work, name="lane")
    for number in range(100):
        lanes.put("key", number)
    await until(lambda: len(done) == 100)
    assert done == list(range(100))


async def test_lanes_do_not_wait_for_each_other_and_an_item_without_a_key_for_nobody() -> None:
    release = asyncio.Event()
    done: list[str] = []

    async def work(name: str) -> None:
        if name == "slow":
            await release.wait()
        done.append(name)

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("a", "slow")
    lanes.put("a", "behind")
    lanes.put("b", "other")
    lanes.put(None, "free")
    await until(lambda: len(done) == 2)
    assert sorted(done) == ["free", "other"]
    release.set()
    await until(lambda: len(done) == 4)
    assert done[2:] == ["slow", "behind"]


async def test_nothing_is_kept_of_a_million_keys() -> None:
    async def work(_number: int) -> None:
        return

    lanes: Lanes[int] = Lanes(work, name="lane")
    for number in range(100_000):
        lanes.put(str(number), number)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(lanes) == 0)
    assert not lanes._tasks


async def test_a_drain_finishes_what_is_under_way_and_begins_nothing_more() -> None:
    under_way = asyncio.Event()
    done: list[str] = []

    async def work(name: str) -> None:
        under_way.set()
        await asyncio.sleep(0.05)
        done.append(name)

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("key", "first")
    lanes.put("key", "second")
    await under_way.wait()
    assert await lanes.drain(5)
    assert done == ["first"]


async def test_a_drain_does_not_wait_for_those_who_only_wait() -> None:
    waiting = asyncio.Event()

    async def work(_name: str) -> None:
        with lanes.waiting():
            waiting.set()
            await asyncio.sleep(60)

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("key", "item")
    await waiting.wait()
    async with asyncio.timeout(1):
        assert await lanes.drain(60)


async def test_who_would_wait_while_lanes_close_leaves() -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def work(_name: str) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        try:
            with lanes.waiting():
                raise AssertionError
        except Leaving:
            left.set()
            raise

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("key", "item")
    await begun.wait()
    assert await lanes.drain(5)
    assert left.is_set()
    assert not lanes.failure.done()


async def test_a_drain_that_takes_too_long_cancels() -> None:
    begun = asyncio.Event()

    async def work(_name: str) -> None:
        begun.set()
        await asyncio.sleep(60)

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("key", "item")
    await begun.wait()
    async with asyncio.timeout(5):
        assert not await lanes.drain(0.05)


async def test_the_first_failure_is_told_and_ends_its_lane() -> None:
    done: list[str] = []

    async def work(name: str) -> None:
        if name == "bad":
            raise ValueError(name)
        done.append(name)

    lanes: Lanes[str] = Lanes(work, name="lane")
    lanes.put("key", "bad")
    lanes.put("key", "behind")
    lanes.put("other", "good")
    assert str(await lanes.failure) == "bad"
    await until(lambda: done == ["good"])
    await lanes.cancel()


@pytest.mark.parametrize("count", [0, 3])
async def test_cancelling_tells_whether_there_was_anything(count: int) -> None:
    async def work(_number: int) -> None:
        await asyncio.sleep(60)

    lanes: Lanes[int] = Lanes(work, name="lane")
    for number in range(count):
        lanes.put(None, number)
    await asyncio.sleep(0)
    assert await lanes.cancel() is (count == 0)
