"""Twilio's lists, streamed page by page, in both dialects: `next_page_uri` (2010) and `meta.next_page_url` (v1)."""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from connector.errors import Refused, Unreadable
from connector.resources.rows import Request
from connector.twilio.client import PATIENCE_SECONDS, TIMEOUT_SECONDS, TwilioClient
from connector.twilio.wire import Response

INVALID_PAGE_TOKEN = 21481
MOST_PAGES = 10_000
"""Pages of one walk: ten million rows in pages of a thousand."""
MOST_IDLE_PAGES = 100
"""Pages in a row that are empty, or begin and end as the one before."""
LONGEST_LINK = 8 * 1024

Row = dict[str, Any]


class WalkInterrupted(Refused):
    """Twilio does not know the page token any more (21481): walk the list again from its start."""


class Endless(Refused):
    """A list leads in a circle, or did not end within its pages or its time."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as Twilio wrote them, in its order; in `odd` what stood among them and is not an object.

    `date` is Twilio's clock when it answered.
    """

    rows: list[Row]
    date: datetime | None
    odd: tuple[Any, ...] = ()


async def pages(
    client: TwilioClient,
    request: Request,
    *,
    items: str,
    timeout_seconds: float = TIMEOUT_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
    most_pages: int = MOST_PAGES,
    until: float = math.inf,
) -> AsyncGenerator[Page, None]:
    """Each page of the list, fetched when it is asked for; empty pages are followed to the next.

    Raises Endless when there are more than `most_pages`, when too many of them show nothing new, and when a page has
    not come by `until` (loop time); WalkInterrupted; and what `TwilioClient.request` raises.
    """
    walk = _Walk(most_pages, until)
    while True:
        asked = client.request(request, timeout_seconds=timeout_seconds, patience_seconds=patience_seconds)
        page, link = await walk.in_time(_page(asked, items))
        walk.count(page)
        yield page
        del page  # some megabytes, which are not held while the next one is fetched
        if link is None:
            return
        walk.follow(link)
        request = replace(request, path=_target(link, client.bases[request.host]), query=())


class _Walk:
    """How far one walk has come, and how far it may go."""

    def __init__(self, most_pages: int, until: float) -> None:
        self._most_pages = most_pages
        self._until = until
        self._pages = self._rows = self._idle = 0
        self._ends: tuple[object, ...] = ()
        self._followed: set[bytes] = set()

    async def in_time(self, asked: Awaitable[tuple[Page, str | None]]) -> tuple[Page, str | None]:
        """What is awaited. Raises Endless when it does not come in time."""
        if self._until == math.inf:
            return await asked
        try:
            async with asyncio.timeout_at(self._until):
                return await asked
        except TimeoutError as error:
            raise self._endless("in time") from error

    def count(self, page: Page) -> None:
        """Take note of a page, and of whether it shows something new."""
        rows = page.rows
        ends = (len(rows), *(row.get("sid") or row for row in (rows[0], rows[-1]))) if rows else ()
        self._idle = self._idle + 1 if ends in ((), self._ends) else 0
        self._ends = ends
        self._pages += 1
        self._rows += len(rows)

    def follow(self, link: str) -> None:
        """Go on to the next page. Raises Endless when that leads nowhere."""
        if self._pages >= self._most_pages:
            raise self._endless(f"within {self._most_pages} pages")
        if self._idle >= MOST_IDLE_PAGES:
            raise self._endless(f"though its last {self._idle} pages showed nothing new")
        digest = hashlib.blake2s(link.encode(), digest_size=16).digest()
        if digest in self._followed:
            raise Endless("Twilio's list leads in a circle: a next page was seen before.")
        self._followed.add(digest)

    def _endless(self, how: str) -> Endless:
        return Endless(f"Twilio's list did not end {how} (pages read: {self._pages}, rows: {self._rows}).")


async def _page(asked: Awaitable[Response], items: str) -> tuple[Page, str | None]:
    """A page and the link to the next one; the answer that they were read from ends here."""
    try:
        response = await asked
    except Refused as error:
        if error.code != INVALID_PAGE_TOKEN:
            raise
        raise WalkInterrupted(error.message, status=error.status, code=error.code) from error
    document = response.json()
    if not isinstance(document, dict):
        raise _unreadable(response, "something that is not an object")
    rows = _rows(document, items)
    if rows is None:
        lists = [name for name, value in document.items() if isinstance(value, list)]
        known = f" (its lists: {', '.join(lists)[:80]})" if lists else ""
        raise _unreadable(response, f"an object without a list {items!r}{known}")
    link = _next(document)
    if link is not None and (not isinstance(link, str) or len(link) > LONGEST_LINK):
        raise _unreadable(response, "a link to the next page that is not a link")
    objects = [row for row in rows if isinstance(row, dict)]
    odd = tuple(row for row in rows if not isinstance(row, dict)) if len(objects) < len(rows) else ()
    return Page(objects, response.date, odd), link


def _unreadable(response: Response, what: str) -> Unreadable:
    sentence = f"Twilio answered {response.status} to the request for a list with {what}."
    return Unreadable(sentence, status=response.status, request_id=response.request_id)


def _rows(document: Mapping[str, Any], items: str) -> list[Any] | None:
    """The list under the name that `meta.key` gives, or under `items`."""
    meta = document.get("meta")
    key = meta.get("key") if isinstance(meta, dict) else None
    names = (key, items) if isinstance(key, str) else (items,)
    return next((rows for name in names if isinstance(rows := document.get(name), list)), None)


def _next(document: Mapping[str, Any]) -> Any:
    """The next link, None without one: relative in the 2010 API, absolute in newer ones."""
    meta = document.get("meta")
    link = meta.get("next_page_url") if isinstance(meta, dict) else document.get("next_page_uri")
    return None if link == "" else link


def _target(link: str, base: str) -> str:
    """Path and query of a next link, byte for byte. Raises Refused when it points to a host that is not Twilio's.

    The request goes to the connection's own host in any case.
    """
    if link.startswith("/") and not link.startswith("//"):
        return link
    if link.startswith(base + "/"):
        return link.removeprefix(base)
    try:
        parts = urlsplit(link)
    except ValueError as error:
        raise Refused("Twilio's list continues at an address that cannot be read: not followed.") from error
    if parts.scheme != "https" or not (parts.hostname or "").endswith(".twilio.com"):
        raise Refused(f"Twilio's list continues at another host ({(parts.hostname or '')[:80]}): not followed.")
    return link[len(f"https://{parts.netloc}") :] or "/"
