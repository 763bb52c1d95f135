"""`twilio-kafka run`, `dev` and `simulator`: what keeps running."""

import asyncio
import gc
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import Commands, ConfigOption, examples, run_async
from connector.cli.output import say

if TYPE_CHECKING:
    from connector.app import Place
    from connector.settings import Loaded

app, dev_app, simulator_app = Commands(), Commands(), Commands()


@app.command(
    epilog=examples(
        "twilio-kafka run                 with the environment, or ./connector.yaml",
        "twilio-kafka run -c connector.yaml",
        "twilio-kafka run --workers 4     four processes behind one callback port",
    )
)
def run(
    config: ConfigOption = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that share the callback port and the work.")
    ] = 1,
) -> None:
    """Run the connector until SIGTERM or Ctrl-C; what is in flight is finished first."""
    import uvloop

    from connector.telemetry import tracing
    from connector.telemetry.logs import logger

    _keep_private()
    loaded = _loaded(config)
    for note in loaded.notes:
        logger("connector").warning("configuration", note=note)
    place = None
    if workers > 1:
        from connector.workers.nursery import Nursery, begin
        from connector.workers.supervisor import supervise

        part = begin(workers)
        if isinstance(part, Nursery):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(supervise(loaded, part, workers))
            return
        place, loaded = part, _loaded(config)
    tracing.configure(told=lambda sentence: logger("connector").warning("tracing", note=sentence))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(loaded, place))
        finally:
            tracing.shutdown()


def _loaded(config: Path | None) -> "Loaded":
    """The configuration as it is now, and the log as it says."""
    from connector.settings import load_with_origins
    from connector.telemetry.logs import configure_logging

    loaded = load_with_origins(config)
    configure_logging(level=loaded.settings.log.level, style=loaded.settings.log.format)
    return loaded


def _keep_private() -> None:
    """Leave what this process writes to its own user, and none of its memory in a core dump: it holds credentials."""
    import resource

    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _serve(loaded: "Loaded", place: "Place | None") -> None:
    from connector.app import App, run_until_signalled
    from connector.telemetry.logs import said_by

    # What is there now stays: collections leave it out.
    gc.freeze()
    with said_by(worker=place.number if place else None):
        await run_until_signalled(App(loaded.settings, loaded, place))


@dev_app.command(
    epilog=examples(
        "twilio-kafka dev",
        "twilio-kafka dev --no-demo --kafka localhost:9092",
        "twilio-kafka dev --data ./kafka-data   the topics are there the next time",
    )
)
def dev(
    kafka: Annotated[
        str | None, typer.Option("--kafka", metavar="HOST:PORT", help="A broker of yours instead of the embedded one.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Keep the embedded broker's data in this folder.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo/--no-demo", help="Send demo traffic and show it.")] = True,  # noqa: FBT002
) -> None:
    """Start Kafka, a simulated Twilio and the connector on loopback, and show their traffic.

    Ctrl-C ends everything.
    """
    from connector.dev.session import run_session

    run_async(run_session(kafka=kafka, data=data, demo=demo))


@simulator_app.command(
    epilog=examples(
        "twilio-kafka simulator                 on http://127.0.0.1:8090",
        "twilio-kafka simulator --port 0 --seed 7",
    )
)
def simulator(
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8090,
    seed: Annotated[str | None, typer.Option(help="Makes SIDs and choices reproducible.")] = None,
) -> None:
    """Run the Twilio simulator alone: messages, calls, callbacks and faults, without an account."""
    from connector.process.needs import cannot_listen
    from connector.simulator import Simulator
    from connector.simulator import run as run_simulator

    def ready(running: Simulator) -> None:
        say(f"Twilio simulator: {running.url}")
        say(f"  TWILIO_ACCOUNT_SID={running.account_sid}")
        say(f"  TWILIO_AUTH_TOKEN={running.auth_token}")
        say(f"  controls under {running.url}/_sim/; seed {running.seed}")

    async def until_signalled() -> None:
        running = asyncio.current_task()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, running.cancel if running else lambda: None)
        await run_simulator(host=host, port=port, seed=seed, ready=ready)

    try:
        asyncio.run(until_signalled())
    except asyncio.CancelledError:
        return
    except OSError as error:
        raise cannot_listen("--port", host, port, error) from error
