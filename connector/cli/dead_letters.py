"""`twilio-kafka dead-letters`: what could not be used and why; replaying it."""

import re
import sys
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli import letters
from connector.cli.completion import LETTER_FIELDS, letter_fields
from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    condition,
    examples,
    kafka_settings,
    moment,
    run_async,
)
from connector.cli.output import say, say_json

if TYPE_CHECKING:
    from connector.letters import Decisions, Letter
    from connector.replay import Choice, Plan
    from connector.settings import KafkaSettings

app = Commands(help="List dead letters, show one, replay or discard them.", no_args_is_help=True)

BY = "command line"

SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Written since then: a duration ago (15m) or RFC 3339; else all.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Written before then, in the same way.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=TEXT",
        help=f"Only what fits, * for any text; again for more. Fields: {', '.join(LETTER_FIELDS)}.",
        autocompletion=letter_fields,
    ),
]


@app.command(
    "list",
    epilog=examples(
        "twilio-kafka dead-letters list --where decision=open",
        "twilio-kafka dead-letters list --since 1d --where topic=commands.send-message --where 'message=*connection*'",
        "twilio-kafka dead-letters list --format json | jq -r '.[].message'",
    ),
)
def list_letters(
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    where: WhereOption = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the latest.")] = 1000,
    output: FormatOption = Format.text,
) -> None:
    """Print dead letters, oldest first: where each is, why, and what was decided about it. No content."""
    settings = kafka_settings(config, kafka).kafka
    choice = _choice((), since, until, where)
    found, total = run_async(_listed(settings, choice, limit), kafka=settings)
    if output is Format.json:
        say_json(found, indent=2)
        return
    if found:
        letters.print_letters(found, settings.topic_prefix)
    more = f"The latest {len(found)} of {total}; --limit shows more." if total > len(found) else ""
    note = more or ("" if found else "There are none.")
    if note:
        say(note, err=True)


@app.command(
    epilog=examples("twilio-kafka dead-letters show 3/7", "twilio-kafka dead-letters show 3/7 --content --format json")
)
def show(
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="As `dead-letters list` shows it.")],
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    content: Annotated[bool, typer.Option("--content", help="Show its content and its headers as they are.")] = False,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Print why a record could not be used and the headers it had. Its content only with --content."""
    settings = kafka_settings(config, kafka).kafka
    shown = run_async(_shown(settings, _place(place), content=content), kafka=settings)
    if output is Format.json:
        say_json(shown, indent=2)
        return
    for name, text in letters.lines(shown):
        say(f"{name:<12} {text}")


@app.command(
    epilog=examples(
        "twilio-kafka dead-letters replay 3/7",
        """twilio-kafka dead-letters replay 3/7 --value '{"to": "+1555…", "from": "+1555…", "body": "Hi"}'""",
        "twilio-kafka dead-letters replay --where 'message=*connection*' --dry-run",
        "twilio-kafka dead-letters replay --since 1d --where topic=commands.send-message --rate 5/s --yes",
    ),
)
def replay(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PARTITION/OFFSET",
            help="Which ones, as `dead-letters list` shows them; else those that the options choose.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    where: WhereOption = None,
    value: Annotated[
        str | None, typer.Option(metavar="JSON", help="A corrected value for a single letter: JSON or @FILE.")
    ] = None,
    rate: Annotated[str | None, typer.Option(metavar="N/s", help="At most so many a second, such as 5/s.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what was replayed or discarded already.")] = False,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written where, write nothing.")] = False,  # noqa: FBT002
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Write dead letters to the command topics that they came from, each once, with key and headers.

    A replay runs under the id `<id>#replay-<n>`. Killed or stopped, the same command goes on; what was replayed or
    discarded is left out. Exit code 1 when a letter that was named is not replayed.
    """
    from connector.replay import planned

    if not (places or since or until or where):
        raise typer.BadParameter("Say which: PARTITION/OFFSET, --since, --until or --where; all are --where 'topic=*'.")
    settings = kafka_settings(config, kafka).kafka
    choice, pace = _choice([_place(text) for text in places or ()], since, until, where), _rate(rate)
    raw = _value(value)
    plan = run_async(planned(settings, choice, again=again), kafka=settings)
    if raw is not None and len(plan.chosen) > 1:
        raise typer.BadParameter(f"--value is for a single letter, and {len(plan.chosen)} are chosen.")
    letters.tell_skipped(plan)
    if dry_run or not plan.chosen:
        letters.print_plan(plan, output, dry_run=dry_run)
        raise typer.Exit(1 if plan.refused else 0)
    _confirm(plan, yes=yes)
    try:
        done = run_async(_replay(settings, plan, output, value=raw, rate=pace, again=again), kafka=settings)
    except KeyboardInterrupt:
        say("Stopped. The same command replays the rest.", err=True)
        raise typer.Exit(1) from None
    if output is Format.text:
        say(f"Replayed {done} of {len(plan.chosen)}.")
    # What was chosen by a condition may have been replayed by somebody else meanwhile.
    raise typer.Exit(1 if plan.refused or (places and done < len(plan.chosen)) else 0)


