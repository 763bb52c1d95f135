"""`twilio-kafka watches`: where each watch stands; pause, resume, rewind and re-scan it wherever it runs."""

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import (
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    examples,
    kafka_settings,
    moment,
    run_async,
)

if TYPE_CHECKING:
    from connector.kafka.control import Answer
    from connector.settings import Settings
    from connector.watcher.status import Status

app = typer.Typer(help="List the watches; pause, resume, rewind, re-scan one.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="WATCH", help="The watch's name, as `watches list` shows it.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the owner's answer.")]

STYLES = {"watching": "green", "complete": "green", "catching up": "cyan", "backfilling": "cyan", "paused": "yellow"}


@app.command("list", epilog=examples("twilio-kafka watches list", "twilio-kafka watches list --format json"))
def list_watches(config: ConfigOption = None, kafka: KafkaOption = None, output: FormatOption = Format.text) -> None:
    """Print where each watch stands, read from the topic of cursors."""
    settings = kafka_settings(config, kafka)
    found = run_async(_statuses(settings), kafka=settings.kafka)
    if output is Format.json:
        typer.echo(json.dumps([status.as_json() for status in found], indent=2))
    else:
        _print(found)


@app.command(epilog=examples("twilio-kafka watches pause messages"))
def pause(
    name: NameArgument,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    timeout: TimeoutOption = 15.0,
    output: FormatOption = Format.text,
) -> None:
    """Stop polling, over restarts too, until `resume`; nothing is skipped."""
    _ask(kafka_settings(config, kafka), name, "pause", timeout=timeout, output=output)


@app.command(epilog=examples("twilio-kafka watches resume messages"))
def resume(
    name: NameArgument,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    timeout: TimeoutOption = 15.0,
    output: FormatOption = Format.text,
) -> None:
    """Go on where the watch was paused."""
    _ask(kafka_settings(config, kafka), name, "resume", timeout=timeout, output=output)


@app.command(
    epilog=examples(
        "twilio-kafka watches rewind messages --to 2h", "twilio-kafka watches rewind calls --to 2026-11-24T12:00:00Z"
    )
)
def rewind(
    name: NameArgument,
    to: Annotated[str, typer.Option("--to", help="A duration ago (2h) or an RFC 3339 time.")],
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    timeout: TimeoutOption = 15.0,
    output: FormatOption = Format.text,
) -> None:
    """Publish again what was created since then; the events have the same ids as the first time."""
    _ask(kafka_settings(config, kafka), name, "rewind", to=moment(to), timeout=timeout, output=output)


@app.command(epilog=examples("twilio-kafka watches rescan messages"))
def rescan(
    name: NameArgument,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    timeout: TimeoutOption = 15.0,
    output: FormatOption = Format.text,
) -> None:
    """Poll now instead of at the next interval, and publish what is missing."""
    _ask(kafka_settings(config, kafka), name, "rescan", timeout=timeout, output=output)


async def _statuses(settings: "Settings") -> "list[Status]":
    from connector.events import now
    from connector.kafka import cursors
    from connector.watcher.status import brief, statuses

    found = {name: brief(raw) for name, raw in (await cursors.latest(settings.kafka)).items()}
    return statuses(settings.watches, found, now=now())


def _ask(
    settings: "Settings", name: str, action: str, *, timeout: float, output: Format, to: datetime | None = None
) -> None:
    from connector.kafka.control import Request, ask

    async def converse() -> "Answer":
        await _check_name(settings, name)
        request: Request = Request(action=action, watch=name, to=to, by="command line")
        return await ask(settings.kafka, request, seconds=timeout)

    answer = run_async(converse(), kafka=settings.kafka)
    if output is Format.json:
        typer.echo(json.dumps({"watch": name, "action": action, "done": answer.done, "message": answer.message}))
    else:
        typer.echo(f"{name}: {answer.message}", err=not answer.done)
    raise typer.Exit(0 if answer.done else 1)


async def _check_name(settings: "Settings", name: str) -> None:
    """A name that nobody watches would wait in vain; the configuration here may not know the watch, its cursor does."""
    from difflib import get_close_matches

    known = [status.name for status in await _statuses(settings) if status.state not in ("complete", "backfilling")]
    if name not in known:
        nearest = get_close_matches(name, known, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known) or 'none'}."
        raise typer.BadParameter(f"{name!r} is no watch. {hint}")


def _print(found: "list[Status]") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("NAME", "RESOURCE", "CONNECTION", "STATE", "SINCE", "COMPLETE UNTIL", "LAG", "POLLED AT"):
        table.add_column(column, no_wrap=column != "STATE")
    for status in found:
        times = [_time(status.since), _time(status.complete_until), _duration(status.lag), _time(status.polled_at)]
        state = f"[{STYLES.get(status.state, 'red')}]{status.state}[/]"
        table.add_row(status.name, status.resource, status.connection, state, *times)
    console = Console()
    # A pipe has no width: nothing is to be cut there.
    (console if console.is_terminal else Console(width=200)).print(table)


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _duration(lag: timedelta | None) -> str:
    if lag is None:
        return "-"
    seconds = int(lag.total_seconds())
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"
