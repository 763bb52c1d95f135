"""A row written in one pass is the row that its model writes."""

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from connector.resources import WATCHES
from connector.resources.fields import Optional, Timestamp, Writer, parse_time
from connector.resources.rows import Bundle, Watch
from connector.schemas.documents import examples

ROWS = WATCHES.values()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What Twilio writes, and what it does not: numbers as text and as such, times in both ways, nothing, other kinds.
TIMES = st.sampled_from(
    [
        "Tue, 24 Nov 2026 13:00:00 +0000",
        "Tue, 24 Nov 2026 13:00:00 +0100",
        "Tue, 31 Feb 2026 13:00:00 +0000",
        "Tue, 24 Nov 2026 25:00:00 +0000",
        "2026-11-24T13:00:00Z",
        "2026-11-24T13:00:00.5+02:00",
        "2026-11-24",
    ]
)
NUMBERS = st.sampled_from(
    ["", "0", "-1", "007", "3.5", "1e3", " 7", "9" * 30, "true", "-0.00750", True, False, 0, 1, 1.0, 1e16, 2**64 - 1]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VALUES = TEXT | TIMES | NUMBERS | JSON


@st.composite
def rows(draw: st.DrawFn, watch: Watch) -> dict[str, Any]:
    """Rows of a list: often like Twilio's own, with fields of other kinds, missing ones and ones that nobody knows."""
    declared = [info.alias or name for name, info in watch.bundle.model_fields.items()]
    names = st.sampled_from([*declared, *watch.bundle.model_fields, "new_field", "model_config", ""]) | TEXT
    usual = dict(examples()["bundles"][watch.bundle.__name__]) if draw(st.booleans()) else {}
    drawn = draw(st.dictionaries(names, VALUES, max_size=8))
    return dict(draw(st.permutations([*(usual | drawn).items()])))


def the_long_way(bundle: type[Bundle], row: dict[str, Any]) -> bytes | list[Any]:
    try:
        return bundle.model_validate(row).json_bytes()
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False)


def the_short_way(bundle: type[Bundle], row: dict[str, Any]) -> bytes | list[Any]:
    try:
        return Writer.of(bundle).write(row)
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False)


@pytest.mark.parametrize("watch", ROWS, ids=lambda watch: watch.resource)
@given(data=st.data())
def test_both_ways_write_the_same_bytes_or_refuse_for_the_same_reason(watch: Watch, data: st.DataObject) -> None:
    # As it comes from Twilio: through JSON.
    row = orjson.loads(orjson.dumps(data.draw(rows(watch))))
    assert the_short_way(watch.bundle, row) == the_long_way(watch.bundle, row)


@pytest.mark.parametrize("watch", ROWS, ids=lambda watch: watch.resource)
def test_twilios_own_rows_take_the_short_way(watch: Watch) -> None:
    row = dict(examples()["bundles"][watch.bundle.__name__])
    writer = Writer.of(watch.bundle)
    assert writer.is_plain
    assert writer.in_one_pass(row) == the_long_way(watch.bundle, row)


def test_a_row_is_not_changed_by_writing_it() -> None:
    watch = WATCHES["messages"]
    row = {"sid": "SM1", "num_media": "0", "date_sent": "Tue, 24 Nov 2026 13:00:00 +0000"}
    Writer.of(watch.bundle).write(row)
    assert row == {"sid": "SM1", "num_media": "0", "date_sent": "Tue, 24 Nov 2026 13:00:00 +0000"}


class Ruled(Bundle):
    sid: str

    @field_validator("sid")
    @classmethod
    def _shout(cls, value: str) -> str:
        return value.upper()


class Own(Bundle):
    sid: str

    def json_bytes(self) -> bytes:
        return b'{"own": true}'


class Told(Bundle):
    sid: str
    count: Annotated[int, Field(ge=1)] = 1


class One(Bundle):
    at: Timestamp = None


class Blank(Bundle):
    needed: Optional


@pytest.mark.parametrize("bundle", [Ruled, Own, Told, One, Blank])
@pytest.mark.parametrize(
    "row", [{"sid": "a"}, {"sid": "a", "count": "0"}, {"at": "", "x": 1}, {"needed": ""}, {"needed": None}, {}]
)
def test_a_bundle_with_rules_or_values_of_its_own_is_written_as_it_says(
    bundle: type[Bundle], row: dict[str, Any]
) -> None:
    assert the_short_way(bundle, row) == the_long_way(bundle, row)


# --- times ---------------------------------------------------------------------------------------------------------
PARTS = st.tuples(
    st.sampled_from(["Tue", "Mon", "Foo", "tue"]),
    st.sampled_from(["24", "00", "31", "1", "٣١"]),
    st.sampled_from(["Nov", "Feb", "Foo", "nov"]),
    st.sampled_from(["2026", "0026", "1999", "26"]),
    st.sampled_from(["13:00:00", "23:59:60", "24:00:00", "9:00:00", "13:00"]),
    st.sampled_from(["+0000", "-0500", "GMT", "+0000 (UTC)"]),
)


def read_by(parser: Callable[[str], datetime], text: str) -> datetime | None:
    try:
        return parser(text)
    except ValueError:
        return None


@given(PARTS)
def test_a_time_is_read_as_the_general_parser_reads_it(parts: tuple[str, ...]) -> None:
    text = "{}, {} {} {} {} {}".format(*parts)
    assert read_by(parse_time, text) == read_by(parsedate_to_datetime, text)
