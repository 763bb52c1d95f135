"""A watch whose clocks are wrong: Twilio's `Date`, this machine's clock, or both. The earlier one counts."""

from datetime import timedelta

import pytest

from connector.watcher.cursor import first
from tests.watching import NOW, Kafka, Twilio, logged, message, running, sid, wait_for, watcher

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ODD = "odd date in an answer of Twilio's"
TURNED_BACK = "the cursor was ahead of Twilio's clock and of ours: it is turned back"


async def restarted(kafka: Kafka, twilio: Twilio) -> list[bytes | None]:
    """The keys that a successor of the watch publishes once its first row is there."""
    successor, before = Kafka(), kafka.cursor
    async with running(watcher(twilio, successor), before):
        await successor.until(lambda: bool(successor.sids))
    return [record.key for record in successor.records]


@pytest.mark.parametrize("off", [HOUR, -HOUR, timedelta(days=400), timedelta(seconds=90)])
async def test_one_odd_date_and_a_new_row_with_it_skip_nothing_that_comes_later(off: timedelta) -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    with logged() as lines:
        async with running(watcher(twilio, kafka)):
            await kafka.until(lambda: kafka.cursor is not None)
            twilio.date = NOW + off
            twilio.rows.insert(0, message(2))
            await kafka.until(lambda: sid(2) in kafka.sids)
            twilio.date = None
            twilio.rows.insert(0, message(3, NOW + timedelta(seconds=1)))
            await kafka.until(lambda: sid(3) in kafka.sids)
        twilio.now = NOW + MINUTE
        twilio.rows.insert(0, message(4, NOW + MINUTE))
        assert await restarted(kafka, twilio) == [sid(4).encode()]
    assert kafka.sids == [sid(2), sid(3)]
    assert [line["ahead_seconds"] for line in lines if line["event"] == ODD] == [off.total_seconds()]


@pytest.mark.parametrize("off", [HOUR, timedelta(days=400)])
async def test_an_odd_date_in_the_very_first_answer_skips_nothing(off: timedelta) -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    twilio.date = NOW + off
    async with running(watcher(twilio, kafka)):
        await kafka.until(lambda: kafka.cursor is not None)
        twilio.date = None
        twilio.rows.insert(0, message(2, NOW + timedelta(seconds=1)))
        await kafka.until(lambda: bool(kafka.sids))
    assert kafka.sids == [sid(2)]


@pytest.mark.parametrize("off", [HOUR, timedelta(days=400)])
async def test_this_machines_clock_ahead_skips_nothing(off: timedelta) -> None:
    twilio, kafka = Twilio(message(1)), Kafka()
    twilio.own = NOW + off
    async with running(watcher(twilio, kafka)):
        await kafka.until(lambda: kafka.cursor is not None)
        twilio.rows.insert(0, message(2, NOW + timedelta(seconds=1)))
        await kafka.until(lambda: bool(kafka.sids))
    assert kafka.sids == [sid(2)]


@pytest.mark.parametrize("overlap", ["10m", "0s"])
async def test_a_cursor_that_was_written_while_both_clocks_were_ahead_is_turned_back_once(overlap: str) -> None:
    ahead = first(NOW + HOUR)
    twilio, kafka = Twilio(message(1, NOW - HOUR)), Kafka()
    with logged() as lines:
        async with running(watcher(twilio, kafka, overlap=overlap), ahead):
            await wait_for(lambda: any(line["event"] == TURNED_BACK for line in lines))
            twilio.rows.insert(0, message(2, NOW + timedelta(seconds=1)))
            await kafka.until(lambda: bool(kafka.sids))
    assert kafka.sids == [sid(2)]
    assert sum(line["event"] == TURNED_BACK for line in lines) == 1
