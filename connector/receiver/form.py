"""A callback's form as the record that it becomes, and the address that Twilio calls. Pure."""

import hashlib
import html
import re
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import quote, unquote

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from yarl import URL, query_to_pairs

from connector.errors import InvalidRecord
from connector.events import JSON, Envelope, Event, Record, encode, now, timestamp
from connector.resources.fields import Optional, is_plain
from connector.resources.models import snake
from connector.resources.rows import Callback
from connector.telemetry import tracing
from connector.twilio.signature import Distinct

Pairs = list[tuple[str, str]]
Fields = dict[str, str]
Convert = Callable[[str], Any]
Header = tuple[str, bytes]

MAX_FIELDS = 1000
MAX_NAMES = 4096
LONGEST_NAME = 64
LONGEST_TOKEN = 200
ACCOUNT = "account_sid"

# Query parameters of ours in the addresses that we hand to Twilio; Twilio signs them with the URL.
COMMAND = "command"
CORRELATION = "correlation"
TRACE = "traceparent"
CAUSES = (COMMAND, CORRELATION, TRACE)
OURS = frozenset({*CAUSES, "bodySHA256"})
# Twilio signs these bare even where it sends them escaped: bare, they are the same in both.
UNESCAPED = ":@"
# The extension attribute that carries Twilio's token.
IDEMPOTENCY_ATTRIBUTE = "twilioidempotencytoken"
REPLACEMENT = "\ufffd"
_BLANK_IS_NULL = FieldInfo.from_annotation(cast("type[Any]", Optional))
_SPECVERSION: Header = ("ce_specversion", b"1.0")
_CONTENT_TYPE: Header = ("content-type", JSON)


class _Names(dict[str, str]):
    """Twilio's names of fields and ours. Names that a caller invents are not remembered without end."""

    def __missing__(self, name: str) -> str:
        normalised = snake.__wrapped__(name)
        if len(self) < MAX_NAMES and len(name) <= LONGEST_NAME:
            self[name] = normalised
        return normalised


NAMES = _Names()


