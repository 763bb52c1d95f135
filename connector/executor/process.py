"""What all owners of this process share: slots, connections, the catalog, and which SIDs are taken."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import NamedTuple

from connector import telemetry
from connector.errors import ConnectorError, Rejected
from connector.events import Envelope, now
from connector.executor import forwarding, reconcile, repeats
from connector.executor.answers import Store
from connector.executor.doubt import of_predecessor
from connector.executor.job import Job
from connector.executor.lost_records import LostRecord
from connector.executor.pending import SPRING_PARTITION, Pending, pending
from connector.executor.results import Answer
from connector.kafka import journal
from connector.kafka.claims import Claims, Seen
from connector.kafka.ownership import RawRecord
from connector.resources.models import texts
from connector.resources.parameters import fill_callbacks, parse
from connector.resources.rows import Command, Parameters
from connector.settings import KafkaSettings
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock

REQUEST_TIMEOUT = timedelta(seconds=10)
LEARNING_SECONDS = 10.0

log = telemetry.logger(__name__)

# How long an attempt that was written down may take to begin. A successor waits this and the request's timeout before
# it concludes anything.
LEASE = timedelta(seconds=2)

CallbackUrl = Callable[[str, Pending], str]


class Look(NamedTuple):
    """What was found; `decided` tells whether another look could find more."""

    row: reconcile.Row | None
    decided: bool


class Process:
    """Shared by the owners.

    `callback_url(kind, command)` is our URL for Twilio; None where Twilio cannot reach us. `names_cause` tells of a
    text whether it holds such a URL: none of a caller's may.
    """

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        group: str,
        commands: Mapping[str, Command],
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
        self._behind: dict[str, Counter[int]] = {name: Counter() for name in (*commands, forwarding.NAME)}
        self._misplaced: set[str] = set()
        self._own_clock = TwilioClock("")

    # --- time -----------------------------------------------------------------------------------------------------
    def clock_of(self, command: Pending) -> TwilioClock:
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
    def read(self, record: RawRecord | LostRecord, name: str) -> Pending:
        """The command of a record; `name` is that of its topic. One that was sent on names its origin."""
        command = self._read(record, name)
        if isinstance(record, LostRecord):
            return replace(command, id=record.entry.id, explicit=record.entry.explicit, is_gone=True)
        return command

    def _read(self, record: RawRecord | LostRecord, name: str) -> Pending:
        origin = forwarding.origin_of(record.headers, self.topics) if name == forwarding.NAME else None
        return pending(
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

    def note_forwarded(self, command: Pending) -> None:
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
    def prepare(self, command: Pending, refused: Rejected | None = None) -> Job:
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

    def _job(self, command: Pending, refused: Rejected | None) -> Job:
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
            alike=reconcile.alike(operation, parameters),
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

    def is_reading(self, command: Pending) -> bool:
        """Whether nothing that this command may ask for changes anything."""
        operations = self._commands[command.command].operations.values()
        return all(operation.method == "GET" and operation.repeats is None for operation in operations)

    def _client(self, command: Pending) -> TwilioClient:
        client = self._clients.get(command.connection)
        if client is None:
            known = ", ".join(sorted(self._clients))
            raise Rejected(f"header connection: {command.connection[:60]!r} is not configured; known: {known}.")
        return client

    async def refused_reply(self, command: Pending, partitions_of: Callable[[str], Awaitable[int]]) -> Rejected | None:
        """Why nothing may be written to the reply topic that the command names, if it names one. Raises Unavailable."""
        topic, partition = command.reply_to, command.reply_partition
        if topic is None:
            return None
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
        return None

    # --- in doubt -------------------------------------------------------------------------------------------------
    async def look(self, job: Job, attempted_at: datetime, *, final: bool) -> Look:
        """What Twilio's list shows now of what an attempt may have made.

        What is found may belong to another command that looks alike: as long as one of those is under way its answer is
        waited for, and one that is in doubt as well until the look is `final`. Raises TwilioError, Unavailable.
        """
        latest = attempted_at + LEASE + self.request_timeout + self.settle_time
        found = await reconcile.candidates(
            job.client, job.operation, job.parameters, since=attempted_at - reconcile.SKEW, until=latest
        )
        if not found:
            return Look(None, decided=final)
        me = job.command.position
        # After the list: the command that made what it shows has written its attempt down before.
        view = await self.claims.view(attempted_at)
        others = {place: one for place, one in view.others(me, job.alike).items() if one.entry.moment <= latest}
        if any(self._may_be_under_way(one, job.client.clock) for one in others.values()) or (others and not final):
            return Look(None, decided=False)
        # By what the journals say of both, so that the others' owners count alike.
        mine = view.attempts[me].entry.moment if me in view.attempts else attempted_at
        before = sum((one.entry.moment, place) < (mine, me) for place, one in others.items())
        return Look(reconcile.choose(found, claimed=view.taken(me), rank=before), decided=final)

    def _may_be_under_way(self, attempt: Seen, clock: TwilioClock) -> bool:
        """Whether another command's open attempt may still get its answer: it was made before it was seen here."""
        whole = LEASE + self.request_timeout
        return of_predecessor(attempt.entry, fenced=attempt.seen, whole=whole).seconds_left(clock) > 0

    # --- repeats --------------------------------------------------------------------------------------------------
    async def first_answer(self, command: Pending, first: journal.Entry) -> Answer:
        """The answer to a command whose id was seen before: with the first result's bundles. Raises Unavailable."""
        bundles = await repeats.first_bundles(self.kafka, command, first)
        return Answer("duplicate", bundles=bundles, sid=first.sid)
