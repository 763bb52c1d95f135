"""What all owners of this process share: slots, connections, the catalog, and which SIDs are taken."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from connector import telemetry
from connector.errors import ConnectorError, Rejected
from connector.events import Envelope, now
from connector.executor import repeats
from connector.executor.answers import Store
from connector.executor.attempts import Job
from connector.executor.command import (
    FORWARDED,
    SPRING_PARTITION,
    Command,
    LostRecord,
    command_of,
    origin_of,
    partition_of_id,
)
from connector.executor.doubt import alike
from connector.executor.outcome import Outcome
from connector.kafka.ownership import RawRecord
from connector.resources import rows
from connector.resources.models import texts
from connector.resources.parameters import fill_callbacks, parse
from connector.resources.rows import Parameters
from connector.settings import KafkaSettings
from connector.state import journal
from connector.state.claims import Claims
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock

REQUEST_TIMEOUT = timedelta(seconds=10)
LEARNING_SECONDS = 10.0

log = telemetry.logger(__name__)


CallbackUrl = Callable[[str, Command], str]


class ExecutorContext:
    """Shared by the owners.

    `callback_url(kind, command)` is our URL for Twilio; None where Twilio cannot reach us. `names_cause` tells of a
    text whether it holds such a URL: none of a caller's may.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        group: str,
        commands: Mapping[str, rows.Command],
        clients: Mapping[str, TwilioClient],
        callback_url: CallbackUrl | None,
        names_cause: Callable[[str], bool] | None = None,
        store: Store,
        max_in_flight: int,
        settle_time: timedelta,
        resend: bool,
        reply_topics: Sequence[str],
        request_timeout: timedelta = REQUEST_TIMEOUT,
    ) -> None:
        self.kafka = kafka
        self.group = group
        self.prefix = kafka.topic_prefix
        self.envelope: Envelope = kafka.envelope
        self.slots = asyncio.Semaphore(max_in_flight)
        self.settle_time = settle_time
        self.request_timeout = request_timeout
        self.claims = Claims(kafka)
        self.resend = resend
        self.store = store
        self._commands = commands
        self._clients = clients
        self._callback_url = callback_url
        self._names_cause = names_cause
        self._reply_topics = tuple(reply_topics)
        self.topics = {f"{self.prefix}.commands.{name}": name for name in commands}
        self._behind: dict[str, Counter[int]] = {name: Counter() for name in (*commands, FORWARDED)}
        self._misplaced: set[str] = set()
        self._own_clock = TwilioClock("")

    # --- time -----------------------------------------------------------------------------------------------------
    def ahead(self, command: Command) -> float | None:
        """By how many seconds Twilio's clock is ahead of ours, as far as that is known."""
        return self.clock_of(command).ahead

    def clock_of(self, command: Command) -> TwilioClock:
        """Twilio's clock as the command's connection knows it, else any that is known, else ours."""
        client = self._clients.get(command.connection)
        clocks = [client.clock] if client is not None else []
        clocks += [other.clock for other in self._clients.values()]
        return next((clock for clock in clocks if clock.is_known), self._own_clock)

    def now(self) -> datetime:
        """The earlier of Twilio's time, as far as any connection knows it, and ours: no id is forgotten too early."""
        clocks = [client.clock for client in self._clients.values() if client.clock.is_known]
        return min([now(), *(clock.now() for clock in clocks)])

    async def learn_time(self) -> None:
        """Ask Twilio for its time, unless it is known; it is not waited for long."""
        unknown = [client for client in self._clients.values() if not client.clock.is_known]
        with suppress(TimeoutError):
            async with asyncio.timeout(LEARNING_SECONDS):
                await asyncio.gather(*(client.learn_time() for client in unknown))

    def note_behind(self, partition: int, command: str, count: int) -> None:
        """So many commands of a partition are not finished; 0 when it is not ours any more."""
        self._behind[command][partition] = count
        telemetry.COMMAND_LAG.labels(command).set(self._behind[command].total())

    # --- reading --------------------------------------------------------------------------------------------------
    def read(self, record: RawRecord | LostRecord, name: str) -> Command:
        """The command of a record; `name` is that of its topic. One that was sent on names its origin."""
        command = self._read(record, name)
        if isinstance(record, LostRecord):
            return replace(command, id=record.entry.id, explicit=record.entry.explicit, is_gone=True)
        return command

    def _read(self, record: RawRecord | LostRecord, name: str) -> Command:
        origin = origin_of(record.headers, self.topics) if name == FORWARDED else None
        return command_of(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            headers=origin.headers if origin else record.headers,
            milliseconds=origin.milliseconds if origin else record.timestamp,
            command=self.topics[origin.position.topic] if origin else name,
            origin=origin.position if origin else None,
        )

    def note_forwarded(self, command: Command) -> None:
        """Say once for each topic that its commands take a detour, and how they need not."""
        if command.key is not None and command.topic not in self._misplaced:
            self._misplaced.add(command.topic)
            log.warning(
                "commands sent on",
                topic=command.topic,
                reason="Their producer has another partitioner: they are executed in order, after a detour.",
                remedy="partitioner=murmur2_random",
            )

    # --- preparing ------------------------------------------------------------------------------------------------
    def prepare(self, command: Command, refused: Rejected | None = None) -> Job:
        """The job of a command; `refused` is what is wrong with its reply topic.

        Raises Rejected with one sentence when it is not to be sent.
        """
        try:
            return self._job(command, refused)
        except ConnectorError:
            raise
        except Exception as error:
            # Nothing that a caller may write is to stop those behind it.
            log.exception("command unreadable", command=command.command, id=command.id)
            raise Rejected(f"{command.command}: cannot be read ({type(error).__name__}).") from error

    def _job(self, command: Command, refused: Rejected | None) -> Job:
        if command.problem is not None:
            raise Rejected(command.problem)
        expires_at = command.expires_at
        client = self._client(command)
        if refused is not None:
            raise refused
        operation, parameters = parse(self._commands[command.command], command.value)
        self._check_addresses(parameters)
        callback_url = self._callback_url
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
            alike=alike(operation, parameters),
        )

    def _check_addresses(self, parameters: Parameters) -> None:
        """Raise Rejected for an address of ours that would have Twilio sign that another command caused a callback."""
        if self._names_cause is None:
            return
        for name, text in texts(parameters):
            if self._names_cause(text):
                raise Rejected(
                    f"{name} holds an address of the connector's with command, correlation or traceparent: leave them "
                    "out, they are the connector's to set."
                )

    def is_reading(self, command: Command) -> bool:
        """Whether nothing that this command may ask for changes anything."""
        operations = self._commands[command.command].operations.values()
        return all(operation.method == "GET" and operation.repeats is None for operation in operations)

    def _client(self, command: Command) -> TwilioClient:
        client = self._clients.get(command.connection)
        if client is None:
            known = ", ".join(sorted(self._clients))
            raise Rejected(f"header connection: {command.connection[:60]!r} is not configured; known: {known}.")
        return client

    async def replied(self, command: Command, partitions_of: Callable[[str], Awaitable[int]]) -> Command | Rejected:
        """The command, with the partition of its reply where it needs one; or why nothing may be written there.

        Raises Unavailable.
        """
        topic, partition = command.reply_to, command.reply_partition
        if topic is None:
            return command
        if topic.startswith((f"{self.prefix}.", "__")):
            whose = "Kafka" if topic.startswith("__") else "the connector"
            return Rejected(f"header reply-to: topic {topic[:120]!r} is one of {whose}'s own.")
        if not any(fnmatchcase(topic, pattern) for pattern in self._reply_topics):
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

    # --- repeats --------------------------------------------------------------------------------------------------
    async def first_answer(self, command: Command, first: journal.Entry) -> Outcome:
        """The answer to a command whose id was seen before: with the first result's bundles. Raises Unavailable."""
        bundles = await repeats.first_bundles(self.kafka, command, first)
        return Outcome("duplicate", bundles=bundles, sid=first.sid)
