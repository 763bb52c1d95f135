"""Lists: order, filters, keyset paging, and what makes polling hard."""

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.simulator import Simulator
from connector.simulator.collection import Collection
from connector.simulator.rows import Message
from tests.simulator.simulator_world import ask, send, walk

THEIRS = "+15550100002"
DAY = 86_400
NOON = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp())


def flat(pages: list[list[str]]) -> list[str]:
    return [sid for page in pages for sid in page]


@pytest.mark.parametrize("ties", ["newest", "oldest", "sid"])
async def test_a_walk_sees_every_row_once_though_all_share_one_second(simulator: Simulator, ties: str) -> None:
    simulator.configure(ties=ties)
    made = simulator.fill("messages", count=101, first=NOON, step=0)
    pages = await walk(simulator, "Messages.json?PageSize=10")
    assert sorted(flat(pages)) == sorted(made)
    assert [len(page) for page in pages] == [10] * 10 + [1]


async def test_pages_are_newest_first_and_numbered(simulator: Simulator) -> None:
    made = simulator.fill("messages", count=5)
    first = (await ask(simulator, "GET", "Messages.json?PageSize=2")).json
    second = (await ask(simulator, "GET", first["next_page_uri"])).json
    assert [row["sid"] for row in second["messages"]] == made[::-1][2:4]
    assert (second["page"], second["start"], second["end"], second["page_size"]) == (1, 2, 3, 2)
    assert first["next_page_uri"].endswith(f"PageSize=2&Page=1&PageToken=PA{made[-2]}")


async def test_an_empty_list_has_no_next_page(simulator: Simulator) -> None:
    page = (await ask(simulator, "GET", "Messages.json")).json
    assert (page["messages"], page["start"], page["end"], page["next_page_uri"]) == ([], 0, 0, None)


async def test_page_links_carry_all_filters_percent_encoded(simulator: Simulator) -> None:
    simulator.fill("messages", count=3, first=NOON)
    path = f"Messages.json?To=%2B{THEIRS[1:]}&DateSent%3E=2026-11-20T00%3A00%3A00Z&PageSize=2"
    link = (await ask(simulator, "GET", path)).json["next_page_uri"]
    assert f"?To=%2B{THEIRS[1:]}&DateSent%3E=2026-11-20T00%3A00%3A00Z&PageSize=2&Page=1&PageToken=PA" in link


async def test_arrivals_during_a_walk_do_not_shift_later_pages(simulator: Simulator) -> None:
    made = simulator.fill("messages", count=20)
    first = (await ask(simulator, "GET", "Messages.json?PageSize=10")).json
    simulator.fill("messages", count=5)
    assert flat(await walk(simulator, first["next_page_uri"])) == made[::-1][10:]


async def test_rows_deleted_between_pages_leave_no_gap(simulator: Simulator) -> None:
    made = simulator.fill("messages", count=30)
    simulator.fault("delete-while-paging", "ListMessage", rows=3, times=1)
    pages = await walk(simulator, "Messages.json?PageSize=10")
    gone = set(simulator.state.stores[simulator.account_sid].messages.tombstones)
    assert len(gone) == 3
    assert pages[0][-1] in gone
    assert flat(pages) == [sid for sid in made[::-1] if sid not in gone or sid == pages[0][-1]]


async def test_the_token_of_a_deleted_row_can_be_refused(simulator: Simulator) -> None:
    simulator.configure(deleted_token="refuse")
    simulator.fill("messages", count=30)
    simulator.fault("delete-while-paging", times=1)
    first = (await ask(simulator, "GET", "Messages.json?PageSize=10")).json
    refused = await ask(simulator, "GET", first["next_page_uri"])
    assert (refused.status, refused.code) == (400, 21481)


async def test_a_message_moves_up_when_it_is_sent(simulator: Simulator) -> None:
    simulator.configure(auto_advance=False)
    (queued,) = simulator.fill("messages", count=1, first=time.time() - 100, status="queued")
    made = simulator.fill("messages", count=5, first=time.time() - 50)
    assert flat(await walk(simulator, "Messages.json"))[-1] == queued
    simulator.set_status(queued, "sent")
    assert flat(await walk(simulator, "Messages.json")) == [queued, *made[::-1]]


