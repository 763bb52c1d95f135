"""Lists under parents, such as the members of queues: one list, made of those of all that may still have news."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from connector.errors import Refused
from connector.resources.fields import parse_time
from connector.resources.rows import Pairs, Request, Watch
from connector.twilio.client import TwilioClient
from connector.twilio.paging import Page, pages
from connector.watcher.cursor import BEGINNING
from connector.watcher.reading import NOT_FOUND, TwilioSource
from connector.watcher.records import identity

PLACE = "{parent}"
AFTER_THE_END = timedelta(seconds=5)
"""What is under a parent may be dated a little later than its end."""


class ChildSource(TwilioSource):
    """The lists under the rows of `parent`, whose list is narrowed by `filters`.

    Each walk reads the parents' list as a whole, and the lists under those that are not final, or became final since
    the window began by their `date_updated`: no row of the others is wanted.
    """

    def __init__(self, client: TwilioClient, watch: Watch, parent: Watch, filters: Pairs = ()) -> None:
        super().__init__(client, watch)
        self._parent = parent
        self._filters = filters
        self._since = BEGINNING

    def begin(self, since: datetime) -> None:
        """A walk begins, for rows created since then."""
        self._since = since

    def pages(self, request: Request) -> AsyncIterator[Page]:
        """Walk the lists of all parents, one after the other."""
        return self._pages(request)

    async def _pages(self, request: Request) -> AsyncGenerator[Page, None]:
        async with aclosing(self._parents()) as parents:
            async for name in parents:
                own = replace(request, path=request.path.replace(PLACE, name))
                try:
                    async with aclosing(pages(self._client, own, items=self._items)) as children:
                        async for page in children:
                            yield page
                except Refused as error:
                    # It was deleted after its own list was read.
                    if error.status != NOT_FOUND:
                        raise

    async def _parents(self) -> AsyncGenerator[str, None]:
        parent = self._parent
        query = (*self._filters, ("PageSize", str(parent.page_size)))
        asked = Request("GET", parent.path, query=query, host=parent.host, operation=parent.operation)
        async with aclosing(pages(self._client, asked, items=parent.items)) as found:
            async for page in found:
                for row in page.rows:
                    name = identity(row, parent.key)
                    if not name.startswith("?") and self._may_have_news(row):
                        yield name

    def _may_have_news(self, row: Mapping[str, Any]) -> bool:
        is_open = not self._parent.final or not self._parent.is_final(row)
        return is_open or self._ended(row) >= self._since - AFTER_THE_END

    def _ended(self, row: Mapping[str, Any]) -> datetime:
        """When the row became final at the latest; where it does not say, it may be now."""
        try:
            return max(parse_time(row["date_updated"]), self._parent.dated(row) or self._since)
        except (LookupError, TypeError, ValueError, AttributeError):
            return self._since
