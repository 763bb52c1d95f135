"""`run --workers N`: processes that share the callback port and all groups, and one admin port for all of them.

Each worker is the whole connector: the kernel spreads connections over them (SO_REUSEPORT), Kafka spreads partitions.
Rates that hold for an account are divided among them. A worker that dies is started again, later each time it fails;
on SIGTERM all drain. Workers end when the supervisor does, even when it is killed: their standard input ends then.
"""

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from aiohttp import web

from connector.admin.port import Runner
from connector.admin.security import Guard
from connector.admin.server import scraped, shared_expositions, verdict, version
from connector.admin.shared import Shared
from connector.catalog import check_topics
from connector.errors import ConfigurationError, ConnectorError, Unavailable
from connector.process.needs import cannot_listen, private_folder
from connector.process.rhythm import pause
from connector.secrets import changes
from connector.settings import Loaded, Settings, reread_secrets, secret_files
from connector.telemetry import metrics
from connector.telemetry.exposition import OPENMETRICS
from connector.telemetry.logs import logger
from connector.workers.nursery import UNKNOWN_CODE, Nursery, Process
from connector.workers.relay import Worker
from connector.workers.sums import classic, counted, summed

log = logger(__name__)

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
# A worker that has run this long has recovered.
STEADY_SECONDS = 60.0
START_SECONDS = 60.0
# Beyond its own grace, before it is killed.
PATIENCE_SECONDS = 5.0
LOOK_SECONDS = 0.1
TAKEN_SECONDS = 10.0


class Failed(ConnectorError):
    """A worker ended before it had served; it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"A worker ended with exit code {code}.")
        self.exit_code = code


class Child:
    """One worker, started again when it dies. `worker` is its admin port."""

    def __init__(self, number: int, nursery: Nursery, admin_socket: Path) -> None:
        self.number = number
        self.worker = Worker(admin_socket)
        self.has_served = False
        self._serves = False
        self._began = time.monotonic()
        self._nursery = nursery
        self._socket = admin_socket
        # What its present process, and those before it, had counted when they were last asked.
        self._counted = self._counted_before = ""
        self._process: Process | None = None

    @property
    def runs(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def is_due(self) -> bool:
        """Whether it must answer: it has done so, or has had a minute to begin."""
        return self.runs and (self._serves or time.monotonic() - self._began > START_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Keep it running until `stop` is set and it has drained.

        Raises Failed when it ends by itself without ever having served; one that was killed is started again.
        """
        failures = 0
        while not stop.is_set():
            self._began, self._serves = time.monotonic(), False
            code = await self._run_once()
            if stop.is_set():
                return
            if not self.has_served and code >= 0:
                raise Failed(code or 1)
            failures = 0 if time.monotonic() - self._began > STEADY_SECONDS else failures + 1
            seconds = min(FIRST_BACKOFF_SECONDS * 2 ** (failures - 1) if failures else 0, LONGEST_BACKOFF_SECONDS)
            log.error("worker ended", worker=self.number, code=code, again_in_seconds=seconds)
            await pause(stop, seconds)

    async def _run_once(self) -> int:
        self._socket.unlink(missing_ok=True)
        try:
            process = self._process = await self._nursery.fork(self.number, self._socket)
        except Unavailable as error:
            log.warning("worker not started", worker=self.number, reason=str(error))
            return UNKNOWN_CODE
        try:
            return await process.wait()
        finally:
            process.send_signal(signal.SIGKILL)
            self._counted_before = summed([self._counted_before, self._counted])
            self._counted = ""

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self._process is not None:
            self._process.send_signal(number)

    async def expositions(self) -> list[str]:
        """Its metrics in the OpenMetrics format, and what its former processes had counted.

        Counts never fall: a worker that is gone, or too busy to answer, goes on counting as much as it last said.
        """
        asked = self._process
        status, text = await self.worker.ask("/metrics", accept=OPENMETRICS) if self.runs else (0, "")
        if status != web.HTTPOk.status_code or asked is not self._process or not self.runs:
            return [self._counted_before, self._counted]
        self._counted = counted(text)
        return [self._counted_before, text]

    async def is_ready(self) -> bool:
        """Whether it serves now."""
        ready = self.runs and (await self.worker.ask("/readyz"))[0] == web.HTTPOk.status_code
        self._serves |= ready
        self.has_served |= ready
        return ready


