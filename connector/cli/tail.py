"""`twilio-kafka tail`: what happens on the topics, joined into stories."""

import json
from typing import Annotated

import typer

from connector.cli.options import ConfigOption, Format, FormatOption, KafkaOption, kafka_settings, moment, run_async


def tail(
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            help="Topics, with or without the prefix, such as messages or results.send-message; default: all."
        ),
    ] = None,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    since: Annotated[
        str | None, typer.Option(help="From this moment on: a duration ago (15m) or RFC 3339; default: from now on.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=TEXT", help="Only records with it: sid, command, type, topic, key."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Go on until Ctrl-C.")] = True,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Show events, commands and results as they come: a command, its result, its status events, the watched record."""
    from rich.console import Console

    from connector.app import topics_of
    from connector.kafka import stream
    from connector.stories import Stories, matches

    settings = kafka_settings(config, kafka)
    prefix = settings.kafka.topic_prefix
    hidden = {f"{prefix}.{name}" for name in ("cursors", "journal", "control", "recording-media")}
    known = [topic.name for topic in topics_of(settings) if topic.name not in hidden]
    wanted = [name if name.startswith(f"{prefix}.") else f"{prefix}.{name}" for name in topics or ()] or known
    conditions = [_condition(text) for text in where or ()]
    start = moment(since) if since else None
    console = Console(highlight=False, soft_wrap=True)
    stories = Stories(prefix)

    async def show() -> None:
        async for record in stream.follow(settings.kafka, wanted, since=start, until_end=not follow):
            line = stories.line(record)
            if not all(matches(line, name, text) for name, text in conditions):
                continue
            if output is Format.json:
                typer.echo(json.dumps(stream.as_json(record), ensure_ascii=False))
            else:
                console.print(stories.render(line))

    try:
        run_async(show())
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _condition(text: str) -> tuple[str, str]:
    name, sign, wanted = text.partition("=")
    if not sign:
        raise typer.BadParameter(
            f"{text!r} is no condition; write for example sid=SM… or type=twilio.message.status.v1."
        )
    return name, wanted
