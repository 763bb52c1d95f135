"""Filters of lists: what a query asks for, as equalities, ranges and tests of rows (Twilio, usage/twilios-response)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connector.simulator.collection import Row
from connector.simulator.errors import refusal
from connector.simulator.routes import Request
from connector.simulator.times import DAY_SECONDS, Moment, parse


@dataclass(frozen=True, slots=True)
class Equal:
    """A filter for equality of a parameter with an attribute."""

    name: str
    attribute: str


@dataclass(frozen=True, slots=True)
class Dates:
    """A date filter with its keys `X`, `X<` and `X>`; `sorts` when the list is sorted by that attribute."""

    name: str
    attribute: str
    sorts: bool = False
    precise: bool = True  # False: dates only, whatever the settings say

    @property
    def keys(self) -> tuple[str, str, str]:
        """The names on the wire."""
        return self.name, self.name + "<", self.name + ">"


@dataclass(frozen=True, slots=True)
class Test:
    """A filter of its own kind: parameter name, and a predicate of row and value (empty when absent)."""

    name: str
    accepts: Callable[[Any, str], bool]
    always: bool = False  # also when the parameter is absent


@dataclass(frozen=True, slots=True)
class Bounds:
    """A filter of two names, both inclusive, by the second of the sort key."""

    start: str
    end: str


Filter = Equal | Dates | Test | Bounds


def names(filter_: Filter) -> tuple[str, ...]:
    """Return the parameter names of a filter."""
    match filter_:
        case Dates():
            return filter_.keys
        case Bounds():
            return filter_.start, filter_.end
        case _:
            return (filter_.name,)


@dataclass(frozen=True, slots=True)
class Range:
    """Half-open bounds in seconds, of the attribute of a date filter."""

    attribute: str
    low: int | None
    high: int | None
    sorts: bool

    def holds(self, row: Row) -> bool:
        """Whether the row has that date and it is within the bounds: rows without a date never match."""
        second = getattr(row, self.attribute)
        return (
            second is not None
            and (self.low is None or second >= self.low)
            and (self.high is None or second < self.high)
        )


def equalities(request: Request, filters: tuple[Filter, ...]) -> tuple[tuple[str, object], ...]:
    """Return the attributes that must have given values."""
    given = (f for f in filters if isinstance(f, Equal) and request.parameters.get(f.name))
    return tuple((f.attribute, request.parameters.get(f.name).strip()) for f in given)


def tests(request: Request, filters: tuple[Filter, ...]) -> list[Callable[[Any], bool]]:
    """Return the predicates that rows must meet."""

    def bind(test: Test) -> Callable[[Any], bool]:
        value = request.parameters.get(test.name)
        return lambda row: test.accepts(row, value)

    return [bind(f) for f in filters if isinstance(f, Test) and (f.always or request.parameters.get(f.name))]


def ranges(request: Request, filters: tuple[Filter, ...], *, retention: bool) -> tuple[Range, ...]:
    """Return the bounds of dates; with retention, refuses those beyond it (20004)."""
    dates = (f for f in filters if isinstance(f, Dates))
    found = tuple(r for f in dates if (r := _range(request, f)) is not None)
    found += tuple(_bounded(request, f) for f in filters if isinstance(f, Bounds))
    if retention:
        oldest = math.floor(request.state.now()) - request.state.settings.retention_days * DAY_SECONDS
        _check_retention(found, oldest - DAY_SECONDS)
    return found


def _check_retention(bounds: tuple[Range, ...], oldest: int) -> None:
    if any(r.low is not None and r.low < oldest for r in bounds):
        raise refusal(
            20004,
            status=400,
            message="Date range specified in query is partially or entirely outside of retention window of 400 days",
        )


def _range(request: Request, dates: Dates) -> Range | None:
    on, before, after = (_moment(request, key) for key in dates.keys)
    if on is None and before is None and after is None:
        return None
    by_second = dates.precise and request.state.settings.granularity == "second"
    low = None if after is None else after.second if by_second else after.day
    high = None if before is None else before.second if by_second else before.day
    if on is not None:
        low = max(on.day, low if low is not None else on.day)
        high = min(on.day + DAY_SECONDS, high if high is not None else on.day + DAY_SECONDS)
    return Range(dates.attribute, low, high, dates.sorts)


def _bounded(request: Request, bounds: Bounds) -> Range:
    start, end = _moment(request, bounds.start), _moment(request, bounds.end)
    high = None if end is None else end.day + DAY_SECONDS if end.day_only else end.second + 1
    return Range("second", None if start is None else start.second, high, sorts=True)


def _moment(request: Request, key: str) -> Moment | None:
    value = request.parameters.get(key)
    if not value:
        return None
    try:
        return parse(value)
    except (ValueError, TypeError) as error:
        raise refusal(20001, message=f"Invalid date for {key}") from error
