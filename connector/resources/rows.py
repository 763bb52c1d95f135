"""The rows of what is watched and received. A row says what Twilio has; engines know no resource by name. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from connector.resources.fields import parse_time
from connector.resources.hosts import Host
from connector.resources.models import (
    Bundle,
    Pairs,
    Parameters,
    Wire,
    camel,
    snake,
    wire_names,
    wire_pairs,
    wire_value,
)

__all__ = [
    "ACCOUNT",
    "BOOLEANS",
    "SCHEMAS",
    "SINCE",
    "Bundle",
    "Callback",
    "Host",
    "Pairs",
    "Parameters",
    "Request",
    "Under",
    "Watch",
    "Wire",
    "camel",
    "snake",
    "wire_names",
    "wire_pairs",
    "wire_value",
]

ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"
SCHEMAS = "https://twilio-kafka.dev/schemas"
MAX_PAGE_SIZE = 1000  # above it Twilio answers 20007
BOOLEANS = ("true", "false")
"""The choices of a filter that is true or false."""
SINCE = "{since}"
"""In a query for parents: the day in which the window begins."""


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to Twilio. `path` still holds `{AccountSid}`; the connection knows it."""

    method: str
    path: str
    query: Pairs = ()
    form: Pairs | None = None
    body: bytes | None = None
    headers: Pairs = ()
    host: Host = "api"
    operation: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """A list to poll.

    `created` dates a row and never changes; `sorted_by` gives the sort key of the list: the first of these that is set.
    `filters` are the names in the configuration and on the wire, `choices` the values that such a name may have.
    `since` and `before` are the wire names of the date filters on the sort key, which are trusted by day only unless
    `seconds`; with `midnights` a day is written as a date-time. A filter with one of these wire names narrows the
    window. `version` are the fields whose change makes a new version; a row is final when its `status` is in `final`.
    `cap` is how many rows one query yields at most. `moves`: rows may lack a sort time at first and move up when they
    get it.

    `key` are the fields that name a row for good, in `fetch` by their names. `time` reads `created`, and with
    `needs_time` a row without it is no event. Unless the list is `newest_first`, each poll reads all of it, or what
    `since` lets through of it. `check` says what is wrong with a row, None for nothing. A list that is not
    `is_standard` is watched, and has its topic, only where the configuration names it; `is_published`: our schemas
    tell what its events hold. `page_size` is the largest that Twilio allows. `under` names the list whose rows it is
    under. `lateness`: how long after `created` a row may become visible, where that is long. A row may begin to fit a
    filter that is named as `status`, or in `late_filters`, long after its creation.
    """

    resource: str
    noun: str
    path: str
    items: str
    bundle: type[Bundle]
    created: str = "date_created"
    sorted_by: tuple[str, ...] = ("date_created",)
    since: str | None = None
    before: str | None = None
    seconds: bool = False
    filters: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    retention: timedelta | None = None
    version: tuple[str, ...] = ()
    final: frozenset[str] = frozenset()
    status: str = "status"
    fetch: str | None = None
    cap: int | None = None
    host: Host = "api"
    operation: str = ""
    midnights: bool = False
    page_size: int = MAX_PAGE_SIZE
    key: tuple[str, ...] = ("sid",)
    time: Callable[[Any], datetime] = parse_time
    needs_time: bool = False
    newest_first: bool = True
    check: Callable[[Mapping[str, Any]], str | None] | None = None
    is_standard: bool = True
    is_published: bool = True
    under: "Under | None" = None
    lateness: timedelta = timedelta(0)
    late_filters: tuple[str, ...] = ()
    moves: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "moves", self.sorted_by[0] != self.created)

    @property
    def topic(self) -> str:
        """The topic without its prefix."""
        return self.resource

    @property
    def key_text(self) -> str:
        """The key of its records in words: one field, or several with colons between them."""
        return ":".join(self.key)

    @property
    def dataschema(self) -> str | None:
        """The address of the event's schema, None where there is none."""
        return f"{SCHEMAS}/events/{self.topic}.json" if self.is_published else None

    @property
    def event_types(self) -> tuple[str, ...]:
        """The types of the events: created, and updated where a row has versions."""
        created = f"twilio.{self.noun}.created.v1"
        return (created, f"twilio.{self.noun}.updated.v1") if self.version else (created,)

    def sorted_at(self, row: Mapping[str, Any]) -> datetime:
        """The time by which Twilio sorts the row."""
        return next(self.time(row[name]) for name in (*self.sorted_by, self.created) if row.get(name))

    def is_final(self, row: Mapping[str, Any]) -> bool:
        """Whether Twilio will not change the row any more, as far as its status says."""
        status = row.get(self.status)
        return not self.final or (isinstance(status, str) and status in self.final)


@dataclass(frozen=True, slots=True)
class Under:
    """The list whose rows a watch's list is under: `{parent}` in its path stands for the key of each of them.

    `queries` show together, one after the other, every row under which something may be new; `SINCE` in one of them is
    filled in. A row whose `count` is zero has nothing under it. Where what is under a row is created within `reach` of
    the row's sort time and of its end, and `row` is newest first, older ones are not read. `order` makes each list
    under a row newest first, so that it is read down to the window only.
    """

    row: Watch
    queries: tuple[Pairs, ...] = ((),)
    count: str | None = None
    reach: timedelta | None = None
    order: Pairs = ()

    def is_empty(self, row: Mapping[str, Any]) -> bool:
        """Whether the row says that nothing is under it."""
        return self.count is not None and row.get(self.count) in ("0", 0)


@dataclass(frozen=True, slots=True)
class Callback:
    """A route that Twilio calls, and the event that its form becomes.

    `key` is the field that keys the record, `identity` the fields that make a repeat recognisable, `timed_by` what
    dates the fact. `twiml`: Twilio reads the answer. `cloudevents`: the body is CloudEvents already (Event Streams).
    """

    kind: str
    resource: str
    event_type: str
    bundle: type[Bundle]
    key: str
    identity: tuple[str, ...]
    timed_by: str | None = None
    twiml: bool = False
    cloudevents: bool = False
    into: str = ""

    @property
    def topic(self) -> str:
        """The topic without its prefix: the kind unless `into` names another."""
        return self.into or self.kind

    @property
    def dataschema(self) -> str:
        """The address of the event's schema."""
        return f"{SCHEMAS}/events/{self.topic}.json"
