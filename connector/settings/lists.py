"""The keys of a watch with `resource: list`: a list that nobody has built in, and the row that they make of it."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field

from connector.errors import ConfigurationError
from connector.resources import CALLBACKS, WATCHES
from connector.resources.fields import parse_time
from connector.resources.hosts import HOSTS, Host, host_name
from connector.resources.rows import Bundle, Watch
from connector.settings.section import Finding, Matches, Section, Split

if TYPE_CHECKING:
    from connector.settings.watches import WatchSettings

LIST = "list"
OURS = frozenset({"PageSize", "Page", "PageToken"})
FIXED_TOPICS = frozenset(
    {"recording-media", "forwarded-commands", "dead-letters", "cursors", "checkpoints", "journal", "control"}
)
LONGEST_KEY = 3
LARGEST_SCHEMA_BYTES = 1024 * 1024
_TRIED = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
_PLACE = r"\{[A-Za-z_][A-Za-z0-9_]*\}"
_SEGMENT = rf"(?!\.{{1,2}}(?:/|$))(?:{_PLACE}|[A-Za-z0-9_~.-])+"


def _path(text: str) -> str:
    if "://" in text or text.startswith("//"):
        raise ValueError("is an address: write the path alone, from / on, and the product as host")
    if "?" in text or "#" in text:
        raise ValueError("holds a query: write what stands behind ? under filters")
    if not re.fullmatch(rf"(?:/{_SEGMENT})+", text):
        sentence = "is not a path: begin with /, and use letters, digits, . _ ~ - and {AccountSid} between slashes"
        raise ValueError(f"{text[:80]!r} {sentence}")
    return text


def _format(text: str) -> str:
    if text in FORMATS:
        return text
    try:
        written = _TRIED.strftime(text)
        is_whole = "%" in text and _with_pattern(written, text).date() == _TRIED.date()
    except ValueError:
        is_whole = False
    if not is_whole:
        known = ", ".join(FORMATS)
        raise ValueError(f"{text[:40]!r} tells no date: write one of {known}, or a pattern such as %Y-%m-%d %H:%M:%S")
    return text


def _seconds(value: Any, unit: float = 1) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    return datetime.fromtimestamp(float(value) / unit, UTC)


def _milliseconds(value: Any) -> datetime:
    return _seconds(value, 1000)


FORMATS: Mapping[str, Callable[[Any], datetime]] = {
    "twilio": parse_time,
    "seconds": _seconds,
    "milliseconds": _milliseconds,
}
"""How the time of a row's creation may be written; `twilio` is RFC 2822 or ISO 8601."""

FieldName = Annotated[
    str, Matches("[A-Za-z_][A-Za-z0-9_]{0,99}", "is not the name of a field: copy it from Twilio's answer")
]
WireName = Annotated[
    str,
    Matches("[A-Za-z][A-Za-z0-9_.]{0,99}[<>]?", "is not a parameter of Twilio's: copy it, as Status or StartTime>"),
]
Name = Annotated[
    str,
    Matches("[a-z0-9][a-z0-9._-]{0,99}", "cannot be a name here: use lower case, digits, dots, hyphens, underscores"),
]
ListPath = Annotated[str, AfterValidator(_path)]
HostName = Annotated[Host, BeforeValidator(host_name), Field(json_schema_extra={"enum": [*HOSTS]})]


class DateFilters(Section):
    """The list's own filters on the time of creation."""

    since: WireName = Field(description="Parameter for rows created on or after a time, such as `DateCreated>`.")
    before: WireName | None = Field(default=None, description="Parameter for rows created before a time.")
    granularity: Literal["day", "midnight", "second"] = Field(
        default="day",
        description="How exact they are: `day` writes 2026-11-24, `midnight` a day as 2026-11-24T00:00:00Z, `second` a "
        "time as 2026-11-24T12:34:56Z.",
    )


class AnyRow(Bundle):
    """A row of a list by configuration, as Twilio wrote it."""


