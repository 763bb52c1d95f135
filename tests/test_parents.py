"""Lists under parents: which parents are read, how far, and how many at a time."""

import asyncio
from collections import Counter

from aiohttp import web

from connector.resources.rows import ACCOUNT, Bundle, Request, Under, Watch
from connector.watcher.parents import TOGETHER, ChildSource
from connector.watcher.records import identity
from tests.twilio_servers import connected, serving
from tests.watching import sid

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
    parents = [sid(number, "QU") for number in range(3 * TOGETHER)]
    together = asyncio.Barrier(TOGETHER)
    asked: Counter[str] = Counter()
    present = most = 0

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal present, most
        if request.path.endswith("Queues.json"):
            return web.json_response({"queues": [{"sid": parent} for parent in parents], "next_page_uri": None})
        parent = request.path.split("/")[-2]
        asked[parent] += 1
        present += 1
        most = max(most, present)
        await together.wait()  # one after the other they would wait for ever
        present -= 1
        return web.json_response({"queue_members": [{"sid": parent}], "next_page_uri": None})

    async with serving(handler) as base, connected(base) as client, asyncio.timeout(60):
        source = ChildSource(client, MEMBERS, Under(QUEUES))
        shown = [row["sid"] async for page in source.pages(Request("GET", MEMBERS.path)) for row in page.rows]
    assert shown == parents
    assert asked == Counter(parents)
    assert most == TOGETHER


def test_the_longest_category_of_usage_can_be_a_part_of_a_key() -> None:
    category = "voice-insights-sip-interface-insights-on-demand-minute"
    row = {"start_date": "2026-11-24", "category": category}
    assert identity(row, ("start_date", "category")) == f"2026-11-24:{category}"
