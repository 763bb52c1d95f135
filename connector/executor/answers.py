"""What Twilio's answer becomes in a result: bundles in portions that fit a record, one way for each shape of answer."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from connector.errors import NotExecuted
from connector.events import Record
from connector.executor.results import pages_of
from connector.resources.rows import Bundle, Operation, Parameters, Request
from connector.resources.writing import Writer
from connector.twilio.answers import Response
from connector.twilio.client import MayWrite, TwilioClient
from connector.twilio.paging import Page, pages


class MediaSink(Protocol):
    """Takes the chunks of a large file."""

    async def write(self, chunks: AsyncIterator[Record]) -> int:
        """Write all or none; returns how many. Raises NotExecuted."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Bundles of one result record, as JSON."""

    bundles: Sequence[bytes]
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of an operation.

    `store` takes media, through `media` where it is a topic; `timeout_seconds` bounds a request; `may_write` is asked
    directly before a create goes out.
    """

    client: TwilioClient
    operation: Operation
    parameters: Parameters
    request: Request
    store: "Store"
    media: MediaSink
    timeout_seconds: float
    may_write: MayWrite | None = None

    async def response(self) -> Response:
        """The response to the request as it is. Raises TwilioError."""
        return await self.client.send(self.request, timeout_seconds=self.timeout_seconds, may_write=self.may_write)


Store = Callable[[Call], AsyncIterator[bytes]]


def bundle_bytes(model: type[Bundle] | None, row: Any) -> bytes:
    """A row as published; one that does not fit the model is passed on as it came."""
    if model is None:
        return orjson.dumps(row)
    try:
        return Writer.of(model).write(row)
    except ValidationError:
        return orjson.dumps(row)


async def _one(call: Call) -> AsyncGenerator[Portion, None]:
    response = await call.response()
    yield Portion((bundle_bytes(call.operation.bundle, response.json()),), response.request_id)


async def _none(call: Call) -> AsyncGenerator[Portion, None]:
    yield Portion((), (await call.response()).request_id)


async def _raw(call: Call) -> AsyncGenerator[Portion, None]:
    response = await call.response()
    yield Portion((as_json(response.body),) if response.body else (), response.request_id)


def as_json(body: bytes) -> bytes:
    """A body as it is when it is JSON, else as a JSON text."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.dumps(body.decode(errors="replace"))
    return body


async def _many(call: Call) -> AsyncGenerator[Portion, None]:
    limit = getattr(call.parameters, "limit", None)
    left = limit if limit is not None else float("inf")
    held: list[bytes] = []
    walk = pages(call.client, call.request, items=call.operation.items, timeout_seconds=call.timeout_seconds)
    async with aclosing(walk):
        async for page in walk:
            held += [bundle_bytes(call.operation.bundle, row) for row in _until(page, left)]
            left -= len(page.rows)
            *full, held = pages_of(held)
            for bundles in full:
                yield Portion(bundles)
            if left <= 0:
                break
    yield Portion(held)


def _until(page: Page, left: float) -> Sequence[Any]:
    return page.rows if left >= len(page.rows) else page.rows[: int(left)]


async def _binary(call: Call) -> AsyncGenerator[Portion, None]:
    if call.operation.ready is not None:
        await _until_ready(call)
    async for bundle in call.store(call):
        yield Portion((bundle,))


async def _until_ready(call: Call) -> None:
    """Raise NotExecuted while the resource is in a state in which the operation makes no sense yet."""
    ready = call.operation.ready
    if ready is None:
        return
    path = ready.path.replace("{sid}", str(getattr(call.parameters, "sid", "")))
    request = Request(method="GET", path=path, host=call.operation.host, operation="FetchState")
    found = (await call.client.send(request, timeout_seconds=call.timeout_seconds)).json()
    if found.get(ready.status) in ready.pending:
        raise NotExecuted(f"The resource is still {found[ready.status]}.")


# Every request of such an answer waits for its turn by itself.
WALKED = frozenset({"many"})

SHAPES: dict[str, Callable[[Call], AsyncGenerator[Portion, None]]] = {
    "one": _one,
    "many": _many,
    "none": _none,
    "raw": _raw,
    "binary": _binary,
}


def portions(call: Call) -> AsyncGenerator[Portion, None]:
    """Make the call. Raises TwilioError, before or between portions."""
    return SHAPES[call.operation.answer](call)
