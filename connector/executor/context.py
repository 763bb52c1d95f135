"""What all owners of this process share: slots, connections, the catalog, the time, which SIDs are taken; and them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from connector.events import Envelope, now
from connector.executor.command import FORWARDED, Command
from connector.executor.execution import execute
from connector.executor.job import Store
from connector.executor.owner import Owner
from connector.kafka.ownership import Assignment
from connector.resources.commands import Command as Row
from connector.settings import KafkaSettings
from connector.state.claims import Claims
from connector.telemetry import metrics
from connector.telemetry.logs import logger
from connector.twilio.client import TwilioClient
from connector.twilio.clock import TwilioClock

log = logger(__name__)

REQUEST_TIMEOUT = timedelta(seconds=10)
LEARNING_SECONDS = 10.0
# Commands that are read and not finished, of the whole process: the more, the longer the others of a partition go on
# while one key has much to do. Each topic has its share.
HELD_BYTES = 48 * 1024 * 1024
IN_FLIGHT_BYTES = 4096

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
        commands: Mapping[str, Row],
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
        self.commands = commands
        self.clients = clients
        self.callback_url = callback_url
        self.names_cause = names_cause
        self.reply_topics = tuple(reply_topics)
        self.topics = {f"{self.prefix}.commands.{name}": name for name in commands}
        self.owners: set[Owner] = set()
        self._misplaced: set[str] = set()
        self._own_clock = TwilioClock("")
        for topic, name in {**self.topics, f"{self.prefix}.{FORWARDED}": FORWARDED}.items():
            metrics.COMMAND_LAG.labels(name).set_function(partial(self._lag, topic))

    # --- time -----------------------------------------------------------------------------------------------------
    def clock_of(self, command: Command) -> TwilioClock:
        """Twilio's clock as the command's connection knows it, else any that is known, else ours."""
        client = self.clients.get(command.connection)
        clocks = [client.clock] if client is not None else []
        clocks += [other.clock for other in self.clients.values()]
        return next((clock for clock in clocks if clock.is_known), self._own_clock)

    def now(self) -> datetime:
        """The earlier of Twilio's time, as far as any connection knows it, and ours: no id is forgotten too early."""
        clocks = [client.clock for client in self.clients.values() if client.clock.is_known]
        return min([now(), *(clock.now() for clock in clocks)])

    async def learn_time(self) -> None:
        """Ask Twilio for its time, unless it is known; it is not waited for long."""
        unknown = [client for client in self.clients.values() if not client.clock.is_known]
        with suppress(TimeoutError):
            async with asyncio.timeout(LEARNING_SECONDS):
                await asyncio.gather(*(client.learn_time() for client in unknown))

    def _lag(self, topic: str) -> float:
        """How many commands of a topic are not finished in the partitions that are ours."""
        return sum(owner.lag(topic) for owner in self.owners)

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


class Executor:
    """An owner for each partition number that the group assigns to this process.

    It executes the commands of `topics`: those that callers write to, and the one through which they are sent on.
    """

    def __init__(self, context: ExecutorContext, *, max_in_flight: int, dedupe_window: timedelta) -> None:
        self.topics = {**context.topics, f"{context.prefix}.{FORWARDED}": FORWARDED}
        self._context = context
        # What is in flight must be held in any case.
        self._hold = max(HELD_BYTES // len(self.topics), max_in_flight * IN_FLIGHT_BYTES) // context.kafka.partitions
        self._window = dedupe_window

    async def serve(self, assignment: Assignment) -> None:
        """Own one partition number until the group takes it away. Raises what ended it otherwise."""
        owner = Owner(
            assignment,
            kafka=self._context.kafka,
            topics=self.topics,
            work=partial(execute, self._context),
            hold=self._hold,
            dedupe_window=self._window,
            present=self._context.now,
            learn_time=self._context.learn_time,
        )
        self._context.owners.add(owner)
        try:
            await owner.serve()
        finally:
            self._context.owners.discard(owner)
