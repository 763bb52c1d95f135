"""One hour of this process in steps of ten seconds: rates, times, errors, Twilio's limits. Of constant size.

It is taken from the metrics, so that the page and the alerts speak of the same.
"""

import asyncio
import math
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web
from prometheus_client import Counter, Gauge, Histogram

from connector import events
from connector.process.rhythm import until_next
from connector.telemetry import metrics

STEP_SECONDS = 10
STEPS = 360
LOOK_SECONDS = 1.0
MOST_CODES = 20
"""Errors with further codes are counted together."""
OTHER = "other"

Labels = Mapping[str, str]
Buckets = Mapping[float, float]


# --- metrics ----------------------------------------------------------------------------------------------------------
def total(metric: Counter | Gauge, holds: Callable[[Labels], bool] = lambda _: True) -> float:
    """The sum of a counter's or gauge's series."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if holds(sample.labels))


def buckets(metric: Histogram) -> dict[float, float]:
    """How many observations were at most so long, by that length, over all series."""
    found: dict[float, float] = {}
    for family in metric.collect():
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                bound = float(sample.labels["le"])
                found[bound] = found.get(bound, 0) + sample.value
    return found


def summed(metric: Histogram) -> float:
    """The sum of all observations."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name.endswith("_sum"))


def quantile(share: float, before: Buckets, after: Buckets) -> float:
    """The length that this share of the observations in between did not exceed; NaN when there were none."""
    counts = {bound: after[bound] - before.get(bound, 0) for bound in sorted(after)}
    wanted = share * counts.get(math.inf, 0)
    low, below = 0.0, 0.0
    for bound, count in counts.items():
        if wanted and count >= wanted:
            return low if math.isinf(bound) else low + (bound - low) * (wanted - below) / max(count - below, 1e-9)
        low, below = bound, count
    return math.nan


def codes() -> dict[str, float]:
    """Requests that Twilio refused, by its error code, else by the HTTP status."""
    found: dict[str, float] = {}
    for family in metrics.TWILIO_REQUESTS.collect():
        for sample in family.samples:
            labels = sample.labels
            if sample.name.endswith("_total") and not labels["status"].startswith("2"):
                code = labels["code"] if labels["code"] not in ("", "None", "0") else f"HTTP {labels['status']}"
                found[code] = found.get(code, 0) + sample.value
    return found


# --- an hour ----------------------------------------------------------------------------------------------------------
@dataclass
class Reading:
    """What the metrics say at one moment."""

    counters: Mapping[str, float]
    gauges: Mapping[str, float]
    times: Mapping[str, Buckets]
    codes: Mapping[str, float]


def read() -> Reading:
    """The metrics now."""
    return Reading(
        counters={
            "commands": total(metrics.COMMANDS),
            "callbacks": total(metrics.CALLBACKS, lambda labels: labels["outcome"] == "stored"),
            "watched": total(metrics.WATCH_PUBLISHED),
            "throttled": total(metrics.TWILIO_THROTTLED),
            "waiting": summed(metrics.PACING_WAIT_SECONDS),
        },
        gauges={"lag": total(metrics.COMMAND_LAG), "limit": total(metrics.TWILIO_CONCURRENCY_LIMIT)},
        times={"command": buckets(metrics.COMMAND_SECONDS), "callback": buckets(metrics.CALLBACK_SECONDS)},
        codes=codes(),
    )


@dataclass
class Hour:
    """The last hour. Every series has one number for each step, NaN where nothing was measured."""

    end: int = 0
    series: dict[str, "array[float]"] = field(default_factory=dict)
    codes: dict[str, "array[float]"] = field(default_factory=dict)
    _last: Reading | None = None

    def add(self, reading: Reading, *, now: float) -> None:
        """Take in what the metrics say at the end of a step, by Unix time; steps that were missed stay empty."""
        step = int(now) // STEP_SECONDS
        missed = min(step - self.end, STEPS) - 1 if self.end else 0
        if missed < 0:
            return
        last, self._last, self.end = self._last, reading, step
        if last is None:
            return
        seconds = STEP_SECONDS * (missed + 1)
        row = {name: (value - last.counters.get(name, 0)) / seconds for name, value in reading.counters.items()}
        row |= reading.gauges
        for name, after in reading.times.items():
            before = last.times.get(name, {})
            row |= {f"{name}_p50": quantile(0.5, before, after), f"{name}_p95": quantile(0.95, before, after)}
        _append(self.series, row, missed)
        _append(self.codes, self._refused(last, reading), missed, empty=0.0)

    def _refused(self, last: Reading, reading: Reading) -> dict[str, float]:
        row: dict[str, float] = {}
        for code, value in reading.codes.items():
            refused = value - last.codes.get(code, 0)
            has_room = code in self.codes or len(self.codes) + len(row) < MOST_CODES
            name = code if has_room else OTHER
            if refused or name in self.codes:
                row[name] = row.get(name, 0) + refused
        return row

    def as_json(self) -> dict[str, Any]:
        """Times in Unix seconds, numbers per step, oldest first."""
        shown = {name: [_shown(value) for value in values] for name, values in self.series.items()}
        refused = {code: [int(value) for value in values] for code, values in self.codes.items() if sum(values)}
        return {"step": STEP_SECONDS, "end": self.end * STEP_SECONDS, "series": shown, "codes": refused}


def _shown(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)


def _append(
    series: dict[str, "array[float]"], row: Mapping[str, float], missed: int, *, empty: float = math.nan
) -> None:
    for name in {*series, *row}:
        values = series.setdefault(name, array("d", [empty] * STEPS))
        values.extend([*[empty] * missed, row.get(name, empty)])
        del values[: len(values) - STEPS]


class Health:
    """Measures this process as long as it runs, and tells of it at `/api/health`.

    `problems` says what keeps it from serving; `problem_since` is when that began.
    """

    def __init__(self, problems: Callable[[], Sequence[str]] = tuple) -> None:
        self.hour = Hour()
        self.problem_since: datetime | None = None
        self._problems = problems

    def routes(self) -> Iterable[web.RouteDef]:
        """What is answered."""
        return [web.get("/api/health", self._health)]

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response(self.hour.as_json())

    async def run(self) -> None:
        """Measure at the end of each step, and look for problems every second; until cancelled."""
        while True:
            self.problem_since = (self.problem_since or events.now()) if self._problems() else None
            if time.time() // STEP_SECONDS > self.hour.end:
                self.hour.add(read(), now=time.time())
            await asyncio.sleep(until_next(LOOK_SECONDS))
