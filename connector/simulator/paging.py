"""Lists: filters, keyset paging with tokens `PA` + SID, and both dialects of page links.

Source: Twilio, usage/twilios-response.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from connector.simulator import filters
from connector.simulator.collection import Collection, R, Rank
from connector.simulator.errors import refusal
from connector.simulator.filters import Range
from connector.simulator.routes import PAGING, Reply, Request
from connector.simulator.times import DAY_SECONDS

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One list: the key of its rows, its filters, and how a row is written."""

    key: str
    filters: tuple[filters.Filter, ...]
    render: Callable[[Any], dict[str, Any]]
    most: int = MAX_PAGE_SIZE  # rows of a page
    retention: bool = False  # refuses dates beyond `retention_days`

    @property
    def known(self) -> frozenset[str]:
        """All parameter names on the wire."""
        return frozenset((*PAGING, *(name for filter_ in self.filters for name in filters.names(filter_) if name)))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of rows with what is needed for its links."""

    rows: list[Any]
    size: int
    number: int
    next_token: str
    previous_token: str


def page_2010(request: Request, listing: Listing, rows: Collection[R], *fixed: tuple[str, object]) -> Reply:
    """Answer a list of the 2010 API; `fixed` are equalities that the path implies."""
    page = _page(request, listing, rows, fixed)
    body: dict[str, Any] = {listing.key: [listing.render(row) for row in page.rows]}
    start = page.number * page.size if page.rows else 0
    body |= {
        "end": start + len(page.rows) - 1 if page.rows else 0,
        "first_page_uri": _link(request, listing, page, 0),
        "next_page_uri": _link(request, listing, page, page.number + 1, page.next_token),
        "page": page.number,
        "page_size": page.size,
        "previous_page_uri": _link(request, listing, page, max(page.number - 1, 0), page.previous_token),
        "start": start,
        "uri": _link(request, listing, page, page.number, request.parameters.get("PageToken"), own=True),
    }
    return Reply(body=body, name="TwilioResponse")


def page_v1(
    request: Request,
    listing: Listing,
    rows: Collection[R],
    *fixed: tuple[str, object],
    cap: int = 0,
    days: int = 0,
) -> Reply:
    """Answer a list of a newer domain: `meta` with absolute URLs; `fixed` are equalities that the path implies.

    `cap` ends it after so many rows, `days` says how far back it reaches.
    """
    page = _page(request, listing, rows, fixed, cap=cap, days=days)

    def url(link: str | None) -> str | None:
        return None if link is None else request.base_url + link

    meta = {
        "first_page_url": url(_link(request, listing, page, 0)),
        "key": listing.key,
        "next_page_url": url(_link(request, listing, page, page.number + 1, page.next_token)),
        "page": page.number,
        "page_size": page.size,
        "previous_page_url": url(_link(request, listing, page, max(page.number - 1, 0), page.previous_token)),
        "url": url(_link(request, listing, page, page.number, request.parameters.get("PageToken"), own=True)),
    }
    return Reply(body={listing.key: [listing.render(row) for row in page.rows], "meta": meta})


def _page(
    request: Request,
    listing: Listing,
    rows: Collection[R],
    fixed: tuple[tuple[str, object], ...],
    *,
    cap: int = 0,
    days: int = 0,
) -> Page:
    form = request.parameters
    size = form.integer("PageSize", default=DEFAULT_PAGE_SIZE, low=1, high=listing.most, code=20007)
    number = form.integer("Page", default=0, low=0, high=10**9)
    token = form.get("PageToken")
    at_cap = bool(cap) and (number + 1) * size >= cap
    if cap:
        size = max(1, min(size, cap - number * size))
    ranges = filters.ranges(request, listing.filters, retention=listing.retention)
    if days:
        ranges += (Range("second", int(request.state.now()) - days * DAY_SECONDS, None, sorts=True),)
    wanted = fixed + filters.equalities(request, listing.filters)
    tests = filters.tests(request, listing.filters)
    now = request.state.now()

    def matches(row: R) -> bool:
        return (
            row.visible_at <= now
            and all(getattr(row, name) == value for name, value in wanted)
            and all(range_.holds(row) for range_ in ranges)
            and all(test(row) for test in tests)
        )

    found = list(islice(filter(matches, _walk(request, rows, ranges, wanted, token)), size + 1))
    more = len(found) > size and not at_cap
    shown = found[:size]
    if token.startswith("PB"):
        shown.reverse()
        more = True
    kept = request.state.faults.short_page(request.operation, len(shown))
    if kept < len(shown):
        shown, more = shown[:kept], True
    last = shown[-1].sid if shown else token[2:]
    _delete_between(request, rows, found[len(shown) - 1 :] if shown and more else [])
    return Page(
        rows=shown,
        size=size,
        number=number,
        next_token=f"PA{last}" if more and last else "",
        previous_token=f"PB{shown[0].sid}" if shown and number > 0 else "",
    )


def _delete_between(request: Request, rows: Collection[R], candidates: list[R]) -> None:
    """Delete, when a fault says so, the row of the next token and rows after it before the next page is asked for."""
    if candidates and (count := request.state.faults.deletions(request.operation)):
        below = candidates[0].rank
        victims = [candidates[0], *islice(rows.newest_first(low=None, high=None, below=below), count - 1)]
        for row in victims:
            rows.discard(row)


def _walk(
    request: Request,
    rows: Collection[R],
    ranges: tuple[Range, ...],
    wanted: tuple[tuple[str, object], ...],
    token: str,
) -> Iterator[R]:
    lows = [r.low for r in ranges if r.sorts and r.low is not None]
    highs = [r.high for r in ranges if r.sorts and r.high is not None]
    low, high = max(lows, default=None), min(highs, default=None)
    indexed = tuple(pair for pair in wanted if pair[0] in rows.indexed)
    if not token:
        return rows.newest_first(low=low, high=high, below=None, wanted=indexed)
    rank = _position(request, rows, token)
    if token.startswith("PB"):
        return rows.oldest_first(low=low, high=high, above=rank, wanted=indexed)
    return rows.newest_first(low=low, high=high, below=rank, wanted=indexed)


def _position(request: Request, rows: Collection[R], token: str) -> Rank:
    """Where a token points; a token of a deleted row goes on or is refused, as the settings say."""
    sid = token[2:]
    gone = sid not in rows.rows and request.state.settings.deleted_token == "refuse"  # noqa: S105 - a choice
    rank = rows.position(sid) if token[:2] in {"PA", "PB"} and not gone else None
    if rank is None:
        raise refusal(21481)
    return rank


def _link(
    request: Request, listing: Listing, page: Page, number: int, token: str | None = None, *, own: bool = False
) -> str | None:
    """Write a relative page link with all filters; None without a token, unless it is the page's own or the first."""
    if token == "" and not own:
        return None
    known = listing.known - set(PAGING)
    pairs = [(name, value) for name, value in request.parameters.pairs if name in known]
    asked = request.parameters.get("PageSize") or str(page.size)
    pairs += [("PageSize", asked), ("Page", str(number)), *([("PageToken", token)] if token else [])]
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return f"{request.path}?{query}"
