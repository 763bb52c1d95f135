"""The metrics of several processes as those of one: a text exposition for each becomes one of all. Pure.

Counters, histograms and most gauges add up. Ages are as old as the oldest; `_info` says the same everywhere; the
start is that of the oldest process.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

Add = Callable[[float, float], float]

END = "# EOF"
INFINITE = "+Inf"
CUMULATIVE = frozenset({"counter", "histogram"})


def summed(expositions: Sequence[str]) -> str:
    """One exposition in the OpenMetrics text format, families in the order of the first that has them."""
    families: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    samples: dict[str, dict[str, float]] = {}
    for text in expositions:
        for family, line in _lines(text):
            if line.startswith("# "):
                _describe(families.setdefault(family, []), line)
                if line.startswith("# TYPE "):
                    kinds[family] = line.rpartition(" ")[2]
            else:
                _take(samples.setdefault(family, {}), line, kind=kinds.get(family, ""))
    lines = [line for family, described in families.items() for line in _written(described, samples.get(family, {}))]
    return "\n".join([*lines, END]) + "\n"


def counted(exposition: str) -> str:
    """What of an exposition stays true when its process has ended: what it has counted, without its gauges."""
    lines = list(_lines(exposition))
    kinds = _kinds(lines)
    return "".join(f"{line}\n" for family, line in lines if kinds.get(family) in CUMULATIVE)


def classic(exposition: str) -> str:
    """The same in Prometheus' text format: `_total` belongs to the name of a counter, and nothing marks the end."""
    lines = list(_lines(exposition))
    counters = {family for family, kind in _kinds(lines).items() if kind == "counter"}
    shown = (
        _of_total(line, family) if family in counters and line.startswith("# ") else line for family, line in lines
    )
    return "".join(f"{line}\n" for line in shown)


def _of_total(description: str, family: str) -> str:
    return description.replace(f" {family} ", f" {family}_total ", 1)


def _kinds(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    return {family: line.rpartition(" ")[2] for family, line in lines if line.startswith("# TYPE ")}


def _lines(text: str) -> Iterable[tuple[str, str]]:
    """Each line with the family that it belongs to: samples follow the descriptions of theirs."""
    family = ""
    for line in text.split("\n"):
        if line == END or not line:
            continue
        if line.startswith("# "):
            family = line.split(" ", 3)[2]
        yield family, line


def _describe(described: list[str], line: str) -> None:
    if line not in described:
        described.append(line)


# A label may hold anything between its quotation marks; what follows the value, an exemplar, is that of one process.
_SAMPLE = re.compile(r'([^{ ]+(?:\{(?:"(?:[^"\\]|\\.)*"|[^"}])*\})?) ([^ ]+)')


def _take(found: dict[str, float], line: str, *, kind: str) -> None:
    read = _SAMPLE.match(line)
    if read is None:
        return
    series, value = read[1], float(read[2])
    found[series] = _rule(series, kind)(found[series], value) if series in found else value


def _rule(series: str, kind: str) -> Add:
    name = series.partition("{")[0]
    if name.endswith(("_created", "_start_time_seconds")):
        return min
    if kind == "gauge" and name.endswith(("_seconds", "_info")):
        return max
    return lambda one, other: one + other


def _written(described: Sequence[str], samples: Mapping[str, float]) -> list[str]:
    return [*described, *(f"{series} {_number(value)}" for series, value in samples.items())]


def _number(value: float) -> str:
    return INFINITE if value == float("inf") else repr(value)