async def test_date_filters_never_match_a_message_that_was_not_sent(simulator: Simulator) -> None:
    simulator.configure(auto_advance=False)
    sid = (await send(simulator)).json["sid"]
    assert flat(await walk(simulator, "Messages.json")) == [sid]
    assert flat(await walk(simulator, "Messages.json?DateSent%3E=2026-01-01")) == []


@pytest.mark.parametrize(
    ("query", "granularity", "expected"),
    [
        ("DateSent%3E=2026-11-20T12%3A00%3A00Z", "second", [NOON, NOON + 1, NOON + DAY]),
        ("DateSent%3E=2026-11-20T12%3A00%3A00Z", "day", [NOON - 1, NOON, NOON + 1, NOON + DAY]),
        ("DateSent%3C=2026-11-20T12%3A00%3A00Z", "second", [NOON - DAY, NOON - 1]),
        ("DateSent%3C=2026-11-20T12%3A00%3A00Z", "day", [NOON - DAY]),
        ("DateSent%3C=2026-11-20", "second", [NOON - DAY]),
        ("DateSent=2026-11-20", "second", [NOON - 1, NOON, NOON + 1]),
        ("DateSent=2026-11-20T18%3A00%3A00Z", "second", [NOON - 1, NOON, NOON + 1]),
        ("DateSent%3E=2026-11-20&DateSent%3C=2026-11-21", "second", [NOON - 1, NOON, NOON + 1]),
        ("DateSent%3E=Fri%2C%2020%20Nov%202026%2012%3A00%3A01%20%2B0000", "second", [NOON + 1, NOON + DAY]),
        ("DateSent%3E=2026-11-20T13%3A00%3A01%2B01%3A00", "second", [NOON + 1, NOON + DAY]),
        ("DateSentAfter=2026-11-21", "second", [NOON - DAY, NOON - 1, NOON, NOON + 1, NOON + DAY]),
    ],
)
async def test_date_filters_follow_the_granularity(
    simulator: Simulator, query: str, granularity: str, expected: list[int]
) -> None:
    simulator.configure(granularity=granularity, retention_days=10_000)
    times = [NOON - DAY, NOON - 1, NOON, NOON + 1, NOON + DAY]
    simulator.fill("messages", rows=[{"created": second} for second in times])
    rows = (await ask(simulator, "GET", f"Messages.json?{query}")).json["messages"]
    assert sorted(int(parsedate_to_datetime(row["date_sent"]).timestamp()) for row in rows) == expected


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("PageSize=1001", 400, 20007),
        ("PageSize=0", 400, 20007),
        ("PageSize=many", 400, 20007),
        ("PageToken=PASM" + "0" * 32, 400, 21481),
        ("PageToken=nonsense", 400, 21481),
        ("DateSent=%3E%3D2026-11-01", 400, 20001),
        ("DateSent%3E=2020-01-01", 400, 20004),
    ],
)
async def test_unusable_queries_are_refused(simulator: Simulator, query: str, status: int, code: int) -> None:
    refused = await ask(simulator, "GET", f"Messages.json?{query}")
    assert (refused.status, refused.code) == (status, code)


async def test_a_late_row_is_fetched_by_sid_before_lists_show_it(simulator: Simulator) -> None:
    simulator.configure(visible_after=3600, auto_advance=False)
    sid = (await send(simulator)).json["sid"]
    assert (await ask(simulator, "GET", f"Messages/{sid}.json")).status == 200
    assert flat(await walk(simulator, "Messages.json")) == []
    simulator.state.stores[simulator.account_sid].messages.rows[sid].visible_at = 0
    assert flat(await walk(simulator, "Messages.json")) == [sid]


async def test_lateness_can_be_a_fault_of_single_creates(simulator: Simulator) -> None:
    simulator.configure(auto_advance=False)
    simulator.fault("late-visibility", "CreateMessage", seconds=3600, times=1)
    hidden, shown = (await send(simulator)).json["sid"], (await send(simulator)).json["sid"]
    assert flat(await walk(simulator, "Messages.json")) == [shown] != [hidden]


