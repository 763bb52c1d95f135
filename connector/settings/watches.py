"""The section `watches`: which lists of which connection are polled, how often, and with which filters."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model

from connector.resources import WATCHES
from connector.resources.rows import BOOLEANS, Watch, wire_value
from connector.settings.lists import LIST, ListSettings, row_of, rules_of
from connector.settings.section import Finding, Matches, Section, asked
from connector.settings.units import Bound, Duration, Start

RESOURCES: tuple[str, ...] = (*WATCHES, LIST)
FILTERS: dict[str, tuple[str, ...]] = {name: tuple(row.filters) for name, row in WATCHES.items()} | {LIST: ()}
"""What Twilio's list of a resource can be narrowed by."""


def _known(resource: str) -> str:
    if resource not in (*WATCHES, LIST):
        raise ValueError(f"{resource!r} is not a list that can be watched: write one of {', '.join(RESOURCES)}")
    return resource


Resource = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*RESOURCES]})]
WatchName = Annotated[
    str,
    Matches(
        "[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "cannot name a watch: use letters, digits, dots, hyphens and underscores"
    ),
]
CallSid = Annotated[
    str, Matches("CA[0-9a-fA-F]{32}", "is not the SID of a call: copy it, CA and 32 hexadecimal digits")
]
ConferenceSid = Annotated[
    str, Matches("CF[0-9a-fA-F]{32}", "is not the SID of a conference: copy it, CF and 32 hexadecimal digits")
]
Party = Annotated[str, Field(min_length=1)]


def _of(filter_: str) -> str:
    """The lists that have a filter of this name."""
    return ", ".join(resource for resource, names in FILTERS.items() if filter_ in names)


def _of_resource(known: dict[str, Any]) -> str:
    return str(known["resource"])


class CommonSettings(Section):
    """What every watch may say, and the filters of the lists that are built in."""

    resource: Resource = Field(
        description=f"What is watched: {', '.join(WATCHES)}; or {LIST}, any other, as the keys marked `list:` say."
    )
    name: WatchName = Field(
        default_factory=_of_resource, description="Unique name, which its cursor is kept under. Default: the resource."
    )
    connection: str = Field(default="default", description="The connection whose list it is.")
    interval: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(milliseconds=10),
        le=timedelta(days=7),
        description="From the end of a poll to the next one; down to a quarter of it while there is traffic, "
        "but not less than the poll took.",
    )
    start: Start = Field(
        default="now", description="`now`, or a date-time from which records are back-filled in bounded windows."
    )
    limit: int = Field(default=1000, ge=1, le=100_000, description="At most so many records in a poll.")
    emit: Literal["created", "changes"] = Field(
        default="created", description="`changes`: also when a record that was seen changes, until it is final."
    )
    overlap: Duration = Field(
        default=timedelta(minutes=10),
        le=timedelta(days=30),
        description="How far back each poll reads again, for records that become visible late.",
    )
    to: Party | None = Field(default=None, description=f"{_of('to')}: only to this number or address.")
    from_: Party | None = Field(
        default=None, alias="from", description=f"{_of('from')}: only from this number or address."
    )
    parent_call_sid: CallSid | None = Field(
        default=None, description=f"{_of('parent_call_sid')}: only those that this call made."
    )
    call_sid: CallSid | None = Field(default=None, description=f"{_of('call_sid')}: only of this call.")
    conference_sid: ConferenceSid | None = Field(
        default=None, description=f"{_of('conference_sid')}: only of this conference."
    )
    include_deleted: bool = Field(
        default=False,
        description=f"{_of('include_deleted')}: also deleted ones, whose metadata Twilio keeps for 40 days.",
    )
    start_date: Bound | None = Field(
        default=None, description=f"{_of('start_date')}: only from this date or date-time on."
    )
    end_date: Bound | None = Field(default=None, description=f"{_of('end_date')}: only up to this date or date-time.")


class WatchSettings(ListSettings, CommonSettings):
    """One list that is polled."""

    @property
    def row(self) -> Watch:
        """What is known of the list. Raises ConfigurationError when the schema of a list cannot be used."""
        return row_of(self) if self.resource == LIST else WATCHES[self.resource]

    @property
    def filters(self) -> Mapping[str, str | bool | datetime]:
        """The filters that are set, by their names in the configuration."""
        if self.resource == LIST:
            return self.parameters
        values = ((name, getattr(self, _attribute(name))) for name in FILTERS[self.resource])
        return {name: value for name, value in values if value is not None and value != _default(name)}

    def findings(self) -> Iterator[Finding]:
        """Filters and modes that the resource's list has."""
        names = dict.fromkeys(name for names in FILTERS.values() for name in names)
        return asked(*(self._filter(name) for name in names), self._changes(), self._dates(), *rules_of(self))

    def _filter(self, name: str) -> Iterator[Finding]:
        fitting, value = FILTERS[self.resource], getattr(self, _attribute(name))
        if value is None or value == _default(name):
            return
        if name not in fitting:
            known = ", ".join(fitting) or "none"
            sentence = f"is not a filter of {self.resource} (it has: {known}): remove it, or watch another resource"
            yield Finding((name,), sentence)
        elif (choices := WATCHES[self.resource].choices.get(name)) and wire_value(value) not in choices:
            *most, last = choices
            yield Finding((name,), f"{value!r} is nothing for {self.resource}: write {', '.join(most)} or {last}")

    def _changes(self) -> Iterator[Finding]:
        if self.resource != LIST and not WATCHES[self.resource].version and self.emit == "changes":
            sentence = f"'changes' is nothing for {self.resource}, which never change: write created, or remove it"
            yield Finding(("emit",), sentence)

    def _dates(self) -> Iterator[Finding]:
        if self.start_date and self.end_date and self.end_date <= self.start_date:
            yield Finding(("end_date",), "is not after start_date, so that nothing would match: set a later one")


def _further_filters() -> dict[str, Any]:
    """The filters of lists that the model does not declare: of the values that their rows tell, else texts."""
    declared = {info.alias or name for name, info in WatchSettings.model_fields.items()}
    further = dict.fromkeys(name for names in FILTERS.values() for name in names if name not in declared)
    return {
        name: (_type(name) | None, Field(default=None, description=f"{_of(name)}: only with this {name}."))
        for name in further
    }


def _type(filter_: str) -> Any:
    choices = [row.choices.get(filter_, ()) for row in WATCHES.values() if filter_ in row.filters]
    if all(values == BOOLEANS for values in choices):
        return bool
    return Literal[*dict.fromkeys(chain(*choices))] if all(choices) else Party


# A new list is a row in its module and nothing here.
if not TYPE_CHECKING and (_further := _further_filters()):
    WatchSettings = create_model(
        "WatchSettings", __base__=WatchSettings, __module__=__name__, __doc__=WatchSettings.__doc__, **_further
    )


def _attribute(name: str) -> str:
    return "from_" if name == "from" else name


def _default(name: str) -> Any:
    return WatchSettings.model_fields[_attribute(name)].default


def default_watches(connections: Iterable[str]) -> tuple[WatchSettings, ...]:
    """All resources of all connections; only those of `default` have the bare name of the resource."""
    return tuple(
        WatchSettings(
            resource=resource,
            name=resource if connection == "default" else f"{connection}-{resource}",
            connection=connection,
        )
        for connection in connections
        for resource, row in WATCHES.items()
        if row.is_standard
    )
