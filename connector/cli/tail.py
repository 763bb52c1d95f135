"""`twilio-kafka tail`: what happens on the topics, joined into timelines."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    condition,
    condition_fields,
    examples,
    kafka_settings,
    moment,
    run_async,
    topic_names,
    topics_to_show,
    unknown,
)
from connector.cli.output import say_json
from connector.conditions import ENTRY_FIELDS, Condition
from connector.terminal import console

if TYPE_CHECKING:
    from connector.events import Received
    from connector.settings import KafkaSettings
    from connector.timeline.model import Entry

    Selected = AsyncGenerator[tuple[Entry, Received], None]

app = Commands()


@app.command(
    epilog=examples(
        "twilio-kafka tail                                everything, from now on",
        "twilio-kafka tail --since 1h --where sid=SM…     a message's whole timeline",
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
            help=f"Only what fits, * for any text; sid and command show whole timelines. Fields: "
            f"{', '.join(ENTRY_FIELDS)}.",
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
    """Show events, commands and results as they come, joined into one timeline each.

    A timeline is a command, its result, its status events, the watched record.

    Text shows no content and no whole number; json shows the records as they are, one on a line.
    """
    from connector.events import BEGINNING

    settings = kafka_settings(config, kafka)
    known = list(topics_to_show(settings))
    wanted = [_topic(name, settings.kafka.topic_prefix, known) for name in topics or known]
    conditions = [Condition(*condition(text, ENTRY_FIELDS)) for text in where or ()]
    start = moment(since) if since else None if follow else BEGINNING
    connections = {connection.account_sid: name for name, connection in settings.connections.items()}
    source = _selected(settings.kafka, wanted, conditions, connections, since=start, until_end=not follow)
    source = source if follow or limit is None else _last(source, limit)
    try:
        run_async(_show(source, output, limit), kafka=settings.kafka)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _selected(
    kafka: "KafkaSettings",
    topics: list[str],
    conditions: "list[Condition]",
    connections: dict[str, str],
    *,
    since: datetime | None,
    until_end: bool,
) -> "Selected":
    """The lines that fulfil the conditions, with their records."""
    from connector.kafka import reading
    from connector.timeline.model import Joiner, Selection

    joiner, selection = Joiner(kafka.topic_prefix, connections), Selection(conditions)
    names = [f"{kafka.topic_prefix}.{topic}" for topic in topics]
    async with aclosing(reading.follow(kafka, names, since=since, until_end=until_end)) as records:
        async for record in records:
            for item in selection.take(joiner.entry(record), record):
                yield item


async def _last(source: "Selected", count: int) -> "Selected":
    """The last so many of what ends."""
    from collections import deque

    latest: deque[tuple[Entry, Received]] = deque(maxlen=count)
    async with aclosing(source) as selected:
        async for item in selected:
            latest.append(item)
    for item in latest:
        yield item


async def _show(source: "Selected", output: Format, limit: int | None) -> None:
    from connector.timeline.lines import Lines

    shown, lines, count = console(), Lines(), 0
    whole = not shown.is_terminal
    async with aclosing(source) as found:
        async for entry, record in found:
            if output is Format.json:
                say_json({"story": entry.timeline, **_as_json(record)})
            else:
                shown.print(lines.line(entry, whole=whole))
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
