"""The text of the metrics: the format that a reader prefers, and one process for several."""

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from connector.telemetry import metrics
from connector.telemetry.exposition import OPENMETRICS, TEXT, preferred, text
from connector.workers.sums import classic, counted, summed

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=1.0.0", OPENMETRICS),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.9", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("*/*", TEXT),
        ("", TEXT),
        ("application/json", TEXT),
        (";;,,=;q=;q=x,application/openmetrics-text;q=nan", TEXT),
    ],
)
def test_the_reader_gets_the_format_that_it_prefers(accept: str, content_type: str) -> None:
    assert preferred(accept) == content_type


def registry(count: int = 2) -> CollectorRegistry:
    """A process that has counted so many events."""
    found = CollectorRegistry()
    Counter("events", "Events.", ["kind"], registry=found).labels("a").inc(count)
    Histogram("sizes", "Sizes.", buckets=(1, 10), registry=found).observe(count)
    Gauge("running", "Running.", registry=found).set(count)
    Gauge("process_start_time_seconds", "Start.", registry=found).set(1000 + count)
    return found


def openmetrics(count: int = 2) -> str:
    return text(registry(count), OPENMETRICS).decode()


def samples(families: Iterable[Any]) -> dict[tuple[str, str], float]:
    return {(sample.name, str(sample.labels)): sample.value for family in families for sample in family.samples}


def test_the_classic_format_says_the_same_as_the_library_would() -> None:
    assert classic(summed([openmetrics()])) == text(registry(), TEXT).decode()
    both = classic(summed([openmetrics(), openmetrics(3)]))
    assert samples(text_families(both))["events_total", "{'kind': 'a'}"] == 5


def test_the_start_of_several_is_that_of_the_oldest() -> None:
    assert "process_start_time_seconds 1002.0\n" in summed([openmetrics(5), openmetrics(2)])


def test_what_ended_processes_counted_stays_and_their_gauges_go() -> None:
    together = summed([counted(openmetrics(7)), openmetrics(1)])
    found = samples(openmetrics_families(together))  # type: ignore[no-untyped-call]  # untyped in the library
    assert found["events_total", "{'kind': 'a'}"] == 8
    assert found["sizes_count", "{}"] == 2
    assert found["running", "{}"] == 1


async def test_a_loop_that_is_held_up_is_measured() -> None:
    def late() -> float:
        return float(metrics.LOOP_LAG._sum.get())

    measuring = asyncio.create_task(metrics.measure_loop())
    await asyncio.sleep(0)
    held_until = asyncio.get_running_loop().time() + metrics.LOOK_SECONDS + 0.2
    while asyncio.get_running_loop().time() < held_until:
        pass
    before = late()
    async with asyncio.timeout(30):
        while late() - before < 0.19:  # noqa: ASYNC110 - a measure
            await asyncio.sleep(0.01)
    measuring.cancel()
