"""Watchers that are started again and again, and the lists that they watch: every choice comes from a seed."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import Any

from connector.errors import Unavailable
from connector.events import Record
from connector.resources.rows import Request, Watch
from connector.settings import WatchSettings
from connector.simulator import Simulator
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock
from connector.twilio.paging import Page
from connector.watcher.cursor import Cursor
from connector.watcher.parents import source_of
from connector.watcher.reading import TwilioSource
from connector.watcher.records import Publication
from connector.watcher.watcher import Watcher
from tests.examples import examples
from tests.twilio_servers import connected

ROWS = 10_000
BURSTS = 8
PER_BURST = 50
DAYS = 20
PARENTS = 8
SURE = 3  # the transaction that fails, whatever chance says, where any do
CAP = 600  # alerts that a query shows, instead of 10,000
WITHIN = 60.0
# What a row without a sort time of its own is, and the step that gives it one.
UNSORTED = {"messages": ("queued", "sent", "sent"), "calls": ("queued", "start", "initiated")}


# Lists by configuration, as docs/any-list.md writes them: in both dialects, with and without order and date filters.
LISTS: dict[str, dict[str, Any]] = {
    "queues": {
        "resource": "list",
        "name": "queues",
        "path": "/2010-04-01/Accounts/{AccountSid}/Queues.json",
        "items": "queues",
    },
    "verification_attempts": {
        "resource": "list",
        "name": "attempts",
        "host": "verify",
        "path": "/v2/Attempts",
        "items": "attempts",
        "order": "newest-first",
        "date_filters": {"since": "DateCreatedAfter", "before": "DateCreatedBefore", "granularity": "second"},
    },
    "conversations": {
        "resource": "list",
        "name": "talks",
        "host": "conversations",
        "path": "/v1/Conversations",
        "items": "conversations",
        "page_size": 100,
        "date_filters": {"since": "StartDate", "before": "EndDate", "granularity": "midnight"},
    },
}


BUILT_IN = {
    "conferences": "conferences",
    "messaging_services": "messaging-services",
    "phone_numbers": "phone-numbers",
    "usage_records": "usage-records-daily",
    "participants": "participants",
    "conversation_messages": "conversation-messages",
    "studio_executions": "studio-executions",
    "media": "message-media",
}
"""Lists that are watched by their names, which the standard watches leave out, by what the simulator calls them.

Two more are in LISTS.
"""
STANDARD = ("messages", "calls", "recordings", "alerts")
UNDER = {
    "participants": ("conferences", "parent"),
    "conversation_messages": ("conversations", "parent"),
    "studio_executions": ("studio_flows", "parent"),
    "media": ("messages", "parent_sid"),
}


def watched(resource: str) -> dict[str, Any]:
    """The settings of a watch of what the simulator calls so."""
    return LISTS.get(resource) or {"resource": BUILT_IN.get(resource, resource)}


def rows_of(resource: str) -> int:
    """How many rows its list has: all, or a quarter where this run tries fewer examples."""
    return ROWS if resource in STANDARD else examples(ROWS)


def sid_of(key: str) -> str:
    """What the simulator calls the row of a record's key."""
    return key.rpartition(":")[2]


@dataclass
class Ledger:
    """The transactions of one watch. Some fail, before or after they are written, as Kafka's may."""

    random: Random
    fails: float = 0.0
    sids: list[str] = field(default_factory=list)
    largest: int = 0
    cursor: Cursor | None = None
    restarts: int = 0
    writes: int = 0

    async def commit(self, records: Sequence[Record], cursor: Cursor | None) -> None:
        assert cursor is not None
        self.writes += 1
        fate = 0.75 * self.fails if self.writes == SURE else self.random.random()
        if fate < self.fails / 2:
            raise Unavailable("not written")
        await asyncio.sleep(0)
        assert not [record for record in records if record.topic.endswith("dead-letters")]
        self.sids += [sid_of((record.key or b"").decode()) for record in records]
        self.largest = max(self.largest, len(records))
        self.cursor = Cursor.from_json(cursor.to_json())
        if fate < self.fails:
            raise Unavailable("written all the same")


@dataclass
class Life:
    """A watch that is started again, with the cursor of the last transaction, whenever it ends."""

    settings: WatchSettings
    row: Watch
    client: TwilioClient
    source: TwilioSource
    ledger: Ledger
    rows_per_page: int | None = None

    @property
    def clock(self) -> TwilioClock:
        """Twilio's."""
        return self.client.clock

    def begin(self, since: datetime) -> None:
        """A walk begins."""
        self.source.begin(since)

    def pages(self, request: Request) -> AsyncGenerator[Page, None]:
        size = self.rows_per_page and min(self.rows_per_page, self.row.page_size)
        query = {
            **dict(request.query),
            **({"PageSize": str(size)} if size else {}),
        }
        return self.source.pages(replace(request, query=tuple(query.items())))

    async def fetch(self, request: Request) -> Any:
        return await self.source.fetch(request)

    async def run(self) -> None:
        while True:
            publication = Publication(
                name=self.settings.name,
                watch=self.row,
                account_sid=self.client.account_sid,
                prefix="t",
                changes=self.settings.emit == "changes",
            )
            watcher = Watcher(self.settings, publication, self, self.ledger.commit)
            with contextlib.suppress(Unavailable):
                await watcher.run(self.ledger.cursor, asyncio.Event())
            self.ledger.restarts += 1


