"""`twilio-kafka dev`: Kafka, a simulated Twilio and the connector on loopback, with demo traffic, until Ctrl-C."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from connector.app import App
from connector.catalog import topics_of
from connector.dev.broker import Broker, free_port
from connector.dev.demo import traffic
from connector.errors import Unavailable
from connector.events import now
from connector.kafka import reading, topics
from connector.settings import Settings, load_with_origins
from connector.simulator import Simulator
from connector.telemetry.logs import configure_logging
from connector.terminal import console, visible
from connector.timeline.lines import Lines
from connector.timeline.model import Joiner

SHOWN = (
    "commands",
    "results",
    "message-status",
    "inbound-messages",
    "messages",
    "calls",
    "call-status",
    "dead-letters",
)
# What people expect, and what examples can name; where one is taken, a free one.
PORTS = {"kafka": 9092, "callbacks": 8080, "simulator": 8090, "admin": 9090}
AGAIN_SECONDS = 0.5
# Slower than in tests: a person is to see the steps.
PACE = {"queue_delay": 0.3, "send_delay": 0.6, "deliver_delay": 1.2, "price_delay": 3.0}


async def run_session(*, kafka: str | None = None, data: Path | None = None, demo: bool = True) -> None:
    """Run everything until SIGINT or SIGTERM. Raises Unavailable when the broker cannot be had."""
    configure_logging(level="warning", style="console")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    shown = console()
    began = time.monotonic()
    async with _broker(kafka, data, shown) as address, _simulator() as simulator:
        ports = {"port": free_port(PORTS["callbacks"]), "admin": free_port(PORTS["admin"])}
        # A connector.yaml that lies here may name a real account: it is left alone.
        environ = {"CONNECTOR_CONFIG": os.devnull, **environment(simulator, kafka=address, **ports)}
        loaded = load_with_origins(environ=environ)
        settings = loaded.settings
        await topics.apply(settings.kafka, topics_of(settings))
        app = App(settings, loaded)
        running = asyncio.create_task(app.run(), name="app")
        starting = asyncio.create_task(app.started.wait(), name="starting")
        await asyncio.wait({running, starting}, return_when=asyncio.FIRST_COMPLETED)
        simulator.configure(inbound_url=f"{settings.callbacks.public_url}/callbacks/inbound-message")
        _announce(shown, address, simulator, app, began)
        demonstration = [_show(settings, shown), traffic(settings, simulator)] if demo else []
        background = [_in_background("demo", work, shown) for work in demonstration]
        waiting = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        _say(shown, "Stopping …")
        for task in (waiting, starting, *background):
            task.cancel()
        app.stop.set()
        await running


def environment(simulator: Simulator, *, kafka: str, port: int | None = None, admin: int = 0) -> Mapping[str, str]:
    """The variables that configure a connector for this simulator and broker, all on loopback; 0 is any free port."""
    port = port or free_port()
    return {
        "TWILIO_ACCOUNT_SID": simulator.account_sid,
        "TWILIO_AUTH_TOKEN": simulator.auth_token,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1",
        "CONNECTOR_CONNECTIONS__DEFAULT__API_URL": simulator.url,
        "CONNECTOR_CONNECTIONS__DEFAULT__MONITOR_URL": simulator.url,
        "CONNECTOR_CONNECTIONS__DEFAULT__CALLS_PER_SECOND": "0",
        "CONNECTOR_CALLBACKS__HOST": "127.0.0.1",
        "CONNECTOR_CALLBACKS__PORT": str(port),
        "CONNECTOR_CALLBACKS__PUBLIC_URL": f"http://127.0.0.1:{port}",
        "CONNECTOR_ADMIN__PORT": str(admin),
        "CONNECTOR_COMMANDS__SETTLE_TIME": "2s",
        "CONNECTOR_WATCHES": '[{"resource": "messages", "interval": "2s", "emit": "changes"},'
        ' {"resource": "calls", "interval": "2s"}, {"resource": "recordings", "interval": "5s"},'
        ' {"resource": "transcriptions", "interval": "5s"}, {"resource": "alerts", "interval": "5s"}]',
    }


@asynccontextmanager
async def _broker(kafka: str | None, data: Path | None, shown: Console) -> AsyncIterator[str]:
    if kafka is not None:
        yield kafka
        return
    say = partial(_say, shown)
    broker = Broker(folder=data, port=free_port(PORTS["kafka"]), progress=say)
    say("Starting Kafka …")
    await broker.start()
    keeping = _in_background("supervision of Kafka", broker.keep_running(), shown)
    try:
        yield broker.bootstrap_servers
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        await broker.stop()


@asynccontextmanager
async def _simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(settings=PACE)
    await simulator.start(port=free_port(PORTS["simulator"]))
    try:
        yield simulator
    finally:
        await simulator.stop()


def _say(shown: Console, line: str) -> None:
    shown.print(line, style="dim")


def _in_background(name: str, work: Coroutine[Any, Any, None], shown: Console) -> asyncio.Task[None]:
    """Run `work` until it is cancelled. If it fails, the terminal says so and everything else goes on."""

    def tell(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            shown.print(f"The {name} ended: {type(error).__name__}: {visible(str(error))}", style="red")

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(tell)
    return task


def _announce(shown: Console, address: str, simulator: Simulator, app: App, began: float) -> None:
    rows = (
        ("Kafka", address),
        ("Twilio simulator", f"{simulator.url}  (controls: {simulator.url}/_sim/)"),
        ("Callbacks", f"http://127.0.0.1:{app.ports.get('callbacks')}/callbacks/…"),
        ("Console, metrics", f"http://127.0.0.1:{app.ports.get('admin')}/"),
    )
    for name, text in rows:
        shown.print(Text.assemble((f"{name:<17}", "bold"), f" {text}"))
    shown.print(f"Ready after {time.monotonic() - began:.1f} s. In another terminal:", style="dim")
    example = '\'{"to": "+15557654321", "from": "+15551234567", "body": "Hello"}\''
    broker = "" if address == f"127.0.0.1:{PORTS['kafka']}" else f"--kafka {address} "
    shown.print(f"  .venv/bin/twilio-kafka send {broker}send-message {example}")
    shown.print("Ctrl-C stops everything.\n", style="dim")


async def _show(settings: Settings, out: Console) -> None:
    """Print the joined stream of what happens."""
    prefix = settings.kafka.topic_prefix
    names = [topic.name.removeprefix(f"{prefix}.") for topic in topics_of(settings)]
    shown = [f"{prefix}.{name}" for name in names if name.partition(".")[0] in SHOWN]
    joiner, lines, since = Joiner(prefix), Lines(), now()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            # A broker that has just started may take longer to know its new topics than a reader waits.
            with contextlib.suppress(Unavailable):
                async for record in reading.follow(settings.kafka, shown, since=since):
                    out.print(lines.line(joiner.entry(record)))
                    since = datetime.fromtimestamp((record.timestamp + 1) / 1000, UTC)
            await asyncio.sleep(AGAIN_SECONDS)
