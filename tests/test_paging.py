"""Both paging dialects against the simulator, and lists that misbehave."""

import asyncio
import datetime as dt
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from connector.errors import NotExecuted, Refused, Unreadable
from connector.resources.rows import ACCOUNT, Request
from connector.simulator import Simulator
from connector.twilio.client import TwilioClient
from connector.twilio.paging import MOST_IDLE_PAGES, Endless, Page, WalkInterrupted, pages
from tests.twilio_servers import connected, serving

pytestmark = pytest.mark.simulated(auto_advance=False)

MESSAGES = Request("GET", f"{ACCOUNT}/Messages.json", query=(("PageSize", "10"),), operation="ListMessage")
ALERTS = Request("GET", "/v1/Alerts", query=(("PageSize", "10"),), host="monitor", operation="ListAlert")


async def walk(client: TwilioClient, request: Request, items: str = "messages", **bounds: Any) -> list[Page]:
    return [page async for page in pages(client, request, items=items, patience_seconds=0, **bounds)]


async def test_the_2010_dialect_is_walked_to_its_end(simulator: Simulator, client: TwilioClient) -> None:
    sids = simulator.fill("messages", count=25)
    found = await walk(client, MESSAGES)
    assert [len(page.rows) for page in found] == [10, 10, 5]
    assert sorted(row["sid"] for page in found for row in page.rows) == sorted(sids)
    assert all(page.date and abs((page.date - dt.datetime.now(dt.UTC)).total_seconds()) < 60 for page in found)


async def test_the_v1_dialect_is_walked_to_its_end(simulator: Simulator, client: TwilioClient) -> None:
    sids = simulator.fill("alerts", count=25)
    found = await walk(client, ALERTS, items="alerts")
    assert sorted(row["sid"] for page in found for row in page.rows) == sorted(sids)
    assert len(found) == 3


async def test_an_empty_list_is_one_empty_page(client: TwilioClient) -> None:
    assert [page.rows for page in await walk(client, MESSAGES)] == [[]]


async def test_pages_are_fetched_when_they_are_asked_for(simulator: Simulator, client: TwilioClient) -> None:
    simulator.fill("messages", count=25)
    async for _page in pages(client, MESSAGES, items="messages"):
        break
    assert simulator.journal.total == 1


async def test_short_pages_are_followed(simulator: Simulator, client: TwilioClient) -> None:
    sids = simulator.fill("messages", count=25)
    simulator.fault("short-page", "ListMessage", rows=1, times=5)
    found = await walk(client, MESSAGES)
    assert sorted(row["sid"] for page in found for row in page.rows) == sorted(sids)


async def test_an_unknown_page_token_says_that_the_walk_starts_again(
    simulator: Simulator, client: TwilioClient
) -> None:
    simulator.fill("messages", count=25)
    simulator.fault("bad-token", "ListMessage", skip=1)
    walked = pages(client, MESSAGES, items="messages")
    assert len((await anext(walked)).rows) == 10
    with pytest.raises(WalkInterrupted) as caught:
        await anext(walked)
    assert caught.value.code == 21481


async def test_a_page_that_fails_for_a_moment_is_asked_for_again(simulator: Simulator, client: TwilioClient) -> None:
    simulator.fill("messages", count=25)
    simulator.fault("error", "ListMessage", status=503, skip=1, times=1)
    assert len([page async for page in pages(client, MESSAGES, items="messages")]) == 3


async def test_other_refusals_and_throttling_pass_through(simulator: Simulator, client: TwilioClient) -> None:
    with pytest.raises(Refused) as caught:
        await walk(client, Request("GET", MESSAGES.path, query=(("PageSize", "1001"),)))
    assert not isinstance(caught.value, WalkInterrupted)
    simulator.fault("throttle", "ListMessage")
    with pytest.raises(NotExecuted):
        await walk(client, MESSAGES)


