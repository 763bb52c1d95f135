"""A form as the record that it becomes, in one pass: what `form.event` and `events.encode` make, without the model.

Most fields of a form are text and stay text, so that building, checking and writing a model changes nothing. What is
more than text goes through its field's own validator; what is not ordinary goes the long way.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from connector.events import JSON, Envelope, Record, encode, now, timestamp
from connector.receiver import form
from connector.resources.fields import Optional
from connector.resources.rows import Callback
from connector.resources.writing import is_plain

Convert = Callable[[str], Any]
Header = tuple[str, bytes]

_BLANK_IS_NULL = FieldInfo.from_annotation(cast("type[Any]", Optional))
_SPECVERSION: Header = ("ce_specversion", b"1.0")
_CONTENT_TYPE: Header = ("content-type", JSON)


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes the records of one kind of callback.

    `empty` holds the declared fields by their JSON names, in order, all null; `typed` those that are not plain text;
    `kind` and `schema` are headers that never change. `is_plain`: the bundle is its fields and nothing else.
    """

    row: Callback
    topic: str
    envelope: Envelope
    empty: Mapping[str, None]
    typed: tuple[tuple[str, Convert], ...]
    required: tuple[str, ...]
    kind: Header
    schema: Header
    is_plain: bool

    @classmethod
    def of(cls, row: Callback, topic: str, envelope: Envelope) -> "Encoder":
        """The encoder of a row: what does not change from form to form is prepared."""
        fields = {info.alias or name: info for name, info in row.bundle.model_fields.items()}
        conversions = {name: _conversion(info) for name, info in fields.items()}
        return cls(
            row=row,
            topic=topic,
            envelope=envelope,
            empty=dict.fromkeys(fields),
            typed=tuple((name, convert) for name, convert in conversions.items() if convert),
            required=tuple(name for name, info in fields.items() if info.is_required()),
            kind=("ce_type", row.event_type.encode()),
            schema=("ce_dataschema", row.dataschema.encode()),
            is_plain=envelope == "binary" and _is_plain(row, fields),
        )

    def record(self, given: form.Form, *, query: str, token: str | None) -> Record:
        """The record of a form; `query` is that of the URL called, `token` Twilio's `I-Twilio-Idempotency-Token`.

        Raises InvalidRecord, naming the fields, when the form does not fit the row's bundle.
        """
        document = self._document(given.fields) if self.is_plain else None
        if document is None:
            event = form.event(self.row, given, recorded=now(), query=query, token=token)
            return encode(event, self.topic, event.subject, envelope=self.envelope)
        row = self.row
        recorded = present()
        moment = (document[row.timed_by] if row.timed_by else None) or recorded
        key: bytes = document[row.key].encode()
        headers: list[Header] = [
            _SPECVERSION,
            ("ce_id", form.identity(row.kind, given.pairs).encode()),
            ("ce_source", f"/twilio/{document.get('account_sid') or '-'}/{row.resource}".encode()),
            self.kind,
            ("ce_subject", key),
            ("ce_time", moment.encode()),
            self.schema,
            ("ce_recordedtime", recorded.encode()),
        ]
        causes = form.causes(query)
        trace = causes.pop("traceparent", None)
        extensions = {**causes, form.IDEMPOTENCY_ATTRIBUTE: form.usable_token(token)}
        headers += [(f"ce_{name}", value.encode()) for name, value in extensions.items() if value is not None]
        headers.append(_CONTENT_TYPE)
        if trace is not None:
            headers.append(("traceparent", trace.encode()))
        return Record(self.topic, key, orjson.dumps(document), headers)

    def _document(self, fields: form.Fields) -> dict[str, Any] | None:
        """The bundle as JSON's own types; None for a form that does not fit it."""
        document: dict[str, Any] = {**self.empty, **fields}
        try:
            for name, convert in self.typed:
                if document[name] is not None:
                    document[name] = convert(document[name])
        except ValidationError:
            return None
        key = document[self.row.key]
        is_complete = key and form.REPLACEMENT not in key and None not in [document[name] for name in self.required]
        return document if is_complete else None


def _conversion(field: FieldInfo) -> Convert | None:
    """What a field makes of a form's text, as JSON's own types; None when it stays as it is."""
    if field.annotation in (str, str | None) and not field.metadata:
        return None
    if (field.annotation, field.metadata) == (_BLANK_IS_NULL.annotation, _BLANK_IS_NULL.metadata):
        return lambda value: value or None
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
    validate, write = adapter.validator.validate_python, adapter.serializer.to_python
    return lambda value: write(validate(value), mode="json")


def _is_plain(row: Callback, fields: Mapping[str, FieldInfo]) -> bool:
    """Whether bundles of this kind are their fields and nothing else, and have what keys and dates the record."""
    is_named = row.key in fields and (row.timed_by is None or row.timed_by in fields)
    return is_named and is_plain(row.bundle)


def present() -> str:
    """The present moment as `timestamp(now())` writes it."""
    return _written(time.time_ns() // 1_000_000)


@lru_cache(maxsize=1)
def _written(milliseconds: int) -> str:
    """Many callbacks come within one millisecond."""
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))
