"""A found row as the record that is published: an event, or a dead letter when it is no bundle. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from pydantic import ValidationError

from connector import events, tracing
from connector.errors import InvalidRecord
from connector.resources.fields import parse_time
from connector.resources.rows import Watch
from connector.watcher.advance import Found

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

    @property
    def topic(self) -> str:
        """Where the events go."""
        return f"{self.prefix}.{self.watch.topic}"

    def record(self, found: Found) -> tuple[events.Record, bool]:
        """The record of a row, and whether it is a dead letter."""
        try:
            data = self.watch.bundle.model_validate(found.row).json_bytes()
        except ValidationError as error:
            return self.dead_letter(orjson.dumps(found.row), _invalid(self.watch, error), stage="watch"), True
        return events.encode(self._event(found, data), self.topic, found.sid, envelope=self.envelope), False

    def _event(self, found: Found, data: bytes) -> events.Event:
        account = found.row.get("account_sid") or self.account_sid
        return events.Event(
            id=found.sid if found.kind == "created" else f"{found.sid}@{found.fingerprint}",
            source=f"/twilio/{account}/{self.watch.resource}",
            type=f"twilio.{self.watch.noun}.{found.kind}.v1",
            subject=found.sid,
            time=found.created if found.kind == "created" else _updated_at(found.row) or found.created,
            data=data,
            dataschema=self.watch.dataschema,
            extensions={
                "recordedtime": events.timestamp(events.now()),
                "watch": self.name,
                "traceparent": tracing.traceparent(),
            },
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
