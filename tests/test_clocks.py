"""Clocks that are apart: ours and Twilio's, and those of two processes."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.events import Position, Record, boot_seconds, now
from connector.executor import doubt
from connector.executor.command import Command, attempting, command_of, done
from connector.executor.doubt import ERROR_SECONDS
from connector.executor.outcome import Outcome
from connector.kafka import reading
from connector.kafka.transactions import Transactions
from connector.state import journal
from connector.state.claims import Seen, View
from connector.state.journal import Entry
from connector.twilio.clock import TwilioClock
from tests.brokers import QuickBroker
from tests.executing import SEND, Executing, executing, message
from tests.guarantees.without import taken_away
from tests.running import until

TRUE = datetime(2026, 11, 24, 12, tzinfo=UTC)
WHOLE = timedelta(seconds=42)
HOURS = st.floats(-10_000, 10_000)


def _clock(*, wrong: float, is_known: bool) -> TwilioClock:
    """A clock that is so many seconds wrong, and has learnt Twilio's, or not."""
    passed, start = 0.0, boot_seconds()
    clock = TwilioClock("default", own=lambda: TRUE.timestamp() + wrong + passed, boot=lambda: start + passed)
    for passed in (-6.0, -3.0, 0.0) if is_known else ():
        clock.note((TRUE + timedelta(seconds=passed)).replace(microsecond=0), sent=start + passed)
    return clock


def _attempt(*, age: float, wrong: float, is_known: bool) -> Entry:
    """As a predecessor has written it, so many seconds ago."""
    ahead = _clock(wrong=wrong, is_known=is_known).ahead
    at = TRUE + timedelta(seconds=wrong - age)
    return Entry(state="attempting", topic="t", offset=0, id="x", at=at, ahead=ahead)


@given(st.floats(0, 10_000), HOURS, HOURS, st.data())
def test_a_predecessors_attempt_is_never_thought_over_too_early_whatever_the_clocks_say(
    age: float, theirs: float, ours: float, data: st.DataObject
) -> None:
    """And not long after it is, where both processes know Twilio's time."""
    they_know, we_know = data.draw(st.booleans()), data.draw(st.booleans())
    found = doubt.of_predecessor(
        _attempt(age=age, wrong=theirs, is_known=they_know), fenced=boot_seconds(), whole=WHOLE
    )
    left = found.seconds_left(_clock(wrong=ours, is_known=we_know))
    true = WHOLE.total_seconds() - age
    assert max(0.0, true) - 0.1 <= left <= WHOLE.total_seconds()
    if they_know and we_know:
        assert left <= max(0.0, true + 2 * ERROR_SECONDS)


@given(HOURS)
def test_when_a_predecessor_did_not_know_twilios_time_its_successor_does(wrong: float) -> None:
    """Both on machines whose clocks are wrong alike: it was killed in the first seconds of its life."""
    found = doubt.of_predecessor(_attempt(age=20, wrong=wrong, is_known=False), fenced=boot_seconds(), whole=WHOLE)
    made = TRUE - timedelta(seconds=20)
    assert abs(found.moment(_clock(wrong=wrong, is_known=True)) - made) <= doubt.SKEW
    assert found.moment(_clock(wrong=wrong, is_known=False)) == made + timedelta(seconds=wrong)


async def _at_once(view: View) -> View:
    return view


@pytest.mark.parametrize("they_knew", [True, False])
async def test_two_alike_attempts_in_doubt_adopt_a_message_each_whatever_their_predecessor_knew(
    monkeypatch: pytest.MonkeyPatch, *, they_knew: bool
) -> None:
    """On machines an hour ahead; each owner sees the other's attempt as a later one, or as alike."""
    made = TRUE - timedelta(seconds=20)
    rows = [
        {"sid": f"SM{number}", "date_created": (made + timedelta(seconds=number)).strftime("%a, %d %b %Y %H:%M:%S %z")}
        for number in range(2)
    ]

    async def candidates(*_args: object, since: datetime, until: datetime) -> list[dict[str, str]]:
        return [row for row in rows if doubt.is_candidate(row, since=since.replace(microsecond=0), until=until)]

    monkeypatch.setattr(doubt, "candidates", candidates)
    places = [Position("t", 0, number) for number in range(2)]
    entries = [_attempt(age=20 - number, wrong=3600.0, is_known=they_knew) for number in range(2)]
    view = View(
        attempts={
            place: Seen(replace(entry, offset=place.offset, alike="alike"), boot_seconds() - 100)
            for place, entry in zip(places, entries, strict=True)
        }
    )
    claims = SimpleNamespace(view=lambda _since: _at_once(view))
    context: Any = SimpleNamespace(request_timeout=WHOLE / 6, settle_time=WHOLE / 6, claims=claims)
    clock, adopted = _clock(wrong=3600.0, is_known=True), []
    for place, entry in zip(places, entries, strict=True):
        job: Any = SimpleNamespace(
            client=SimpleNamespace(clock=clock),
            operation=None,
            parameters=None,
            alike="alike",
            command=SimpleNamespace(position=place),
        )
        found = doubt.of_predecessor(entry, fenced=boot_seconds() - 100, whole=WHOLE)
        look = await doubt.look(context, job, found.moment(clock), final=True)
        adopted.append(look.row and look.row["sid"])
    assert adopted == ["SM0", "SM1"]


