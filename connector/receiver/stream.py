"""Bodies of Event Streams: CloudEvents that Twilio made, one or an array of them, published untouched. Pure."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from connector.errors import InvalidRecord
from connector.events import STRUCTURED, Headers, Record, timestamp
from connector.receiver.form import IDEMPOTENCY_ATTRIBUTE, NAMES, usable_token

REQUIRED = ("id", "source", "type", "specversion")
_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])AC[0-9a-f]{32}(?![0-9A-Za-z])")
_NAME = re.compile(r"[a-z0-9]{1,40}")
# Extension attributes that only this connector writes.
_OURS = frozenset({"recordedtime", "correlationid", "causationid", "watch", IDEMPOTENCY_ATTRIBUTE})


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are different: of two, one reader takes the first and another one the last."""
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InvalidRecord("An object in the body has one name twice.")
    return document


# The standard library's: it accepts half a surrogate pair, as a text that was cut has, and says where a value ends.
_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_object)


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
    if not isinstance(document, dict | list):
        raise InvalidRecord("The body is neither an event nor an array of events.")
    # Before they are cut: of a stranger's body with thousands of elements the first one that is wrong is enough.
    for number, attributes in enumerate(document if isinstance(document, list) else [document]):
        _check(attributes, number)
    return [Element(document, body)] if isinstance(document, dict) else _slices(document, text)


def accounts(found: Iterable[Element]) -> frozenset[str]:
    """Every account that the events name: in their source, their subject, or as an account in their data."""
    return frozenset(account for element in found for account in _accounts(element.attributes))


def record(element: Element, topic: str, *, recorded: datetime, token: str | None = None) -> Record:
    """Twilio's document as the value, in CloudEvents' structured mode; its attributes as headers as well."""
    headers: Headers = [
        (f"ce_{name}", value.encode(errors="replace"))
        for name, value in element.attributes.items()
        if isinstance(value, str) and name != "data" and name not in _OURS and _NAME.fullmatch(name)
    ]
    headers += [("ce_recordedtime", timestamp(recorded).encode()), ("content-type", STRUCTURED)]
    if usable := usable_token(token):
        headers.append((f"ce_{IDEMPOTENCY_ATTRIBUTE}", usable.encode()))
    return Record(topic, element.attributes["id"].encode(), element.raw, headers)


def _slices(document: list[Any], text: str) -> list[Element]:
    """Cut an array at its elements: writing them anew would change numbers and spaces."""
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
        raise InvalidRecord(f"Event {number} of the body is not a CloudEvent: {missing[0]} is missing or not text.")
    data = attributes.get("data")
    for names in (attributes, data if isinstance(data, dict) else {}):
        if len({NAMES[name] for name in names}) != len(names):
            raise InvalidRecord(f"Event {number} of the body has two names for one field.")
    if any(isinstance(account, list | dict) for account in _named_accounts(attributes)):
        raise InvalidRecord(f"Event {number} of the body names an account that is not text.")


def _is_text(attributes: Any, name: str) -> bool:
    """Whether it is a text that UTF-8 can hold: half a surrogate pair would become another character."""
    value = attributes.get(name) if isinstance(attributes, dict) else None
    return isinstance(value, str) and bool(value) and value == value.encode(errors="replace").decode()


def _accounts(attributes: dict[str, Any]) -> Iterator[str]:
    yield from (account for account in _named_accounts(attributes) if isinstance(account, str))
    for name in ("source", "subject"):
        yield from _ACCOUNT.findall(str(attributes.get(name)))


def _named_accounts(attributes: dict[str, Any]) -> Iterator[Any]:
    """The values of every field that is called an account SID, at any depth; what is empty names none."""
    values: list[Any] = [attributes]
    while values:
        value = values.pop()
        if isinstance(value, list):
            values += value
        elif isinstance(value, dict):
            for name, item in value.items():
                if item and name.replace("_", "").lower() == "accountsid":
                    yield item
                else:
                    values.append(item)