async def listed(*documents: Any) -> list[Page]:
    """Walk documents that a server gives one after the other."""
    pending = list(documents)

    async def answer(request: web.BaseRequest) -> web.Response:
        targets.append(request.raw_path)
        return web.json_response(pending.pop(0))

    targets: list[str] = []
    async with serving(answer) as base, connected(base) as client:
        found = await walk(client, Request("GET", "/list.json"), items="rows")
    assert targets[1:] == [document["next_page_uri"] for document in documents[: len(targets) - 1]]
    return found


async def test_next_links_are_sent_back_byte_for_byte() -> None:
    link = "/2010-04-01/x.json?To=%2B1555&When%3E=2026-01-02T03%3A04%3a05Z&a=%7e/%2f&PageToken=PASM1"
    found = await listed({"rows": [], "next_page_uri": link}, {"rows": [{"sid": "1"}], "next_page_uri": None})
    assert [page.rows for page in found] == [[], [{"sid": "1"}]]


async def test_a_page_is_not_held_while_the_next_one_is_fetched() -> None:
    holding: list[bool] = []

    async def answer(_request: web.BaseRequest) -> web.Response:
        holding.append(is_held("SM-first-page"))
        return web.Response(body=documents.pop(0), content_type="application/json")

    documents = [b'{"rows": [{"sid": "SM-first-page"}], "next_page_uri": "/next"}', b'{"rows": []}']
    async with serving(answer) as base, connected(base) as client:
        walked = pages(client, Request("GET", "/list.json"), items="rows")
        page = await anext(walked)
        assert is_held("SM-first-page")
        del page
        await anext(walked)
    assert holding == [False, False]


def is_held(sid: str) -> bool:
    """Whether anybody holds a list that begins with this row."""
    lists = (found for found in gc.get_objects() if isinstance(found, list) and found)
    return any(isinstance(found[0], dict) and found[0].get("sid") == sid for found in lists)


async def test_a_list_in_a_circle_is_left() -> None:
    with pytest.raises(Endless, match="circle"):
        await listed(*[{"rows": [], "next_page_uri": "/a"}, {"rows": [], "next_page_uri": "/b"}] * 2)


@pytest.mark.parametrize(
    "link",
    [
        "http://elsewhere.example/v1/x",
        "https://elsewhere.example/v1/x",
        "https://twilio.com.elsewhere.example/v1",
        "https://faketwilio.com/v1",
        "http://monitor.twilio.com/v1",
        "//elsewhere.example/v1",
        "elsewhere",
    ],
)
async def test_a_next_link_to_another_host_is_not_followed(link: str) -> None:
    with pytest.raises(Refused, match="another host"):
        await listed({"rows": [], "next_page_uri": link})


@pytest.mark.parametrize(
    "prefix", ["{base}", "https://monitor.twilio.com", "https://monitor.dublin.ie1.twilio.com:443"]
)
async def test_absolute_links_to_twilio_are_asked_of_the_connections_own_host(prefix: str) -> None:
    targets: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        targets.append(request.raw_path)
        link = prefix.format(base=base) + "/v1/Alerts?PageToken=P%2f1"
        meta = {"key": "alerts", "next_page_url": link if len(targets) == 1 else None}
        return web.json_response({"meta": meta, "alerts": [{"sid": str(len(targets))}]})

    async with serving(answer) as base, connected(base) as client:
        found = await walk(client, ALERTS, items="other")
    assert targets == ["/v1/Alerts?PageSize=10", "/v1/Alerts?PageToken=P%2f1"]
    assert [page.rows[0]["sid"] for page in found] == ["1", "2"]


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (["no object"], "not an object"),
        (None, "not an object"),
        ("text", "not an object"),
        ({"other": []}, "without a list 'rows'"),
        ({"rows": {}}, "without a list 'rows'"),
        ({"rows": None, "next_page_uri": None}, "without a list 'rows'"),
        ({"meta": {"key": "other"}, "other": None}, "without a list 'rows'"),
        ({"rows": [], "next_page_uri": 5}, "not a link"),
        ({"rows": [], "next_page_uri": {}}, "not a link"),
        ({"rows": [], "next_page_uri": "/x?" + "y" * 9000}, "not a link"),
    ],
)
async def test_an_answer_that_is_no_list_cannot_be_read(document: Any, what: str) -> None:
    with pytest.raises(Unreadable, match=f"^Twilio answered 200 to the request for a list with .*{what}"):
        await listed(document)