# --- with Kafka and the simulator -------------------------------------------------------------------------------------
async def test_without_twilios_clock_what_was_executed_is_not_found(kafka: str, prefix: str) -> None:
    """What the next test shows to be found."""
    with taken_away("Twilio's clock"):
        async with executing(kafka, prefix, simulated={"clock_ahead": 7200.0}) as running:
            await running.serving()
            running.simulator.fault("lose-answer", "CreateMessage", times=1)
            await running.send(message("lost"), id="lost")
            (first,) = await running.results(1)
    assert (first["outcome"], running.created()) == ("unknown", ["lost"])


@pytest.mark.parametrize("ahead", [-7200.0, -90.0, 90.0, 7200.0])
async def test_what_was_executed_is_found_though_twilios_clock_is_another(
    kafka: str, prefix: str, ahead: float
) -> None:
    async with executing(kafka, prefix, simulated={"clock_ahead": ahead}) as running:
        running.simulator.fault("wrong-date", "*", seconds=50_000, times=1)
        await running.serving()
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        await running.send(message("lost"), id="lost")
        (first,) = await running.results(1)
        struck = running.simulator.fault("slow-answer", "CreateMessage", seconds=1.5, times=1)
        await running.send(message("crash"), id="crash")
        await until(lambda: struck.hit > 0)
        await running.break_off()
        await running.start()
        second = (await running.results(2))[1]
    assert (first["outcome"], first["reconciled"]) == ("succeeded", True)
    assert (second["outcome"], second["reconciled"]) == ("succeeded", True)
    assert running.created() == ["lost", "crash"]


def _command(running: Executing, command_id: str, *, offset: int) -> Command:
    """One as it would be read from its topic."""
    return command_of(
        topic=running.topic(f"commands.{SEND}"),
        partition=0,
        offset=offset,
        key=b"key",
        value=b"",
        headers=[("id", command_id.encode())],
        milliseconds=0,
        command=SEND,
    )


def _entry_of(running: Executing, entry: Entry, *, at: datetime, ahead: float | None) -> Record:
    moved = Entry(**{name: getattr(entry, name) for name in Entry.__slots__} | {"at": at, "ahead": ahead})
    return journal.encode(running.prefix, moved, partition=0)


@pytest.mark.parametrize("is_learnt", [True, False])
async def test_what_was_executed_before_anybody_knew_twilios_time_is_found(
    kafka: str, prefix: str, monkeypatch: pytest.MonkeyPatch, *, is_learnt: bool
) -> None:
    """The owner died in the first second of its life; its successor learns that time while it looks."""
    if not is_learnt:
        monkeypatch.setattr(doubt, "LEARN_SECONDS", 0.0)
    brief = timedelta(seconds=0.1)
    async with executing(kafka, prefix, simulated={"clock_ahead": 90.0}, settle_time=brief) as running:
        await running.stop()
        await running.send(message("executed"), id="open")
        running.simulator.fill("messages", count=1, **message("executed"))
        attempt = attempting(_command(running, "open", offset=0), alike="")
        await running.write(_entry_of(running, attempt, at=now(), ahead=None))
        running.clients["default"].clock = TwilioClock("default")
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == (("succeeded", True) if is_learnt else ("unknown", False))


@pytest.mark.parametrize("hours", [-3, 3])
async def test_a_predecessor_whose_clock_was_wrong_by_hours_is_waited_for_seconds(
    kafka: str, prefix: str, hours: int
) -> None:
    async with executing(kafka, prefix) as running:
        await running.stop()
        await running.send(message("never sent"), id="open")
        command = _command(running, "open", offset=0)
        attempt = attempting(command, alike="")
        await running.write(_entry_of(running, attempt, at=now() + timedelta(hours=hours), ahead=None))
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], running.created()) == ("unknown", [])


