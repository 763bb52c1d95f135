"""A found row as the record that is published: an event, or a dead letter when it is no bundle. Pure.

A row is written as JSON when it is found, since that takes a quarter of the memory of the row itself, and becomes a
record when it is published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from connector import events, tracing
from connector.errors import InvalidRecord
from connector.resources.fields import parse_time
from connector.resources.rows import Watch
from connector.resources.writing import Writer
from connector.watcher.advance import Found, Kind, Written

DeadLetter = Callable[..., events.Record]
"""`(row as JSON, error, stage="watch")` to the record for the dead letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the records of a watch have in common: its name, its row, where they go and how they are written."""

    name: str
    watch: Watch
    account_sid: str
    prefix: str
    envelope: events.Envelope = "binary"
    dead_letter: DeadLetter
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "writer", Writer.of(self.watch.bundle))

    @property
    def topic(self) -> str:
        """Where the events go."""
        return f"{self.prefix}.{self.watch.topic}"

    def written(self, row: Mapping[str, Any], kind: Kind) -> Written:
        """The row as it is kept until it is published."""
        try:
            # A copy of its own size: the encoder's output keeps eight kilobytes.
            data = bytes(memoryview(self.writer.write(row)))
        except ValidationError as error:
            return Written(orjson.dumps(row), problem=_invalid(self.watch, error))
        account = row.get("account_sid")
        foreign = "" if account == self.account_sid or not account else str(account)
        return Written(data, foreign, _updated_at(row) if kind == "updated" else None)

    def records(self, fresh: Sequence[Found]) -> tuple[list[events.Record], int]:
        """The records of these rows, and how many of them are dead letters."""
        records: list[events.Record] = []
        series: dict[tuple[str, Kind], events.Series] = {}
        dead_letters = 0
        for found in fresh:
            data, account, updated, problem = found.row
            if problem is not None:
                records.append(self.dead_letter(data, problem, stage="watch"))
                dead_letters += 1
                continue
            alike = series.get((account, found.kind))
            if alike is None:
                alike = series[account, found.kind] = self._series(account or self.account_sid, found.kind)
            name = found.sid if found.kind == "created" else f"{found.sid}@{found.fingerprint}"
            records.append(alike.record(name, found.sid, updated or found.created, data))
        return records, dead_letters

    def _series(self, account: str, kind: Kind) -> events.Series:
        """Events of one account and kind, recorded now."""
        extensions = {
            "recordedtime": events.timestamp(events.now()),
            "watch": self.name,
            "traceparent": tracing.traceparent(),
        }
        return events.Series(
            self.topic,
            source=f"/twilio/{account}/{self.watch.resource}",
            type=f"twilio.{self.watch.noun}.{kind}.v1",
            dataschema=self.watch.dataschema,
            extensions=extensions,
            envelope=self.envelope,
        )


def _updated_at(row: Mapping[str, Any]) -> datetime | None:
    try:
        return parse_time(row["date_updated"])
    except (LookupError, TypeError, ValueError):
        return None


def _invalid(watch: Watch, error: ValidationError) -> InvalidRecord:
    """What is wrong, without the content: fields and kinds of error only."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    fields = ", ".join(f"{'.'.join(str(part) for part in item['loc'])} ({item['type']})" for item in problems[:5])
    return InvalidRecord(f"Twilio's {watch.noun} does not fit its bundle: {fields}. Update the connector, then replay.")
