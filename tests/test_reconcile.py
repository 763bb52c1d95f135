"""In doubt: what may have been executed is looked up, adopted once, and otherwise said to be unknown."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.executor import doubt
from connector.kafka import topics
from connector.kafka.topics import Topic
from connector.resources import COMMANDS
from connector.resources.commands import parse
from tests.executing import SEND, Executing, executing, message
from tests.running import until
from tests.twilio_servers import connected, odd_twilio

rows = st.lists(
    st.builds(
        lambda second, sid: {"sid": f"SM{sid}", "date_created": f"Tue, 24 Nov 2026 12:00:{second:02} +0000"},
        st.integers(0, 59),
        st.integers(0, 10**6),
    ),
    max_size=12,
    unique_by=lambda row: row["sid"],
)


@given(rows, st.data())
def test_no_two_commands_choose_the_same(found: list[dict[str, str]], data: st.DataObject) -> None:
    claimed = set(data.draw(st.lists(st.sampled_from([row["sid"] for row in found]), unique=True))) if found else set()
    doubts = data.draw(st.integers(0, 12))
    chosen = [doubt.choose(found, claimed=claimed, rank=rank) for rank in range(doubts)]
    sids = [row["sid"] for row in chosen if row is not None]
    assert len(sids) == len(set(sids)) == min(doubts, len(found) - len(claimed))
    assert not claimed & set(sids)
    times = [moment for row in chosen if row is not None and (moment := doubt.created(row))]
    assert times == sorted(times)


def test_creates_look_alike_when_twilio_s_list_cannot_tell_them_apart() -> None:
    def alike(value: str) -> str:
        operation, parameters = parse(COMMANDS[SEND], value.encode())
        return operation.fingerprint(parameters)

    base = '{"to": "+15557654321", "from": "+15551234567", "body": "a"%s}'
    assert alike(base % "") == alike(base % ', "max_price": 1')
    assert alike(base % "") != alike((base % "").replace('"a"', '"b"'))
    assert alike(base % "") != alike((base % "").replace("4321", "4322"))


# --- with Kafka and the simulator -------------------------------------------------------------------------------------
LOST = ("lose-answer", "cut-answer", "error-after")


@pytest.mark.parametrize("fault", LOST)
async def test_what_was_executed_without_an_answer_is_found_and_adopted(kafka: str, prefix: str, fault: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault(fault, "CreateMessage", times=1)
        await running.send(message("lost"))
        await running.send(message("next"))
        first, second = await running.results(2)
    assert (first["outcome"], first["reconciled"], first["attempts"]) == ("succeeded", True, 1)
    assert first["bundles"][0]["body"] == "lost"
    assert (second["outcome"], second["reconciled"]) == ("succeeded", False)
    assert running.created() == ["lost", "next"]


async def test_calls_and_numbers_are_looked_up_too(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["buy-phone-number", "place-call"]) as running:
        running.simulator.fault("lose-answer", "Create*", times=2)
        call = {"to": "+15550001111", "from": "+15551234567", "url": "https://example.com/"}
        await running.send(call, command="place-call")
        await running.send({"phone_number": "+15550009999"}, command="buy-phone-number")
        (placed,) = await running.results(1, command="place-call")
        (bought,) = await running.results(1, command="buy-phone-number")
    for result in (placed, bought):
        assert (result["outcome"], result["reconciled"]) == ("succeeded", True)


async def test_what_shows_up_late_is_waited_for(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, settle_time=timedelta(seconds=3)) as running:
        running.simulator.fault("late-visibility", "CreateMessage", seconds=1.5)
        running.simulator.fault("lose-answer", "CreateMessage")
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == ("succeeded", True)


async def test_what_is_not_found_is_unknown_and_not_sent_again(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("error", "CreateMessage", status=503, times=1)
        await running.send(message("doubt"))
        await running.send(message("next"))
        first, second = await running.results(2)
    assert (first["outcome"], first["error"]["kind"], first["bundles"]) == ("unknown", "in-doubt", [])
    assert second["outcome"] == "succeeded"
    assert running.created() == ["next"]


async def test_what_is_not_found_is_sent_again_where_that_is_the_policy(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, resend=True) as running:
        running.simulator.fault("error", "CreateMessage", status=503, times=1)
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["attempts"]) == ("succeeded", 2)
    assert running.created() == ["Hello"]


async def test_what_is_found_is_not_sent_again_whatever_the_policy(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, resend=True) as running:
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == ("succeeded", True)
    assert running.created() == ["Hello"]


async def test_what_no_list_shows_is_unknown_at_once(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, also=["call-api"]) as running:
        running.simulator.fault("lose-answer", "CreateMessage")
        sid = running.simulator.account_sid
        body = {"To": "+15557654321", "From": "+15551234567", "Body": "raw"}
        url = f"/2010-04-01/Accounts/{sid}/Messages.json"
        await running.send({"url": url, "method": "POST", "body": body}, command="call-api")
        (result,) = await running.results(1, command="call-api")
    assert result["outcome"] == "unknown"
    assert running.created() == ["raw"]


async def test_twilio_s_list_may_be_away_for_a_while(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        running.simulator.fault("error", "ListMessage", status=503, times=2)
        await running.send(message())
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == ("succeeded", True)


async def test_a_list_that_is_refused_for_good_ends_the_search(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        running.simulator.fault("error", "ListMessage", status=403, code=20008)
        await running.send(message())
        (result,) = await running.results(1)
    assert result["outcome"] == "unknown"


@pytest.mark.parametrize("executed", [0, 2, 4])
async def test_of_many_that_look_alike_each_adopts_another_one(kafka: str, prefix: str, executed: int) -> None:
    """Four commands in two partitions are in doubt; so many of them were executed."""
    async with executing(kafka, prefix, partitions=2) as running:
        running.simulator.fault("error", "CreateMessage", status=503, times=4 - executed)
        running.simulator.fault("lose-answer", "CreateMessage")
        for number in range(4):
            await running.send(message("the same"), key=f"key-{number}")
        results = await running.results(4)
    adopted = [one["bundles"][0]["sid"] for one in results if one["outcome"] == "succeeded"]
    assert len(adopted) == len(set(adopted)) == executed == len(running.created())
    assert sum(one["outcome"] == "unknown" for one in results) == 4 - executed


async def test_an_answer_that_is_still_coming_is_not_taken_by_one_that_looks_alike(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix, settle_time=timedelta(seconds=0.5)) as running:
        running.simulator.fault("error", "CreateMessage", status=503, times=1)
        running.simulator.fault("slow-answer", "CreateMessage", seconds=1.5)
        await running.send(message("the same"), key="in-doubt", id="in-doubt")
        await until(lambda: bool(running.simulator.journal.of("CreateMessage")))
        await running.send(message("the same"), key="slow", id="slow")
        outcomes = {one["command"]["id"]: one["outcome"] for one in await running.results(2)}
    assert outcomes == {"in-doubt": "unknown", "slow": "succeeded"}


ODD_ROWS: tuple[Any, ...] = (
    None,
    [],
    "SM",
    {},
    {"sid": None, "date_created": "Tue, 24 Nov 2026 12:00:00 +0000"},
    {"sid": "SMnull", "date_created": None},
    {"sid": "SMnumber", "date_created": 1764000000},
    {"sid": "SMword", "date_created": "yesterday"},
    {"sid": "SMyear", "date_created": "0001-01-01T00:00:00+14:00"},
    {"sid": 7, "date_created": "Tue, 24 Nov 2026 12:00:00 +0000"},
)


@pytest.mark.parametrize("row", ODD_ROWS, ids=lambda row: str(row)[:40])
def test_a_row_that_does_not_say_when_it_was_created_is_passed_over(row: Any) -> None:
    since = datetime(1, 1, 2, tzinfo=UTC)
    assert not doubt.is_candidate(row, since=since, until=datetime(9999, 1, 1, tzinfo=UTC))


async def test_odd_rows_of_a_list_do_not_hide_the_one_that_is_looked_for(kafka: str, prefix: str) -> None:
    async with (
        executing(kafka, prefix) as running,
        odd_twilio(running.simulator, ODD_ROWS) as base,
        connected(base) as client,
    ):
        running.clients["default"] = client
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        await running.send(message("lost"))
        await running.send(message("next"))
        first, second = await running.results(2)
    assert (first["outcome"], first["reconciled"]) == ("succeeded", True)
    assert second["outcome"] == "succeeded"
    assert running.created() == ["lost", "next"]


async def test_a_create_that_is_refused_when_it_is_sent_again_is_not_said_to_have_failed(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix, resend=True) as running:
        running.simulator.fault("late-visibility", "CreateMessage", seconds=60)
        running.simulator.fault("lose-answer", "CreateMessage", times=1)
        running.simulator.fault("error", "CreateMessage", status=400, code=21610, skip=1)
        await running.send(message("executed"))
        (result,) = await running.results(1)
    assert (result["outcome"], running.created()) == ("unknown", ["executed"])


# --- crashes ----------------------------------------------------------------------------------------------------------
async def _crash_during(running: Executing, body: str = "crash", **headers: Any) -> None:
    """End the owner while Twilio executes the command, or has executed it."""
    struck = running.simulator.fault("slow-answer", "CreateMessage", seconds=1.5, times=1)
    await running.send(message(body), id=body, **headers)
    await until(lambda: struck.hit > 0)
    await running.break_off()


async def test_after_a_crash_a_successor_finds_what_was_executed(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await _crash_during(running)
        await running.send(message("next"))
        await running.start()
        first, second = await running.results(2)
    assert (first["outcome"], first["reconciled"], first["attempts"]) == ("succeeded", True, 0)
    assert second["outcome"] == "succeeded"
    assert running.created() == ["crash", "next"]


async def test_a_repeat_of_what_is_in_doubt_waits_for_it(kafka: str, prefix: str) -> None:
    """Whoever sends the same id again, under another key, must not overtake the one whose answer nobody knows."""
    async with executing(kafka, prefix) as running:
        await _crash_during(running)
        await running.send(message("crash"), id="crash", key="another")
        await running.start()
        results = await running.results(2)
    assert sorted(one["outcome"] for one in results) == ["duplicate", "succeeded"]
    assert running.created() == ["crash"]


async def test_after_crash_upon_crash_it_is_still_executed_once(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        await _crash_during(running)
        for _ in range(3):
            await running.start()
            await asyncio.sleep(0.7)
            await running.break_off()
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == ("succeeded", True)
    assert running.created() == ["crash"]


async def test_an_expired_command_in_doubt_is_resolved_first(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        struck = running.simulator.fault("slow-answer", "CreateMessage", seconds=1.5, times=1)
        await running.serving()
        await running.send(message(), expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
        await until(lambda: struck.hit > 0)
        await running.break_off()
        await asyncio.sleep(1)
        await running.start()
        (result,) = await running.results(1)
    assert (result["outcome"], result["reconciled"]) == ("succeeded", True)


async def test_what_may_have_been_sent_is_not_rejected_because_the_configuration_has_changed(
    kafka: str, prefix: str
) -> None:
    async with executing(kafka, prefix, reply_topics=("*-replies",)) as running:
        reply_to = f"{prefix}-replies"
        await topics.apply(running.kafka, [Topic(reply_to, 1, 1)])
        await _crash_during(running, reply_to=reply_to)
        running.options = {"reply_topics": ()}
        await running.send(message("crash"), id="crash")
        await running.start()
        first, repeat = await running.results(2)
    assert (first["outcome"], first["reconciled"], repeat["outcome"]) == ("succeeded", True, "duplicate")
    assert running.created() == ["crash"]


async def test_what_may_have_been_sent_by_a_connection_that_is_gone_is_unknown(kafka: str, prefix: str) -> None:
    async with executing(kafka, prefix) as running:
        running.clients["former"] = running.clients["default"]
        await running.stop()
        await running.start()
        await _crash_during(running, connection="former")
        del running.clients["former"]
        await running.send(message("crash"), id="crash")
        await running.start()
        first, repeat = await running.results(2)
    assert (first["outcome"], repeat["outcome"]) == ("unknown", "duplicate")
    assert running.created() == ["crash"]