@pytest.mark.parametrize(
    ("wrong", "knew", "ahead"),
    [
        pytest.param(-7200, True, 0.0, id="the writer was two hours behind and knew it"),
        pytest.param(0, False, -7200.0, id="we are two hours ahead"),
        pytest.param(0, True, 7200.0, id="we are two hours behind"),
    ],
)
async def test_an_id_of_a_minute_ago_is_known_whichever_clock_is_wrong(
    kafka: str, prefix: str, *, wrong: float, knew: bool, ahead: float
) -> None:
    """`ahead` is Twilio's clock against ours; the writer of the journal was `wrong` against Twilio's."""
    async with executing(kafka, prefix, simulated={"clock_ahead": ahead}) as running:
        await running.stop()
        command = _command(running, "seen", offset=99)
        at = now() + timedelta(seconds=ahead + wrong - 60)
        entry = done(command, Outcome("succeeded"))
        await running.write(_entry_of(running, entry, at=at, ahead=-wrong if knew else None))
        await running.send(message("again"), id="seen")
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], running.created()) == ("duplicate", [])


@pytest.mark.parametrize("without", ["", "later of both clocks"])
async def test_dates_that_were_wrong_make_no_id_look_old(kafka: str, prefix: str, without: str) -> None:
    """Its writer believed that Twilio's clock was 30 days behind."""
    with taken_away(without):
        async with executing(kafka, prefix) as running:
            await running.stop()
            command = _command(running, "seen", offset=99)
            at, ahead = now() - timedelta(seconds=60), -timedelta(days=30).total_seconds()
            await running.write(_entry_of(running, done(command, Outcome("succeeded")), at=at, ahead=ahead))
            await running.send(message("again"), id="seen")
            await running.start()
            (result,) = await running.results(1)
    assert result["outcome"] == ("succeeded" if without else "duplicate")


async def test_a_command_expires_by_twilios_clock_when_ours_is_wrong(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, simulated={"clock_ahead": 7200.0}) as running:
        await running.send(message("first"), id="first")
        await running.results(1)
        late = (now() + timedelta(hours=1)).isoformat()
        early = (now() + timedelta(hours=3)).isoformat()
        await running.send(message("late"), id="late", expires_at=late)
        await running.send(message("in time"), id="in time", expires_at=early)
        outcomes = {one["command"]["id"]: one["outcome"] for one in await running.results(3)}
    assert outcomes == {"first": "succeeded", "late": "expired", "in time": "succeeded"}


EXPIRING = {
    "transactional.id.expiration.ms": "1000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
    "producer.id.expiration.ms": "1000",
    "producer.id.expiration.check.interval.ms": "200",
}


async def test_an_owner_that_rests_until_kafka_has_forgotten_its_producer_goes_on() -> None:
    """As after a week without a command (transactional.id.expiration.ms), or a day (producer.id.expiration.ms)."""
    broker = await QuickBroker(properties=EXPIRING).start()
    try:
        async with executing(broker.bootstrap_servers, "forgotten") as running:
            await running.send(message("before"), id="before")
            await running.results(1)
            await asyncio.sleep(3)
            await running.send(message("after"), id="after")
            await running.results(2)
            await running.break_off()
            await asyncio.sleep(3)
            await running.start()
            await running.send(message("after"), id="after")
            await running.send(message("last"), id="last")
            outcomes = [one["outcome"] for one in await running.results(4)]
    finally:
        await broker.stop(gracefully=False)
    assert outcomes == ["succeeded", "succeeded", "duplicate", "succeeded"]
    assert running.created() == ["before", "after", "last"]


async def test_a_transaction_of_media_that_was_broken_off_is_ended_by_the_next_owner(kafka: str, prefix: str) -> None:
    """Readers of all recordings would wait for it, until the broker's own timeout of two minutes is over."""
    async with executing(kafka, prefix) as running:
        await running.stop()
        left = Transactions(running.kafka, f"{prefix}-command-0-media", transaction_timeout_ms=120_000)
        await left.open()
        assert left._sender is not None
        await left._sender.write([Record(running.topic("recording-media"), None, b"half a recording", partition=0)])
        assert await reading.holds_back(running.kafka, running.topic("recording-media"))
        await running.start()
        async with asyncio.timeout(30):
            while await reading.holds_back(running.kafka, running.topic("recording-media")):
                pass
        await left.close()
