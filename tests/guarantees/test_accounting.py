"""The accounting itself: a trace of a good run breaks no promise, and each way of doctoring it breaks exactly one."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.callbacks import Callback, Stored, of_callbacks
from tests.guarantees.accounting.commands import Answer, Execution, Letter, Sent, Trace, of_commands
from tests.guarantees.accounting.watches import Event, Row, of_events

SEND, LIST = "t.commands.send-message", "t.commands.list"
EPOCH = 1_800_000_000.0


def _broken(account: Account) -> dict[str, int]:
    return {name: account.counts[name] for name in account.promised if account.counts[name]}


# --- commands -------------------------------------------------------------------------------------------------------
def _sent(topic: str, offset: int, name: str, *, key: str | None = "a", partition: int = 0, **more: Any) -> Sent:
    raw = key.encode() if key else None
    return Sent(position=(topic, partition, offset), id=name, key=raw, value=name.encode(), **more)


def _answer(one: Sent, outcome: str, *sids: str, page: int = 0, last: bool = True, **more: Any) -> Answer:
    topic, partition, offset = one.position
    document = {
        "command": {
            "id": one.id,
            "name": topic.rpartition(".")[2],
            "topic": topic,
            "partition": partition,
            "offset": offset,
        },
        "outcome": outcome,
        "bundles": [{"sid": sid} for sid in sids],
        "page": page,
        "last": last,
        "error": None,
        "attempts": 1,
        "reconciled": False,
        "started_at": datetime.fromtimestamp(EPOCH, UTC).isoformat(),
        "finished_at": datetime.fromtimestamp(EPOCH + 10, UTC).isoformat(),
        "request_id": None,
        **more,
    }
    return Answer(partition, one.key, json.dumps(document).encode())


RECORDS = {
    one.id if one.id not in {"again", "elsewhere", "free"} else "/".join(map(str, one.position[1:])): one
    for one in (
        _sent(SEND, 0, "c1", has_reply=True),
        _sent(SEND, 1, "again"),
        _sent(SEND, 2, "c1b", key="b"),
        _sent(SEND, 3, "c2"),
        _sent(SEND, 4, "again"),
        _sent(SEND, 5, "invalid", key=None, outcomes=frozenset({"rejected"})),
        _sent(SEND, 6, "refused", key=None, outcomes=frozenset({"failed"})),
        _sent(SEND, 7, "late", key=None, expires_at=EPOCH + 5),
        _sent(SEND, 8, "in doubt"),
        _sent(SEND, 9, "died", key=None),
        _sent(SEND, 10, "hidden", key=None),
        _sent(SEND, 11, "elsewhere", producer="one"),
        _sent(SEND, 0, "elsewhere", partition=1, producer="two"),
        _sent(SEND, 12, "in time", key=None, expires_at=EPOCH + 5),
        _sent(SEND, 13, "free", key="f", expires_at=EPOCH + 5),
        _sent(SEND, 14, "meanwhile", key="f"),
        _sent(SEND, 15, "free", key="f"),
        _sent(LIST, 0, "list", key="l", creates=False, rows=frozenset({"R1", "R2", "R3"})),
        _sent(LIST, 1, "forgotten", key="l", creates=False, may_be_passed_over=True),
    )
}
R = RECORDS
GOOD = Trace(
    sent=list(RECORDS.values()),
    executed=[
        Execution(id="c1", sid="S1"),
        Execution(id="c1b", sid="S1b"),
        Execution(id="again", sid="S3"),
        Execution(id="c2", sid="S2"),
        Execution(id="in doubt", sid="S8"),
        Execution(id="hidden", sid="S10", hidden=60.0),
        Execution(id="elsewhere", sid="S11"),
        Execution(id="in time", sid="S12", at=EPOCH + 4),
        Execution(id="meanwhile", sid="S14"),
        Execution(id="free", sid="S15"),
    ],
    results=[
        _answer(R["c1"], "succeeded", "S1"),
        _answer(R["0/1"], "succeeded", "S3"),
        _answer(R["c1b"], "succeeded", "S1b"),
        _answer(R["c2"], "succeeded", "S2"),
        _answer(R["0/4"], "duplicate", "S3"),
        _answer(R["invalid"], "rejected"),
        _answer(R["refused"], "failed"),
        _answer(R["late"], "expired"),
        _answer(R["in doubt"], "succeeded", "S8", reconciled=True),
        _answer(R["died"], "unknown"),
        _answer(R["hidden"], "unknown"),
        _answer(R["0/11"], "duplicate", "S11"),
        _answer(R["1/0"], "succeeded", "S11"),
        _answer(R["in time"], "succeeded", "S12"),
        _answer(R["0/13"], "expired"),
        _answer(R["meanwhile"], "succeeded", "S14"),
        _answer(R["0/15"], "succeeded", "S15"),
        # It began anew after its first page.
        _answer(R["list"], "succeeded", "R1", last=False),
        _answer(R["list"], "succeeded", "R1", "R2", last=False),
        _answer(R["list"], "succeeded", "R3", page=1),
    ],
    replies=[_answer(R["c1"], "succeeded", "S1")],
    letters=[Letter(R["invalid"].position, None, b"invalid")],
    attempts={"died": [EPOCH + 99]},
    interruptions=[(EPOCH + 100, EPOCH + 104)],
)

Doctor = Callable[[Trace], Trace]


def _result(name: str, *given: Any, **more: Any) -> Doctor:
    """Another result of a record; None leaves it out."""

    def doctor(trace: Trace) -> Trace:
        place = RECORDS[name].position
        new = [_answer(RECORDS[name], *given, **more)] if given else []
        at = next(number for number, answer in enumerate(trace.results) if answer.position == place)
        return replace(trace, results=[*trace.results[:at], *new, *trace.results[at + 1 :]])

    return doctor


def _added(**more: Sequence[Any]) -> Doctor:
    def doctor(trace: Trace) -> Trace:
        changed: dict[str, Any] = {name: [*getattr(trace, name), *new] for name, new in more.items()}
        return replace(trace, **changed)

    return doctor


def _without(name: str, index: int) -> Doctor:
    def doctor(trace: Trace) -> Trace:
        rows = list(getattr(trace, name))
        del rows[index]
        changed: dict[str, Any] = {name: rows}
        return replace(trace, **changed)

    return doctor


def _with(**more: Any) -> Doctor:
    return lambda trace: replace(trace, **more)


def _swapped(name: str, first: int, second: int) -> Doctor:
    def doctor(trace: Trace) -> Trace:
        rows = list(getattr(trace, name))
        rows[first], rows[second] = rows[second], rows[first]
        changed: dict[str, Any] = {name: rows}
        return replace(trace, **changed)

    return doctor


def _then(*doctors: Doctor) -> Doctor:
    def doctor(trace: Trace) -> Trace:
        for one in doctors:
            trace = one(trace)
        return trace

    return doctor


def _record(name: str, **more: Any) -> Doctor:
    """Another record than the one that was sent."""
    place = RECORDS[name].position
    return lambda trace: replace(
        trace, sent=[replace(one, **more) if one.position == place else one for one in trace.sent]
    )


def _rejected(trace: Trace, name: str) -> Trace:
    """A valid record is rejected, with its dead letter."""
    one = RECORDS[name]
    letter = Letter(one.position, one.key, one.value)
    return _added(letters=[letter])(_result(name, "rejected")(trace))


def _shared(trace: Trace) -> Trace:
    """Two commands adopt one resource; each was executed, with that SID at Twilio."""
    executed = [replace(one, sid="S1") if one.id == "c2" else one for one in trace.executed]
    return _result("c2", "succeeded", "S1")(replace(trace, executed=executed))


def _renamed(trace: Trace) -> Trace:
    """A result names another id than its command's."""
    other = _answer(replace(RECORDS["c2"], id="c3"), "succeeded", "S2")
    return replace(trace, results=[other if one.position == other.position else one for one in trace.results])


