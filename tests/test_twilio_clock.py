"""Twilio's clock is believed when enough of its answers agree, however wrong ours is, and no single answer moves it."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from connector.errors import Refused
from connector.resources.fields import parse_time
from connector.resources.rows import Request
from connector.simulator import Simulator
from connector.twilio.client import LEARNING_FAILURES
from connector.twilio.clock import (
    APART_SECONDS,
    CHANGED_SECONDS,
    NEAR_SECONDS,
    TOLERATED_SECONDS,
    TwilioClock,
    parse_date,
)
from tests.twilio_servers import answering, connected

TRUE = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


@dataclass
class World:
    """True time, in seconds since it began, and how wrong our clock is."""

    passed: float = 0.0
    wrong: float = 0.0

    @property
    def true(self) -> datetime:
        return datetime.fromtimestamp(TRUE + self.passed, UTC)

    def clock(self) -> TwilioClock:
        return TwilioClock("default", own=lambda: TRUE + self.passed + self.wrong, boot=lambda: 700.0 + self.passed)

    def answer(self, clock: TwilioClock, *, odd: float = 0.0, took: float = 0.2, rest: float = 0.0) -> None:
        """Twilio answers, by a date that is so many seconds off; then nothing happens for `rest` seconds."""
        sent = 700.0 + self.passed
        self.passed += took
        clock.note((self.true + timedelta(seconds=odd)).replace(microsecond=0), sent=sent)
        self.passed += rest

    def answers(self, clock: TwilioClock, *, seconds: float, odd: float = 0.0) -> None:
        """Twilio answers five times a second, for so long."""
        until = self.passed + seconds
        while self.passed < until:
            self.answer(clock, odd=odd)


def apart(clock: TwilioClock, world: World) -> float:
    """How far the clock's time is from the true one, in seconds."""
    return abs((clock.now() - world.true).total_seconds())


ERROR_SECONDS = NEAR_SECONDS + TOLERATED_SECONDS


@given(st.floats(-100_000, 100_000), st.lists(st.floats(0.01, 3.9), min_size=3, max_size=20))
def test_however_wrong_our_clock_is_twilios_time_is_told(wrong: float, takes: list[float]) -> None:
    world = World(wrong=wrong)
    clock = world.clock()
    assert clock.ahead is None
    for took in [*takes, *takes[:3]]:
        world.answer(clock, took=took, rest=APART_SECONDS / 3)
    assert clock.is_known
    assert apart(clock, world) <= ERROR_SECONDS


def test_one_answer_is_enough_where_the_clocks_agree() -> None:
    world = World(wrong=1.0)
    clock = world.clock()
    world.answer(clock)
    assert (clock.is_known, clock.ahead) == (True, 0.0)


@given(st.floats(-1e9, 1e9), st.floats(0, CHANGED_SECONDS - 1), st.floats(0, 100))
def test_dates_that_are_odd_for_seconds_change_nothing(odd: float, seconds: float, before: float) -> None:
    world = World()
    clock = world.clock()
    world.answer(clock)
    world.answers(clock, seconds=before)
    world.answers(clock, seconds=seconds, odd=odd)
    assert apart(clock, world) <= ERROR_SECONDS


@given(st.floats(-1e6, 1e6), st.integers(0, 1), st.floats(0.5, 4.0))
def test_dates_that_are_odd_for_half_of_the_time_change_nothing(odd: float, first: int, seconds: float) -> None:
    world = World()
    clock = world.clock()
    world.answer(clock)
    for number in range(40):
        world.answers(clock, seconds=seconds, odd=odd if number % 2 == first else 0.0)
        assert apart(clock, world) <= ERROR_SECONDS


@given(st.floats(-1e6, 1e6), st.floats(0, APART_SECONDS - 1), st.floats(-3600, 3600))
def test_dates_that_are_odd_at_the_start_are_not_believed(odd: float, seconds: float, wrong: float) -> None:
    world = World(wrong=wrong)
    clock = world.clock()
    world.answers(clock, seconds=seconds, odd=odd)
    if abs(odd - wrong) > ERROR_SECONDS:
        assert not clock.is_known or abs(wrong) <= ERROR_SECONDS
    world.answers(clock, seconds=100)
    assert apart(clock, world) <= ERROR_SECONDS


