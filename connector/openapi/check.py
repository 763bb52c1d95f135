"""Whether a request fits Twilio's documents: method, path, and every parameter. Pure.

Each mistake is the field of the request that it is about and a sentence that follows it: `query` `has no Too, …`. None
quotes what a parameter holds.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from connector.openapi.documents import Operation, Values, document
from connector.openapi.paths import Place, find, nearest_path, other_host
from connector.openapi.values import mistake, nearest

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
# What is shown of an unknown name; another one may be content that has come to the wrong place.
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}[<>]?")

Given = Mapping[str, Any]


class Request(NamedTuple):
    """A request as a caller writes it: names and JSON values in `query` and `body`, or the text of a body."""

    host: str
    method: str
    url: str
    query: Given
    headers: Mapping[str, str]
    body: Given | str | None


class Mistake(NamedTuple):
    """What is wrong: with which field, and a sentence that follows its name."""

    field: str
    sentence: str


def mistakes(request: Request) -> Iterator[Mistake]:
    """Everything that Twilio's documents do not allow, the path first; what follows from a wrong path is not told."""
    path, _, text = request.url.partition("?")
    place = find(request.host, request.method, path)
    if place is None:
        yield Mistake("url", _unknown_path(request, path))
        return
    yield from (Mistake("url", sentence) for sentence in place.mistakes(request.method))
    operation = place.operations.get(request.method)
    if operation is None:
        yield Mistake("method", _unknown_method(place))
        return
    query = _joined(parse_qsl(text, keep_blank_values=True), request.query)
    yield from _of_names("query", query, operation.query, operation, elsewhere={"body": operation.fields})
    yield from _of_headers(request.headers, operation)
    yield from _of_body(request, operation)


def _unknown_path(request: Request, path: str) -> str:
    host = request.host
    if not document(host).operations:
        return f"cannot be checked: no document of {host} comes along"
    if other := other_host(request.method, path):
        return f"is a path of {other}: give host {other}"
    meant = nearest_path(host, path)
    return f"is not a path that Twilio documents for {host}" + (f", did you mean {meant}?" if meant else "")


def _unknown_method(place: Place) -> str:
    return f"must be {' or '.join(place.operations)} at {place.template}"


def _joined(pairs: list[tuple[str, str]], given: Given) -> dict[str, Any]:
    """The names of a query and of an object; what is given several times is a list."""
    found: dict[str, list[Any]] = {}
    for name, value in chain(pairs, ((name, value) for name, value in given.items() if value is not None)):
        found.setdefault(name, []).extend(value if isinstance(value, list) and name in found else [value])
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _of_names(
    field: str, given: Given, known: Values, operation: Operation, *, elsewhere: Mapping[str, Values]
) -> Iterator[Mistake]:
    for name, value in given.items():
        if name not in known:
            yield Mistake(field, _unknown_name(name, known, operation, elsewhere))
        elif value is not None and (wrong := mistake(value, known[name])):
            yield Mistake(field, f"has a wrong {name}: {wrong}")
    present = {name for name, value in given.items() if _is_sent(value)}
    yield from (Mistake(field, f"lacks {name}") for name in known if name in operation.required - present)
    for group in operation.groups:
        if known.keys() >= set(group) and not any(name in present and given[name] for name in group):
            yield Mistake(field, f"needs {' or '.join(group)}")


def _is_sent(value: Any) -> bool:
    """Whether anything of a value goes out: null is left out, in a list as well."""
    return any(item is not None for item in value) if isinstance(value, list) else value is not None


def _unknown_name(name: str, known: Values, operation: Operation, elsewhere: Mapping[str, Values]) -> str:
    shown = name if NAME.fullmatch(name) else "a name"
    if place := next((place for place, names in elsewhere.items() if name in names), None):
        return f"has {shown}, which belongs into {place}"
    meant = nearest(name, known)
    return f"has {shown}, which {operation.name} does not know" + (f", did you mean {meant}?" if meant else "")


def _of_headers(headers: Mapping[str, str], operation: Operation) -> Iterator[Mistake]:
    known = {name.lower(): name for name in operation.headers}
    for name, value in headers.items():
        spec = operation.headers.get(known.get(name.lower(), ""), {})
        if wrong := mistake(value, spec):
            yield Mistake("headers", f"has a wrong {known[name.lower()]}: {wrong}")


def _of_body(request: Request, operation: Operation) -> Iterator[Mistake]:
    body = request.body or {}
    kind = next((value for name, value in request.headers.items() if name.lower() == "content-type"), "")
    kind = kind.partition(";")[0].strip().lower()
    match operation.body:
        case "form":
            if kind not in ("", FORM):
                yield Mistake("headers", f"has a wrong content-type: {operation.name} takes a form, {FORM}")
                return
            given = body if isinstance(body, Mapping) else _joined(parse_qsl(body, keep_blank_values=True), {})
        case "json":
            found = _json(body) if isinstance(body, str) and kind == JSON else None
            if found is None:
                yield Mistake("body", f"must be the text of a JSON object, with the header content-type {JSON}")
                return
            given = found
        case _:
            if body:
                yield Mistake("body", f"is not taken by {request.method} {operation.path}: leave it out")
            return
    yield from _of_names("body", given, operation.fields, operation, elsewhere={"query": operation.query})


def _json(text: str) -> Given | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