class ListSettings(Section):
    """What `resource: list` needs to be known of a list."""

    host: HostName = Field(
        default="api", description="list: the product that begins Twilio's name of the host, such as `verify`."
    )
    path: ListPath | None = Field(
        default=None, description="list: its path; {AccountSid} stands for the connection's account."
    )
    parent: str | None = Field(
        default=None,
        description="list: the watch whose rows it is under; {parent} in its path stands for the key of each of them.",
    )
    items: FieldName | None = Field(default=None, description="list: the name in Twilio's answer that holds the rows.")
    key: Annotated[tuple[FieldName, ...], Split] = Field(
        default=("sid",), description="list: the fields that name a row for good."
    )
    created: FieldName = Field(
        default="date_created", description="list: the field with the time of a row's creation, which never changes."
    )
    created_format: Annotated[str, AfterValidator(_format)] = Field(
        default="twilio",
        description="list: how it is written: `twilio` (RFC 2822 or ISO 8601), `seconds` or `milliseconds` since 1970, "
        "or a pattern such as `%Y-%m-%d`.",
    )
    order: Literal["any", "newest-first"] = Field(
        default="any",
        description="list: `newest-first` ends a poll where a page's last 50 rows are old; `any` reads all pages.",
    )
    page_size: int = Field(
        default=1000, ge=1, le=1000, description="list: the most rows of a page that Twilio's documentation allows."
    )
    parameters: dict[WireName, str] = Field(
        default={}, alias="filters", description="list: its parameters, by Twilio's names, and their values."
    )
    date_filters: DateFilters | None = Field(default=None, description="list: its filters on the time of creation.")
    version: Annotated[tuple[FieldName, ...], Split] = Field(
        default=(), description="list: the fields whose change is an update, with `emit: changes`."
    )
    final: dict[FieldName, Annotated[tuple[str, ...], Split]] = Field(
        default={}, description="list: a field, and those of its values with which a row changes no more."
    )
    fetch: ListPath | None = Field(
        default=None, description="list: path of a single row, with its key in braces, such as {sid}."
    )
    topic: Name | None = Field(default=None, description="list: the topic without its prefix. Default: the name.")
    noun: Name | None = Field(
        default=None, description="list: a row in the type of its events, twilio.NOUN.created.v1. Default: the topic."
    )
    schema_file: FilePath | None = Field(
        default=None,
        alias="schema",
        description="list: file with a JSON Schema; rows that do not fit are dead letters. Needs the extra `schema`.",
    )


KEYS: Mapping[str, str] = {info.alias or name: name for name, info in ListSettings.model_fields.items()}
"""The keys of a list, and their names in the model."""


def row_of(watch: "WatchSettings") -> Watch:
    """The row of a list by configuration. Raises ConfigurationError when its schema cannot be used."""
    dates, topic = watch.date_filters, watch.topic or watch.name
    status, final = next(iter(watch.final.items()), ("status", ()))
    return Watch(
        resource=topic,
        noun=watch.noun or topic,
        path=watch.path or "",
        items=watch.items or "",
        bundle=AnyRow,
        created=watch.created,
        sorted_by=(watch.created,),
        since=dates.since if dates else None,
        before=dates.before if dates else None,
        seconds=dates is not None and dates.granularity == "second",
        midnights=dates is not None and dates.granularity == "midnight",
        filters={name: name for name in watch.parameters},
        page_size=watch.page_size,
        version=watch.version,
        final=frozenset(final),
        status=status,
        fetch=watch.fetch,
        host=watch.host,
        operation=f"List-{topic}",
        key=watch.key,
        time=FORMATS.get(watch.created_format) or _reader(watch.created_format),
        needs_time=True,
        newest_first=watch.order == "newest-first" and watch.parent is None,
        check=schema_check(watch.schema_file) if watch.schema_file else None,
        is_standard=False,
        is_published=False,
    )


@lru_cache
def _reader(pattern: str) -> Callable[[Any], datetime]:
    return partial(_with_pattern, pattern=pattern)


def _with_pattern(text: Any, pattern: str) -> datetime:
    moment = datetime.strptime(text, pattern)  # noqa: DTZ007 - the next line
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


@lru_cache
def schema_check(file: FilePath) -> Callable[[Mapping[str, Any]], str | None]:
    """What is wrong with a row by the schema in a file: where, and which word of the schema, never the value.

    Raises ConfigurationError: no library, no file, no schema.
    """
    try:
        import jsonschema_rs  # noqa: PLC0415 - the extra
    except ImportError as error:
        raise ConfigurationError(["a schema needs the extra: pip install '.[schema]' where the source is"]) from error
    try:
        with file.open("rb") as opened:
            text = opened.read(LARGEST_SCHEMA_BYTES + 1)
        validator = jsonschema_rs.validator_for(
            orjson.loads(text),
            retriever=_nothing_else,
            pattern_options=jsonschema_rs.RegexOptions(),
        )
    except OSError as error:
        raise ConfigurationError([f"{str(file)!r} cannot be read ({error.strerror}): name a readable file"]) from error
    except ValueError as error:
        reason = "not JSON" if isinstance(error, orjson.JSONDecodeError) else str(error).partition("\n")[0][:200]
        raise ConfigurationError(
            [f"{str(file)!r} is no JSON Schema that stands alone ({reason}): correct it"]
        ) from error

    def check(row: Mapping[str, Any]) -> str | None:
        error = next(validator.iter_errors(row), None)
        if error is None:
            return None
        where = ".".join(str(part)[:40] for part in error.instance_path) or "the row"
        return f"{where} ({type(error.kind).__name__.removeprefix('ValidationErrorKind_')})"

    return check