@pytest.mark.parametrize("meta", [None, [], {"key": None}, {"key": 5}, {"key": "other"}])
async def test_rows_are_found_under_their_usual_name_whatever_meta_says(meta: Any) -> None:
    (page,) = await listed({"meta": meta, "rows": [{"sid": "1"}], "next_page_uri": ""})
    assert page.rows == [{"sid": "1"}]


async def test_what_is_not_an_object_is_told_apart_from_the_rows() -> None:
    (page,) = await listed({"rows": [None, {"sid": "1"}, [], 5, "text", {"sid": "2"}, True], "next_page_uri": None})
    assert page.rows == [{"sid": "1"}, {"sid": "2"}]
    assert page.odd == (None, [], 5, "text", True)


# --- lists that do not end ---
Endlessly = Callable[[int], dict[str, Any]]


@asynccontextmanager
async def endless(page: Endlessly) -> AsyncIterator[tuple[TwilioClient, list[str]]]:
    """A list whose pages always name a next one, and what was asked for."""
    targets: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        targets.append(request.raw_path)
        return web.json_response({"next_page_uri": f"/list.json?Page={len(targets)}", **page(len(targets))})

    async with serving(answer) as base, connected(base) as client:
        yield client, targets


def nothing(_number: int) -> dict[str, Any]:
    return {"rows": []}


def the_same(_number: int) -> dict[str, Any]:
    return {"rows": [{"sid": "1"}, {"sid": "2"}]}


def odd(_number: int) -> dict[str, Any]:
    return {"rows": [None, 5]}


def something_new(number: int) -> dict[str, Any]:
    return {"rows": [{"sid": str(number)}]}


@pytest.mark.parametrize("page", [nothing, the_same, odd])
async def test_a_list_that_goes_on_without_anything_new_is_left(page: Endlessly) -> None:
    async with endless(page) as (client, targets):
        with pytest.raises(Endless, match=r"did not end though its last 10. pages showed nothing new .pages read: 10."):
            await walk(client, Request("GET", "/list.json"), items="rows")
    assert MOST_IDLE_PAGES <= len(targets) <= MOST_IDLE_PAGES + 1


async def test_empty_pages_between_others_do_not_add_up() -> None:
    async with endless(lambda number: something_new(number) if number % 50 == 0 else nothing(number)) as (client, _):
        with pytest.raises(Endless, match=r"within 400 pages .pages read: 400, rows: 8"):
            await walk(client, Request("GET", "/list.json"), items="rows", most_pages=400)


async def test_a_list_that_never_ends_is_left_after_its_budget() -> None:
    async with endless(something_new) as (client, targets):
        with pytest.raises(Endless, match=r"within 30 pages .pages read: 30, rows: 30"):
            await walk(client, Request("GET", "/list.json"), items="rows", most_pages=30)
    assert len(targets) == 30


async def test_a_list_is_left_at_its_deadline() -> None:
    hanging = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.Response:
        if "Page" in request.query:
            await hanging.wait()
        return web.json_response({"rows": [{"sid": "1"}], "next_page_uri": "/list.json?Page=1"})

    async with serving(answer) as base, connected(base) as client:
        with pytest.raises(Endless, match=r"in time .pages read: 1, rows: 1"):
            await walk(client, Request("GET", "/list.json"), items="rows", until=asyncio.get_running_loop().time() + 1)
        hanging.set()
