"""What the console's pages need of the process, and how they answer."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import orjson
from aiohttp import ClientSession, web

from connector.admin.port import LARGEST_BODY, Refused, note, read_body
from connector.console.feed import Feed
from connector.console.health import Health
from connector.errors import ConnectorError, InvalidRecord, Unavailable
from connector.events import Record
from connector.receiver.receiver import Receiver
from connector.settings import Row, Settings, parse_instant

Json = dict[str, Any]
Item = TypeVar("Item")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BY = "console"
"""Who asked, in what is written to the control topic."""
SHOWN = 200
"""Rows of a list, unless its page asks for more."""
MOST_SHOWN = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleContext:
    """Settings as they are now, the engines, and how to write; `schemas` are those of the commands' parameters."""

    settings: Callable[[], Settings]
    rows: Callable[[], Sequence[Row]]
    problems: Callable[[], Sequence[str]]
    running: Callable[[], Mapping[str, Any]]
    schemas: Callable[[], Mapping[str, Any]]
    publish: Callable[[Sequence[Record]], Awaitable[None]]
    receiver: Receiver | None
    session: ClientSession
    feed: Feed
    health: Health
    needs_token: bool

    @property
    def prefix(self) -> str:
        """What the names of all topics begin with."""
        return self.settings().kafka.topic_prefix


def as_json(document: Any, *, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


def answering(handler: Callable[[web.Request], Awaitable[Any]]) -> Handler:
    """The handler's value as JSON; what it raises on purpose as a sentence."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            found = await handler(request)
        except web.HTTPNotFound:
            return as_json({"error": "There is no such thing here (any more)."}, status=404)
        except Refused as refused:
            note(refused.status, refused.sentence)
            return as_json({"error": refused.sentence}, status=refused.status)
        except Unavailable as error:
            return as_json({"error": str(error)}, status=503)
        except (ConnectorError, ValueError) as error:
            return as_json({"error": str(error)}, status=422)
        return found if isinstance(found, web.StreamResponse) else as_json(found)

    return answer


async def body_of(request: web.Request) -> Json:
    """The request's JSON object. Raises InvalidRecord for what is none, Refused for what does not arrive."""
    raw = await read_body(request, most=LARGEST_BODY)
    try:
        document = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise InvalidRecord("The request is not JSON.") from error
    if not isinstance(document, dict):
        raise InvalidRecord("The request is no JSON object.")
    return document


def moment_of(text: Any) -> datetime:
    """A time of a request. Raises InvalidRecord."""
    try:
        return parse_instant(text)
    except ValueError as error:
        raise InvalidRecord("Give the time as 2026-01-31T00:00:00Z.") from error


def ordered(request: web.Request, rows: Iterable[Item], keys: Mapping[str, Callable[[Item], Any]]) -> list[Item]:
    """The rows in the order that a request asks for: `sort=NAME`, or `sort=-NAME` for the highest first.

    Without it, and among equals, they stay as they are. Raises InvalidRecord.
    """
    given = request.query.get("sort", "")
    if not given:
        return list(rows)
    if given.removeprefix("-") not in keys:
        raise InvalidRecord(f"sort must be one of {', '.join(keys)}, with - in front for the highest first.")
    return sorted(rows, key=keys[given.removeprefix("-")], reverse=given.startswith("-"))


def limit_of(request: web.Request) -> int:
    """How many rows a request asks for. Raises InvalidRecord."""
    text = request.query.get("limit") or str(SHOWN)
    if not text.isascii() or not text.isdecimal() or not 0 < int(text[:6]) <= MOST_SHOWN:
        raise InvalidRecord(f"limit must be a number from 1 to {MOST_SHOWN}.")
    return int(text)