# --- reading and writing ----------------------------------------------------------------------------------------------
async def _listed(kafka: "KafkaSettings", choice: "Choice", limit: int) -> tuple[list[dict[str, Any]], int]:
    from connector.letters import letter
    from connector.replay import chosen, decisions_of

    decisions = await decisions_of(kafka)
    latest: deque[Letter] = deque(maxlen=limit)
    total = 0
    async with aclosing(chosen(kafka, choice, decisions)) as records:
        async for record in records:
            latest.append(letter(record))
            total += 1
    return [_as_json(found, decisions, kafka.topic_prefix) for found in latest], total


def _as_json(found: "Letter", decisions: "Decisions", prefix: str) -> dict[str, Any]:
    from connector.letters import as_json
    from connector.replay import command_topics

    return as_json(found, decisions.of(found.place), replayable=found.topic in command_topics(prefix))


async def _shown(kafka: "KafkaSettings", place: tuple[int, int], *, content: bool) -> dict[str, Any]:
    from connector.errors import InvalidRecord
    from connector.letters import content as content_of
    from connector.letters import headers, letter
    from connector.replay import ABSENT, Choice, chosen, decisions_of

    decisions = await decisions_of(kafka)
    async with aclosing(chosen(kafka, Choice(places=[place]), decisions)) as records:
        async for record in records:
            shown = _as_json(letter(record), decisions, kafka.topic_prefix)
            return {**shown, **(content_of(record) if content else {"headers": headers(record)})}
    raise InvalidRecord(f"{ABSENT} `dead-letters list` shows those that are.")


async def _replay(kafka: "KafkaSettings", plan: "Plan", output: Format, **options: Any) -> int:
    """Returns how many were replayed."""
    from connector.replay import Replayer

    done = 0
    async with Replayer(kafka, by=BY) as replayer:
        async for outcome in replayer.replay_all(plan, **options):
            letters.print_outcome(outcome, output)
            done += outcome.refused is None
    return done


# --- options ----------------------------------------------------------------------------------------------------------
def _choice(
    places: Sequence[tuple[int, int]], since: str | None, until: str | None, where: list[str] | None
) -> "Choice":
    from connector.replay import Choice
    from connector.stories import Condition

    conditions = [Condition(*condition(text, LETTER_FIELDS)) for text in where or ()]
    begin, end = (moment(text) if text else None for text in (since, until))
    return Choice(places=list(dict.fromkeys(places)), since=begin, until=end, conditions=conditions)


def _place(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,18})", text)
    if not found:
        raise typer.BadParameter(
            f"{text!r} is no place; write PARTITION/OFFSET as `dead-letters list` shows it, say 3/7."
        )
    return int(found[1]), int(found[2])


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/s)?", text)
    if not found or not float(found[1]):
        raise typer.BadParameter(f"{text!r} is no rate; write how many a second, such as 5/s.")
    return float(found[1])


def _value(text: str | None) -> bytes | None:
    if text is None or not text.startswith("@"):
        return None if text is None else text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{text[1:]} cannot be read: {error.strerror}.") from error


def _confirm(plan: "Plan", *, yes: bool) -> None:
    """Ask whoever sits there; where nobody does, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            "Nobody can be asked here: --yes replays without asking, --dry-run shows what would be."
        )
    for topic, count in Counter(outcome.topic for outcome in plan.chosen.values()).items():
        say(f"{count} to {topic}", err=True)
    typer.confirm("A connector executes them. Replay?", abort=True, err=True)
