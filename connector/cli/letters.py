"""Dead letters as the command line shows them."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connector.cli.options import Format
from connector.cli.output import Column, print_table, say, say_json

if TYPE_CHECKING:
    from rich.console import Console

    from connector.dead_letters.replay import Outcome, Plan

COLUMNS = (
    Column("PLACE"),
    Column("AT", rank=3),
    Column("STAGE", rank=6),
    Column("TOPIC", rank=2, wraps=True),
    Column("CLASS", rank=5),
    Column("MESSAGE", wraps=True),
    Column("REPLAYS", rank=4, right=True),
    Column("DECISION", rank=1),
)
SKIPPED = {
    "decided": "replayed or discarded already; --again replays what was",
    "forgotten": "older than the memory of what was replayed; --again replays what is",
    "no command": "not from a command topic, and not to be replayed",
}


def print_letters(found: Sequence[dict[str, Any]], prefix: str, *, to: "Console | None" = None) -> None:
    """A row for each letter."""
    rows = [
        (
            f"{letter['partition']}/{letter['offset']}",
            _time(letter["at"]),
            letter["stage"],
            letter["topic"].removeprefix(f"{prefix}.") or "-",
            letter["class"],
            letter["message"],
            str(letter["replays"]),
            letter["verdict"]["decision"] if letter["verdict"] else "open",
        )
        for letter in found
    ]
    print_table(COLUMNS, rows, to=to)


def lines(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of a letter, without what is empty."""
    origin, verdict = shown["origin"], shown["verdict"]
    place = f"{origin['topic']}, partition {origin['partition']}, offset {origin['offset']}" if shown["topic"] else ""
    note = f" ({verdict['note']})" if verdict and verdict["note"] else ""
    decided = verdict and f"{verdict['decision']} by {verdict['by'] or 'an unnamed person'} at {verdict['at']}{note}"
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


def plan_lines(plan: "Plan") -> list[str]:
    """How many go where, and how many of them must fail again."""
    topics = Counter(outcome.topic for outcome in plan.chosen.values())
    fails = [outcome.fails for outcome in plan.chosen.values() if outcome.fails]
    where = [f"{count} to {topic}" if topic else f"{count} dead letters" for topic, count in topics.items()]
    return [*where, *([f"{len(fails)} of them must fail again as they are: {fails[0]}"] if fails else [])]


def print_plan(plan: "Plan", output: Format, *, dry_run: bool, verb: str = "replay") -> None:
    """What would be written where; or that there is nothing to do."""
    for outcome in (*plan.chosen.values(), *plan.refused):
        print_outcome(outcome, output)
    if output is Format.text:
        done = "replayed" if verb == "replay" else "discarded"
        would = f"{len(plan.chosen)} would be {done}. Nothing was written."
        say(would if dry_run else f"There is nothing to {verb}.")


def print_outcome(outcome: "Outcome", output: Format) -> None:
    """A line for each letter; why one is not replayed goes to standard error."""
    place = f"{outcome.place[0]}/{outcome.place[1]}"
    if output is Format.json:
        document = {"letter": place, "topic": outcome.topic, "command": outcome.command, "refused": outcome.refused}
        say_json(document)
    elif outcome.refused:
        say(f"{place}  {outcome.refused}", err=True)
    else:
        say(f"{place}  {outcome.topic}  {outcome.command}".rstrip())


def tell_skipped(plan: "Plan") -> None:
    """How many were left out, and why."""
    for kind, count in plan.skipped.items():
        say(f"Left out: {count} {SKIPPED[kind]}.", err=True)


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
