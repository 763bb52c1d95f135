"""Lists under parents, such as the members of queues: one list, made of those of all that may still have news."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from connector.errors import Refused
from connector.resources.fields import parse_time
from connector.resources.rows import SINCE, Pairs, Request, Under, Watch, wire_value
from connector.settings import WatchSettings
from connector.twilio.client import TwilioClient
from connector.twilio.paging import Page, pages
from connector.watcher.cursor import BEGINNING
from connector.watcher.reading import NOT_FOUND, TwilioSource, next_page
from connector.watcher.records import dated, identity
from connector.watcher.walk import BELOW_FLOOR, SLACK

PLACE = "{parent}"
AFTER_THE_END = timedelta(seconds=5)
"""What is under a parent may be dated a little later than its end."""
TOGETHER = 4
"""Lists whose first pages are asked for at the same time."""

_Pages = AsyncGenerator[Page, None]


class ChildSource(TwilioSource):
    """The lists under the rows that `under` names.

    Each walk reads the lists under those rows that are not final, or became final since the window began by their
    `date_updated`: nothing of the others is wanted.
    """

    def __init__(self, client: TwilioClient, watch: Watch, under: Under) -> None:
        super().__init__(client, watch)
        self._watch = watch
        self._under = under
        self._since = BEGINNING

    def begin(self, since: datetime) -> None:
        """A walk begins, for rows created since then."""
        self._since = since

    def pages(self, request: Request) -> _Pages:
        """Walk the lists of all parents, one after the other."""
        return self._pages(request)

    async def _pages(self, request: Request) -> _Pages:
        begun: deque[tuple[asyncio.Task[Page | None], _Pages]] = deque()
        # The first page tells when the walk began: no other list may have been read before it.
        together = 1
        try:
            async with aclosing(self._parents()) as parents:
                async for name in parents:
                    walk = self._below(name, request)
                    begun.append((asyncio.create_task(next_page(walk), name="list-under-parent"), walk))
                    if len(begun) >= together:
                        async for page in _all_of(*begun[0]):
                            together = TOGETHER
                            yield page
                        begun.popleft()
            while begun:
                async for page in _all_of(*begun[0]):
                    yield page
                begun.popleft()
        finally:
            for task, _ in begun:
                task.cancel()
            await asyncio.gather(*(task for task, _ in begun), return_exceptions=True)
            for _, walk in begun:
                await walk.aclose()

    async def _below(self, name: str, request: Request) -> _Pages:
        """The pages of one parent's list."""
        query, path = (*request.query, *self._under.order), request.path.replace(PLACE, name)
        try:
            async with aclosing(
                pages(self._client, replace(request, path=path, query=query), items=self._items)
            ) as found:
                async for page in found:
                    yield page
                    if self._under.order and self._is_below(page.rows, self._watch, self._since - SLACK):
                        return
        except Refused as error:
            # It was deleted after its own list was read.
            if error.status != NOT_FOUND:
                raise

    async def _parents(self) -> AsyncGenerator[str, None]:
        for query in self._under.queries:
            async with aclosing(self._found(query)) as found:
                async for name in found:
                    yield name

    async def _found(self, query: Pairs) -> AsyncGenerator[str, None]:
        """The parents that a query shows."""
        under, parent = self._under, self._under.row
        day = (self._since - AFTER_THE_END).date().isoformat()
        filters = tuple((name, day if value == SINCE else value) for name, value in query)
        asked = Request(
            "GET",
            parent.path,
            query=(*filters, ("PageSize", str(parent.page_size))),
            host=parent.host,
            operation=parent.operation,
        )
        async with aclosing(pages(self._client, asked, items=parent.items)) as found:
            async for page in found:
                for row in page.rows:
                    name = identity(row, parent.key)
                    if not name.startswith("?") and not under.is_empty(row) and self._may_have_news(row):
                        yield name
                if under.reach is not None and self._is_below(page.rows, parent, self._since - under.reach):
                    return

    @staticmethod
    def _is_below(rows: list[dict[str, Any]], watch: Watch, floor: datetime) -> bool:
        """Whether a page ends with rows that are older than that, so that those after it are as well."""
        try:
            return bool(rows) and all([watch.sorted_at(row) < floor for row in rows[-BELOW_FLOOR:]])  # noqa: C419 - it may raise StopIteration
        except (LookupError, TypeError, ValueError, AttributeError, StopIteration):
            return False

    def _may_have_news(self, row: Mapping[str, Any]) -> bool:
        parent = self._under.row
        is_open = not parent.final or not parent.is_final(row)
        return is_open or self._ended(row) >= self._since - (self._under.reach or AFTER_THE_END)

    def _ended(self, row: Mapping[str, Any]) -> datetime:
        """When the row became final at the latest; where it does not say, it may be now."""
        try:
            return max(parse_time(row["date_updated"]), dated(row, self._under.row) or self._since)
        except (LookupError, TypeError, ValueError, AttributeError):
            return self._since


async def _all_of(first: asyncio.Task[Page | None], walk: _Pages) -> _Pages:
    """The pages of a walk whose first one is asked for already."""
    async with aclosing(walk):
        page = await first
        while page is not None:
            yield page
            page = await next_page(walk)


def source_of(watch: WatchSettings, client: TwilioClient, parent: WatchSettings | None) -> TwilioSource:
    """Where the rows of a watch come from."""
    row, under = watch.row, watch.row.under
    if parent is not None:
        narrowed = tuple((parent.row.filters[name], wire_value(value)) for name, value in parent.filters.items())
        under = Under(parent.row, queries=(narrowed,))
    return TwilioSource(client, row) if under is None else ChildSource(client, row, under)
