"""The XML that the 2010 API answers when `.json` is forgotten (Twilio, usage/twilios-response)."""

from typing import Any
from xml.sax.saxutils import escape


def render(name: str, body: Any) -> bytes:
    """Write a JSON value as `<TwilioResponse>` with CamelCase elements."""
    inner = _children(body) if name in {"", "TwilioResponse"} else _element(name, body)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<TwilioResponse>{inner}</TwilioResponse>'.encode()


def _element(name: str, value: Any) -> str:
    return f"<{name}>{_children(value)}</{name}>"


def _children(value: Any) -> str:
    match value:
        case dict():
            return "".join(_element(_camel(name), child) for name, child in value.items())
        case list():
            return "".join(_element("Item", child) for child in value)
        case None:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return escape(str(value))


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
