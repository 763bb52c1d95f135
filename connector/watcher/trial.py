"""One poll of a watch that publishes nothing: what it understood, where its cursor would stand, what stays assumed."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from connector.events import BEGINNING, timestamp
from connector.resources.rows import Request, Watch
from connector.settings import Connection, WatchSettings
from connector.twilio.clock import TwilioClock
from connector.twilio.connecting import client_of, open_session
from connector.twilio.paging import Page
from connector.watcher import cursor as cursors
from connector.watcher.parents import source_of
from connector.watcher.reading import LARGEST_PAGE, Reader, TwilioSource
from connector.watcher.records import Publication, created_times, identity

MOST_TOLD = 3
SHOWN_KEYS = 3


@dataclass(slots=True)
class Trial:
    """What one poll has shown. `contradicted` are settings that the rows disprove, `unchecked` those that stay open."""

    name: str
    topic: str
    asked: list[str] = field(default_factory=list)
    rows: int = 0
    has_more: bool = False
    keys: list[str] = field(default_factory=list)
    oldest: str | None = None
    newest: str | None = None
    dead_letters: dict[str, int] = field(default_factory=dict)
    cursor: dict[str, Any] = field(default_factory=dict)
    contradicted: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)


class _Noted:
    """A source that notes what is asked of it; of the pages of a list it gives the first."""

    def __init__(self, source: TwilioSource, trial: Trial) -> None:
        self._source = source
        self._trial = trial

    def begin(self, since: datetime) -> None:
        """A walk begins."""
        self._source.begin(since)

    @property
    def clock(self) -> TwilioClock:
        """Twilio's."""
        return self._source.clock

    async def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        """The first page."""
        self._note(request)
        async with aclosing(self._source.pages(request)) as pages:
            async for page in pages:
                yield page
                return

    async def fetch(self, request: Request) -> Any:
        """One row as JSON."""
        self._note(request)
        return await self._source.fetch(request)

    def _note(self, request: Request) -> None:
        names = "&".join(name for name, _ in request.query)
        self._trial.asked.append(f"GET {request.host}: {request.path}{'?' if names else ''}{names}")


async def try_watch(watch: WatchSettings, connection: Connection, *, parent: WatchSettings | None = None) -> Trial:
    """Read the first page as a poll would. Raises TwilioError, and InvalidRecord when no row can be named or dated."""
    row = watch.row
    trial = Trial(watch.name, row.topic)
    async with open_session() as session:
        client = client_of(watch.connection, connection, session)
        source = _Noted(source_of(watch, client, parent), trial)
        publication = Publication(
            name=watch.name,
            watch=row,
            account_sid=connection.account_sid,
            prefix="",
            changes=watch.emit == "changes",
        )
        reader = Reader(watch, publication, source)
        page = await reader.top(LARGEST_PAGE, since=cursors.BEGINNING)
        rows = page.rows
        trial.rows, trial.has_more = len(rows), len(rows) >= row.page_size
        publication.check_first(rows)
        trial.keys = [identity(item, row.key) for item in rows[:SHOWN_KEYS]]
        times = [moment for _, moment in created_times(rows, row)]
        if times:
            trial.oldest, trial.newest = timestamp(min(times)), timestamp(max(times))
        _note_problems(trial, publication, rows)
        _note_cursor(trial, watch, reader.now, rows)
        trial.contradicted = list(_contradicted(row, rows, times))
        if row.fetch is not None and rows:
            answers = await reader.fetch([identity(rows[0], row.key)], name="try-fetch")
            if not any(answers.values()):
                trial.contradicted.append(
                    "fetch: the first row could not be read again by its key: correct fetch or key"
                )
        trial.unchecked = list(_unchecked(row, times))
    return trial


def _note_problems(trial: Trial, publication: Publication, rows: Sequence[Any]) -> None:
    """Which rows would become dead letters, by reason."""
    written = (publication.found(row, identity(row, publication.watch.key), BEGINNING, "created").row for row in rows)
    reasons = Counter(str(row.problem) for row in written if row.problem is not None)
    trial.dead_letters = dict(reasons.most_common(MOST_TOLD))


def _note_cursor(trial: Trial, watch: WatchSettings, now: datetime, rows: Sequence[Any]) -> None:
    since = watch.start.replace(microsecond=0) if isinstance(watch.start, datetime) else None
    first = cursors.first(now, since=since, present=() if since else created_times(rows, watch.row))
    new = sum(created >= first.since for _, created in created_times(rows, watch.row))
    trial.cursor = {
        "since": timestamp(first.since),
        "remembered": len(first.seen),
        "published at once": new if since else 0,
    }


def _contradicted(row: Watch, rows: Sequence[Any], times: Sequence[datetime]) -> Iterator[str]:
    if row.newest_first and any(above < below for above, below in pairwise(times)):
        yield "order: newest-first is wrong: a row on this page is newer than one above it; write order: any"
    names = [identity(item, row.key) for item in rows]
    if len(set(names)) < len(names):
        yield f"key: {len(names) - len(set(names))} of {len(names)} rows share a key: add a field to key"
    for name in dict.fromkeys((*row.version, *((row.status,) if row.final else ()))):
        if rows and not any(name in item for item in rows):
            yield f"version, final: no row has the field {name}"


def _unchecked(row: Watch, times: Sequence[datetime]) -> Iterator[str]:
    if row.newest_first:
        yield "order: that later pages go on downwards"
    else:
        yield "order: nothing is assumed, so every poll reads all pages" + (
            " since its date filter" if row.since else ""
        )
    if row.since is not None:
        yield f"date filters: that {row.since} filters by {row.created}, and how exactly"
    ties = max(Counter(times).values(), default=0)
    yield f"ties: up to {ties} rows of this page share a second; they are told apart by their key"
    yield "late rows: that none becomes visible later than `overlap` after its creation"
    if row.version and not row.final:
        yield "final: nothing says when a row changes no more, so changes show within `overlap` only"


def told(trial: Trial) -> Iterator[str]:
    """The lines that tell it."""
    yield f"{trial.name} -> topic {trial.topic}"
    yield from (f"asked      {line}" for line in trial.asked)
    more = ", and more pages follow" if trial.has_more else ""
    yield f"rows       {trial.rows} on the first page{more}"
    if trial.keys:
        yield f"keys       {', '.join(trial.keys)}{' …' if trial.rows > len(trial.keys) else ''}"
    if trial.oldest:
        yield f"created    {trial.oldest} to {trial.newest}"
    yield f"cursor     {', '.join(f'{name} {value}' for name, value in trial.cursor.items())}"
    for reason, count in trial.dead_letters.items():
        yield f"dead       {count} rows: {reason}"
    yield from (f"wrong      {line}" for line in trial.contradicted)
    yield from (f"unchecked  {line}" for line in trial.unchecked)
    yield "Nothing was published." + (" Correct what is wrong first." if trial.contradicted else "")
