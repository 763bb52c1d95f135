"""`twilio-kafka watches`: where each watch stands; pause, resume, rewind and re-scan it wherever it runs."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    examples,
    kafka_settings,
    moment,
    run_async,
)
from connector.cli.output import Column, print_table, say, say_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from connector.settings import Settings, WatchSettings
    from connector.state.control import Answer
    from connector.watcher.status import Status
    from connector.watcher.trial import Trial

COUNTING_SECONDS = 20.0

app = Commands(help="List the watches; pause, resume, rewind, re-scan one.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="WATCH", help="The watch's name, as `watches list` shows it.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", help="Seconds to wait for the owner's answer.")]

STYLES = {
    **dict.fromkeys(("watching", "complete"), "green"),
    **dict.fromkeys(("catching up", "backfilling"), "cyan"),
    **dict.fromkeys(("paused", "not started"), "yellow"),
    **dict.fromkeys(("silent", "failing", "unreadable", "not configured", "interrupted"), "red"),
}
COLUMNS = (
    Column("NAME", wraps=True),
    Column("RESOURCE", rank=3),
    Column("CONNECTION", rank=4),
    Column("STATE", wraps=True),
    Column("SINCE", rank=5),
    Column("COMPLETE UNTIL", rank=1),
    Column("LAG"),
    Column("POLLED AT", rank=2),
)


@app.command("list", epilog=examples("twilio-kafka watches list", "twilio-kafka watches list --format json"))
def list_watches(config: ConfigOption = None, kafka: KafkaOption = None, output: FormatOption = Format.text) -> None:
    """Print where each watch stands, read from the topic of cursors."""
    settings = kafka_settings(config, kafka)
    found = run_async(_statuses(settings), kafka=settings.kafka)
    if output is Format.json:
        say_json([status.as_json() for status in found], indent=2)
    else:
        print_statuses(found)
        for status in found:
            if status.failing:
                since = f" since {_time(status.failing_since)}" if status.failing_since else ""
                say(f"{status.name} stands still{since}: {status.failing}")
            if status.state == "interrupted":
                say(f"The back-fill of {status.title} was interrupted. It goes on with: {status.command}")


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
        "twilio-kafka watches rewind messages --to 2h",
        "twilio-kafka watches rewind calls --to 2026-11-24T12:00:00Z --yes",
    )
)
def rewind(
    name: NameArgument,
    to: Annotated[str, typer.Option("--to", help="A duration ago (2h) or an RFC 3339 time.")],
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002
    timeout: TimeoutOption = 15.0,
    output: FormatOption = Format.text,
) -> None:
    """Publish again what was created since then, after showing how much that is.

    The events have the same ids as the first time.
    """
    settings, begin = kafka_settings(config, kafka), moment(to)
    if not yes:
        _confirm_rewind(settings, name, begin)
    _ask(settings, name, "rewind", to=begin, timeout=timeout, output=output)


def _confirm_rewind(settings: "Settings", name: str, begin: datetime) -> None:
    """Say how many events were published since then, and ask."""
    import sys

    if not sys.stdin.isatty():
        raise typer.BadParameter("There is no terminal to ask on: --yes rewinds without asking.")
    counted, is_whole = run_async(_published_since(settings, name, begin), kafka=settings.kafka)
    count = f"{'' if is_whole else 'more than '}{counted:,} event{'' if counted == 1 else 's'}"
    say(f"{name} has published {count} of what was created since {_time(begin)}; it publishes them again.", err=True)
    typer.confirm("Rewind?", abort=True, err=True)


async def _published_since(settings: "Settings", name: str, begin: datetime) -> tuple[int, bool]:
    """How many events a watch has published of what was created since then, and whether all were counted in time."""
    import asyncio
    from contextlib import aclosing

    from connector.events import timestamp
    from connector.kafka import reading
    from connector.resources import WATCHES

    await _check_name(settings, name)
    rows = {watch.name: watch.row for watch in settings.watches}
    (resource,) = {status.resource for status in await _statuses(settings) if status.name == name}
    row = rows.get(name) or WATCHES[resource]
    topic, least, counted = f"{settings.kafka.topic_prefix}.{row.topic}", timestamp(begin), 0
    wanted = ("ce_watch", name.encode())
    try:
        async with (
            asyncio.timeout(COUNTING_SECONDS),
            aclosing(reading.follow(settings.kafka, [topic], since=begin, until_end=True)) as records,
        ):
            async for record in records:
                counted += wanted in record.headers and dict(record.headers).get("ce_time", b"").decode() >= least
    except TimeoutError:
        return counted, False
    return counted, True


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


@app.command(
    "try",
    epilog=examples("twilio-kafka watches try connector.yaml", "twilio-kafka watches try lists.yaml --watch queues"),
)
def try_(
    file: Annotated[Path, typer.Argument(help="A configuration with the watch, and its connection.")],
    watch: Annotated[
        str | None, typer.Option("--watch", help="Its name; left out: each list by configuration.")
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Poll once without Kafka and tell what was understood; publish nothing.

    Exit code 1 when the rows contradict the configuration.
    """
    from dataclasses import asdict

    from connector.settings import load
    from connector.watcher.trial import told

    settings: Settings = load(file)
    chosen = [item for item in settings.watches if (item.name == watch if watch else item.resource == "list")]
    if not chosen:
        known = ", ".join(item.name for item in settings.watches) or "none"
        raise typer.BadParameter(f"{file} has no such watch. It has: {known}.")
    trials = run_async(_tried(settings, chosen))
    if output is Format.json:
        say_json([asdict(trial) for trial in trials], indent=2)
    else:
        for trial in trials:
            for line in told(trial):
                say(line)
    raise typer.Exit(1 if any(trial.contradicted for trial in trials) else 0)


