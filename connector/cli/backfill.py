"""`twilio-kafka backfill`: publish a stretch of the past, with a progress bar; goes on where it was interrupted."""

import asyncio
import signal
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import Commands, ConfigOption, Format, FormatOption, examples, moment, run_async
from connector.cli.output import say, say_json
from connector.terminal import console, visible

if TYPE_CHECKING:
    from rich.progress import Progress

    from connector.settings import Settings
    from connector.watcher.backfill import Backfill
    from connector.watcher.status import Stretch

SHOW_SECONDS = 0.25


app = Commands()


@app.command(
    epilog=examples(
        "twilio-kafka backfill messages --from 30d",
        "twilio-kafka backfill calls --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z",
    )
)
def backfill(
    resource: Annotated[str, typer.Argument(help="A list that is built in: messages, calls, conferences …")],
    since: Annotated[str, typer.Option("--from", help="RFC 3339, or a duration ago such as 30d.")],
    until: Annotated[
        str | None, typer.Option("--to", help="The same; default: ten minutes ago, where watches take over.")
    ] = None,
    config: ConfigOption = None,
    connection: Annotated[str, typer.Option(help="Whose list.")] = "default",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="At most so many records in one transaction.")] = 1000,
    again: Annotated[bool, typer.Option("--again", help="Start over, although it is done or under way.")] = False,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Publish what was created in [FROM, TO), with the same ids as a watch.

    Ctrl-C stops it after the present step (exit code 1); the same command goes on from there.
    """
    from connector.settings import load
    from connector.watcher.backfill import Backfill

    _check_resource(resource)
    settings: Settings = load(config)
    stretch = run_async(_stretch(settings, resource, connection, since=since, until=until, again=again))
    run = Backfill(settings=settings, stretch=stretch, limit=limit)
    run_async(_run(run, again=again, output=output))
    _tell(run, output)
    raise typer.Exit(0 if run.is_complete else 1)


async def _stretch(
    settings: "Settings", resource: str, connection: str, *, since: str, until: str | None, again: bool
) -> "Stretch":
    """What is asked for; of times that move with the clock, what an interrupted back-fill was asked for."""
    from connector.watcher.backfill import latest_end, unfinished
    from connector.watcher.status import Stretch

    begin, latest = moment(since).replace(microsecond=0), latest_end(resource)
    end = min(moment(until).replace(microsecond=0), latest) if until else latest
    if begin >= end:
        raise typer.BadParameter(f"--from {_written(begin)} is not before --to {_written(end)}.")
    fixed = {"since": begin if "-" in since else None, "until": end if until and "-" in until else None}
    held = None if again or None not in fixed.values() else await unfinished(settings, resource, connection, **fixed)
    return held or Stretch(resource, connection, begin, end)


async def _run(run: "Backfill", *, again: bool, output: Format) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(run.run(stop, again=again), name="backfill-run")
    if output is Format.text:
        await _show(run, running)
    await running


async def _show(run: "Backfill", running: "asyncio.Task[None]") -> None:
    """The share of the time that is done, the rate, and when it will end at this rate."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    shown = console(stderr=True)
    columns = (
        TextColumn("{task.fields[at]}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[published]:,} published"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[problem]}", style="yellow", markup=False),
    )
    stretch = run.stretch
    shown.print(
        f"Back-filling {stretch.resource} of {stretch.connection}, {_day(stretch.since)} to {_day(stretch.until)}"
    )
    with Progress(*columns, console=shown, transient=False) as progress:
        total = (stretch.until - stretch.since).total_seconds()
        progress.add_task("", total=total, at=_day(stretch.since), published=0, rate="", problem="")
        began = asyncio.get_running_loop().time()
        while not running.done():
            await asyncio.wait({running}, timeout=SHOW_SECONDS)
            _update(run, progress, asyncio.get_running_loop().time() - began)


def _update(run: "Backfill", progress: "Progress", seconds: float) -> None:
    from rich.progress import TaskID

    rate = run.published / seconds if seconds else 0
    progress.update(
        TaskID(0),
        completed=(run.stands_at - run.stretch.since).total_seconds(),
        at=_day(run.stands_at),
        published=run.published,
        rate=f"{rate:,.0f}/s",
        problem=visible(run.failing or ""),
    )


def _tell(run: "Backfill", output: Format) -> None:
    if output is Format.json:
        document = {
            "name": run.stretch.name,
            "complete": run.is_complete,
            "published": run.published,
            "stands_at": _written(run.stands_at),
        }
        say_json(document)
    elif not run.is_complete:
        stretch = run.stretch
        times = f"--from {_written(stretch.since)} --to {_written(stretch.until)}"
        say(f"Stopped at {_day(run.stands_at)} after {run.published:,} records. To go on from there:")
        say(f"  twilio-kafka backfill {stretch.resource} {times}")
    elif run.is_resumed and run.published == 0:
        say("It is complete already; --again starts over.")
    else:
        say(f"Complete: {run.published:,} records published.")


def _check_resource(resource: str) -> None:
    from difflib import get_close_matches

    from connector.resources import WATCHES

    if resource not in WATCHES:
        nearest = get_close_matches(resource, WATCHES, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(WATCHES)}."
        raise typer.BadParameter(f"{resource!r} cannot be back-filled. {hint}")


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")
