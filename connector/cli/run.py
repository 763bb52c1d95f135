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
    from connector.settings import Loaded

YOUNG_OBJECTS = 20_000
"""How many more objects there are before the young ones are searched for cycles; Python's own is 700."""

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
    worker: Annotated[int | None, typer.Option(hidden=True)] = None,
    admin_socket: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the connector until SIGTERM or Ctrl-C; what is in flight is finished first."""
    import uvloop

    from connector import telemetry, tracing
    from connector.settings import load_with_origins

    _keep_private()
    loaded = load_with_origins(config)
    telemetry.configure_logging(level=loaded.settings.log.level, style=loaded.settings.log.format)
    if worker is None:
        for note in loaded.notes:
            telemetry.logger("connector").warning("configuration", note=note)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if workers > 1 and worker is None:
            runner.run(_supervise(loaded, config, workers))
            return
        tracing.configure(told=lambda sentence: telemetry.logger("connector").warning("tracing", note=sentence))
        try:
            runner.run(_serve(loaded, worker=worker, workers=workers, admin_socket=admin_socket))
        finally:
            tracing.shutdown()


def _keep_private() -> None:
    """Leave what this process writes to its own user, and none of its memory in a core dump: it holds credentials."""
    import resource

    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def _supervise(loaded: "Loaded", config: Path | None, workers: int) -> None:
    from connector.workers.supervisor import Supervisor, command

    await Supervisor(loaded, count=workers, command=command(config)).run()


async def _serve(loaded: "Loaded", *, worker: int | None, workers: int, admin_socket: Path | None) -> None:
    from connector import telemetry
    from connector.app import App, Place, run_until_signalled

    place = Place(worker, workers, admin_socket) if worker is not None and admin_socket is not None else None
    _collect_seldom()
    with telemetry.said_by(worker=worker):
        await run_until_signalled(App(loaded.settings, loaded, place))


def _collect_seldom() -> None:
    """Collect cycles among what comes and goes, not among modules and models, which stay.

    A page of a list is thousands of objects at once, none of them in a cycle: by default they set off a collection of
    everything, again and again.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


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
    from connector.needs import cannot_listen
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