def _all_unknown(trace: Trace) -> Trace:
    """Nothing was executed, and every create is said to be unknown."""
    creates = [replace(one, outcomes=frozenset({"succeeded", "unknown"})) for one in trace.sent if one.creates]
    alone = [replace(one, has_reply=False) for one in creates if one.id not in {"again", "elsewhere", "free"}]
    return replace(
        trace,
        sent=alone,
        executed=[],
        results=[_answer(one, "unknown") for one in alone],
        replies=[],
        letters=[],
        attempts={},
    )


STRANGER = _sent(SEND, 99, "stranger")
DOCTORED: dict[str, list[tuple[str, Doctor]]] = {
    "without a result": [
        ("a create", _result("c2")),
        ("a rejected one", _then(_result("invalid"), _with(letters=[]))),
        ("one whose pages never end", _without("results", 19)),
    ],
    "final results doubled": [
        ("the same", _added(results=[_answer(R["hidden"], "unknown")])),
        ("another outcome", _added(results=[_answer(R["hidden"], "failed")])),
    ],
    "results of records that were not sent": [("a stranger's", _added(results=[_answer(STRANGER, "failed")]))],
    "results under another id": [("another", _renamed)],
    "results under another key": [("none", _record("died", key=b"k"))],
    "results that do not satisfy their schema": [
        ("a bundle of nothing", _result("in time", "succeeded", "S12", error=7)),
        ("an unknown member of outcome", _result("hidden", "unknown", attempts="2")),
    ],
    "pages missing": [
        ("the first", _then(_without("results", 17), _without("results", 17), _record("list", rows=frozenset({"R3"}))))
    ],
    "lists with rows missing, twice or too many": [
        ("missing", _record("list", rows=frozenset({"R1", "R2", "R3", "R4"}))),
        ("too many", _record("list", rows=frozenset({"R1", "R2"}))),
        ("twice", _swapped("results", 17, 18)),
    ],
    "outcomes that nothing explains": [
        ("failed", _then(_result("c2", "failed"), _without("executed", 3))),
        ("sent though invalid", _then(_result("invalid", "succeeded", "S5"), _with(letters=[]))),
        ("rejected though valid", lambda trace: _rejected(trace, "died")),
    ],
    "said to be executed, but was not": [
        ("never", _without("executed", 3)),
        ("reconciled from nothing", _without("executed", 4)),
    ],
    "said to have made another SID": [
        ("another", _result("c2", "succeeded", "S9")),
        ("none", _result("c2", "succeeded")),
    ],
    "executed, but said to be failed, rejected or expired": [
        ("failed", _added(executed=[Execution(id="refused", sid="S6")])),
        ("rejected", _added(executed=[Execution(id="invalid", sid="S5")])),
        ("expired", _added(executed=[Execution(id="late", sid="S7")])),
    ],
    "executed and shown, but said to be unknown": [
        ("shown in time", _then(_without("executed", 5), _added(executed=[Execution(id="hidden", sid="S10")]))),
    ],
    "unknown without a reason": [
        ("nobody died", _with(interruptions=())),
        ("it was never attempted", _with(attempts={})),
        ("somebody died at another time", _with(attempts={"died": [EPOCH]})),
        ("everything", _all_unknown),
    ],
    "expired without a reason": [
        ("too early", _record("late", expires_at=EPOCH + 14)),
        ("no time was given", _record("late", expires_at=None)),
        ("by Twilio's clock, which is behind", _with(ahead=-90.0)),
    ],
    "executed after it had expired": [("by a minute", _record("in time", expires_at=EPOCH - 60))],
    "executed twice": [
        ("one record", _added(executed=[Execution(id="c2", sid="S2")])),
        ("for a repeat", _added(executed=[Execution(id="again", sid="S3")])),
        ("in another partition", _added(executed=[Execution(id="elsewhere", sid="S11")])),
    ],
    "executed, but never asked for": [("aborted by its caller", _added(executed=[Execution(id="aborted", sid="S")]))],
    "one SID in the results of two ids": [("adopted twice", _shared)],
    "repeats answered as new": [
        ("in its partition", _result("0/4", "succeeded", "S3")),
        ("in another partition", _result("0/11", "succeeded", "S11")),
    ],
    "duplicates of nothing": [
        ("both", _then(_result("1/0", "duplicate", "S11"), _result("0/11", "duplicate", "S11"))),
    ],
    "duplicates with another SID than the first": [
        ("another", _result("0/4", "duplicate", "S4")),
        ("none", _result("0/4", "duplicate")),
    ],
    "executed out of order within a key": [("reversed", _swapped("executed", 0, 2))],
    "answered out of order within a key": [("reversed", _swapped("results", 1, 3))],
    "answered in several partitions within a key": [
        ("two", lambda trace: replace(trace, results=[replace(trace.results[0], partition=1), *trace.results[1:]])),
    ],
    "replies that nobody asked for": [("one", _added(replies=[_answer(R["c2"], "succeeded", "S2")]))],
    "replies missing, doubled or unlike their result": [
        ("missing", _with(replies=[])),
        ("doubled", _added(replies=[_answer(R["c1"], "succeeded", "S1")])),
        ("another outcome", _with(replies=[_answer(R["c1"], "failed", "S1")])),
        ("another key", lambda trace: replace(trace, replies=[replace(trace.replies[0], key=b"b")])),
    ],
    "rejected without a dead letter": [("none", _with(letters=[]))],
    "dead letters doubled": [("two", _added(letters=[Letter(R["invalid"].position, None, b"invalid")]))],
    "dead letters of what was not rejected": [
        ("failed", _added(letters=[Letter(R["refused"].position, None, b"refused")]))
    ],
    "dead letters with other bytes": [
        ("value", _with(letters=[Letter(R["invalid"].position, None, b"inval\xef\xbf\xbd")])),
        ("key", _with(letters=[Letter(R["invalid"].position, b"a", b"invalid")])),
    ],
}