async def _tried(settings: "Settings", chosen: "Sequence[WatchSettings]") -> "list[Trial]":
    from connector.watcher.trial import try_watch

    return [
        await try_watch(watch, settings.connections[watch.connection], parent=settings.parent_of(watch))
        for watch in chosen
    ]


async def _statuses(settings: "Settings") -> "list[Status]":
    from connector.events import now
    from connector.watcher import cursor as cursors
    from connector.watcher.status import brief, statuses

    found = {name: brief(raw) for name, raw in (await cursors.latest(settings.kafka)).items()}
    return statuses(settings.watches, found, now=now())


def _ask(
    settings: "Settings", name: str, action: str, *, timeout: float, output: Format, to: datetime | None = None
) -> None:
    from connector.state.control import Request, ask

    async def converse() -> "Answer":
        await _check_name(settings, name)
        request: Request = Request(action=action, watch=name, to=to, by="command line")
        return await ask(settings.kafka, request, seconds=timeout)

    answer = run_async(converse(), kafka=settings.kafka)
    if output is Format.json:
        say_json({"watch": name, "action": action, "done": answer.done, "message": answer.message})
    else:
        say(f"{name}: {answer.message}", err=not answer.done)
    raise typer.Exit(0 if answer.done else 1)


async def _check_name(settings: "Settings", name: str) -> None:
    """Refuse a name that no process watches. A watch that this configuration lacks has a cursor, if it exists."""
    from difflib import get_close_matches

    known = [
        status.name
        for status in await _statuses(settings)
        if status.state not in ("complete", "backfilling", "interrupted")
    ]
    if name not in known:
        nearest = get_close_matches(name, known, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(known) or 'none'}."
        raise typer.BadParameter(f"{name!r} is no watch. {hint}")


def print_statuses(found: "Sequence[Status]", *, to: "Console | None" = None) -> None:
    """A row for each watch."""
    rows = [
        (
            status.name,
            status.resource,
            status.connection,
            status.state,
            _time(status.since),
            _time(status.complete_until),
            _duration(status.lag),
            _time(status.polled_at),
        )
        for status in found
    ]
    print_table(COLUMNS, rows, styles=STYLES, to=to)


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