def _nothing_else(address: str) -> Any:
    raise ValueError(f"it refers to {address[:80]}")


# --- rules between keys -----------------------------------------------------------------------------------------------
def rules_of(watch: "WatchSettings") -> Iterator[Iterator[Finding]]:
    """What must be so between the keys of a list, and that nothing else has them."""
    if watch.__dict__.get("resource") == LIST:
        yield from (rule(watch) for rule in (_missing, _paths, _dates, _changes, _topic))
    elif "resource" in watch.__dict__:
        yield from (_not_a_list(watch, key, attribute) for key, attribute in KEYS.items())


def _not_a_list(watch: "WatchSettings", key: str, attribute: str) -> Iterator[Finding]:
    if getattr(watch, attribute) != ListSettings.model_fields[attribute].get_default():
        yield Finding((key,), f"is for a list by configuration: write resource: {LIST}, or remove it")


def _missing(watch: "WatchSettings") -> Iterator[Finding]:
    if watch.path is None:
        yield Finding(("path",), "is missing: give the path of the list, such as /2010-04-01/Accounts/{AccountSid}/…")
    if watch.items is None:
        yield Finding(("items",), "is missing: give the name that holds the rows in Twilio's answer")
    if not 1 <= len(watch.key) <= LONGEST_KEY:
        yield Finding(("key",), f"names {len(watch.key)} fields: name one, two or three, such as sid")
    if watch.name == LIST:
        yield Finding(("name",), "is missing: give the list a name of its own, which its topic and cursor are under")


def _paths(watch: "WatchSettings") -> Iterator[Finding]:
    places = {"path": (watch.path, {"parent"} if watch.parent else set[str]()), "fetch": (watch.fetch, set(watch.key))}
    for name, (path, known) in places.items():
        used = set(re.findall(_PLACE, path or ""))
        if unknown := sorted(used - {"{AccountSid}", *(f"{{{key}}}" for key in known)}):
            may = " and ".join(["{AccountSid}", *(f"{{{key}}}" for key in sorted(known))])
            yield Finding((name,), f"holds {unknown[0]}, which nothing stands for: write {may} only")
        elif path is not None and (left := sorted(known - {place[1:-1] for place in used})):
            needed = "each list is under one" if name == "path" else "every field of the key is needed to find a row"
            yield Finding((name,), f"does not hold {{{left[0]}}}: {needed}")
        if path and watch.host == "api" and path.startswith("/2010-04-01/") and not path.endswith(".json"):
            yield Finding((name,), "would be answered in XML: let it end in .json")


def _dates(watch: "WatchSettings") -> Iterator[Finding]:
    dated = {watch.date_filters.since, watch.date_filters.before} if watch.date_filters else set()
    for name in watch.parameters:
        if name in OURS:
            yield Finding(("filters", name), "is the connector's to say: remove it")
        elif name in dated:
            yield Finding(("filters", name), "stands under date_filters as well: keep one of the two")


def _changes(watch: "WatchSettings") -> Iterator[Finding]:
    if watch.emit == "changes" and not watch.version:
        yield Finding(("version",), "is missing: name the fields whose change is an update, or write emit: created")
    if len(watch.final) > 1:
        yield Finding(("final",), "names more than one field: name the one that tells that a row changes no more")
    if watch.final and not watch.version:
        yield Finding(("final",), "says when changes end, but version names none: add it, or remove final")


def _topic(watch: "WatchSettings") -> Iterator[Finding]:
    topic = watch.topic or watch.name
    own = {*(row.topic for row in WATCHES.values()), *(row.topic for row in CALLBACKS.values()), *FIXED_TOPICS}
    if topic in own or re.match(r"(commands|results)\.", topic):
        key = "topic" if watch.topic else "name"
        yield Finding((key,), f"{topic!r} is a topic of the connector's own: give the list another topic")
    elif not re.fullmatch("[a-z0-9][a-z0-9._-]*", topic):
        yield Finding(("topic",), f"is missing: {topic!r} cannot name a topic; give one in lower case")


def schema_findings(file: FilePath | None) -> Iterator[Finding]:
    """What is wrong with the file of a schema."""
    if file is not None:
        try:
            schema_check(file)
        except ConfigurationError as error:
            yield Finding(("schema",), error.problems[0])
