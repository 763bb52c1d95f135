"""A command's job: what is to be sent, or in one sentence why it is not."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from connector import telemetry
from connector.errors import ConnectorError, Rejected
from connector.executor.command import SPRING_PARTITION, Command, partition_of_id
from connector.resources.models import texts
from connector.resources.parameters import fill_callbacks, parse
from connector.resources.rows import Operation, Parameters, Request
from connector.twilio.client import TwilioClient

if TYPE_CHECKING:
    from connector.executor.context import ExecutorContext

log = telemetry.logger(__name__)

# An address with parameters has one of these, however it is escaped.
PERHAPS_ADDRESS = re.compile(rb"[=%&\\]|[^\x00-\x7f]")


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
        parameters = fill_callbacks(operation, parameters, lambda kind: callback_url(kind, command))
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