def parse(encoded: bytes) -> Pairs:
    """The decoded fields of a form or query in their order, blank values and repetitions kept.

    Raises InvalidRecord when it is not UTF-8 or has more than 1,000 fields.
    """
    try:
        return query_to_pairs(encoded.decode(), max_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRecord("The form is not UTF-8, or has too many fields.") from None


class Form(NamedTuple):
    """A form, read once: what decides (account, signature, command) and what is stored come from the same values.

    `pairs` are its fields as they came, `fields` the same by our names: fewer when a field came more than once.
    `distinct` are those that are signed, and that identify the callback.
    """

    pairs: Pairs
    fields: Fields
    distinct: Distinct

    @classmethod
    def of(cls, pairs: Pairs) -> "Form":
        """The form of decoded fields."""
        names = NAMES
        return cls(pairs, {names[name]: value for name, value in pairs}, Distinct(sorted(set(pairs))))

    @property
    def accounts(self) -> Sequence[str | None]:
        """Every account that the form names; None stands for none.

        Raises InvalidRecord when it has two names for the field: one would be checked and the other one stored.
        """
        if len(self.fields) == len(self.pairs):
            return (self.fields.get(ACCOUNT),)
        given = [pair for pair in self.pairs if NAMES[pair[0]] == ACCOUNT]
        if len({name for name, _ in given}) > 1:
            raise InvalidRecord(f"The form is ambiguous: {ACCOUNT} has two names.")
        return [value for _, value in given] or (None,)

    def refuse_ambiguous(self) -> None:
        """Raise InvalidRecord when a field has two names, or two values: Twilio does not sign their order."""
        if len(self.fields) == len(self.pairs):
            return
        first: dict[str, tuple[str, str]] = {}
        for pair in self.pairs:
            name = NAMES[pair[0]]
            if first.setdefault(name, pair) != pair:
                what = "values" if first[name][0] == pair[0] else "names"
                raise InvalidRecord(f"The form is ambiguous: {name:.100} has two {what}.")

    def without_ours(self) -> "Form":
        """The form without the parameters that we have put into the address."""
        return Form.of([pair for pair in self.pairs if pair[0] not in OURS])


@dataclass(frozen=True, slots=True)
class Encoder:
    """Makes the records of one kind of callback, in one pass: what `event` and `events.encode` make, without the model.

    Most fields of a form are text and stay text, so that building, checking and writing a model changes nothing. What
    is more than text goes through its field's own validator; what is not ordinary goes the long way.

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

    def record(self, given: Form, *, query: str, token: str | None) -> Record:
        """The record of a form; `query` is that of the URL called, `token` Twilio's `I-Twilio-Idempotency-Token`.

        Raises InvalidRecord, naming the fields, when the form does not fit the row's bundle.
        """
        document = self._document(given.fields) if self.is_plain else None
        if document is None:
            fact = event(self.row, given, recorded=now(), query=query, token=token)
            return encode(fact, self.topic, fact.subject, envelope=self.envelope)
        row = self.row
        recorded = present()
        moment = (document[row.timed_by] if row.timed_by else None) or recorded
        key: bytes = document[row.key].encode()
        headers: list[Header] = [
            _SPECVERSION,
            ("ce_id", identity(row.kind, given.distinct).encode()),
            ("ce_source", f"/twilio/{document.get('account_sid') or '-'}/{row.resource}".encode()),
            self.kind,
            ("ce_subject", key),
            ("ce_time", moment.encode()),
            self.schema,
            ("ce_recordedtime", recorded.encode()),
        ]
        named = causes(query)
        trace = named.pop("traceparent", None)
        extensions = {**named, IDEMPOTENCY_ATTRIBUTE: usable_token(token)}
        headers += [(f"ce_{name}", value.encode()) for name, value in extensions.items() if value is not None]
        headers.append(_CONTENT_TYPE)
        if trace is not None:
            headers.append(("traceparent", trace.encode()))
        return Record(self.topic, key, orjson.dumps(document), headers)

    def _document(self, fields: Fields) -> dict[str, Any] | None:
        """The bundle as JSON's own types; None for a form that does not fit it."""
        document: dict[str, Any] = {**self.empty, **fields}
        try:
            for name, convert in self.typed:
                if document[name] is not None:
                    document[name] = convert(document[name])
        except ValidationError:
            return None
        key = document[self.row.key]
        is_complete = key and REPLACEMENT not in key and None not in [document[name] for name in self.required]
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


def event(row: Callback, given: Form, *, recorded: datetime, query: str = "", token: str | None = None) -> Event:
    """The event of a form; `query` is that of the URL called, `token` Twilio's `I-Twilio-Idempotency-Token`.

    Raises InvalidRecord, naming the fields, when the form does not fit the row's bundle.
    """
    fields = given.fields
    try:
        bundle = row.bundle.model_validate(fields)
    except ValidationError as error:
        raise InvalidRecord(f"The form does not fit {row.kind}: {_problems(error)}.") from None
    subject = fields.get(row.key)
    if not subject or REPLACEMENT in subject:
        raise InvalidRecord(f"The form does not fit {row.kind}: {row.key} is empty or not text.")
    return Event(
        id=identity(row.kind, given.distinct),
        source=f"/twilio/{fields.get('account_sid') or '-'}/{row.resource}",
        type=row.event_type,
        subject=subject,
        time=(getattr(bundle, row.timed_by) if row.timed_by else None) or recorded,
        data=bundle.json_bytes(),
        dataschema=row.dataschema,
        extensions={"recordedtime": timestamp(recorded), **causes(query), IDEMPOTENCY_ATTRIBUTE: usable_token(token)},
    )


def usable_token(token: str | None) -> str | None:
    """Twilio's `I-Twilio-Idempotency-Token` when it fits a header. It is not signed, so it decides nothing."""
    return token if token and len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable() else None


def identity(kind: str, fields: Distinct) -> str:
    """A hash of kind and signed fields: equal for repeated deliveries of one callback, and for nothing else."""
    return hashlib.blake2b(orjson.dumps([kind, fields]), digest_size=16).hexdigest()


def address(
    public_url: str, kind: str, *, command: str, correlation: str, traceparent: str | None = None, overrides: str = ""
) -> str:
    """The URL to hand to Twilio for the callbacks of a command; the fragment sets Twilio's retries."""
    url = f"{public_url.rstrip('/')}/callbacks/{kind}?{COMMAND}={quote(command, safe=UNESCAPED)}"
    if correlation != command:
        url += f"&{CORRELATION}={quote(correlation, safe=UNESCAPED)}"
    if traceparent:
        url += f"&{TRACE}={quote(traceparent, safe=UNESCAPED)}"
    return f"{url}#{overrides}" if overrides else url


def names_cause(public_url: str, text: str) -> bool:
    """Whether a text holds an address on our host with the parameters that say which command has caused a callback.

    The text may be an address, TwiML, JSON or a form: it is looked at however it is escaped.
    """
    pattern = _naming_cause(public_url)
    return pattern.search(text.lower()) is not None or (
        _ESCAPED.search(text) is not None and pattern.search(_unescaped(text)) is not None
    )


# What stands for another character in XML, JSON, forms and addresses, or looks like one.
_ESCAPED = re.compile(r"[%&\\]|[^\x00-\x7f]")
# What a host's name may hold, and loses when it is resolved; and what stands for a dot there.
_IDNA = {**dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufe0f\ufeff")), ord("\u3002"): "."}
_JSON_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")


@lru_cache(maxsize=8)
def _naming_cause(public_url: str) -> re.Pattern[str]:
    url = URL(public_url)
    hosts = "|".join({re.escape(host.lower()) for host in (url.host, url.raw_host) if host})
    return re.compile(rf"(?:{hosts})[^\s\"'<>]*[?&](?:{'|'.join(CAUSES)})=")


def _unescaped(text: str) -> str:
    """The text as the last of its readers may see it."""
    for _ in range(2):
        text = _JSON_ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else found[2], text)
        text = unquote(html.unescape(text))
    return unicodedata.normalize("NFKC", text).translate(_IDNA).lower()


def causes(query: str) -> dict[str, str | None]:
    """What our parameters in the URL say: which command caused this, what it belongs to, and the command's trace.

    Raises InvalidRecord when one of them comes twice or is not UTF-8: we hand out no such address.
    """
    if not query:
        return {}
    given: dict[str, str] = {}
    for name, value in parse(query.encode()):
        if name in OURS:
            if name in given or (REPLACEMENT in value and "%ef%bf%bd" not in query.lower()):
                raise InvalidRecord(f"The address is not ours: {name} comes twice, or is not UTF-8.")
            given[name] = value
    command = given.get(COMMAND)
    trace = given.get(TRACE)
    return {
        "correlationid": given.get(CORRELATION) or command or None,
        "causationid": command or None,
        "traceparent": trace if tracing.is_sampled(trace) else None,
    }


def _problems(error: ValidationError) -> str:
    """Fields and kinds of error, nothing of the content."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(f"{'.'.join(map(str, item['loc']))} ({item['type']})" for item in found[:5])
