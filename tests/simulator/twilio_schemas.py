"""Twilio's own response schemas as an oracle: strict, with formats; see tests/contract/twilio_openapi.json."""

import json
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs

EXTRACT = Path(__file__).parents[1] / "contract" / "twilio_openapi.json"
SUCCESS = range(200, 300)


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(EXTRACT.read_text())
    return loaded


@cache
def operations() -> dict[str, tuple[str, re.Pattern[str], dict[str, Any]]]:
    """Return method, path pattern and responses by operationId."""
    found = {}
    for path, methods in document()["paths"].items():
        pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
        for method, operation in methods.items():
            if method != "servers":
                found[operation["operationId"]] = (method.upper(), pattern, operation["responses"])
    return found


def check_answer(method: str, url: str, status: int, text: str) -> str:
    """Check an answer against its operation's schema; returns the operationId, or nothing for errors."""
    if status not in SUCCESS:
        return ""
    path = urlsplit(url).path
    name = next(
        n for n, (verb, pattern, _) in operations().items() if verb == method.upper() and pattern.fullmatch(path)
    )
    responses = operations()[name][2]
    assert str(status) in responses, f"{name} answers {status}, Twilio {sorted(responses)}"
    if "content" in responses[str(status)]:
        validator(name, str(status)).validate(json.loads(text))
    else:
        assert not text, f"{name} answers {status} with a body"
    return name


@cache
def validator(operation: str, status: str) -> Any:
    """Return the strict validator of one answer."""
    schema = operations()[operation][2][status]["content"]["application/json"]["schema"]
    whole = _strict(schema) | {"components": {"schemas": _components()}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True, formats=FORMATS)


@cache
def _components() -> dict[str, Any]:
    return {name: _strict(schema) for name, schema in document()["components"]["schemas"].items()}


def _strict(schema: Any) -> Any:
    """Turn OpenAPI 3.0 into JSON Schema, with every declared property required and no other allowed."""
    if not isinstance(schema, dict):
        return schema
    # As in Twilio's own examples: what a lookup was not asked for is null, and so is what did not go wrong.
    if schema.get("$ref", "").endswith("Info"):
        return {"anyOf": [schema, {"type": "null"}]}
    made = {key: _strict_value(key, value) for key, value in schema.items() if key != "nullable"}
    if "properties" in made:
        made |= {"required": list(made["properties"]), "additionalProperties": False}
    return {"anyOf": [made, {"type": "null"}]} if schema.get("nullable") else made


def _strict_value(key: str, value: Any) -> Any:
    if key == "properties":
        return {
            name: _strict(child | ({"nullable": True} if name == "error_code" else {})) for name, child in value.items()
        }
    if key in {"oneOf", "anyOf", "allOf"}:
        return [_strict(child) for child in value]
    return _strict(value)


def _is_rfc2822(value: str) -> bool:
    return re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} [+-]\d{4}", value) is not None and bool(
        parsedate_to_datetime(value)
    )


def _is_iso(value: str) -> bool:
    return bool(datetime.fromisoformat(value)) and value.endswith("Z")


FORMATS = {
    "date-time-rfc-2822": _is_rfc2822,
    "date-time": _is_iso,
    # as in Twilio's own examples: paging links of the 2010 API are relative, unset URLs of numbers are empty
    "uri": lambda value: value.startswith(("http://", "https://", "/")) or not value,
    "phone-number": lambda value: not value or re.fullmatch(r"(\w+:)?\+?[\w .-]+", value) is not None,
    "http-method": lambda value: value in {"GET", "POST"},
    "currency": lambda value: re.fullmatch(r"[A-Za-z]{3}", value) is not None,
}
