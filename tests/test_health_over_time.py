"""An hour of measurements in constant size, as values."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.console.health import MOST_CODES, OTHER, STEP_SECONDS, STEPS, Hour, Reading, quantile, read

START = 1_800_000_000


def reading(commands: float = 0, *, codes: Mapping[str, float] | None = None, lag: float = 0) -> Reading:
    return Reading(counters={"commands": commands}, gauges={"lag": lag}, times={}, codes=codes or {})


def test_a_rate_is_that_of_its_step() -> None:
    hour = Hour()
    for step, commands in enumerate([100, 150, 150, 200]):
        hour.add(reading(commands, lag=step), now=START + step * STEP_SECONDS)
    assert list(hour.series["commands"])[-3:] == [5.0, 0.0, 5.0]
    assert list(hour.series["lag"])[-3:] == [1, 2, 3]
    assert hour.as_json()["end"] == START + 3 * STEP_SECONDS


def test_steps_that_were_missed_stay_empty() -> None:
    hour = Hour()
    hour.add(reading(0), now=START)
    hour.add(reading(30), now=START + 3 * STEP_SECONDS)
    last = hour.as_json()["series"]["commands"][-3:]
    assert last == [None, None, 1.0]


@given(st.lists(st.integers(min_value=1, max_value=2 * STEPS), min_size=1, max_size=20), st.integers(0, 60))
def test_it_never_grows(steps: list[int], many: int) -> None:
    hour, now = Hour(), START
    for step in steps:
        now += step * STEP_SECONDS
        hour.add(reading(now, codes={f"{number}": now for number in range(many)}), now=now)
    assert all(len(values) == STEPS for values in (*hour.series.values(), *hour.codes.values()))
    assert len(hour.codes) <= MOST_CODES + 1
    assert (OTHER in hour.codes) == (many > MOST_CODES and len(steps) > 1)


def test_refusals_are_counted_by_code() -> None:
    hour = Hour()
    hour.add(reading(codes={"21211": 3}), now=START)
    hour.add(reading(codes={"21211": 5, "HTTP 429": 1}), now=START + STEP_SECONDS)
    assert {code: sum(values) for code, values in hour.as_json()["codes"].items()} == {"21211": 2, "HTTP 429": 1}


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.1), (0.95, 0.91), (1.0, 1.0)])
def test_a_quantile_lies_in_its_bucket(share: float, expected: float) -> None:
    after = {0.1: 50.0, 1.0: 100.0, math.inf: 100.0}
    assert quantile(share, {}, after) == pytest.approx(expected, abs=0.01)


def test_without_observations_there_is_no_quantile() -> None:
    same = {0.1: 5.0, math.inf: 5.0}
    assert math.isnan(quantile(0.95, same, same))


def test_the_metrics_of_this_process_can_be_read() -> None:
    found = read()
    assert {"commands", "callbacks", "watched", "throttled", "waiting"} == set(found.counters)
    assert {"command", "callback"} == set(found.times)