def test_a_good_run_of_commands_breaks_no_promise() -> None:
    account = of_commands(GOOD)
    assert _broken(account) == {}
    assert account.kept
    assert account.counts["reconciled"] == 1
    assert account.counts["outcome succeeded"] == 10


@pytest.mark.parametrize(
    ("promise", "doctor"),
    [
        pytest.param(promise, doctor, id=f"{promise}: {how}")
        for promise, ways in DOCTORED.items()
        for how, doctor in ways
    ],
)
def test_a_doctored_run_of_commands_breaks_the_promise_that_it_was_doctored_against(
    promise: str, doctor: Doctor
) -> None:
    account = of_commands(doctor(GOOD))
    assert _broken(account).keys() == {promise}
    assert not account.kept
    assert f"BROKEN {promise}" in account.table()


def test_every_promise_about_commands_was_doctored_against() -> None:
    assert of_commands(GOOD).promised == DOCTORED.keys()


def test_what_clocks_that_jumped_hide_may_be_unknown() -> None:
    step = _then(
        _without("executed", 5),
        _added(executed=[Execution(id="hidden", sid="S10", at=EPOCH)]),
        _with(steps=[(EPOCH + 3, 90.0)]),
    )
    assert _broken(of_commands(step(GOOD))) == {}
    long_before = _then(step, _with(steps=[(EPOCH - 80, 0.0)]))
    assert _broken(of_commands(long_before(GOOD))) == {"executed and shown, but said to be unknown": 1}