@given(st.floats(-3600, 3600), st.floats(0.2, 30))
def test_a_machine_that_stood_still_learns_the_time_anew(stood: float, pause: float) -> None:
    """Its clock never set did not go on; a machine that was moved while it stood."""
    world = World()
    clock = world.clock()
    world.answers(clock, seconds=20)
    for _ in range(int(100 / pause) + 10):
        world.answer(clock, odd=stood, rest=pause)
    told = (clock.now() - world.true).total_seconds()
    assert abs(told - stood) <= ERROR_SECONDS


@given(st.floats(-100_000, 100_000))
def test_a_step_of_our_clock_does_not_matter_once_twilios_is_known(step: float) -> None:
    world = World()
    clock = world.clock()
    world.answer(clock)
    world.wrong += step
    world.passed += 5
    assert apart(clock, world) <= ERROR_SECONDS


def test_our_clock_counts_until_twilios_is_known() -> None:
    world = World()
    clock = world.clock()
    clock.note(None, sent=0.0)
    for odd in (4000.0, -4000.0, 8000.0, 3600.0, 3600.0):
        world.answer(clock, odd=odd, rest=1.0)
        assert not clock.is_known
        assert apart(clock, world) < 0.001


def test_clocks_that_are_apart_are_told_once_and_once_when_they_are_not() -> None:
    world = World(wrong=-3600)
    clock = world.clock()
    with capture_logs() as logs:
        world.answers(clock, seconds=20)
        world.wrong = 0
        world.answer(clock, rest=1)
        world.answer(clock)
    assert [line["event"] for line in logs] == ["clocks apart", "clocks together again"]
    assert 3590 < logs[0]["twilio_ahead_seconds"] < 3610


async def test_the_time_is_learnt_from_refusals_which_count_as_nothing_else(simulator: Simulator) -> None:
    """Standard API keys may not read their account; that their credentials are wrong is not to be said."""
    refused = ("SK" + "0" * 32, SecretStr("refused"))
    with capture_logs() as logged:
        async with connected(simulator.url, auth=refused) as client:
            await client.learn_time()
            assert client.clock.is_known
    assert [entry.status for entry in simulator.journal] == [401]
    assert [line["event"] for line in logged] == []


@pytest.mark.parametrize("header", [b"", b"Twilio-Request-Id: RQ00000000000000000000000000000000\r\n"])
async def test_a_refusal_that_is_not_twilios_does_not_tell_its_time(header: bytes) -> None:
    date = format_datetime(datetime.now(UTC), usegmt=True).encode()
    refusal = b"HTTP/1.1 400 Bad Request\r\nDate: %b\r\n%bContent-Length: 0\r\n\r\n" % (date, header)
    async with answering(refusal) as (url, _), connected(url) as client:
        with pytest.raises(Refused):
            await client.send(Request("GET", "/2010-04-01/Accounts/{AccountSid}.json", operation="FetchAccount"))
        assert client.clock.is_known is bool(header)


async def test_the_owners_of_a_process_ask_for_the_time_once(simulator: Simulator) -> None:
    async with connected(simulator.url) as client:
        await asyncio.gather(*(client.learn_time() for _ in range(6)))
        assert client.clock.is_known
    assert len(simulator.journal) == 1


@pytest.mark.simulated(clock_ahead=7200.0)
async def test_clocks_that_are_apart_are_found_so_at_the_start(simulator: Simulator) -> None:
    async with connected(simulator.url) as client:
        await client.learn_time()
        assert client.clock.ahead == pytest.approx(7200, abs=ERROR_SECONDS)


async def test_a_twilio_that_cannot_be_reached_does_not_hold_the_start(simulator: Simulator) -> None:
    struck = simulator.fault("lose-answer", "*")
    async with connected(simulator.url) as client:
        await client.learn_time()
        assert not client.clock.is_known
    # aiohttp asks once more where a connection was lost.
    assert LEARNING_FAILURES <= struck.hit <= 2 * LEARNING_FAILURES


@pytest.mark.parametrize("text", ["Tue, 24 Nov 2026 12:00:37 -0000", "2026-11-24T12:00:37"])
def test_a_date_without_a_zone_is_not_read_in_the_zone_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert parse_date(text) == parse_time(text) == datetime(2026, 11, 24, 12, 0, 37, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()
