"""Lists under parents: which parents are read, how far, and how many at a time; and rows that show late."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web

from connector.resources import WATCHES
from connector.resources.rows import ACCOUNT, Bundle, Request, Under, Watch
from connector.simulator import Simulator
from connector.watcher.parents import TOGETHER, ChildSource
from connector.watcher.records import identity
from tests.twilio_servers import connected, serving
from tests.watching import NOW, Kafka, Twilio, running, sid, wait_for, watcher

QUEUES = Watch(resource="queues", noun="queue", path=f"{ACCOUNT}/Queues.json", items="queues", bundle=Bundle)
MEMBERS = Watch(
    resource="members",
    noun="member",
    path=f"{ACCOUNT}/Queues/{{parent}}/Members.json",
    items="queue_members",
    bundle=Bundle,
    under=Under(QUEUES),
)


async def test_lists_under_parents_are_asked_for_some_at_a_time_and_shown_in_the_order_of_their_parents() -> None:
    parents = [sid(number, "QU") for number in range(3 * TOGETHER + 1)]
    together = asyncio.Barrier(TOGETHER)
    asked: Counter[str] = Counter()
    present = most = 0

    async def read_alone() -> None:
        await asyncio.sleep(0.1)
        assert asked.total() == 1

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal present, most
        if request.path.endswith("Queues.json"):
            return web.json_response({"queues": [{"sid": parent} for parent in parents], "next_page_uri": None})
        parent = request.path.split("/")[-2]
        asked[parent] += 1
        present += 1
        most = max(most, present)
        # The first one is read alone, so that its date is the walk's; one after the other, others would wait for ever.
        await (together.wait() if parent != parents[0] else read_alone())
        present -= 1
        return web.json_response({"queue_members": [{"sid": parent}], "next_page_uri": None})

    async with serving(handler) as base, connected(base) as client, asyncio.timeout(60):
        source = ChildSource(client, MEMBERS, Under(QUEUES))
        shown = [row["sid"] async for page in source.pages(Request("GET", MEMBERS.path)) for row in page.rows]
    assert shown == parents
    assert asked == Counter(parents)
    assert most == TOGETHER


async def read(simulator: Simulator, resource: str) -> list[str]:
    """The SIDs that a walk over the last ten minutes of a built-in list shows."""
    row = WATCHES[resource]
    assert row.under is not None
    async with connected(simulator.url) as client:
        source = ChildSource(client, row, row.under)
        source.begin(datetime.now(UTC) - timedelta(minutes=10))
        asked = Request("GET", row.path, query=(("PageSize", "50"),), host=row.host, operation=row.operation)
        shown = [page async for page in source.pages(asked)]
    return [identity(found, row.key).rpartition(":")[2] for page in shown for found in page.rows]


def asked_for(simulator: Simulator, operation: str) -> list[str]:
    return [unquote(entry.target) for entry in simulator.journal.of(operation)]


async def test_message_media_are_read_of_new_messages_with_media_and_of_no_others() -> None:
    async with Simulator(seed=1) as simulator:
        now = int(simulator.state.now())
        simulator.fill("messages", count=2500, first=now - 86_400, num_media=1)
        simulator.fill("messages", count=20, first=now - 100)
        sent, queued = {"created": now - 30, "num_media": 2}, {"created": now, "num_media": 1, "status": "queued"}
        message, waiting = simulator.fill("messages", rows=[sent, queued])
        media = simulator.fill("media", count=2, first=now - 30, parent_sid=message)
        media += simulator.fill("media", count=1, first=now, parent_sid=waiting)
        assert sorted(await read(simulator, "message-media")) == sorted(media)
    assert {target.split("/")[-2] for target in asked_for(simulator, "ListMedia")} == {message, waiting}
    assert len(asked_for(simulator, "ListMessage")) == 1  # of three: its last rows are old


async def test_participants_are_read_of_conferences_that_run_or_have_just_ended() -> None:
    async with Simulator(seed=1) as simulator:
        now = int(simulator.state.now())
        simulator.fill("conferences", count=2500, first=now - 3 * 86_400, status="completed")
        old = {"created": now - 864_000}
        long, just = simulator.fill("conferences", rows=[old, {**old, "status": "completed", "updated": now}])
        calls = [
            sid
            for conference in (long, just)
            for sid in simulator.fill("participants", count=2, first=now, parent=conference)
        ]
        assert sorted(await read(simulator, "participants")) == sorted(calls)
    assert {target.split("/")[-2] for target in asked_for(simulator, "ListParticipant")} == {long, just}
    day = datetime.fromtimestamp(now - 605, UTC).date()
    assert [target.partition("?")[2] for target in asked_for(simulator, "ListConference")] == [
        "Status=init&PageSize=1000",
        "Status=in-progress&PageSize=1000",
        f"Status=completed&DateUpdated>={day}&PageSize=1000",
    ]


async def test_a_long_conversation_is_read_down_to_the_window() -> None:
    async with Simulator(seed=1) as simulator:
        now = int(simulator.state.now())
        (talk,) = simulator.fill("conversations", count=1, first=now - 864_000)
        simulator.fill("conversation_messages", count=500, first=now - 86_400, parent=talk)
        new = simulator.fill("conversation_messages", count=60, first=now - 60, parent=talk)
        shown = await read(simulator, "conversation-messages")
    assert set(new) < set(shown)
    asked = asked_for(simulator, "ListConversationMessage")
    assert len(asked) == 3
    assert all("Order=desc" in target for target in asked)


LATE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"resource": "usage-records-daily"}, {"category": "sms", "start_date": "2026-11-23"}),
    (
        {"resource": "participants", "muted": True},
        {"conference_sid": sid(1, "CF"), "call_sid": sid(1, "CA"), "date_created": "Tue, 24 Nov 2026 02:00:00 +0000"},
    ),
    (
        {"resource": "conversations", "state": "inactive"},
        {"sid": sid(1, "CH"), "state": "inactive", "date_created": "2026-11-24T02:00:00Z"},
    ),
]


@pytest.mark.parametrize(("keys", "row"), LATE, ids=[keys["resource"] for keys, _ in LATE])
async def test_a_row_that_can_only_show_long_after_its_time_is_published(
    keys: dict[str, Any], row: dict[str, Any]
) -> None:
    twilio, kafka = Twilio(now=NOW), Kafka()
    watch = watcher(twilio, kafka, start=NOW - timedelta(hours=40), **keys)
    async with running(watch):
        await wait_for(lambda: watch.cursor is not None and watch.cursor.catch_up is None)
        polls = len(twilio.requests)
        await wait_for(lambda: len(twilio.requests) > polls + 3)
        twilio.rows.append(row)
        await kafka.until(lambda: len(kafka.sids) == 1)


def test_the_longest_category_of_usage_can_be_a_part_of_a_key() -> None:
    category = "voice-insights-sip-interface-insights-on-demand-minute"
    row = {"start_date": "2026-11-24", "category": category}
    assert identity(row, ("start_date", "category")) == f"2026-11-24:{category}"