def test_what_has_expired_by_a_clock_of_twilios_that_may_still_be_believed_has_expired() -> None:
    ahead = _then(_record("late", expires_at=EPOCH + 95), _with(ahead=90.0, steps=[(EPOCH - 30, 0.0)]))
    assert _broken(of_commands(ahead(GOOD))) == {}
    long_ago = _then(_record("late", expires_at=EPOCH + 95), _with(ahead=90.0, steps=[(EPOCH - 60, 0.0)]))
    assert _broken(of_commands(long_ago(GOOD))) == {"expired without a reason": 1}


def test_what_has_expired_within_the_error_of_a_clock_that_is_read_from_dates_has_expired() -> None:
    assert _broken(of_commands(_record("late", expires_at=EPOCH + 12)(GOOD))) == {}
    assert _broken(of_commands(_record("in time", expires_at=EPOCH - 3)(GOOD))) == {}


def test_a_list_fails_where_all_its_answers_may_have_been_odd() -> None:
    unsaid = {"code": None, "more_info": None, "retryable": True}
    failed = {"message": "Twilio answered 200 with nothing.", "kind": "twilio", "http_status": 200, **unsaid}
    others = [answer for answer in GOOD.results if answer.position != R["list"].position]
    doctor = _with(results=[*others, _answer(R["list"], "failed", error=failed)])
    assert _broken(of_commands(_then(doctor, _with(is_odd=True))(GOOD))) == {}
    assert _broken(of_commands(doctor(GOOD))) == {"outcomes that nothing explains": 1}


def test_what_the_simulator_refused_without_certainty_may_be_unknown() -> None:
    lost = _with(interruptions=(), unsettled={"died"})
    assert _broken(of_commands(lost(GOOD))) == {}


# --- watches --------------------------------------------------------------------------------------------------------
ROWS = {
    row.sid: row
    for row in (
        Row(sid="A", created=1, versions=("queued", "sent", "delivered")),
        Row(sid="B", created=2, versions=("queued", "sent")),
        Row(sid="C", created=0, is_late=True, versions=("sent",)),
        Row(sid="D", created=3, is_unfit=True),
    )
}


def _event(sid: str, version: str, *, time: int = 0, of: str = "", partition: int = 0) -> Event:
    kind: Any = "updated" if of else "created"
    moment = datetime.fromtimestamp(time, UTC).isoformat()
    return Event(partition=partition, sid=sid, time=moment, id=f"{sid}@{of}" if of else sid, version=version, kind=kind)


EVENTS = [
    _event("A", "queued", time=1),
    _event("B", "queued", time=2),
    # The state between was seen by no poll.
    _event("A", "delivered", time=5, of="a2"),
    _event("C", "sent", time=0),
    _event("B", "sent", time=6, of="b1"),
]

