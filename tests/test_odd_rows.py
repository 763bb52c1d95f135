"""One odd row spoils only itself: it is dead-lettered once, and its neighbours are published."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from aiohttp import web

from connector.events import Record
from connector.resources import WATCHES
from connector.resources.rows import Request
from connector.settings import WatchSettings
from connector.twilio.paging import Page
from connector.watcher import catch_up
from connector.watcher.advance import advance
from connector.watcher.cursor import DAY, Cursor, first
from connector.watcher.reading import TwilioSource
from connector.watcher.records import KEPT_BYTES, LARGEST_ROW_BYTES, Publication
from connector.watcher.walk import Present, Sweep
from connector.watcher.watcher import Watcher
from tests.twilio_servers import connected, serving
from tests.watching import ACCOUNT, NOW, QUICK, Kafka, Twilio, message, publication, running, sid, wait_for, watcher

START = NOW - timedelta(minutes=1)
PUBLICATION = Publication(name="inbox", watch=WATCHES["messages"], account_sid=ACCOUNT, prefix="t")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def odd_rows(created: datetime) -> dict[str, Any]:
    """Rows that do not fit, by what is odd about them."""
    row = partial(message, 2, created)
    return {
        "null": None,
        "list": [1, [2]],
        "number": 5,
        "text": "a message",
        "empty object": {},
        "no SID": row() | {"sid": None},
        "a SID that is a number": row(sid=17),
        "a SID that is a path": row(sid="../Calls/CA1"),
        "a SID that is a page": row(sid="S" * 100_000),
        "a SID with a line": row(sid="SM1\r\nx"),
        "a body that is an object": row(body={"a": 1}),
        "a status that is a list": row(status=["sent"]),
        "a status that is an object": row(status={"a": "b"}),
        "a date that is a list": row(date_created=["x"]),
        "a date beyond all dates": row(date_created="Fri, 31 Dec 9999 23:59:59 -0500"),
        "an account that is a list": row(account_sid=[ACCOUNT]),
        "an account that is a page": row(account_sid="A" * 100_000),
        "an account with a line": row(account_sid="AC1\r\nce_id: x"),
        "a count of 5,000 digits": row(num_media="9" * 5_000),
        "a count that is NaN": row(num_media="NaN"),
        "a price that is a list": row(price=[1]),
        "too large": row(body="x" * (LARGEST_ROW_BYTES + 1)),
        "too large as text": "x" * (LARGEST_ROW_BYTES + 1),
        "too deep": row(subresource_uris={"a": nested(300)}),
        "too deep in its version": row(status=nested(300)),
        "only depth": nested(300),
    }


ODD = odd_rows(NOW)


class Odd(Twilio):
    """A list that also shows what is not an object."""

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        async for page in super().pages(request):
            shown: list[Any] = [*page.rows]
            objects = [row for row in shown if isinstance(row, dict)]
            yield Page(objects, page.date, tuple(row for row in shown if not isinstance(row, dict)))


def letters(records: list[Record]) -> list[Record]:
    return [record for record in records if record.topic == "t.dead-letters"]


@pytest.mark.parametrize("emit", ["created", "changes"])
@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_an_odd_row_is_dead_lettered_once_beside_its_neighbours(odd: Any, emit: str) -> None:
    twilio, kafka = Odd(message(3), odd, message(1)), Kafka()
    async with running(watcher(twilio, kafka, start=START, emit=emit)):
        await kafka.until(lambda: {sid(1), sid(3)} <= set(kafka.sids))
        twilio.rows.insert(0, message(4))
        await kafka.until(lambda: sid(4) in kafka.sids)
        polls = len(twilio.requests)
        await wait_for(lambda: len(twilio.requests) > polls + 2)
    assert sorted(Counter(kafka.sids).values()) == [1, 1, 1, 1]
    (letter,) = letters(kafka.records)
    assert len(letter.value or b"") <= LARGEST_ROW_BYTES
    assert len(letter.key or b"") <= 40


@pytest.mark.parametrize("resource", ["messages", "recordings"])
@pytest.mark.parametrize("name", ODD)
async def test_an_odd_row_is_dead_lettered_once_by_a_back_fill(name: str, resource: str) -> None:
    old = NOW - 2 * DAY
    twilio, kafka = Odd(message(3, old), odd_rows(old)[name], message(1, old)), Kafka()
    cursor = catch_up.backfill(WATCHES[resource], since=NOW - 4 * DAY, until=NOW - DAY, now=NOW)
    await watcher(twilio, kafka, resource=resource, limit=1).catch_up(cursor, asyncio.Event())
    assert sorted(Counter(kafka.sids).values()) == [1, 1, 1]
    assert {sid(1), sid(3)} < set(kafka.sids)


def test_a_row_that_is_too_large_is_kept_in_part_with_its_size_and_its_sid() -> None:
    row = message(2, body="x" * LARGEST_ROW_BYTES)
    found = PUBLICATION.found(row, sid(2), NOW, "created")
    (record,), dead_letters = PUBLICATION.records([found])
    told = {name: raw.decode() for name, raw in record.headers}
    assert dead_letters == 1
    assert record.key == sid(2).encode()
    assert record.value == orjson.dumps(row)[:KEPT_BYTES]
    assert told["dlq.errors.message"] == (
        "Twilio's message is larger than a record may be: fetch it by its SID. "
        f"Of its {len(orjson.dumps(row)):,} bytes the first 65,536 are kept."
    )


@pytest.mark.parametrize("odd", [None, message(2, date_created=None), message(2, date_created=None, body=5)])
def test_what_has_no_date_is_remembered_for_as_long_as_it_is_shown(odd: Any) -> None:
    """At the top of the list, whatever else the list shows."""
    row, overlap = WATCHES["messages"], timedelta(minutes=10)
    cursor, published = first(START), []
    for minute in range(0, 120, 7):
        now = NOW + timedelta(minutes=minute)
        sweep = Sweep(Cursor.from_json(cursor.to_json()), PUBLICATION)
        next(sweep.queries())
        neighbours = [message(1)] if minute < 60 else []
        sweep.read([odd, *neighbours] if odd else neighbours, Present(now, now), () if odd else (odd,))
        step = advance(cursor, sweep.gathered(), watch=row, overlap=overlap, limit=10)
        published += [found.sid for found in step.fresh]
        cursor = step.cursor
    assert len(published) == len(set(published)) == 2


async def test_the_first_start_publishes_nothing_that_was_there_whatever_it_looks_like() -> None:
    twilio, kafka = Odd(*ODD.values()), Kafka()
    async with running(watcher(twilio, kafka)):
        await kafka.until(lambda: kafka.cursor is not None)
        twilio.rows.insert(0, message(9))
        await kafka.until(lambda: sid(9) in kafka.sids)
    assert [record.key for record in kafka.records if record.topic == "t.messages"] == [sid(9).encode()]


# --- over HTTP ----------------------------------------------------------------------------------------------------
async def test_text_that_was_cut_anywhere_is_published() -> None:
    rows = [message(number, body=f"row {number}") for number in range(1, 6)]
    page = orjson.dumps({"messages": rows, "next_page_uri": None})
    page = page.replace(b"row 2", rb"cut \ud83d").replace(b"row 3", b"caf\xe9").replace(b"row 4", b"a\nb")

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=page, content_type="application/json")

    kafka, chosen = Kafka(), WatchSettings(resource="messages", name="inbox", interval=QUICK, start=START)
    async with serving(answer) as base, connected(base) as client:
        watch = Watcher(chosen, publication(chosen), TwilioSource(client, WATCHES["messages"]), kafka.commit)
        async with running(watch):
            await kafka.until(lambda: len(kafka.sids) == 5)
    bodies = [orjson.loads(record.value or b"")["body"] for record in kafka.records]
    assert bodies == ["row 1", "cut \ufffd", "caf\ufffd", "a\nb", "row 5"]
