"""What may be asked of a watch at run time, as values."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from connector.errors import InvalidRecord
from connector.state import control
from connector.state.control import Answer, Entry, Request, Verdict
from connector.watcher.cursor import CatchUp, Cursor, Seen, first
from connector.watcher.requests import Moment, carry_out

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
MOMENT = Moment(now=NOW, overlap=timedelta(minutes=10))
SINCE = NOW - timedelta(minutes=10)
LIVE = replace(
    first(NOW, since=SINCE),
    seen={"old": Seen(NOW - timedelta(minutes=8)), "new": Seen(NOW - timedelta(minutes=2))},
    control=3,
)


def asked(action: str, cursor: Cursor = LIVE, *, to: datetime | None = None) -> tuple[Cursor, Answer]:
    return carry_out(cursor, Request(action=action, watch="messages", to=to), MOMENT, offset=7)


def test_a_request_is_noted_in_the_cursor_so_that_it_is_carried_out_once() -> None:
    for action in (*control.ACTIONS, "dance"):
        assert asked(action)[0].control == 8


def test_pausing_keeps_everything_and_survives_being_written() -> None:
    cursor, answer = asked("pause")
    assert answer.done
    assert cursor.paused_at == NOW
    assert Cursor.from_json(cursor.to_json()) == cursor
    assert replace(cursor, paused_at=None, control=3) == LIVE


def test_pausing_twice_keeps_the_first_time() -> None:
    cursor, _ = asked("pause")
    later = carry_out(
        cursor, Request(action="pause", watch="m"), replace(MOMENT, now=NOW + timedelta(hours=1)), offset=9
    )
    assert later[0].paused_at == NOW
    assert later[1].done


def test_resuming_goes_on_where_the_watch_stood() -> None:
    cursor, answer = asked("resume", asked("pause")[0])
    assert answer.done
    assert replace(cursor, control=3) == LIVE


def test_a_rewind_within_the_window_forgets_only_what_came_later() -> None:
    cursor, answer = asked("rewind", to=NOW - timedelta(minutes=5))
    assert answer.done
    assert set(cursor.seen) == {"old"}
    assert cursor.since == SINCE


def test_a_rewind_further_back_starts_the_watch_anew_from_there() -> None:
    to = NOW - timedelta(days=5, microseconds=7)
    cursor, answer = asked("rewind", to=to)
    assert answer.done
    assert cursor.since == cursor.complete_until == to.replace(microsecond=0)
    assert cursor.seen == {}


def test_a_paused_watch_stays_paused_when_it_is_rewound() -> None:
    cursor, answer = asked("rewind", asked("pause")[0], to=NOW - timedelta(days=1))
    assert cursor.paused_at == NOW
    assert "paused" in answer.message


@pytest.mark.parametrize("to", [None, NOW + timedelta(seconds=1)])
def test_a_rewind_without_a_time_or_into_the_future_is_refused(to: datetime | None) -> None:
    cursor, answer = asked("rewind", to=to)
    assert not answer.done
    assert replace(cursor, control=3) == LIVE


def test_a_rewind_to_what_is_still_to_be_caught_up_with_is_refused() -> None:
    behind = replace(LIVE, catch_up=CatchUp(phase="windows", until=NOW, low=SINCE - timedelta(days=3), high=SINCE))
    assert not asked("rewind", behind, to=SINCE - timedelta(days=2))[1].done
    assert asked("rewind", behind, to=SINCE - timedelta(days=4))[1].done


def test_a_paused_watch_is_not_scanned_again() -> None:
    assert asked("rescan")[1].done
    assert not asked("rescan", asked("pause")[0])[1].done


def test_an_unknown_action_is_answered_with_those_that_exist() -> None:
    _, answer = asked("dance")
    assert not answer.done
    assert "pause, resume, rewind, rescan" in answer.message


@pytest.mark.parametrize(
    "entry",
    [
        Request(action="rewind", watch="messages", to=NOW, by="console", at=NOW),
        Request(action="pause", watch="messages", at=NOW),
        Answer(id="1", action="pause", watch="messages", done=False, message="No.", at=NOW),
        Verdict(partition=3, offset=17, decision="discarded", note="a test", by="console", at=NOW),
    ],
)
def test_every_entry_is_read_as_it_was_written(entry: Entry) -> None:
    record = control.encode("twilio", entry)
    assert record.topic == "twilio.control"
    assert control.decode(record.value, at=NOW) == entry


def test_a_request_without_an_id_is_named_by_its_place() -> None:
    entry = control.decode(b'{"action": "pause", "watch": "calls"}', at=NOW, offset=4)
    assert isinstance(entry, Request)
    assert entry.id == "control/0/4"


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"[]",
        b"{}",
        b"7",
        b'{"action": "rewind", "watch": "m", "to": "yesterday"}',
        b'{"action": "rewind", "watch": "m", "to": "2026-01-01T00:00:00"}',
        b'{"letter": "x"}',
        b'{"letter": 5, "decision": "replayed"}',
        b'{"letter": "%s/1", "decision": "replayed"}' % (b"9" * 5000),
        b'{"action": "rewind", "watch": "m", "to": "0001-01-01T00:00:00+14:00"}',
        b'{"action": "rewind", "watch": "m", "to": 5}',
        b'{"action": "%s", "watch": "m"}' % (b"x" * 100_000),
        b'{"action": "pause", "watch": "%s"}' % (b"x" * 100_000),
        b'{"action": "pause", "watch": "m", "id": "%s"}' % (b"x" * 100_000),
        b'{"action": "pause", "watch": "\\ud83d"}',
        b'{"action": "pause", "watch": "m", "by": {"a": [%s]}}' % (b"1," * 1000 + b"1"),
    ],
)
def test_what_is_no_entry_is_refused(value: bytes | None) -> None:
    with pytest.raises(InvalidRecord, match="control topic"):
        control.decode(value, at=NOW)