class Supervisor:
    """Runs `count` workers with the same configuration, forked from the nursery."""

    def __init__(self, loaded: Loaded, *, count: int, nursery: Nursery) -> None:
        self._loaded = loaded
        self._nursery = nursery
        self._has_lost_nursery = False
        self._folder = private_folder()
        self.children = [
            Child(number, nursery, Path(self._folder.name) / f"{number}.sock") for number in range(1, count + 1)
        ]
        token = self._settings.admin.token
        self._guard = Guard(token.get_secret_value() if token else None)
        self._expositions = shared_expositions(self._exposition)
        self._shared_live, self._shared_ready = Shared(self._live), Shared(self._ready)
        self.stop = asyncio.Event()

    @property
    def _settings(self) -> Settings:
        return self._loaded.settings

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT, then let all drain. Raises what keeps them from starting."""
        runner = Runner(self._admin(), shutdown_timeout=1.0)
        try:
            await ports_are_free(self._settings)
            await check_topics(self._settings, self._loaded)
            await runner.setup()
            self._listen_to_signals()
            async with asyncio.TaskGroup() as tasks:
                children = [
                    tasks.create_task(child.run(self.stop), name=f"worker-{child.number}") for child in self.children
                ]
                starting = tasks.create_task(self._open(runner), name="supervisor-admin")
                ending = tasks.create_task(self._end(children), name="supervisor-end")
                renewing = tasks.create_task(self._watch_secrets(), name="supervisor-secrets")
                losing = tasks.create_task(self._watch_nursery(), name="supervisor-nursery")
                await asyncio.wait(children)
                for task in (starting, ending, renewing, losing):
                    task.cancel()
        except* ConnectorError as failures:
            raise failures.exceptions[0] from None
        finally:
            await runner.cleanup()
            for child in self.children:
                await child.worker.close()
            self._folder.cleanup()
            self._nursery.close()
        if self._has_lost_nursery:
            raise Unavailable("The process that workers are forked from has ended: start the connector again.")

    async def _open(self, runner: Runner) -> None:
        """Open the admin port when all workers serve; with it the connector is started."""
        while not all([await child.is_ready() for child in self.children]):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(LOOK_SECONDS)
        admin = self._settings.admin
        await runner.listen(admin.host, admin.port)
        log.info("workers started", workers=len(self.children), admin=admin.port)

    async def _end(self, children: "Sequence[asyncio.Task[None]]") -> None:
        """After `stop`: end what has not drained within its grace."""
        await self.stop.wait()
        grace = self._settings.shutdown_grace.total_seconds() + PATIENCE_SECONDS
        log.info("stopping workers", workers=len(children))
        self._signal(signal.SIGTERM)
        _, late = await asyncio.wait(children, timeout=grace)
        if late:
            log.error("workers did not end in time", workers=len(late))
            self._signal(signal.SIGKILL)

    async def _watch_nursery(self) -> None:
        """Without the nursery no worker can be started any more, nor its end be told: let all drain, and end."""
        await self._nursery.ended()
        if not self.stop.is_set():
            log.error("the nursery of the workers has ended")
            self._has_lost_nursery = True
            self.stop.set()

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._renew)

    def _stop(self) -> None:
        """The first time all drain; the second time all end."""
        if self.stop.is_set():
            self._signal(signal.SIGKILL)
        self.stop.set()

    async def _watch_secrets(self) -> None:
        """Renew the token, and those of the workers, when a file changes."""
        async for _ in changes(secret_files(self._loaded)):
            self._renew()

    def _renew(self) -> None:
        """Let the workers re-read their secrets, and re-read the console's token."""
        self._signal(signal.SIGHUP)
        try:
            self._loaded = reread_secrets(self._loaded)
        except ConfigurationError as error:
            log.warning("secrets not renewed", problems=error.problems)
            return
        if (token := self._settings.admin.token) is not None:
            self._guard.replace_token(token.get_secret_value())

    def _signal(self, number: signal.Signals) -> None:
        for child in self.children:
            child.signal(number)

    # --- the admin port -------------------------------------------------------------------------------------------
    def _admin(self) -> web.Application:
        app = web.Application(middlewares=[self._guard.middleware])
        app.add_routes(
            [
                *self._guard.routes(),
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/version", version),
                web.route("*", "/{path:.*}", self._console),
            ]
        )
        return app

    async def _problems(self, path: str, children: Sequence[Child]) -> list[str]:
        """What these workers say on this path, in sentences with their numbers."""
        found = await asyncio.gather(*(child.worker.ask(path) for child in children))
        return [
            f"Worker {child.number}: {text.strip() or 'does not answer.'}"
            for child, (status, text) in zip(children, found, strict=True)
            if status != web.HTTPOk.status_code
        ]

    async def _live(self) -> tuple[Sequence[str], Sequence[str]]:
        """Well while every worker is that runs; one that has died is being started again."""
        await asyncio.gather(*(child.is_ready() for child in self.children))
        return await self._problems("/livez", [child for child in self.children if child.is_due]), ()

    async def _ready(self) -> tuple[Sequence[str], Sequence[str]]:
        """Ready while at least one worker is: the kernel gives connections only to those that listen."""
        running = [child for child in self.children if child.runs]
        answers = await asyncio.gather(*(child.worker.ask("/readyz") for child in running))
        notes = [
            f"Worker {child.number}: {line}"
            for child, (_, text) in zip(running, answers, strict=True)
            for line in text.splitlines() or ["does not answer."]
            if line != "ok"
        ]
        is_ready = web.HTTPOk.status_code in {status for status, _ in answers} and not self.stop.is_set()
        return ((), notes) if is_ready else (notes or ["No worker runs."], ())

    async def _livez(self, _request: web.Request) -> web.Response:
        return verdict(*await self._shared_live())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return verdict(*await self._shared_ready())

    async def _exposition(self, content_type: str) -> bytes:
        found = await asyncio.gather(*(child.expositions() for child in self.children))
        body = await asyncio.to_thread(summed, [_of_supervisor(), *(text for texts in found for text in texts)])
        return (body if content_type == OPENMETRICS else classic(body)).encode()

    async def _metrics(self, request: web.Request) -> web.Response:
        return await scraped(request, self._expositions)

    async def _console(self, request: web.Request) -> web.StreamResponse:
        """The console of the first worker that is ready."""
        for child in self.children:
            if await child.is_ready():
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    return await child.worker.relay(request)
        return verdict(["No worker is ready."])


