"""Durations, sizes and instants as the configuration writes them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.settings.units import (
    format_duration,
    format_instant,
    format_size,
    parse_duration,
    parse_instant,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("15s", 15), ("10m", 600), ("24h", 86_400), ("30d", 2_592_000), ("1h30m", 5400), ("1.5s", 1.5)],
)
def test_a_duration_is_a_number_and_a_unit_or_several(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["0", "0s", 0])
def test_zero_needs_no_unit(text: object) -> None:
    assert parse_duration(text) == timedelta(0)


@pytest.mark.parametrize("text", ["", "15", 15, "s", "-1s", "1 s", "1w", "1m1h", "1S", "٣s", "1s\n", None, True])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit, such as 500ms"):
        parse_duration(text)


def test_a_duration_that_cannot_be_held_is_refused() -> None:
    with pytest.raises(ValueError, match="write a shorter one"):
        parse_duration("99999999999d")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=10_000)))
def test_a_duration_survives_being_written_and_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["500ms", "15s", "10m", "1h30m", "30d", "0s", "1s500ms"])
def test_a_duration_is_written_in_its_shortest_form(text: str) -> None:
    assert format_duration(parse_duration(text)) == text


@pytest.mark.parametrize(("text", "size"), [("64KiB", 65_536), ("1MiB", 1_048_576), ("512B", 512), ("100", 100)])
def test_a_size_is_a_number_of_bytes_with_or_without_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64KB", "64 KiB", "-1", "KiB", None, True])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size: write a number and a unit, such as 512B, 64KiB or 1MiB"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_survives_being_written_and_read(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "text", ["2026-01-31T12:00:00Z", "2026-01-31t12:00:00z", "2026-01-31T13:00:00+01:00", "2026-01-31 12:00:00.000Z"]
)
def test_an_instant_is_read_as_rfc_3339_and_kept_in_utc(text: str) -> None:
    assert parse_instant(text) == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert format_instant(parse_instant(text)) == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T12:00:00", "2026-13-31T12:00:00Z", "yesterday", 0, None])
def test_what_is_no_instant_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="is not a date-time with an offset: write it as 2026-01-31T00:00:00Z"):
        parse_instant(text)
