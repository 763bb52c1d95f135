"""`twilio-kafka dead-letters`: what could not be used and why; replaying it."""

import re
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli import letters
from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    condition,
    examples,
    kafka_settings,
    letter_fields,
    moment,
    run_async,
)
from connector.cli.output import say, say_json
from connector.conditions import LETTER_FIELDS, Condition

if TYPE_CHECKING:
    from connector.dead_letters.reading import DeadLetter, Decisions
    from connector.dead_letters.replay import Choice, Plan
    from connector.events import Record
    from connector.settings import KafkaSettings

app = Commands(help="List dead letters, show one, replay or discard them.", no_args_is_help=True)

BY = "command line"

SinceOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Written since then: a duration ago (15m) or RFC 3339; else all.")
]
UntilOption = Annotated[str | None, typer.Option(metavar="TIME", help="Written before then, in the same way.")]
PlacesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PARTITION/OFFSET",
        help="Which ones, as `dead-letters list` shows them; else those that the options choose.",
        show_default=False,
    ),
]
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
    places: PlacesArgument = None,
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
    from connector.dead_letters.replay import planned

    _check_choice(places, since, until, where)
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
    # What was chosen by a condition may have been replayed by another replayer meanwhile.
    raise typer.Exit(1 if plan.refused or (places and done < len(plan.chosen)) else 0)


@app.command(
    epilog=examples(
        "twilio-kafka dead-letters discard 3/7 --note 'sent by a test'",
        "twilio-kafka dead-letters discard --where 'message=*E.164*' --note 'numbers of the old import' --dry-run",
    )
)
def discard(
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the others; it is kept with the decision.")],
    places: PlacesArgument = None,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    where: WhereOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would be discarded, write nothing.")] = False,  # noqa: FBT002
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Count dead letters as dealt with, for everybody. The records stay in their topic.

    What was replayed or discarded already is left out. Exit code 1 when a letter that was named is not discarded.
    """
    from connector.dead_letters.discard import planned

    if not note.strip():
        raise typer.BadParameter("--note is empty: say why, for the others.")
    _check_choice(places, since, until, where)
    settings = kafka_settings(config, kafka).kafka
    choice = _choice([_place(text) for text in places or ()], since, until, where)
    plan = run_async(planned(settings, choice), kafka=settings)
    letters.tell_skipped(plan)
    if dry_run or not plan.chosen:
        letters.print_plan(plan, output, dry_run=dry_run, verb="discard")
        raise typer.Exit(1 if plan.refused else 0)
    _confirm(plan, yes=yes, verb="discard")
    try:
        done = run_async(_discard(settings, plan, output, note), kafka=settings)
    except KeyboardInterrupt:
        say("Stopped. The same command discards the rest.", err=True)
        raise typer.Exit(1) from None
    if output is Format.text:
        say(f"Discarded {done} of {len(plan.chosen)}.")
    raise typer.Exit(1 if plan.refused else 0)


# --- reading and writing ----------------------------------------------------------------------------------------------
async def _listed(kafka: "KafkaSettings", choice: "Choice", limit: int) -> tuple[list[dict[str, Any]], int]:
    from connector.dead_letters.reading import read
    from connector.dead_letters.replay import chosen, decisions_of

    decisions = await decisions_of(kafka)
    latest: deque[DeadLetter] = deque(maxlen=limit)
    total = 0
    async with aclosing(chosen(kafka, choice, decisions)) as records:
        async for record in records:
            latest.append(read(record))
            total += 1
    return [_as_json(found, decisions, kafka.topic_prefix) for found in latest], total


def _as_json(found: "DeadLetter", decisions: "Decisions", prefix: str) -> dict[str, Any]:
    from connector.dead_letters.reading import as_json
    from connector.dead_letters.replay import command_topics

    return as_json(found, decisions.of(found.place), replayable=found.topic in command_topics(prefix))


async def _shown(kafka: "KafkaSettings", place: tuple[int, int], *, content: bool) -> dict[str, Any]:
    from connector.dead_letters.reading import content as content_of
    from connector.dead_letters.reading import headers, read
    from connector.dead_letters.replay import ABSENT, Choice, chosen, decisions_of
    from connector.errors import InvalidRecord

    decisions = await decisions_of(kafka)
    async with aclosing(chosen(kafka, Choice(places=[place]), decisions)) as records:
        async for record in records:
            shown = _as_json(read(record), decisions, kafka.topic_prefix)
            return {**shown, **(content_of(record) if content else {"headers": headers(record)})}
    raise InvalidRecord(f"{ABSENT} `dead-letters list` shows those that are.")


async def _replay(kafka: "KafkaSettings", plan: "Plan", output: Format, **options: Any) -> int:
    """Returns how many were replayed."""
    from connector.dead_letters.replay import Replayer

    done = 0
    async with Replayer(kafka, by=BY) as replayer:
        async for outcome in replayer.replay_all(plan, **options):
            letters.print_outcome(outcome, output)
            done += outcome.refused is None
    return done


async def _discard(kafka: "KafkaSettings", plan: "Plan", output: Format, note: str) -> int:
    """Returns how many were discarded."""
    from connector.dead_letters.discard import discard_all
    from connector.kafka import produce

    done = 0

    async def publish(records: "Sequence[Record]") -> None:
        await produce.send(kafka, *records)

    async with aclosing(discard_all(kafka, plan, note=note, by=BY, publish=publish)) as portions:
        async for portion in portions:
            for outcome in portion:
                letters.print_outcome(outcome, output)
            done += len(portion)
    return done


# --- options ----------------------------------------------------------------------------------------------------------
def _check_choice(*chosen: object) -> None:
    """Refuse a choice of everything that was not meant."""
    if not any(chosen):
        raise typer.BadParameter("Say which: PARTITION/OFFSET, --since, --until or --where; all are --where 'topic=*'.")


def _choice(
    places: Sequence[tuple[int, int]], since: str | None, until: str | None, where: list[str] | None
) -> "Choice":
    from connector.dead_letters.replay import Choice

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


def _confirm(plan: "Plan", *, yes: bool, verb: str = "replay") -> None:
    """Ask on the terminal; where there is none, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            f"There is no terminal to ask on: --yes {verb}s without asking, --dry-run shows what would be."
        )
    for line in letters.plan_lines(plan):
        say(line, err=True)
    typer.confirm("A connector executes them. Replay?" if verb == "replay" else "Discard?", abort=True, err=True)
