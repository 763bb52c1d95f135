"""The composition root: settings become clients, clients become engines, engines run until they are told to stop.

The only place that constructs clients. The order of a stop: not ready any more; no new commands and no new polls; what
is in flight is finished and committed; callbacks are answered to the last; then everything is closed.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import aiohttp

from connector.admin.security import Guard
from connector.admin.server import AdminServer
from connector.catalog import check_topics, command_schemas, flows_of, register_schemas
from connector.console.console import Console
from connector.console.context import ConsoleContext
from connector.console.feed import Feed
from connector.console.health import Health
from connector.events import timestamp
from connector.executor.command import Command
from connector.executor.context import Executor, ExecutorContext
from connector.executor.media import object_store, topic_store
from connector.kafka.diagnosis import Probe
from connector.kafka.ownership import Membership
from connector.kafka.publisher import Publisher
from connector.process import memory
from connector.receiver.form import address, names_cause
from connector.receiver.port import raise_file_limit
from connector.receiver.receiver import Receiver
from connector.receiver.refusals import UNKNOWN
from connector.resources import CALLBACKS, COMMANDS
from connector.secrets import Secrets, keys_of
from connector.settings import Loaded, Settings, WatchSettings, effective
from connector.state import checkpoints, journal
from connector.telemetry import baseline, metrics, tracing
from connector.telemetry.logs import logger, unhandled
from connector.twilio.client import TwilioClient
from connector.twilio.connecting import client_of, open_session
from connector.twilio.pacing import WHOLE, Share
from connector.watcher.cursor import Commit
from connector.watcher.owner import WatchOwners, watcher_of
from connector.watcher.watcher import Watcher

log = logger(__name__)

# Of the grace: after it nothing is in flight any more, or is left to the next owner; after it callbacks are refused.
DRAINING_SHARE, ANSWERING_SHARE = 0.6, 0.75
# Without a callback for so long, the load balancer has stopped sending them here.
QUIET_SECONDS = 1.0


def callback_url(settings: Settings, kind: str, command: Command) -> str:
    """Our URL for Twilio: the command's id and trace come back with every callback, the fragment asks for retries."""
    trace = tracing.traceparent() or command.traceparent
    return address(
        str(settings.callbacks.public_url),
        kind,
        command=command.id,
        correlation=command.correlation_id,
        traceparent=trace if tracing.is_sampled(trace) else None,
        overrides=settings.callbacks.connection_overrides,
    )


