"""What an expression of PromQL reads: the series and the labels that it names."""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import promql_parser as promql

from connector.telemetry.metrics import REGISTRY

OF_TARGETS = frozenset({"cluster", "namespace", "job", "release", "instance", "pod"})
"""Labels that the scrape adds, or Prometheus where it sends to another."""
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
VARIABLE = re.compile(r"\$__rate_interval|\$__range")


class Selector(NamedTuple):
    """A series that an expression reads: its name, and the matchers of its labels (label, operator, text)."""

    name: str
    matchers: tuple[tuple[str, str, str], ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name with these labels is read."""
        return all(_matches(labels.get(label, ""), operator, text) for label, operator, text in self.matchers)


class Reads(NamedTuple):
    """Names of series, each with the labels that it is selected by; labels that results are grouped by."""

    series: dict[str, frozenset[str]]
    groups: frozenset[str]


@functools.cache
def known() -> dict[str, frozenset[str]]:
    """Each series that the connector has -> its labels."""
    found: dict[str, frozenset[str]] = {}
    for collector in REGISTRY._collector_to_names:
        labels = frozenset(getattr(collector, "_labelnames", ()))
        for metric in collector.collect():
            for suffix in SUFFIXES[metric.type]:
                found[metric.name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def reads(expression: str) -> Reads:
    """Raises ValueError when it is no PromQL. Grafana's variables of time are taken as five minutes."""
    series: dict[str, frozenset[str]] = {}
    groups: set[str] = set()

    def visit(node: promql.Expr) -> None:
        match node:
            case promql.MatrixSelector():
                visit(node.vector_selector)
            case promql.VectorSelector():
                name = str(node.name)
                matched = frozenset(matcher.name for matcher in node.matchers.matchers)
                series[name] = series.get(name, frozenset()) | matched
            case promql.AggregateExpr() if node.modifier is not None:
                groups.update(node.modifier.labels)

    promql.walk(promql.parse(VARIABLE.sub("5m", expression)), visit)
    return Reads(series, frozenset(groups))


def selectors(expression: str) -> list[Selector]:
    """Every selector of an expression."""
    found: dict[Selector, None] = {}

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            matchers = tuple((item.name, str(item.op), item.value) for item in node.matchers.matchers)
            found[Selector(str(node.name), matchers)] = None
        elif isinstance(node, promql.MatrixSelector):
            visit(node.vector_selector)

    promql.walk(promql.parse(expression), visit)
    return list(found)


def _matches(value: str, operator: str, text: str) -> bool:
    if operator in {"MatchOp.Equal", "MatchOp.NotEqual"}:
        return (value == text) == (operator == "MatchOp.Equal")
    return (re.fullmatch(text, value) is not None) == (operator == "MatchOp.Re")


def mistakes(expression: str) -> list[str]:
    """Series and labels that do not exist."""
    found = reads(expression)
    unknown = [f"no series {name}" for name in found.series if name not in known()]
    if unknown:
        return unknown
    return [
        *(
            f"{name} has no label {label}"
            for name, labels in found.series.items()
            for label in labels - known()[name] - OF_TARGETS
        ),
        *(f"nothing has the label {label}" for label in found.groups - _labels(found.series) - OF_TARGETS),
    ]


def _labels(series: Iterable[str]) -> frozenset[str]:
    return frozenset(label for name in series for label in known()[name])