async def test_a_short_page_still_has_a_next_link(simulator: Simulator) -> None:
    made = simulator.fill("messages", count=20)
    simulator.fault("short-page", "ListMessage", rows=1, times=1)
    pages = await walk(simulator, "Messages.json?PageSize=10")
    assert [len(page) for page in pages] == [1, 10, 9]
    assert flat(pages) == made[::-1]


async def test_filters_by_number_use_their_index(simulator: Simulator) -> None:
    simulator.fill("messages", count=50, to=[THEIRS, "+15550100003"])
    rows = (await ask(simulator, "GET", "Messages.json?To=%2B15550100003&From=%2B15550100001")).json["messages"]
    assert {row["to"] for row in rows} == {"+15550100003"}
    assert len(rows) == 25


async def test_pages_of_a_hundred_thousand_rows_take_milliseconds(simulator: Simulator) -> None:
    simulator.fill("messages", count=100_000, step=0.05)
    durations = []
    for path in ("Messages.json?PageSize=1000", "Messages.json?To=%2B15559999999", "Messages.json?Page=0&PageSize=50"):
        await ask(simulator, "GET", path)
        durations.append(list(simulator.journal)[-1].duration)
    assert max(durations) < 0.25, durations


async def test_alerts_have_their_own_dialect_and_limits(simulator: Simulator) -> None:
    now = int(time.time())
    simulator.fill("alerts", rows=[{"created": now - 40 * DAY}])
    made = simulator.fill("alerts", count=25, log_level=["error", "warning"])
    simulator.configure(alert_cap=20)
    assert flat(await walk(simulator, "/v1/Alerts?PageSize=8")) == made[::-1][:20]
    assert len(flat(await walk(simulator, "/v1/Alerts?LogLevel=warning"))) == 12
    second = (await ask(simulator, "GET", "/v1/Alerts?PageSize=8")).json
    assert second["meta"]["next_page_url"].startswith(simulator.url + "/v1/Alerts?")
    refused = await ask(simulator, "GET", "/v1/Alerts?StartDate=2020-01-01")
    assert (refused.status, refused.code) == (400, 20001)


async def test_alert_dates_are_inclusive_to_the_second(simulator: Simulator) -> None:
    now = int(time.time()) - 100
    simulator.fill("alerts", rows=[{"created": now + n} for n in range(3)])
    at = datetime.fromtimestamp(now + 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(flat(await walk(simulator, f"/v1/Alerts?StartDate={at}"))) == 2
    assert len(flat(await walk(simulator, f"/v1/Alerts?EndDate={at}"))) == 2


ROWS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 3)), max_size=40)


@given(rows=ROWS, moved=st.lists(st.integers(0, 39)), gone=st.lists(st.integers(0, 39)))
def test_a_collection_keeps_its_indexes_sorted(
    rows: list[tuple[int, str, int]], moved: list[int], gone: list[int]
) -> None:
    collection = Collection(Message)
    made = [message(number, *row) for number, row in enumerate(rows)]
    collection.add_many(made[::2])
    for row in made[1::2]:
        collection.add(row)
    for row in (made[n] for n in moved if n < len(made)):
        row.sent = row.created + 3
        collection.touch(row)
    deleted = {made[n].sid for n in gone if n < len(made)}
    for row in made:
        if row.sid in deleted:
            collection.discard(row)
    expected = sorted((row for row in made if row.sid not in deleted), key=lambda row: (row.second, row.tie, row.sid))
    assert list(collection.newest_first(low=None, high=None, below=None)) == expected[::-1]
    wanted = (("to", "a"),)
    found = collection.newest_first(low=1, high=4, below=None, wanted=wanted)
    assert list(found) == [row for row in expected[::-1] if row.to == "a" and 1 <= row.second < 4]


def message(number: int, second: int, to: str, tie: int) -> Message:
    return Message(
        sid=f"SM{number:032x}",
        account_sid="AC",
        created=second,
        updated=second,
        tie=tie,
        to=to,
        from_=None,
        body="",
        status="queued",
    )
