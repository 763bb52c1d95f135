"""The row types of the catalog. A row says what Twilio has; engines read rows and know no resource by name. Pure."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import orjson

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
    "Answer",
    "Bundle",
    "Callback",
    "Command",
    "Host",
    "Operation",
    "Pairs",
    "Parameters",
    "Ready",
    "Reconciliation",
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

Answer = Literal["one", "many", "none", "binary", "raw"]

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


@dataclass(frozen=True, slots=True)
class Ready:
    """What must be so before the operation makes sense: the resource at `path` leaves these states."""

    path: str
    pending: frozenset[str]
    status: str = "status"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How to find out whether an ambiguous create was executed (facts, section 8).

    `path` and `items` name the list, `filters` the parameters to ask it by (parameter -> wire name; unset ones are left
    out), `compared` the parameters that must equal a field of the row (parameter -> field), `fixed` what else a
    row of ours shows. `unfiltered`: a parameter is no filter when the other is set (parameter -> other). `masks` writes
    a filter's value (parameter -> format). `blurred`: a parameter is not compared when another has this value, since
    Twilio then stores something else (parameter -> {other: value}). `order` are further parameters of the list that
    bring the newest rows first; `page_size` is the largest that it allows, up to 200.
    """

    path: str
    items: str
    filters: Mapping[str, str]
    compared: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)
    unfiltered: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, str] = field(default_factory=dict)
    blurred: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    order: Pairs = ()
    page_size: int = 200

    def list_path(self, parameters: Parameters) -> str:
        """The list's path, with the parameters that name its parents."""
        return re.sub(r"{([a-z_]+)}", lambda name: str(getattr(parameters, name[1])), self.path)

    def asked(self, parameters: Parameters) -> Pairs:
        """The whole query of a page."""
        return (*self.query(parameters), *self.order, ("PageSize", str(self.page_size)))

    def query(self, parameters: Parameters) -> Pairs:
        """The filters of the list that would show what these parameters created."""
        pairs: list[tuple[str, str]] = []
        for name, asked in self.filters.items():
            value = getattr(parameters, name)
            if value is None or self._is_unfiltered(name, parameters):
                continue
            text = value if isinstance(value, str) else wire_value(value)
            pairs.append((asked, self.masks.get(name, "{}").format(text)))
        return tuple(pairs)

    def matches(self, parameters: Parameters, row: Mapping[str, Any]) -> bool:
        """Whether the row may be what these parameters created; its age and other claims are the caller's to judge."""
        if any(row.get(name) != value for name, value in self.fixed.items()):
            return False
        compared = {name: shown for name, shown in self.compared.items() if not self._is_blurred(name, parameters)}
        values = {name: getattr(parameters, name) for name in compared}
        return all(row.get(compared[name]) == wire_value(value) for name, value in values.items() if value is not None)

    def _is_unfiltered(self, name: str, parameters: Parameters) -> bool:
        return name in self.unfiltered and getattr(parameters, self.unfiltered[name]) is not None

    def _is_blurred(self, name: str, parameters: Parameters) -> bool:
        return any(getattr(parameters, other) == value for other, value in self.blurred.get(name, {}).items())


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of Twilio's API as a command makes it. `name` is Twilio's operationId.

    `repeatable`: sending it again does no harm; `repeats` decides it by the parameters. `nested` gives another path
    when a parent is given (parameter -> path). `callbacks` names the parameters that get our callback URL unless given
    (parameter -> kind); where `callback_needs` names another parameter, only if that is set; with `callback_defaults`
    (parameter -> further parameters and values). `unless` switches it off when one of these is set.
    `delay_codes` are refusals that pass with time, `done_codes` refusals that mean "was already so",
    `repeat_done_codes` those that mean it only after an earlier try that may have been executed.
    """

    name: str
    parameters: type[Parameters]
    method: str
    path: str
    answer: Answer = "one"
    bundle: type[Bundle] | None = None
    items: str = ""
    repeatable: bool = False
    host: Host = "api"
    callbacks: Mapping[str, str] = field(default_factory=dict)
    unless: frozenset[str] = frozenset()
    reconciliation: Reconciliation | None = None
    delay_codes: frozenset[int] = frozenset()
    done_codes: frozenset[int] = frozenset()
    build: "Callable[[Operation, Parameters], Request] | None" = None
    nested: Mapping[str, str] = field(default_factory=dict)
    callback_needs: Mapping[str, str] = field(default_factory=dict)
    callback_defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    repeats: Callable[[Parameters], bool] | None = None
    repeat_done_codes: frozenset[int] = frozenset()
    ready: Ready | None = None

    def fill_callbacks(self, parameters: Parameters, urls: Callable[[str], str]) -> Parameters:
        """The parameters with our callback URLs where the caller said nothing; `urls` gives the URL of a kind.

        An explicit null opts out, as does a parameter that takes the callbacks elsewhere (`unless`).
        """
        given = parameters.model_fields_set
        if any(getattr(parameters, name) is not None for name in self.unless):
            return parameters
        filled: dict[str, Any] = {}
        for name, kind in self.callbacks.items():
            needed = self.callback_needs.get(name)
            if name in given or (needed is not None and not getattr(parameters, needed)):
                continue
            defaults = self.callback_defaults.get(name, {})
            filled |= {other: default for other, default in defaults.items() if other not in given}
            filled[name] = urls(kind)
        return parameters.model_copy(update=filled)

    def may_repeat(self, parameters: Parameters) -> bool:
        """Whether sending these parameters twice does no more than sending them once."""
        return self.repeatable if self.repeats is None else self.repeats(parameters)

    def fingerprint(self, parameters: Parameters) -> str:
        """Equal for creates which cannot be told apart in Twilio's list; empty where there is none to look in."""
        row = self.reconciliation
        if row is None:
            return ""
        compared = [str(getattr(parameters, name)) for name in sorted(row.compared)]
        state = orjson.dumps([self.name, row.query(parameters), compared])
        return hashlib.blake2s(state, digest_size=8).hexdigest()

    def request(self, parameters: Parameters) -> Request:
        """The request that these parameters make."""
        if self.build is not None:
            return self.build(self, parameters)
        path = next((path for name, path in self.nested.items() if getattr(parameters, name) is not None), self.path)
        in_path = frozenset(re.findall(r"{([a-z_]+)}", path))
        for name in in_path:
            path = path.replace(f"{{{name}}}", str(getattr(parameters, name)))
        pairs = wire_pairs(parameters, without=in_path)
        if self.answer == "many":
            pairs += (("PageSize", str(min(getattr(parameters, "limit", None) or MAX_PAGE_SIZE, MAX_PAGE_SIZE))),)
        has_form = self.method == "POST"
        return Request(
            method=self.method,
            path=path,
            query=() if has_form else pairs,
            form=pairs if has_form else None,
            host=self.host,
            operation=self.name,
        )


@dataclass(frozen=True, slots=True)
class Command:
    """A command topic: one operation, or one for each value of `resource`."""

    name: str
    operations: Mapping[str | None, Operation]

    @property
    def dataschema(self) -> str:
        """The address of the results' schema."""
        return f"{SCHEMAS}/results/{self.name}.json"
