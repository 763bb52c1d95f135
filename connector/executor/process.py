"""What all owners of this process share: slots, connections, the catalog, and which SIDs are taken."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import orjson

from connector.errors import Rejected
from connector.events import Envelope
from connector.executor import reconcile
from connector.executor.answers import Store
from connector.executor.job import Job
from connector.executor.pending import Pending
from connector.executor.results import Answer
from connector.kafka import journal, partitions
from connector.resources.parameters import fill_callbacks, parse
from connector.resources.rows import Command
from connector.settings import KafkaSettings
from connector.twilio.client import TwilioClient

# Claims of this process; those of others and of former times are in the journal.
REMEMBERED_CLAIMS = 100_000
# How far around its journal entry a first result is looked for.
RESULT_SPREAD = timedelta(seconds=20)
RESULT_RECORDS = 20_000

CallbackUrl = Callable[[str, Pending], str]


class Process:
    """Shared by the owners. `callback_url(kind, command)` is our URL for Twilio; None where Twilio cannot reach us."""

    def __init__(
        self,
        *,
        kafka: KafkaSettings,
        group: str,
        commands: Mapping[str, Command],
        clients: Mapping[str, TwilioClient],
        callback_url: CallbackUrl | None,
        store: Store,
        max_in_flight: int,
        settle_time: timedelta,
        resend: bool,
        reply_topics: Sequence[str],
    ) -> None:
        self.kafka = kafka
        self.group = group
        self.prefix = kafka.topic_prefix
        self.envelope: Envelope = kafka.envelope
        self.slots = asyncio.Semaphore(max_in_flight)
        self.settle_time = settle_time
        self.resend = resend
        self.store = store
        self._commands = commands
        self._clients = clients
        self._callback_url = callback_url
        self._reply_topics = tuple(reply_topics)
        self._claimed: OrderedDict[str, None] = OrderedDict()
        self._similar: Counter[str] = Counter()

    # --- preparing ------------------------------------------------------------------------------------------------
    async def prepare(self, command: Pending, has_topic: Callable[[str], Awaitable[bool]]) -> Job:
        """The job of a command. Raises Rejected with one sentence when it is not to be sent."""
        expires_at = command.expires_at
        client = self._client(command)
        await self._check_reply(command, has_topic)
        operation, parameters = parse(self._commands[command.command], command.value)
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

    def _client(self, command: Pending) -> TwilioClient:
        client = self._clients.get(command.connection)
        if client is None:
            known = ", ".join(sorted(self._clients))
            raise Rejected(f"header connection: {command.connection[:60]!r} is not configured; known: {known}.")
        return client

    async def _check_reply(self, command: Pending, has_topic: Callable[[str], Awaitable[bool]]) -> None:
        topic = command.reply_to
        if topic is None:
            return
        if not any(fnmatchcase(topic, pattern) for pattern in self._reply_topics):
            raise Rejected(
                f"header reply-to: topic {topic[:120]!r} is not allowed; add a pattern to commands.reply_topics."
            )
        # A record for a topic that does not exist would end the transaction of everybody.
        if not await has_topic(topic):
            raise Rejected(f"header reply-to: topic {topic[:120]!r} does not exist.")

    # --- claims ---------------------------------------------------------------------------------------------------
    @contextmanager
    def similar(self, alike: str) -> Iterator[None]:
        """While an attempt runs, those that look alike wait with adopting what Twilio's list shows."""
        self._similar[alike] += 1
        try:
            yield
        finally:
            self._similar[alike] -= 1
            if not self._similar[alike]:
                del self._similar[alike]

    def has_similar(self, alike: str) -> bool:
        """Whether an attempt that looks alike is running."""
        return self._similar[alike] > 0

    def note_claim(self, sid: str) -> None:
        """This SID belongs to a command."""
        self._claimed[sid] = None
        if len(self._claimed) > REMEMBERED_CLAIMS:
            self._claimed.popitem(last=False)

    async def claim(self, found: Sequence[reconcile.Row], *, since: datetime) -> reconcile.Row | None:
        """Take the oldest candidate that nobody has claimed. Raises Unavailable."""
        others = await journal.claimed_sids(self.kafka, since=since)
        row = reconcile.choose(found, claimed=others | self._claimed.keys())
        if row is not None:
            self.note_claim(row["sid"])
        return row

    # --- repeats --------------------------------------------------------------------------------------------------
    async def first_answer(self, command: Pending, journal_offset: int) -> Answer:
        """The answer to a command whose id was seen before: with the first result's bundles, if they are still there.

        Raises Unavailable.
        """
        entry = await journal.entry_at(self.kafka, command.partition, journal_offset)
        bundles = await self._first_bundles(command, entry.at) if entry is not None else ()
        return Answer("duplicate", bundles=bundles, sid=entry.sid if entry else None)

    async def _first_bundles(self, command: Pending, finished_at: datetime) -> Sequence[bytes]:
        topic, partition = f"{self.prefix}.results.{command.command}", command.partition
        start = await partitions.offset_at(self.kafka, topic, partition, finished_at - RESULT_SPREAD)
        if start is None:
            return ()
        end = min(await partitions.last_stable_offset(self.kafka, topic, partition), start + RESULT_RECORDS)
        async for batch in partitions.read(self.kafka, topic, partition, start=start, end=end):
            for item in batch:
                # Most records are told apart without parsing them.
                if item.value is not None and command.id.encode() in item.value:
                    result = orjson.loads(item.value)
                    result = result.get("data", result)
                    if result["command"]["id"] == command.id and result["outcome"] != "duplicate":
                        return [orjson.dumps(bundle) for bundle in result["bundles"]]
        return ()
