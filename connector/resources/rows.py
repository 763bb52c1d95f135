"""The row types of the catalog. A row says what Twilio has; engines read rows and know no resource by name. Pure."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, ClassVar, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from connector.resources.fields import parse_time

Host = Literal["api", "monitor"]
Pairs = tuple[tuple[str, str], ...]
Answer = Literal["one", "many", "none", "binary", "raw"]

ACCOUNT = "/2010-04-01/Accounts/{AccountSid}"


class Bundle(BaseModel):
    """A Twilio resource as we publish it.

    Twilio's JSON names; times as RFC 3339 in UTC, counts and durations as integers, prices as decimal text; fields that
    we do not know pass through unchanged.
    """

    model_config = ConfigDict(extra="allow", frozen=True, serialize_by_alias=True)

    def json_bytes(self) -> bytes:
        """The bundle as compact JSON."""
        return self.__pydantic_serializer__.to_json(self, by_alias=True)


class Parameters(BaseModel):
    """The value of a command: snake_case names, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    # Names that are ours or stand in the path: never sent as Twilio parameters.
    unsent: ClassVar[frozenset[str]] = frozenset({"resource", "limit"})


@dataclass(frozen=True, slots=True)
class Wire:
    """A parameter's name on the wire, where CamelCase of its own is not it; `join` makes one value of a list."""

    name: str | None = None
    join: str | None = None


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
    `since` and `before` are the wire names of the date filters on the sort key, which are trusted by day only unless
    `seconds`. `version` are the fields whose change makes a new version; a row is final when its `status` is in
    `final`.
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
    retention: timedelta | None = None
    version: tuple[str, ...] = ()
    final: frozenset[str] = frozenset()
    status: str = "status"
    fetch: str | None = None
    cap: int | None = None
    host: Host = "api"
    operation: str = ""

    @property
    def topic(self) -> str:
        """The topic without its prefix."""
        return self.resource

    def created_at(self, row: Mapping[str, Any]) -> datetime:
        """When Twilio created the row. Raises ValueError or KeyError when the row does not say."""
        return parse_time(row[self.created])

    def sorted_at(self, row: Mapping[str, Any]) -> datetime:
        """The time by which Twilio sorts the row."""
        return next(parse_time(row[name]) for name in (*self.sorted_by, self.created) if row.get(name))

    def fingerprint(self, row: Mapping[str, Any]) -> str:
        """Eight hexadecimal digits that change when the row's version changes."""
        state = orjson.dumps([row.get(name) for name in self.version])
        return hashlib.blake2s(state, digest_size=4).hexdigest()

    def is_final(self, row: Mapping[str, Any]) -> bool:
        """Whether Twilio will not change the row any more, as far as its status says."""
        return not self.final or row.get(self.status) in self.final


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

    @property
    def topic(self) -> str:
        """The topic without its prefix."""
        return self.kind


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """How to find out whether an ambiguous create was executed.

    `path` and `items` name the list, `filters` the parameters to ask it by (parameter -> wire name; unset ones are left
    out), `compared` the parameters that must equal a field of the row (parameter -> field), `fixed` what else a
    row of ours shows.
    """

    path: str
    items: str
    filters: Mapping[str, str]
    compared: Mapping[str, str]
    fixed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of Twilio's API as a command makes it. `name` is Twilio's operationId.

    `repeatable`: sending it again does no harm. `callbacks` names the parameters that get our callback URL unless given
    (parameter -> kind); `unless` switches that off when one of these is set. `delay_codes` are refusals that pass
    with time, `done_codes` refusals that mean "was already so".
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

    def request(self, parameters: Parameters) -> Request:
        """The request that these parameters make."""
        if self.build is not None:
            return self.build(self, parameters)
        values = {**dict(parameters), "sid": getattr(parameters, "sid", "")}
        in_path = frozenset(re.findall(r"{([a-z_]+)}", self.path))
        path = self.path
        for name in in_path:
            path = path.replace(f"{{{name}}}", str(values[name]))
        pairs = wire_pairs(parameters, without=in_path)
        has_form = self.method != "GET"
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


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """`status_callback` -> `StatusCallback`."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """`MessageSid` -> `message_sid`, `MediaUrl0` -> `media_url0`, `RawDlrDoneDate` -> `raw_dlr_done_date`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def wire_value(value: Any) -> str:
    """A parameter's value as Twilio reads it: booleans in lower case, times in UTC, objects as JSON."""
    match value:
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case dict():
            return orjson.dumps(value).decode()
        case _:
            return str(value)


@lru_cache(maxsize=256)
def wire_names(model: type[Parameters]) -> Mapping[str, Wire]:
    """For each field its wire name and how a list is written."""
    names = {}
    for name, info in model.model_fields.items():
        given = next((item for item in info.metadata if isinstance(item, Wire)), Wire())
        names[name] = Wire(given.name or camel(info.alias or name), given.join)
    return names


def wire_pairs(parameters: Parameters, *, without: Iterable[str] = ()) -> Pairs:
    """The parameters that are set, in order; a list repeats its key; an empty string is sent, since it redacts."""
    skipped = parameters.unsent | frozenset(without)
    pairs: list[tuple[str, str]] = []
    for name, wire in wire_names(type(parameters)).items():
        value = getattr(parameters, name)
        if value is None or name in skipped or wire.name is None:
            continue
        if isinstance(value, list | tuple):
            texts = [wire_value(item) for item in value]
            pairs += [(wire.name, wire.join.join(texts))] if wire.join else [(wire.name, text) for text in texts]
        else:
            pairs.append((wire.name, wire_value(value)))
    return tuple(pairs)
