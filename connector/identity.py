"""What identifies: ids, keys and headers are bytes, and become text without loss. Pure."""

import re
from collections.abc import Iterable
from uuid import UUID

UUID_BYTES = 16
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def text_of(raw: bytes) -> str | None:
    """The bytes as text; None when they are not UTF-8 or hold control characters."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return None if _CONTROL.search(text) else text


def identity(raw: bytes) -> str:
    """Text that stands for these bytes and for no others that are not text themselves.

    Text stays as it is. Sixteen other bytes are written as a UUID, as Spring's correlation ids are; all others, such as
    the numbers of Java's LongSerializer, in hexadecimal.
    """
    text = text_of(raw)
    if text is not None:
        return text
    return str(UUID(bytes=raw)) if len(raw) == UUID_BYTES else raw.hex()


def shown(raw: bytes, longest: int = 60) -> str:
    """The beginning of these bytes for a sentence, quoted and escaped."""
    text = text_of(raw)
    beginning = repr(raw[:longest] if text is None else text[:longest])
    return beginning if len(raw if text is None else text) <= longest else f"{beginning}…"


def by_name(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    """The headers by name: of one name the last counts, as in Kafka's own clients. Null is empty."""
    return {name: raw or b"" for name, raw in headers}


def texts(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """The same as text."""
    return {name: identity(raw or b"") for name, raw in headers}