def receiver_of(settings: Settings, publisher: Publisher, *, renew: Callable[[], bool] | None = None) -> Receiver:
    """The public port. Raises ConfigurationError."""
    callbacks = settings.callbacks
    return Receiver(
        rows=CALLBACKS.values(),
        keys=keys_of(settings.connections),
        public_url=str(callbacks.public_url) if callbacks.public_url else None,
        publish=publisher.publish,
        prefix=settings.kafka.topic_prefix,
        envelope=settings.kafka.envelope,
        overrides=callbacks.connection_overrides,
        verify_signatures=callbacks.verify_signatures,
        max_body=callbacks.max_body,
        renew=renew,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among `workers` that share the callback port; its admin port is a socket in a private folder."""

    number: int
    workers: int
    admin_socket: Path


@dataclass
class App:
    """One process: start it, wait for `ports`, set `stop`, await the end of `run`. Alone, or one of several workers."""

    settings: Settings
    loaded: Loaded | None = None
    place: Place | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ports: dict[str, int] = field(default_factory=dict)
    clients: dict[str, TwilioClient] = field(default_factory=dict)
    memberships: list[Membership] = field(default_factory=list)
    watch_owners: WatchOwners | None = None
    receiver: Receiver | None = None
    guard: Guard | None = None

    def __post_init__(self) -> None:
        self.secrets = Secrets(self.settings, self.loaded, self._apply_secrets)

    async def run(self) -> None:
        """Run until `stop` is set, then drain.

        Raises TopicsUnfit or Unavailable when Kafka is not fit for the start, ConfigurationError for unusable settings.
        """
        raise_file_limit()
        await check_topics(self.settings, self.loaded)
        await register_schemas(self.settings)
        baseline.begin(
            roles=self.settings.roles,
            connections=self.settings.connections,
            watches=[watch.name for watch in self.settings.watches],
            callbacks=[*CALLBACKS, UNKNOWN],
            commands=COMMANDS,
        )
        kafka = self.settings.kafka
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(open_session())
            workers = self.place.workers if self.place else 1
            self.clients = {
                name: client_of(
                    name,
                    connection,
                    session,
                    workers=workers,
                    share=self.share,
                    on_unauthorized=self.secrets.refresh,
                )
                for name, connection in self.settings.connections.items()
            }
            self.publisher = Publisher(kafka)
            await self.publisher.open()
            stack.push_async_callback(self.publisher.close)
            self.probe = Probe(kafka, f"{kafka.topic_prefix}.cursors", renew=self.secrets.refresh_kafka)
            await self._serve(stack, session)

    async def _serve(self, stack: contextlib.AsyncExitStack, session: aiohttp.ClientSession) -> None:
        self.memberships = [build(self) for role, build in MEMBERSHIPS.items() if role in self.settings.roles]
        if "callbacks" in self.settings.roles:
            self.receiver = receiver_of(self.settings, self.publisher, renew=self.secrets.refresh)
            callbacks = self.settings.callbacks
            await self.receiver.open(callbacks.host, callbacks.port, reuse_port=self.place is not None)
            stack.push_async_callback(self.receiver.close)
            self.ports["callbacks"] = self.receiver.port
        names = {connection.account_sid: name for name, connection in self.settings.connections.items()}
        feed = Feed(self.settings.kafka, flows_of(self.settings), names)
        health = Health(self.unready)
        admin = self._admin(feed, health, session)
        if self.place is not None:
            await admin.start_on(self.place.admin_socket)
        else:
            self.ports["admin"] = await admin.start(host=self.settings.admin.host, port=self.settings.admin.port)
        stack.push_async_callback(admin.stop)
        async with asyncio.TaskGroup() as tasks:
            probing = tasks.create_task(self.probe.run(), name="kafka-probe")
            reading = tasks.create_task(feed.run(), name="console-feed")
            measuring = tasks.create_task(metrics.measure_loop(), name="loop-lag")
            sampling = tasks.create_task(health.run(), name="console-health")
            trimming = tasks.create_task(memory.give_back(), name="memory")
            renewing = tasks.create_task(self.secrets.watch(), name="secret-files")
            members = [
                tasks.create_task(membership.run(self.stop), name=f"{membership.role}-membership")
                for membership in self.memberships
            ]
            self.started.set()
            log.info("started", roles=list(self.settings.roles), **self.ports)
            await self.stop.wait()
            log.info("stopping", grace_seconds=self.settings.shutdown_grace.total_seconds())
            closing = time.monotonic() + ANSWERING_SHARE * self.settings.shutdown_grace.total_seconds()
            if self.receiver is not None:
                self.receiver.drain()
            await asyncio.gather(*members)
            await self._answer_the_last(until=closing)
            for task in (probing, reading, measuring, sampling, trimming, renewing):
                task.cancel()
        log.info("stopped")

    async def _answer_the_last(self, *, until: float) -> None:
        """Go on answering until callers have found other instances, or the grace is nearly over."""
        receiver = self.receiver
        if receiver is None:
            return
        while (left := QUIET_SECONDS - receiver.quiet_seconds) > 0 and time.monotonic() < until:  # noqa: ASYNC110 - a measure
            await asyncio.sleep(max(0.05, left))

    def _admin(self, feed: Feed, health: Health, session: aiohttp.ClientSession) -> AdminServer:
        token = self.settings.admin.token
        # A worker's socket is its supervisor's alone, which has the guard.
        self.guard = Guard(token.get_secret_value() if token else None) if self.place is None else None
        context = ConsoleContext(
            settings=lambda: self.settings,
            rows=lambda: effective(self.loaded) if self.loaded else (),
            problems=self.unready,
            running=lambda: self.watch_owners.running if self.watch_owners else {},
            schemas=command_schemas,
            publish=self.publisher.publish,
            receiver=self.receiver,
            session=session,
            feed=feed,
            health=health,
            needs_token=token is not None,
        )
        return AdminServer(
            live=self.dead, ready=self.unready, notes=self.notes, guard=self.guard, console=Console(context)
        )

    def _apply_secrets(self, loaded: Loaded, former_seconds: float) -> None:
        """Use these secrets from now on; what the former keys signed is accepted for so long."""
        self.loaded, self.settings = loaded, loaded.settings
        for name, connection in self.settings.connections.items():
            self.clients[name].replace_credentials(*connection.auth)
        if self.receiver is not None:
            self.receiver.replace_keys(keys_of(self.settings.connections), former_seconds=former_seconds)
        if self.guard is not None and self.settings.admin.token is not None:
            self.guard.replace_token(self.settings.admin.token.get_secret_value())
        for watcher in self.watch_owners.running.values() if self.watch_owners else ():
            watcher.poll_now()

    def share(self) -> Share:
        """This process's part of what Twilio allows to an account: that of the commands' partitions that it holds."""
        for member in self.memberships:
            if member.role == "commands":
                return Share(tuple(sorted(member.assignments)), member.kafka.partitions, member.assigned_at)
        return WHOLE

    # --- health ---------------------------------------------------------------------------------------------------
    def dead(self) -> list[str]:
        """What only a restart can mend."""
        return [f"The {member.role} membership makes no progress." for member in self.memberships if not member.alive]

    def notes(self) -> list[str]:
        """What stands still here without keeping the process from serving."""
        running = self.watch_owners.running if self.watch_owners else {}
        return [
            f"The watch {name} stands still since {timestamp(failing.since)}: {failing.why}"
            for name, watcher in running.items()
            if (failing := watcher.failing) is not None
        ]

    def unready(self) -> list[str]:
        """What keeps this process from serving now."""
        problems = []
        if self.stop.is_set():
            problems.append("The process is stopping.")
        if not self.probe.reachable:
            problems.append("Kafka does not answer.")
        problems += [member.problem for member in self.memberships if member.problem]
        return problems


def stop_seconds(settings: Settings) -> float:
    """How long owners may drain when the process stops."""
    return DRAINING_SHARE * settings.shutdown_grace.total_seconds()


def _watching(app: App) -> Membership:
    """The membership whose owners run the watches."""
    settings = app.settings
    kafka = settings.kafka
    by_name: Mapping[str, WatchSettings] = {watch.name: watch for watch in settings.watches}
    group = f"{kafka.topic_prefix}-watch"

    def build(name: str, commit: Commit) -> Watcher:
        watch = by_name[name]
        return watcher_of(watch, app.clients[watch.connection], kafka, commit, parent=settings.parent_of(watch))

    app.watch_owners = WatchOwners(kafka, watches=list(by_name), build=build)
    topic = f"{kafka.topic_prefix}.cursors"
    return Membership(
        kafka,
        role="watch",
        group=group,
        topics=[topic],
        serve=app.watch_owners.serve,
        lock_only=True,
        # A watch lives where its name and `kafka.partitions` say: two processes must not differ in it.
        sized=[journal.topic_of(kafka)],
        stop_seconds=stop_seconds(settings),
    )


def _executing(app: App) -> Membership:
    """The membership whose owners execute commands."""
    settings = app.settings
    kafka, commands, public_url = settings.kafka, settings.commands, settings.callbacks.public_url
    group = f"{kafka.topic_prefix}-command"
    media = f"{kafka.topic_prefix}.recording-media"
    process = ExecutorContext(
        kafka=kafka,
        group=group,
        commands=COMMANDS,
        clients=app.clients,
        callback_url=partial(callback_url, settings) if public_url else None,
        names_cause=partial(names_cause, str(public_url)) if public_url else None,
        store=topic_store(media) if commands.recording_store == "kafka" else object_store(commands.recording_store),
        max_in_flight=commands.max_in_flight,
        settle_time=commands.settle_time,
        resend=commands.in_doubt == "resend",
        reply_topics=commands.reply_topics,
        request_timeout=commands.request_timeout,
    )
    executor = Executor(process, max_in_flight=commands.max_in_flight, dedupe_window=commands.dedupe_window)
    return Membership(
        kafka,
        role="commands",
        group=group,
        topics=list(executor.topics),
        sized=[journal.topic_of(kafka), checkpoints.topic_of(kafka)],
        serve=executor.serve,
        stop_seconds=stop_seconds(settings),
    )


MEMBERSHIPS: Mapping[str, Callable[[App], Membership]] = {"watch": _watching, "commands": _executing}


def _stop_once(app: App) -> None:
    """The supervisor is gone: stop as on SIGTERM."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    log.warning("the supervisor is gone")
    app.stop.set()


async def run_until_signalled(app: App) -> None:
    """Run until SIGTERM or SIGINT, then drain within the grace; a second signal ends it. SIGHUP re-reads secrets.

    Raises what `App.run` raises.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(unhandled)
    running = asyncio.create_task(app.run(), name="app")

    def stop() -> None:
        if app.stop.is_set():
            running.cancel()
        app.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, app.secrets.renew)
    if app.place is not None:
        # The supervisor holds the other end and says nothing: what can be read is its end.
        loop.add_reader(sys.stdin.fileno(), _stop_once, app)
    stopping = asyncio.create_task(app.stop.wait(), name="stop-signal")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    grace = app.settings.shutdown_grace.total_seconds()
    _, late = await asyncio.wait({running}, timeout=grace)
    if late:
        log.error("the grace is over; what is still in flight is left to the next owner", grace_seconds=grace)
        running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