async def supervise(loaded: Loaded, nursery: Nursery, count: int) -> None:
    """Be the supervisor of so many workers. Raises what `Supervisor.run` raises."""
    await Supervisor(loaded, count=count, nursery=nursery).run()


def _of_supervisor() -> str:
    """What this process itself uses; its start is that of the whole."""
    lines = metrics.exposition(OPENMETRICS).decode().split("\n")
    return "\n".join(
        line for line in lines if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("process_")
    )


async def ports_are_free(settings: Settings) -> None:
    """Return when the ports are free: workers share that of the callbacks, and with no other program.

    Those of a supervisor that was killed drain for a moment. Raises ConfigurationError for a callback port of 0,
    Unavailable when one stays taken.
    """
    callbacks, admin = settings.callbacks, settings.admin
    ports = {"admin.port": (admin.host, admin.port)}
    if "callbacks" in settings.roles:
        if callbacks.port == 0:
            raise ConfigurationError("callbacks.port: 0 takes any port, which workers cannot share: name one.")
        ports["callbacks.port"] = (callbacks.host, callbacks.port)
    deadline = time.monotonic() + TAKEN_SECONDS
    for key, (host, port) in ports.items():
        while (taken := _taken(host, port)) is not None:
            if time.monotonic() > deadline:
                raise cannot_listen(key, host, port, taken)
            await asyncio.sleep(LOOK_SECONDS)


def _taken(host: str, port: int) -> OSError | None:
    """Why no program can listen there now, None when one can."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error
    return None
