"""A command's job: what is asked of Twilio, or in one sentence why nothing is; and what its answer becomes in a result.

Most operations are one request: its response becomes a portion of bundles (`ANSWERED`). Lists and downloads are walked
(`WALKED`), in portions that fit a record.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from pydantic import ValidationError

from connector.errors import ConnectorError, NotExecuted, Rejected, Unreadable
from connector.events import Record
from connector.executor import finishing
from connector.executor.command import SPRING_PARTITION, Command, partition_of_id
from connector.executor.outcome import RECORD_BYTES, Outcome, left_out, pages_of
from connector.privacy import SID
from connector.resources.commands import Operation, parse
from connector.resources.fields import Writer
from connector.resources.models import texts
from connector.resources.rows import Bundle, Parameters, Request
from connector.telemetry.logs import logger
from connector.twilio.client import TwilioClient
from connector.twilio.paging import Page, pages
from connector.twilio.wire import Response, decode

if TYPE_CHECKING:
    from connector.executor.context import ExecutorContext
    from connector.executor.execution import Execution

log = logger(__name__)

# An address with parameters has one of these, however it is escaped.
PERHAPS_ADDRESS = re.compile(rb"[=%&\\]|[^\x00-\x7f]")
# A list that takes longer does not end.
LIST_SECONDS = 1800.0
# Bundles of a list that are held back, so that nearly every list becomes visible as a whole.
HELD_BYTES = 2 * 1024 * 1024
# So many of the rows that are left out are named.
NAMED = 20


@dataclass(frozen=True, slots=True)
class Job:
    """Operation, parameters, connection and request of a command; `alike` is what Twilio's list would tell apart."""

    command: Command
    operation: Operation
    parameters: Parameters
    client: TwilioClient
    request: Request
    expires_at: datetime | None
    repeatable: bool
    alike: str


def prepare(context: "ExecutorContext", command: Command, refused: Rejected | None = None) -> Job:
    """The job of a command; `refused` is what is wrong with its reply topic.

    Raises Rejected with one sentence when it is not to be sent.
    """
    try:
        return _job(context, command, refused)
    except ConnectorError:
        raise
    except Exception as error:
        # Nothing that a caller may write is to stop those behind it.
        log.exception("command unreadable", command=command.command, id=command.id)
        raise Rejected(f"{command.command}: cannot be read ({type(error).__name__}).") from error


def _job(context: "ExecutorContext", command: Command, refused: Rejected | None) -> Job:
    if command.problem is not None:
        raise Rejected(command.problem)
    expires_at = command.expires_at if command.expires_text else None
    client = context.clients.get(command.connection)
    if client is None:
        known = ", ".join(sorted(context.clients))
        raise Rejected(f"header connection: {command.connection[:60]!r} is not configured; known: {known}.")
    if refused is not None:
        raise refused
    operation, parameters = parse(context.commands[command.command], command.value)
    if context.names_cause is not None and PERHAPS_ADDRESS.search(command.value or b""):
        # It would have Twilio sign that another command caused a callback.
        name = next((name for name, text in texts(parameters) if context.names_cause(text)), None)
        if name is not None:
            raise Rejected(
                f"{name} holds an address of the connector's with command, correlation or traceparent: leave them out, "
                "they are the connector's to set."
            )
    callback_url = context.callback_url
    if callback_url is not None:
        parameters = operation.fill_callbacks(parameters, lambda kind: callback_url(kind, command))
    return Job(
        command=command,
        operation=operation,
        parameters=parameters,
        client=client,
        request=operation.request(parameters),
        expires_at=expires_at,
        repeatable=operation.may_repeat(parameters),
        alike=operation.fingerprint(parameters),
    )


async def replied(
    context: "ExecutorContext", command: Command, partitions_of: Callable[[str], Awaitable[int]]
) -> Command | Rejected:
    """The command, with the partition of its reply where it needs one; or why nothing may be written there.

    Raises Unavailable.
    """
    topic, partition = command.reply_to, command.reply_partition
    if topic is None:
        return command
    if topic.startswith((f"{context.prefix}.", "__")):
        whose = "Kafka" if topic.startswith("__") else "the connector"
        return Rejected(f"header reply-to: topic {topic[:120]!r} is one of {whose}'s own.")
    if not any(fnmatchcase(topic, pattern) for pattern in context.reply_topics):
        return Rejected(
            f"header reply-to: topic {topic[:120]!r} is not allowed; add a pattern to commands.reply_topics."
        )
    # A record for a topic that does not exist would end the transaction of everybody.
    count = await partitions_of(topic)
    if not count:
        return Rejected(f"header reply-to: topic {topic[:120]!r} does not exist.")
    if partition is not None and partition >= count:
        return Rejected(f"header {SPRING_PARTITION}: topic {topic[:120]!r} has {count} partitions, from 0.")
    # Without a key each page of a list would lie in a partition of its own.
    is_scattered = partition is None and command.key is None
    return replace(command, reply_partition=partition_of_id(command.id, count)) if is_scattered else command