@contextlib.asynccontextmanager
async def living(
    simulator: Simulator, ledger: Ledger, *, rows_per_page: int | None = None, cap: int | None = None, **settings: Any
) -> AsyncIterator[None]:
    async with connected(simulator.url) as client:
        chosen = WatchSettings(**{"interval": "20ms", "overlap": "30s", **settings})
        row = chosen.row
        if cap is not None and row.cap is not None:
            row = replace(row, cap=cap)
        life = Life(chosen, row, client, source_of(chosen, client, None), ledger, rows_per_page)
        task = asyncio.create_task(life.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()


# --- histories ------------------------------------------------------------------------------------------------------
@dataclass
class History:
    """The rows of a list. `plain` are those that neither move nor come late: their order is promised."""

    simulator: Simulator
    resource: str
    random: Random
    plain: dict[str, int] = field(default_factory=dict)
    unsorted: list[str] = field(default_factory=list)
    all: list[str] = field(default_factory=list)
    parents: dict[str, int] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    number: int = 0

    def __post_init__(self) -> None:
        collection = self.simulator.state.stores[self.simulator.account_sid].rows_of(self.resource)
        for row in [*collection.rows.values()]:
            collection.discard(row)

    @property
    def count(self) -> int:
        """How many rows there are before the bursts."""
        return rows_of(self.resource) - BURSTS * PER_BURST

    def old(self, now: int) -> None:
        """Rows of the last days, many within the same second; some were sent long after they were made, or not yet."""
        if self.resource in UNDER:
            self._add_parents([now - 600 - self.random.randrange(DAYS * 86_400) for _ in range(PARENTS)])
        seconds = [now - 60 - self.random.randrange(DAYS * 86_400) for _ in range(self.count // 4)]
        rows = [self._row(self.random.choice(seconds), now) for _ in range(self.count)]
        self._fill(rows)

    def _add_parents(self, seconds: Sequence[int]) -> None:
        """Parents that are open; messages with media, in whose minutes the media are."""
        parents, _ = UNDER[self.resource]
        more = {"num_media": 1} if parents == "messages" else {}
        sids = self.simulator.fill(parents, rows=[{"created": second, **more} for second in seconds])
        self.parents |= dict(zip(sids, seconds, strict=True))
        self.made += sids

    def burst(self, now: int) -> None:
        """Rows of now, a third of them visible late; some of those that waited are sent."""
        late = self.random.randrange(PER_BURST // 2)
        if self.resource == "media":
            self.parents = {}
            self._add_parents([now])
        self._fill([self._row(now, now) for _ in range(PER_BURST - late)])
        rows = [self._plain(now) for _ in range(late)]
        self.all += self.simulator.fill(self.resource, rows=rows, visible_after=self.random.random())
        for _ in range(min(10, len(self.unsorted))):
            sid = self.unsorted.pop(self.random.randrange(len(self.unsorted)))
            if sid in self.there:
                self.simulator.set_status(sid, UNSORTED[self.resource][2])

    def _row(self, created: int, now: int) -> dict[str, Any]:
        if self.resource not in UNSORTED or self.random.random() < 0.8:
            return self._plain(created)
        status, name, _ = UNSORTED[self.resource]
        if self.random.random() < 0.3:
            return {"created": created, "status": status, name: None}
        return {"created": created, name: self.random.randint(created, now)}

    def _plain(self, created: int) -> dict[str, Any]:
        """A row that neither moves nor waits; of usage, one whose category is its SID."""
        if self.resource == "usage_records":
            self.number += 1
            name = f"UR{self.number:032x}"
            return {"created": created, "sid": name, "name": name}
        if self.resource not in UNDER:
            return {"created": created}
        parent = self.random.choice([*self.parents])
        if self.resource == "media":
            created = min(self.parents[parent] + self.random.randrange(60), max(created, self.parents[parent]))
        return {"created": created, UNDER[self.resource][1]: parent}

    def _fill(self, rows: Sequence[dict[str, Any]]) -> None:
        sids = self.simulator.fill(self.resource, rows=rows)
        self.all += sids
        for sid, row in zip(sids, rows, strict=True):
            if self.resource not in UNSORTED or set(row) == {"created"}:
                is_day = self.resource == "usage_records"
                self.plain[sid] = row["created"] // 86_400 if is_day else row["created"]
            elif "status" in row:
                self.unsorted.append(sid)

    @property
    def there(self) -> Any:
        """What has not been deleted meanwhile, by SID."""
        return self.simulator.state.stores[self.simulator.account_sid].rows_of(self.resource).rows
