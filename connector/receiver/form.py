"""A callback's form as the event that it becomes, and the address that Twilio calls. Pure."""

import hashlib
import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote

import orjson
from pydantic import ValidationError
from yarl import URL, query_to_pairs

from connector import tracing
from connector.errors import InvalidRecord
from connector.events import Event, timestamp
from connector.resources.models import snake
from connector.resources.rows import Callback

Pairs = list[tuple[str, str]]
Fields = dict[str, str]

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
    """

    pairs: Pairs
    fields: Fields

    @classmethod
    def of(cls, pairs: Pairs) -> "Form":
        """The form of decoded fields."""
        names = NAMES
        return cls(pairs, {names[name]: value for name, value in pairs})

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
        id=identity(row.kind, given.pairs),
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


def identity(kind: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A hash of kind and signed fields: equal for repeated deliveries of one callback, and for nothing else."""
    return hashlib.blake2b(orjson.dumps([kind, sorted(set(pairs))]), digest_size=16).hexdigest()


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