def is_reading(context: "ExecutorContext", command: Command) -> bool:
    """Whether nothing that this command may ask for changes anything."""
    operations = context.commands[command.command].operations.values()
    return all(operation.method == "GET" and operation.repeats is None for operation in operations)


# --- the answer --------------------------------------------------------------------------------------------------
class MediaSink(Protocol):
    """Takes the chunks of a large file."""

    async def write(self, chunks: AsyncIterator[Record]) -> int:
        """Write all or none; returns how many. Raises NotExecuted."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Bundles of one result record, as JSON; `sid` is that of the only one.

    `missing` counts Twilio's rows that are left out, `left_out` says of the first ones which they are, and why.
    """

    bundles: Sequence[bytes]
    request_id: str | None = None
    sid: str | None = None
    left_out: Sequence[str] = ()
    missing: int = 0


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of an operation whose answer is walked.

    `store` takes media, through `media` where it is a topic; `timeout_seconds` bounds a request, `within_seconds` all
    pages of a list.
    """

    client: TwilioClient
    operation: Operation
    parameters: Parameters
    request: Request
    store: "Store"
    media: MediaSink
    timeout_seconds: float
    within_seconds: float = LIST_SECONDS


Store = Callable[[Call], AsyncIterator[bytes]]


def succeeded(client: TwilioClient, portion: Portion, *, page: int = 0) -> Outcome:
    """The outcome of which this is the answer, or a page of it."""
    return Outcome(
        "succeeded",
        bundles=portion.bundles,
        error=left_out(portion.left_out, portion.missing) if portion.missing else None,
        request_id=portion.request_id,
        sid=portion.sid,
        account_sid=client.account_sid,
        page=page,
    )


def fitted(model: type[Bundle] | None, row: Any) -> tuple[bytes | None, str]:
    """A row as it is published; or None, and which row does not fit its bundle, and where."""
    if not isinstance(row, dict):
        return None, "something that is not an object"
    try:
        return orjson.dumps(row) if model is None else Writer.of(model).write(row), ""
    except ValidationError as error:
        mistakes = error.errors(include_url=False, include_context=False, include_input=False)
        fields = dict.fromkeys(str(item["loc"][0]) for item in mistakes if item["loc"])
        return None, f"{sid_of(row) or 'a row'} does not fit its schema ({', '.join(fields)})"


def sid_of(row: object) -> str | None:
    """The SID of one of Twilio's rows."""
    sid = row.get("sid") if isinstance(row, dict) else None
    return sid if isinstance(sid, str) and SID.fullmatch(sid) else None


def portion_of(model: type[Bundle] | None, row: Any, *, request_id: str | None = None) -> Portion:
    """The only row of an answer. Without a bundle it is left out, and named."""
    bundle, problem = fitted(model, row)
    if bundle is None:
        return Portion((), request_id, sid_of(row), (problem,), missing=1)
    return Portion((bundle,), request_id, sid_of(row))


def _one(client: TwilioClient, operation: Operation, parameters: Parameters, response: Response) -> Portion:
    """Reading is repeated when nothing usable is answered; what changes something is done when a SID shows it."""
    row, request_id = response.json(), response.request_id
    portion = portion_of(operation.bundle, row, request_id=request_id)
    asked = getattr(parameters, "sid", None)
    if portion.left_out and (operation.method == "GET" or portion.sid is None):
        raise _unusable(response, ", ".join(portion.left_out))
    if portion.sid is None or portion.sid == client.account_sid:
        raise _unusable(response, "an object without a SID of its own")
    if asked is not None and portion.sid != asked:
        raise _unusable(response, f"{portion.sid} instead of {asked}")
    return portion


def _unusable(response: Response, problem: str) -> Unreadable:
    sentence = f"Twilio answered {response.status} with {problem}."
    return Unreadable(sentence, status=response.status, request_id=response.request_id)


