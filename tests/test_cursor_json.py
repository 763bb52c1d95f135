"""The cursor as JSON in its record: what survives, what is refused, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.errors import InvalidRecord
from connector.resources import WATCHES
from connector.watcher import catch_up
from connector.watcher.advance import FOLLOWED_LIMIT, SEEN_LIMIT
from connector.watcher.cursor import BEGINNING, DAY, CatchUp, Cursor, Seen, first

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
LIVE = Cursor(since=NOW, complete_until=NOW, started_at=NOW, polled_at=NOW)

moments = st.integers(0, 30 * 86_400).map(lambda seconds: NOW - timedelta(seconds=seconds))
seen_rows = st.dictionaries(
    st.text("0123456789abcdef", min_size=4, max_size=8),
    st.builds(Seen, moments, st.sampled_from(["", "0a1b2c3d"]), st.booleans()),
    max_size=5,
)


@st.composite
def catch_ups(draw: st.DrawFn) -> CatchUp:
    low, high, until = sorted(draw(st.tuples(moments, moments, moments)))
    return CatchUp(
        phase=draw(st.sampled_from(["windows", "undated"])),
        until=until,
        low=low,
        high=high,
        size=draw(st.integers(1, 90)) * DAY,
        position=draw(st.none() | st.tuples(moments, st.text(max_size=5))),
    )


cursors = st.builds(
    Cursor,
    since=moments,
    complete_until=moments,
    started_at=moments,
    polled_at=moments,
    seen=seen_rows,
    followed=seen_rows,
    catch_up=st.none() | catch_ups(),
)


@given(cursors)
def test_a_cursor_survives_as_json(cursor: Cursor) -> None:
    assert Cursor.from_json(cursor.to_json()) == cursor


def test_a_cursor_ignores_what_a_newer_version_added() -> None:
    raw = LIVE.to_json().replace(b'{"v":1,', b'{"v":1,"colour":"red",')
    assert Cursor.from_json(raw) == LIVE


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"null", "its version is None, this connector's is 1"),
        (b"[]", "its version is None"),
        (b'{"v":2}', "its version is 2, this connector's is 1"),
        (b'{"v":"%s"}' % (b"9" * 100_000), "its version is '9999"),
        (b'{"v":1}', "KeyError"),
        (b'{"v":1,"since":"yesterday"}', "ValueError"),
        (b'{"v":1,"since":5}', "TypeError"),
    ],
)
def test_what_is_no_cursor_is_refused_with_its_reason(raw: bytes, why: str) -> None:
    with pytest.raises(InvalidRecord, match=f"The cursor cannot be read: .*{why}") as caught:
        Cursor.from_json(raw)
    assert len(str(caught.value)) < 200


CATCHING_UP = {
    "phase": "windows",
    "until": NOW,
    "low": NOW - 2 * DAY,
    "high": NOW - DAY,
    "size": 86400,
    "position": None,
}


@pytest.mark.parametrize(
    "change",
    [
        {"since": "2026-03-20T00:00:00"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"seen": []},
        {"seen": {"SM1": "x"}},
        {"seen": {"SM1": 1e300}},
        {"seen": {"SM1": []}},
        {"followed": None},
        {"control": "x"},
        {"control": [1]},
        {"paused_at": True},
        {"catch_up": CATCHING_UP | {"size": 0}},
        {"catch_up": CATCHING_UP | {"size": -86400}},
        {"catch_up": CATCHING_UP | {"low": NOW + DAY}},
        {"catch_up": CATCHING_UP | {"phase": "dancing"}},
        {"catch_up": CATCHING_UP | {"position": [5, "SM1"]}},
        {"catch_up": 5},
    ],
)
def test_a_cursor_with_one_value_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    document = orjson.loads(LIVE.to_json())
    with pytest.raises(InvalidRecord, match="The cursor cannot be read"):
        Cursor.from_json(orjson.dumps(document | change))


def test_a_start_before_twilio_began_is_moved_there() -> None:
    cursor = first(NOW, since=datetime.min.replace(tzinfo=UTC))
    assert cursor.since == BEGINNING
    assert (
        catch_up.begin(cursor, replace(WATCHES["calls"], retention=None), now=NOW, overlap=timedelta(minutes=10)).since
        == BEGINNING
    )


def test_the_fullest_cursor_fits_into_a_record() -> None:
    seen = {f"SM{number:032x}": Seen(NOW, "0a1b2c3d", is_open=True) for number in range(SEEN_LIMIT)}
    followed = dict(list(seen.items())[:FOLLOWED_LIMIT])
    assert len(replace(LIVE, seen=seen, followed=followed).to_json()) < 900_000
