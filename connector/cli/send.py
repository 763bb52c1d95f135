"""`twilio-kafka send`: one command, and its result."""

import json
import sys
from typing import Annotated

import typer

from connector.cli.options import ConfigOption, Format, FormatOption, KafkaOption, kafka_settings, run_async

FINE = ("succeeded", "duplicate")


def send(
    command: Annotated[str, typer.Argument(help="send-message, place-call, get, list, update, delete, …")],
    value: Annotated[str, typer.Argument(metavar="JSON", help="The command's parameters; - reads standard input.")],
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    key: Annotated[str | None, typer.Option(help="Record key: commands of one key run in their order.")] = None,
    command_id: Annotated[
        str | None, typer.Option("--id", help="Your own id: seen again, it is not run again.")
    ] = None,
    connection: Annotated[str | None, typer.Option(help="Which Twilio connection; default: default.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the result.")] = 30.0,
    output: FormatOption = Format.text,
) -> None:
    """Send a command, wait for its result and print it.

    Exit code 0 for succeeded and duplicate, 1 for any other outcome, 69 when no result came in time.
    """
    import asyncio

    from connector.errors import Unavailable
    from connector.kafka import stream
    from connector.resources import COMMANDS

    _check_name(command, COMMANDS)
    settings = kafka_settings(config, kafka)
    raw = sys.stdin.buffer.read() if value == "-" else value.encode()
    headers = {name: text for name, text in (("id", command_id), ("connection", connection)) if text}

    async def converse() -> str:
        outcome = ""
        try:
            async with asyncio.timeout(timeout):
                async for result in stream.command(settings.kafka, command, raw, key=key, headers=headers):
                    _print(result, output)
                    outcome = result["outcome"]
        except TimeoutError as error:
            raise Unavailable(
                f"No result came within {timeout:g} s. The command stays in its topic for a connector to execute."
            ) from error
        return outcome

    outcome = run_async(converse())
    raise typer.Exit(0 if outcome in FINE else 1)


def _check_name(command: str, known: object) -> None:
    from difflib import get_close_matches

    names = list(known)  # type: ignore[call-overload]  # a mapping of commands
    if command not in names:
        nearest = get_close_matches(command, names, n=1)
        hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."
        raise typer.BadParameter(f"{command!r} is no command. {hint}")


def _print(result: dict[str, object], output: Format) -> None:
    if output is Format.json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    from rich.console import Console

    console = Console()
    colour = "green" if result["outcome"] in FINE else "red"
    console.print(f"[bold {colour}]{result['outcome']}[/]", highlight=False)
    shown = {name: item for name, item in result.items() if item not in (None, [], False, 0) and name != "outcome"}
    console.print_json(json.dumps(shown, ensure_ascii=False))
