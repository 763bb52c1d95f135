"""The executor in this process: real Kafka and the simulator, without the start of a process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from connector.events import Record
from connector.executor.context import Executor, ExecutorContext
from connector.executor.media import topic_store
from connector.kafka import clients, topics
from connector.kafka.ownership import Membership
from connector.resources import COMMANDS
from connector.resources.commands import Command
from connector.settings import KafkaSettings
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.twilio.client import TwilioClient
from tests.running import PATIENCE_SECONDS, until, values, wait_for_records
from tests.twilio_servers import connected

SEND = "send-message"
LEAVE_SECONDS = 20.0


def message(body: str = "Hello", **more: Any) -> dict[str, Any]:
    """The value of a command."""
    return {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": body, **more}


def kafka_settings(kafka: str, prefix: str, *, partitions: int = 1) -> KafkaSettings:
    """Settings with short times."""
    return KafkaSettings(
        bootstrap_servers=kafka,
        topic_prefix=prefix,
        partitions=partitions,
        replication_factor=1,
        session_timeout=timedelta(seconds=3),
    )


@dataclass
class Executing:
    """A running executor. `options` go to `ExecutorContext`."""

    kafka: KafkaSettings
    simulator: Simulator
    clients: dict[str, TwilioClient]
    producer: AIOKafkaProducer
    options: dict[str, Any]
    commands: Mapping[str, Command]
    dedupe_window: timedelta = timedelta(hours=1)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    membership: Membership | None = None
    context: ExecutorContext | None = None
    _task: asyncio.Task[None] | None = None

    @property
    def prefix(self) -> str:
        """The topics' prefix."""
        return self.kafka.topic_prefix

    def topic(self, name: str) -> str:
        """A topic's whole name."""
        return f"{self.prefix}.{name}"

    async def start(self) -> "Executing":
        """Start (again)."""
        given: dict[str, Any] = {
            "callback_url": None,
            "store": topic_store(self.topic("recording-media")),
            "max_in_flight": 64,
            "settle_time": timedelta(seconds=1),
            "request_timeout": timedelta(seconds=2),
            "resend": False,
            "reply_topics": (),
        }
        options = {**given, **self.options}
        group = f"{self.prefix}-command"
        self.process = ExecutorContext(
            kafka=self.kafka, group=group, commands=self.commands, clients=self.clients, **options
        )
        executor = Executor(self.process, max_in_flight=options["max_in_flight"], dedupe_window=self.dedupe_window)
        self.stopping = asyncio.Event()
        self.membership = Membership(
            self.kafka, role="commands", group=group, topics=list(executor.topics), serve=executor.serve
        )
        self._task = asyncio.create_task(self.membership.run(self.stopping), name="executing")
        return self

    async def serving(self) -> None:
        """Wait until commands are read."""
        await until(
            lambda: (
                self.membership is not None
                and any(assignment.deliver for assignment in self.membership.assignments.values())
            )
        )

    async def stop(self) -> None:
        """End in order."""
        self.stopping.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def break_off(self) -> None:
        """End as a crash would: nothing is finished, nothing committed."""
        if self._task is not None and self.membership is not None:
            owners = list(self.membership._tasks.values())
            for task in owners:
                task.cancel()
            if owners:
                await asyncio.wait(owners, timeout=LEAVE_SECONDS)
            self.membership.drain_seconds = self.membership._stop_seconds = 0.0
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def send(
        self,
        value: Mapping[str, Any] | bytes | None,
        *,
        command: str = SEND,
        key: str | None = "key",
        partition: int | None = None,
        **headers: str,
    ) -> str:
        """Send a command; its place: `partition/offset`. Underscores in headers stand for hyphens, but in Spring's."""
        written = await self.producer.send_and_wait(
            self.topic(f"commands.{command}"),
            value if isinstance(value, bytes) or value is None else orjson.dumps(value),
            key=key.encode() if key is not None else None,
            headers=[
                (name if name.startswith("kafka_") else name.replace("_", "-"), text.encode())
                for name, text in headers.items()
            ],
            partition=partition,
        )
        return f"{written.partition}/{written.offset}"

    async def create_topic(self, name: str, *, partitions: int = 1, **config: str) -> str:
        """Another topic than ours, with dots for underscores in its settings; returns its whole name."""
        topic = f"{self.prefix}-{name}"
        async with clients.administration(self.kafka) as admin:
            settings = {setting.replace("_", "."): text for setting, text in config.items()}
            await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
        return topic

    async def configure_topic(self, topic: str, **config: str) -> None:
        """Set settings of a topic, with dots for underscores."""
        settings = {setting.replace("_", "."): text for setting, text in config.items()}
        async with clients.administration(self.kafka) as admin:
            await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])

    async def write(self, record: Record) -> None:
        """Write any record."""
        await self.producer.send_and_wait(
            record.topic, record.value, key=record.key, headers=record.headers, partition=record.partition
        )

    async def results(
        self, count: int, *, command: str = SEND, within: float = PATIENCE_SECONDS
    ) -> list[dict[str, Any]]:
        """The results, as soon as there are so many."""
        return values(await self.records(f"results.{command}", count, within=within))

    async def records(self, name: str, count: int, *, within: float = PATIENCE_SECONDS) -> Sequence[ConsumerRecord]:
        """The records of a topic, as soon as there are so many."""
        return await wait_for_records(self.kafka.bootstrap_servers, self.topic(name), count, within=within)

    def created(self, operation: str = "CreateMessage") -> list[str]:
        """The bodies of the messages that Twilio made, in their order."""
        entries = self.simulator.journal.of(operation)
        return [dict(entry.parameters).get("Body", "") for entry in entries if entry.executed]


def _header(name: str) -> str:
    return name if name.startswith("kafka_") else name.replace("_", "-")


@contextlib.asynccontextmanager
async def executing(
    kafka: str,
    prefix: str,
    *,
    partitions: int = 1,
    also: Iterable[str] = (),
    simulated: Mapping[str, Any] | None = None,
    dedupe_window: timedelta = timedelta(hours=1),
    **options: Any,
) -> AsyncIterator[Executing]:
    """Topics, simulator and a running executor of `send-message` and the commands that are named.

    All have more topics than most tests need, and a test's topics are much of what it costs.
    """
    settings = kafka_settings(kafka, prefix, partitions=partitions)
    executed = {name: COMMANDS[name] for name in (SEND, *also)}
    await topics.apply(settings, topics.wanted(settings, events=[], commands=executed))
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    async with Simulator(seed=1, settings=simulated or {}) as simulator, connected(simulator.url) as client:
        await producer.start()
        running = Executing(settings, simulator, {"default": client}, producer, options, executed, dedupe_window)
        try:
            yield await running.start()
        finally:
            await running.stop()
            await producer.stop()
