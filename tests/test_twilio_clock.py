"""Twilio's clock is believed when enough of its answers agree, however wrong ours is, and no single answer moves it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from connector.simulator import Simulator
from connector.twilio.clock import AGREEING, NEAR_SECONDS, SAMPLES, TOLERATED_SECONDS, TwilioClock
from tests.twilio_servers import connected

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

    def answer(self, clock: TwilioClock, *, odd: float = 0.0, took: float = 0.2) -> None:
        """Twilio answers, by a date that is so many seconds off."""
        sent = 700.0 + self.passed
        self.passed += took
        clock.note((self.true + timedelta(seconds=odd)).replace(microsecond=0), sent=sent)


def apart(clock: TwilioClock, world: World) -> float:
    """How far the clock's time is from the true one, in seconds."""
    return abs((clock.now() - world.true).total_seconds())


@given(st.floats(-100_000, 100_000), st.lists(st.floats(0.01, 3.9), min_size=AGREEING, max_size=40))
def test_however_wrong_our_clock_is_twilios_time_is_told(wrong: float, takes: list[float]) -> None:
    world = World(wrong=wrong)
    clock = world.clock()
    assert clock.ahead is None
    for took in takes:
        world.answer(clock, took=took)
    assert clock.is_known
    assert apart(clock, world) <= NEAR_SECONDS + TOLERATED_SECONDS


@given(st.floats(-3600, 3600), st.floats(-1e9, 1e9), st.integers(0, SAMPLES))
def test_a_single_odd_date_changes_nothing(wrong: float, odd: float, place: int) -> None:
    world = World(wrong=wrong)
    clock = world.clock()
    for number in range(SAMPLES):
        world.answer(clock, odd=odd if number == place else 0)
    assert apart(clock, world) <= NEAR_SECONDS + TOLERATED_SECONDS


@given(st.floats(-100_000, 100_000))
def test_a_step_of_our_clock_does_not_matter_once_twilios_is_known(step: float) -> None:
    world = World()
    clock = world.clock()
    for _ in range(AGREEING):
        world.answer(clock)
    world.wrong += step
    world.passed += 5
    assert apart(clock, world) <= NEAR_SECONDS + TOLERATED_SECONDS


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=AGREEING - 1))
def test_our_clock_counts_until_enough_answers_agree(odds: list[float]) -> None:
    world = World()
    clock = world.clock()
    clock.note(None, sent=0.0)
    for odd in odds:
        world.answer(clock, odd=odd)
    assert apart(clock, world) < 0.001


def test_clocks_that_are_apart_are_told_once_and_once_when_they_are_not() -> None:
    world = World(wrong=-3600)
    clock = world.clock()
    with capture_logs() as logs:
        for _ in range(SAMPLES):
            world.answer(clock)
        world.wrong = 0
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
    assert [entry.status for entry in simulator.journal] == [401] * AGREEING
    assert [line["event"] for line in logged] == []
