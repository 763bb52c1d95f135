"""What may be shown without being asked for: SIDs, states, times and counts; no text, no full number, no secret. Pure.

Everything that is not known to be harmless is masked, so that a field that Twilio adds tomorrow is masked as well.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.+Z-]*)?")
PATH = re.compile(r"/2010-04-01(?:/[A-Za-z]{2,}|/[A-Z]{2}[0-9a-f]{32})+(?:\.json)?")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,39}")
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/#-]{0,199}")
AMOUNT = re.compile(r"-?\d{1,6}(?:\.\d+)?")
NUMBER = re.compile(r"(?<![0-9A-Za-z.…-])\+?\d(?:[ ()-]?\d){5,14}(?![0-9A-Za-z-])")
ADDRESS = re.compile(r"(?:[a-z][a-z0-9_-]*:)?\+\d{5,15}")
DATA = frozenset(
    {
        *("resource", "direction", "outcome", "kind", "name", "api_version", "price", "price_unit", "method"),
        *("format", "duration", "channels", "source", "track", "trim", "answered_by", "log_level"),
        *("error_code", "machine_detection", "num_media", "num_segments", "sequence_number"),
        *("channel_prefix", "content_type", "request_method", "timeout", "recording_channels"),
        *("recording_track", "recording_status_callback_event", "risk_check", "schedule_type"),
        *("content_retention", "address_retention", "traffic_type", "message_intent"),
        *("status_callback_method", "more_info"),
    }
)
"""Fields whose words come from a closed set, or from Twilio's own vocabulary."""
IDENTIFIERS = frozenset({"id", "topic", "command", "partition", "offset", "request_id", "correlation-id", "causation"})
SENTENCES = frozenset({"message"})
SHORT_CODE = 5
EXAMPLE = "+15551234567"
PATHS = re.compile(r"https?://[^\s'\"]+|(?<![\w:/.-])/[^\s'\",;]+")


def masked(value: Any, name: str = "") -> Any:
    """A JSON value as it may be shown; `name` is the field that holds it."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _text(value, name)
        case Mapping():
            return {_key(str(field)): masked(item, str(field)) for field, item in value.items()}
        case list() | tuple():
            return [masked(item, name) for item in value]
        case _:
            return "…"


def address(text: str) -> str:
    """A number or address by its last four characters; short codes are public."""
    return text if len(text) <= SHORT_CODE else f"…{text[-4:]}"


def sentence(text: str) -> str:
    """A sentence of Twilio's or ours without the numbers in it, but for the one that our own examples have.

    Paths and addresses, which a caller may have chosen, are shown as far as they are known to be harmless.
    """
    shown, end = [], 0
    for found in PATHS.finditer(text):
        shown += [_numberless(text[end : found.start()]), _path(found[0])]
        end = found.end()
    return "".join([*shown, _numberless(text[end:])])


def _numberless(text: str) -> str:
    return NUMBER.sub(lambda found: found[0] if found[0] == EXAMPLE else address(re.sub(r"\D", "", found[0])), text)


def _path(text: str) -> str:
    if text.startswith("/"):
        return text if PATH.fullmatch(text) else "/…"
    return _safe_url(text)


def url(text: str) -> str:
    """An address without its query, its user, its fragment, and the numbers in its path."""
    parts = urlsplit(text)
    query = "?…" if parts.query else ""
    path = _numberless(unquote(parts.path))
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{path}{query}"


def signature(text: str) -> str:
    """The beginning of a signature, by which two can be told apart and none can be used."""
    return f"{text[:4]}…" if text else ""


def key(text: str) -> str:
    """A record key, which may be anything: an identifier is shown, a number shortened, all else counted."""
    if SID.fullmatch(text) or (IDENTIFIER.fullmatch(text) and not NUMBER.search(text)):
        return text
    return address(text) if ADDRESS.fullmatch(text) or NUMBER.fullmatch(text) else length(text)


def length(text: str) -> str:
    """How much there is, instead of what."""
    return f"[{len(text)} character{'' if len(text) == 1 else 's'}]" if text else ""


def _key(name: str) -> str:
    return name if IDENTIFIER.fullmatch(name) and not NUMBER.search(name) else length(name)


def _text(value: str, name: str) -> str:
    if _is_harmless(value, name):
        return value
    if ADDRESS.fullmatch(value):
        return address(value)
    if name in SENTENCES:
        return sentence(value)
    return _safe_url(value) if value.startswith(("http://", "https://")) else length(value)


def _is_harmless(value: str, name: str) -> bool:
    if not value or SID.fullmatch(value) or MOMENT.fullmatch(value) or PATH.fullmatch(value):
        return True
    if name in IDENTIFIERS:
        return IDENTIFIER.fullmatch(value) is not None and not NUMBER.search(value)
    is_data = name in DATA or name.endswith("status")
    return is_data and (WORD.fullmatch(value) or AMOUNT.fullmatch(value)) is not None


def _safe_url(value: str) -> str:
    try:
        return url(value)
    except ValueError:
        return length(value)
