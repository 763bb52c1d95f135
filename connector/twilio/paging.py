"""Twilio's lists, streamed page by page, in both dialects: `next_page_uri` (2010) and `meta.next_page_url` (v1)."""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from connector.errors import PerhapsExecuted, Refused
from connector.resources.rows import Request
from connector.twilio.answers import Response
from connector.twilio.client import PATIENCE_SECONDS, TIMEOUT_SECONDS, TwilioClient

INVALID_PAGE_TOKEN = 21481

Row = dict[str, Any]


class WalkInterrupted(Refused):
    """Twilio does not know the page token any more (21481): walk the list again from its start."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as Twilio wrote them, in its order, and Twilio's clock when it answered."""

    rows: list[Row]
    date: datetime | None


async def pages(
    client: TwilioClient,
    request: Request,
    *,
    items: str,
    timeout_seconds: float = TIMEOUT_SECONDS,
    patience_seconds: float = PATIENCE_SECONDS,
) -> AsyncGenerator[Page, None]:
    """Each page of the list, fetched when it is asked for; empty pages are followed to the next.

    Raises WalkInterrupted, and what `TwilioClient.request` raises.
    """
    followed: set[str] = set()
    while True:
        asked = client.request(request, timeout_seconds=timeout_seconds, patience_seconds=patience_seconds)
        page, link = await _page(asked, items)
        yield page
        del page  # some megabytes, which are not held while the next one is fetched
        if link is None:
            return
        if link in followed:
            raise Refused("Twilio's list leads in a circle: a next page was seen before.")
        followed.add(link)
        request = replace(request, path=_target(link, client.bases[request.host]), query=())


async def _page(asked: Awaitable[Response], items: str) -> tuple[Page, str | None]:
    """A page and the link to the next one; the answer that they were read from ends here."""
    try:
        response = await asked
    except Refused as error:
        if error.code != INVALID_PAGE_TOKEN:
            raise
        raise WalkInterrupted(error.message, status=error.status, code=error.code) from error
    document = _object(response.json())
    return Page(_rows(document, items), response.date), _next(document)


def _object(document: Any) -> Mapping[str, Any]:
    if not isinstance(document, dict):
        raise PerhapsExecuted("Twilio answered a list request with something else than an object.")
    return document


def _rows(document: Mapping[str, Any], items: str) -> list[Row]:
    meta = document.get("meta")
    key = meta.get("key") if isinstance(meta, dict) else None
    name = key if isinstance(key, str) and key else items
    rows = document.get(name)
    if not isinstance(rows, list):
        raise PerhapsExecuted(f"Twilio answered a list request without {name[:60]!r}.")
    return rows


def _next(document: Mapping[str, Any]) -> str | None:
    """The next link: relative in the 2010 API, absolute in newer ones."""
    meta = document.get("meta")
    link = meta.get("next_page_url") if isinstance(meta, dict) else document.get("next_page_uri")
    return str(link) if link else None


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
        raise Refused(f"Twilio's list continues at another host ({parts.hostname}): not followed.")
    return link[len(f"https://{parts.netloc}") :] or "/"