Story = tuple[dict[str, Row], list[Event], list[str]]
WATCHED: dict[str, Callable[[Story], Story]] = {
    "lost": lambda s: (s[0], [event for event in s[1] if event.sid != "C"], s[2]),
    "published twice": lambda s: (s[0], [*s[1], s[1][3]], s[2]),
    "invented": lambda s: (s[0], [*s[1], _event("E", "sent", time=9)], s[2]),
    "under another id than its SID": lambda s: (s[0], [*s[1][:3], replace(s[1][3], id="X"), s[1][4]], s[2]),
    "out of order within a partition": lambda s: (s[0], [s[1][1], s[1][0], *s[1][2:]], s[2]),
    "unfit without a dead letter": lambda s: (s[0], s[1], []),
    "dead-lettered twice": lambda s: (s[0], s[1], ["D", "D"]),
    "fit, but dead-lettered": lambda s: (s[0], s[1], ["D", "A"]),
    "updates before their row": lambda s: (s[0], [s[1][0], s[1][4], *s[1][1:4]], s[2]),
    "last versions missing": lambda s: (s[0], s[1][:4], s[2]),
    "versions invented": lambda s: (s[0], [*s[1], _event("B", "failed", of="b2")], s[2]),
    "versions published twice": lambda s: (s[0], [*s[1], _event("B", "sent", of="b2")], s[2]),
    "ids of updates doubled": lambda s: (s[0], [*s[1][:4], replace(s[1][4], id="A@a2")], s[2]),
    "versions out of order": lambda s: (s[0], [*s[1], _event("A", "sent", of="a1")], s[2]),
}


def test_a_good_run_of_a_watch_breaks_no_promise() -> None:
    account = of_events(ROWS, EVENTS, has_changes=True, letters=["D"])
    assert _broken(account) == {}
    assert account.promised == {*WATCHED, "updates that were not asked for"}


@pytest.mark.parametrize("promise", WATCHED)
def test_a_doctored_run_of_a_watch_breaks_the_promise_that_it_was_doctored_against(promise: str) -> None:
    rows, events, letters = WATCHED[promise]((ROWS, EVENTS, ["D"]))
    account = of_events(rows, events, has_changes=True, letters=letters)
    assert _broken(account).keys() == {promise}


def test_a_watch_without_changes_publishes_no_update() -> None:
    assert _broken(of_events(ROWS, EVENTS, letters=["D"])) == {"updates that were not asked for": 2}


# --- callbacks ------------------------------------------------------------------------------------------------------
SENT = {
    "one": Callback(form={"MessageStatus": "sent"}, statuses=[0, 204]),
    "two": Callback(form={"MessageStatus": "sent"}, statuses=[503, 204, 204]),
    "never answered": Callback(form={"MessageStatus": "sent"}, statuses=[0]),
    "forged": Callback(form={"MessageStatus": "sent"}, is_forged=True, statuses=[403]),
}
STORED = [
    Stored(id="id-1", name="one", form={"MessageStatus": "sent"}),
    Stored(id="id-2", name="two", form={"MessageStatus": "sent"}),
    Stored(id="id-2", name="two", form={"MessageStatus": "sent"}),
]
CALLED: dict[str, tuple[dict[str, Callback], list[Stored]]] = {
    "lost after a 2xx": (SENT, STORED[1:]),
    "invented": (SENT, [*STORED, replace(STORED[0], id="id-3", name="three")]),
    "forged, but stored": (SENT, [*STORED, replace(STORED[0], id="id-4", name="forged")]),
    "forged, but answered with a 2xx": ({**SENT, "forged": Callback(form={}, is_forged=True, statuses=[204])}, STORED),
    "one callback under two ids": (SENT, [*STORED, replace(STORED[1], id="id-3")]),
    "one id for two callbacks": (SENT, [STORED[0], *(replace(one, id="id-1") for one in STORED[1:])]),
    "stored otherwise than sent": (SENT, [*STORED, replace(STORED[0], form={"MessageStatus": "failed"})]),
}


def test_a_good_run_of_callbacks_breaks_no_promise() -> None:
    account = of_callbacks(SENT, STORED)
    assert _broken(account) == {}
    assert account.promised == CALLED.keys()
    assert account.counts["stored more than once"] == 1


@pytest.mark.parametrize("promise", CALLED)
def test_a_doctored_run_of_callbacks_breaks_the_promise_that_it_was_doctored_against(promise: str) -> None:
    assert _broken(of_callbacks(*CALLED[promise])).keys() == {promise}
