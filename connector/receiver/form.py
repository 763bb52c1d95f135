"""A callback's form as the event that it becomes, and the address that Twilio calls. Pure."""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import quote

import orjson
from pydantic import ValidationError
from yarl import query_to_pairs

from connector import tracing
from connector.errors import InvalidRecord
from connector.events import Event, timestamp
from connector.resources.models import snake
from connector.resources.rows import Callback

Pairs = list[tuple[str, str]]

MAX_FIELDS = 1000
LONGEST_TOKEN = 200

# Query parameters of ours in the addresses that we hand to Twilio; Twilio signs them with the URL.
COMMAND = "command"
CORRELATION = "correlation"
TRACE = "traceparent"
OURS = frozenset({COMMAND, CORRELATION, TRACE, "bodySHA256"})


def parse(encoded: bytes) -> Pairs:
    """The decoded fields of a form or query in their order, blank values and repetitions kept.

    Raises InvalidRecord when it is not UTF-8 or has more than 1,000 fields.
    """
    try:
        return query_to_pairs(encoded.decode(), max_fields=MAX_FIELDS)
    except ValueError:
        raise InvalidRecord("The form is not UTF-8, or has too many fields.") from None


def event(row: Callback, pairs: Pairs, *, recorded: datetime, query: str = "", token: str | None = None) -> Event:
    """The event of a form; `query` is that of the URL called, `token` Twilio's `I-Twilio-Idempotency-Token`.

    Raises InvalidRecord, naming the fields, when the form does not fit the row's bundle.
    """
    fields = {snake(name): value for name, value in pairs}
    try:
        bundle = row.bundle.model_validate(fields)
    except ValidationError as error:
        raise InvalidRecord(f"The form does not fit {row.kind}: {_problems(error)}.") from None
    subject = fields.get(row.key)
    if not subject:
        raise InvalidRecord(f"The form does not fit {row.kind}: {row.key} is empty.")
    return Event(
        id=identity(row.kind, pairs, token),
        source=f"/twilio/{fields.get('account_sid') or '-'}/{row.resource}",
        type=row.event_type,
        subject=subject,
        time=(getattr(bundle, row.timed_by) if row.timed_by else None) or recorded,
        data=bundle.json_bytes(),
        dataschema=row.dataschema,
        extensions={"recordedtime": timestamp(recorded), **causes(query)},
    )


def identity(kind: str, pairs: Iterable[tuple[str, str]], token: str | None) -> str:
    """Equal for repeated deliveries of one callback: Twilio's token, else a hash of kind and form."""
    if token and len(token) <= LONGEST_TOKEN and token.isascii() and token.isprintable():
        return token
    return hashlib.blake2b(orjson.dumps([kind, sorted(set(pairs))]), digest_size=16).hexdigest()


def address(
    public_url: str, kind: str, *, command: str, correlation: str, traceparent: str | None = None, overrides: str = ""
) -> str:
    """The URL to hand to Twilio for the callbacks of a command; the fragment sets Twilio's retries."""
    url = f"{public_url.rstrip('/')}/callbacks/{kind}?{COMMAND}={quote(command, safe='')}"
    if correlation != command:
        url += f"&{CORRELATION}={quote(correlation, safe='')}"
    if traceparent:
        url += f"&{TRACE}={quote(traceparent, safe='')}"
    return f"{url}#{overrides}" if overrides else url


def causes(query: str) -> dict[str, str | None]:
    """What our parameters in the URL say: which command caused this, what it belongs to, and the command's trace."""
    if not query:
        return {}
    given = dict(parse(query.encode(errors="replace")))
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
