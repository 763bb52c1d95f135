"""`twilio-kafka tail`: what happens on the topics, joined into stories."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from connector.cli.completion import FIELDS, condition_fields, topic_names, topics_to_show
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
    unknown,
)
from connector.cli.output import say_json
from connector.terminal import console

if TYPE_CHECKING:
    from connector.events import Received
    from connector.settings import KafkaSettings
    from connector.stories import Condition, Line, Stories

    Selected = AsyncGenerator[tuple[Stories, Line, Received], None]

app = Commands()


@app.command(
    epilog=examples(
        "twilio-kafka tail                                everything, from now on",
        "twilio-kafka tail --since 1h --where sid=SM…     a message's whole story",
        "twilio-kafka tail --since 1d --no-follow --where state=failed",
        "twilio-kafka tail dead-letters --format json",
    )
)
def tail(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TOPIC",
            help="Topics, with or without the prefix, such as messages or results.send-message; default: all.",
            show_default=False,
            autocompletion=topic_names,
        ),
    ] = None,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="From then on: a duration ago (15m) or RFC 3339; else from now on, or all with --no-follow.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=TEXT",
            help=f"Only what fits, * for any text. Fields: {', '.join(FIELDS)}; sid and command show the whole story.",
            autocompletion=condition_fields,
        ),
    ] = None,
    follow: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--follow/--no-follow", "-f", help="Go on until Ctrl-C, or end at the present end.")
    ] = True,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=1, help="End after so many records; with --no-follow the last so many."),
    ] = None,
    output: FormatOption = Format.text,
) -> None:
    """Show events, commands and results as they come, joined into one story each.

    A story is a command, its result, its status events, the watched record.

    Text shows no content and no whole number; json shows the records as they are, one on a line.
    """
    from connector.events import BEGINNING
    from connector.stories import Condition

    settings = kafka_settings(config, kafka)
    known = list(topics_to_show(settings))
    wanted = [_topic(name, settings.kafka.topic_prefix, known) for name in topics or known]
    conditions = [Condition(*condition(text, FIELDS)) for text in where or ()]
    start = moment(since) if since else None if follow else BEGINNING
    source = _selected(settings.kafka, wanted, conditions, since=start, until_end=not follow)
    source = source if follow or limit is None else _last(source, limit)
    try:
        run_async(_show(source, output, limit), kafka=settings.kafka)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _selected(
    kafka: "KafkaSettings", topics: list[str], conditions: "list[Condition]", *, since: datetime | None, until_end: bool
) -> "Selected":
    """The lines that fulfil the conditions, with their records."""
    from connector.kafka import reading
    from connector.stories import Selection, Stories

    stories, selection = Stories(kafka.topic_prefix), Selection(conditions)
    names = [f"{kafka.topic_prefix}.{topic}" for topic in topics]
    async with aclosing(reading.follow(kafka, names, since=since, until_end=until_end)) as records:
        async for record in records:
            for item in selection.take(stories.line(record), record):
                yield stories, *item


async def _last(source: "Selected", count: int) -> "Selected":
    """The last so many of what ends."""
    from collections import deque

    latest: deque[tuple[Stories, Line, Received]] = deque(maxlen=count)
    async with aclosing(source) as selected:
        async for item in selected:
            latest.append(item)
    for item in latest:
        yield item


async def _show(source: "Selected", output: Format, limit: int | None) -> None:
    shown, count = console(), 0
    whole = not shown.is_terminal
    async with aclosing(source) as found:
        async for stories, line, record in found:
            if output is Format.json:
                say_json({"story": line.story, **_as_json(record)})
            else:
                shown.print(stories.render(line, whole=whole))
            count += 1
            if count == limit:
                return


def _as_json(record: "Received") -> dict[str, Any]:
    """A record for machines: its position, key, headers and value as text or JSON."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": record.key.decode(errors="replace") if record.key is not None else None,
        "headers": {name: (raw or b"").decode(errors="replace") for name, raw in record.headers},
        "value": _value(record.value),
    }


def _value(raw: bytes | None) -> Any:
    try:
        return None if raw is None else orjson.loads(raw)
    except ValueError:
        return f"{len(raw or b'')} bytes"


def _topic(name: str, prefix: str, known: list[str]) -> str:
    short = name.removeprefix(f"{prefix}.")
    if short not in known:
        raise unknown(name, "topic of this configuration", known)
    return short
