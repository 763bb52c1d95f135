"""Bodies of Event Streams: CloudEvents that Twilio made, one or an array of them, published untouched. Pure."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.errors import InvalidRecord
from connector.events import STRUCTURED, Headers, Record, timestamp

REQUIRED = ("id", "source", "type", "specversion")
_ACCOUNT_IN_SOURCE = re.compile(r"/Accounts/(AC[0-9a-f]{32})(?:[/.?]|$)")
_NAME = re.compile(r"[a-z0-9]{1,40}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# The standard library's: it accepts half a surrogate pair, as a text that was cut has, and says where a value ends.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


@dataclass(frozen=True, slots=True)
class Element:
    """One event: read, and as the bytes that Twilio wrote."""

    attributes: dict[str, Any] = field(repr=False)
    raw: bytes = field(repr=False)


def elements(body: bytes) -> list[Element]:
    """The events of a body in their order.

    Raises InvalidRecord when it is no JSON, or one of them is no CloudEvent.
    """
    try:
        text = body.decode()
        document = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise InvalidRecord("The body is not JSON.") from None
    found = [Element(document, body)] if isinstance(document, dict) else _slices(document, text)
    for number, element in enumerate(found):
        _check(element.attributes, number)
    return found


def accounts(found: Iterable[Element]) -> frozenset[str]:
    """The accounts that the events say they belong to: by their data, else by their source."""
    return frozenset(account for element in found if (account := _account(element.attributes)))


def record(element: Element, topic: str, *, recorded: datetime) -> Record:
    """Twilio's document as the value, in CloudEvents' structured mode; its attributes as headers as well."""
    headers: Headers = [
        (f"ce_{name}", value.encode(errors="replace"))
        for name, value in element.attributes.items()
        if isinstance(value, str) and name != "data" and _NAME.fullmatch(name)
    ]
    headers += [("ce_recordedtime", timestamp(recorded).encode()), ("content-type", STRUCTURED)]
    return Record(topic, element.attributes["id"].encode(errors="replace"), element.raw, headers)


def _slices(document: Any, text: str) -> list[Element]:
    """Cut an array at its elements: writing them anew would change numbers and spaces."""
    if not isinstance(document, list):
        raise InvalidRecord("The body is neither an event nor an array of events.")
    position = text.index("[") + 1
    found = []
    for attributes in document:
        while text[position] in " \t\r\n,":
            position += 1
        _, end = _DECODER.raw_decode(text, position)
        found.append(Element(attributes, text[position:end].encode()))
        position = end
    return found


def _check(attributes: Any, number: int) -> None:
    missing = [name for name in REQUIRED if not _is_text(attributes, name)]
    if missing:
        raise InvalidRecord(f"Event {number} of the body is no CloudEvent: {missing[0]} is missing.")


def _is_text(attributes: Any, name: str) -> bool:
    return isinstance(attributes, dict) and isinstance(attributes.get(name), str) and bool(attributes[name])


def _account(attributes: dict[str, Any]) -> str | None:
    data = attributes.get("data")
    named = data.get("accountSid") or data.get("account_sid") if isinstance(data, dict) else None
    if isinstance(named, str):
        return named
    found = _ACCOUNT_IN_SOURCE.search(attributes["source"])
    return found[1] if found else None
