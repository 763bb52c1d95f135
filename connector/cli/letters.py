"""Dead letters as the command line shows them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from connector.cli.options import Format

if TYPE_CHECKING:
    from connector.replay import Outcome, Plan

COLUMNS = ("PLACE", "AT", "STAGE", "TOPIC", "CLASS", "MESSAGE", "REPLAYS", "DECISION")
# A pipe has no width: a row stays on its line.
PIPE_WIDTH = 2_000
SKIPPED = {
    "decided": "replayed or discarded already; --again replays what was",
    "forgotten": "older than the memory of what was replayed; --again replays what is",
    "no command": "not from a command topic, and not to be replayed",
}


def print_table(found: Sequence[dict[str, Any]], prefix: str) -> None:
    """A row for each letter."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=column != "MESSAGE", justify="right" if column == "REPLAYS" else "left")
    for letter in found:
        place, at = f"{letter['partition']}/{letter['offset']}", _time(letter["at"])
        topic = letter["topic"].removeprefix(f"{prefix}.") or "-"
        decision = letter["verdict"]["decision"] if letter["verdict"] else "open"
        table.add_row(
            place, at, letter["stage"], topic, letter["class"], letter["message"], str(letter["replays"]), decision
        )
    console = Console(highlight=False, markup=False)
    (console if console.is_terminal else Console(width=PIPE_WIDTH, highlight=False, markup=False)).print(table)


def lines(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a letter, without what is empty."""
    origin, verdict = shown["origin"], shown["verdict"]
    place = f"{origin['topic']}, partition {origin['partition']}, offset {origin['offset']}" if shown["topic"] else ""
    note = f" ({verdict['note']})" if verdict and verdict["note"] else ""
    decided = verdict and f"{verdict['decision']} by {verdict['by'] or 'somebody'} at {verdict['at']}{note}"
    lines = [
        ("place", f"{shown['partition']}/{shown['offset']}"),
        ("at", _time(shown["at"])),
        ("decision", decided or "open"),
        ("reason", shown["message"]),
        ("class", shown["class"]),
        ("stage", shown["stage"]),
        ("from", place or "Twilio"),
        ("id", shown["id"]),
        *shown["twilio"].items(),
        ("key", shown["key"]),
        ("replays", str(shown["replays"])),
        *(("header", f"{name} = {text}") for name, text in shown["headers"]),
        ("content", shown.get("value") or f"{shown['size']} bytes; --content shows them"),
    ]
    return [(name, text) for name, text in lines if text]


def print_plan(plan: "Plan", output: Format, *, dry_run: bool) -> None:
    """What would be written where; or that there is nothing to replay."""
    for outcome in (*plan.chosen.values(), *plan.refused):
        print_outcome(outcome, output)
    if output is Format.text:
        would = f"{len(plan.chosen)} would be replayed. Nothing was written."
        typer.echo(would if dry_run else "There is nothing to replay.")


def print_outcome(outcome: "Outcome", output: Format) -> None:
    """A line for each letter; why one is not replayed goes to standard error."""
    place = f"{outcome.place[0]}/{outcome.place[1]}"
    if output is Format.json:
        document = {"letter": place, "topic": outcome.topic, "command": outcome.command, "refused": outcome.refused}
        typer.echo(json.dumps(document, ensure_ascii=False))
    elif outcome.refused:
        typer.echo(f"{place}  {outcome.refused}", err=True)
    else:
        typer.echo(f"{place}  {outcome.topic}  {outcome.command}")


def tell_skipped(plan: "Plan") -> None:
    """How many were left out, and why."""
    for kind, count in plan.skipped.items():
        typer.echo(f"Left out: {count} {SKIPPED[kind]}.", err=True)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