def _none(_client: TwilioClient, _operation: Operation, _parameters: Parameters, response: Response) -> Portion:
    """Deleting is answered with nothing, or with an object; a page of a gateway's shows nothing."""
    if not isinstance(response.json(), dict | None):
        raise _unusable(response, "something that is not an object")
    return Portion((), response.request_id)


def _raw(_client: TwilioClient, _operation: Operation, _parameters: Parameters, response: Response) -> Portion:
    # What no record holds is left out later: it need not be read.
    body = response.body if len(response.body) > RECORD_BYTES else as_json(response.body)
    return Portion((body,) if response.body else (), response.request_id)


def as_json(body: bytes) -> bytes:
    """A body as it is when it is JSON, else as a JSON text."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return _lenient(body)
    return body


def _lenient(body: bytes) -> bytes:
    """JSON with an oddity, such as half of a surrogate pair, without it; anything else as a text."""
    try:
        return orjson.dumps(decode(body))
    except ValueError:
        return orjson.dumps(body.decode(errors="replace"))


async def _many(call: Call) -> AsyncGenerator[Portion, None]:
    limit = getattr(call.parameters, "limit", None)
    left = limit if limit is not None else float("inf")
    held: list[bytes] = []
    left_out: list[str] = []
    missing = 0
    walk = pages(
        call.client,
        call.request,
        items=call.operation.items,
        timeout_seconds=call.timeout_seconds,
        until=asyncio.get_running_loop().time() + call.within_seconds,
    )
    async with aclosing(walk):
        async for page in walk:
            bundles, problems = _written(call.operation.bundle, (*_until(page, left), *page.odd))
            held += bundles
            missing += len(problems)
            left_out += problems[: NAMED - len(left_out)]
            left -= len(page.rows)
            *full, held = pages_of(held)
            for found in full:
                yield Portion(found)
            if left <= 0:
                break
    yield Portion(held, left_out=left_out, missing=missing)


def _written(model: type[Bundle] | None, rows: Iterable[Any]) -> tuple[list[bytes], list[str]]:
    """The rows as published, and why others are left out."""
    bundles: list[bytes] = []
    problems: list[str] = []
    for row in rows:
        bundle, problem = fitted(model, row)
        if bundle is None:
            problems.append(problem)
        elif len(bundle) > RECORD_BYTES:
            problems.append(f"{sid_of(row) or 'a row'} has {len(bundle)} bytes, a record holds {RECORD_BYTES}")
        else:
            bundles.append(bundle)
    return bundles, problems


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
    status = found.get(ready.status) if isinstance(found, dict) else None
    if not isinstance(status, str):
        raise Unreadable("Twilio answered to the question for the resource's state without one.")
    if status in ready.pending:
        raise NotExecuted(f"The resource is still {status}.")


ANSWERED: dict[str, Callable[[TwilioClient, Operation, Parameters, Response], Portion]] = {
    "one": _one,
    "none": _none,
    "raw": _raw,
}
"""What the response to a request becomes, by the shape of the operation's answer. Raises Unreadable."""

WALKED: dict[str, Callable[[Call], AsyncGenerator[Portion, None]]] = {"many": _many, "binary": _binary}
"""Answers that take more than one request, or are streamed. Raises TwilioError, before or between portions."""


async def walked(execution: "Execution", job: Job, *, timeout_seconds: float, left: float | None) -> list[Outcome]:
    """The outcomes of a list or a download, for which so many seconds are `left` (None: as long as it takes).

    Those that are not returned were written: a long list's first pages. A list that begins anew writes its pages anew;
    the later page of a number counts. Raises TwilioError.
    """
    call = Call(
        client=job.client,
        operation=job.operation,
        parameters=job.parameters,
        request=job.request,
        store=execution.context.store,
        media=execution.owner.media,
        timeout_seconds=timeout_seconds,
        within_seconds=LIST_SECONDS if left is None else min(LIST_SECONDS, left),
    )
    held: list[Outcome] = []
    page = size = 0
    async with aclosing(WALKED[job.operation.answer](call)) as found:
        async for portion in found:
            held.append(succeeded(job.client, portion, page=page))
            page += 1
            size += sum(map(len, portion.bundles))
            if size > HELD_BYTES and len(held) > 1:
                *pages, last = held
                await finishing.write_pages(execution, pages)
                held, size = [last], sum(map(len, last.bundles))
    return held or [succeeded(job.client, Portion(()))]
