"""Expositions of several processes become one that means all of them."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from connector.workers.sums import summed

LABELS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
EVENTS = st.lists(st.tuples(LABELS, st.integers(0, 100)), max_size=8)


def exposition(events: list[tuple[str, int]]) -> str:
    """A process that counted these: how many by label, their sizes, and a few gauges."""
    registry = CollectorRegistry()
    counter = Counter("events", "Events.", ["kind"], registry=registry)
    sizes = Histogram("sizes", "Sizes.", buckets=(1, 10, 50), registry=registry)
    running = Gauge("running", "Running.", registry=registry)
    age = Gauge("age_seconds", "Age.", registry=registry)
    Gauge("build_info", "Build.", ["version"], registry=registry).labels("1").set(1)
    for kind, size in events:
        counter.labels(kind).inc()
        sizes.observe(size)
        running.inc()
        age.set(max(size, age._value.get()))
    return bytes(generate_latest(registry)).decode()  # type: ignore[no-untyped-call]  # untyped in the library


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # untyped in the library
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_the_sum_is_what_one_process_would_have_counted(processes: list[list[tuple[str, int]]]) -> None:
    one = exposition([event for events in processes for event in events])
    assert samples(summed([exposition(events) for events in processes])) == samples(one)


def test_what_only_one_process_has_is_kept() -> None:
    found = samples(summed([exposition([]), exposition([("a b} {c", 3)])]))
    assert found["events_total", frozenset({("kind", "a b} {c")})] == 1


def test_an_exemplar_is_left_out() -> None:
    line = 'sizes_bucket{le="1.0"} 2.0 # {trace_id="a} b",span_id="c"} 0.5 1700000000.0'
    text = f"# TYPE sizes histogram\n{line}\n# EOF\n"
    assert 'sizes_bucket{le="1.0"} 4.0\n' in summed([text, text])


def test_no_process_is_an_empty_exposition() -> None:
    assert summed([]) == "# EOF\n"
