"""`twilio-kafka send`: one command, and its result."""

import json
import shlex
import sys
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli.options import (
    Commands,
    ConfigOption,
    Format,
    FormatOption,
    KafkaOption,
    command_names,
    examples,
    kafka_settings,
    parameter_names,
    run_async,
    unknown,
)
from connector.cli.output import say, say_json, say_lines
from connector.terminal import console

if TYPE_CHECKING:
    from connector.resources.commands import Command
    from connector.resources.rows import Request
    from connector.settings import KafkaSettings

FINE = ("succeeded", "duplicate")
PATIENCE_SECONDS = 3.0
app = Commands()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be sent: the command, its value and headers, its key."""

    command: "Command"
    value: Mapping[str, Any]
    headers: Mapping[str, str]
    key: str | None

    @property
    def raw(self) -> bytes:
        """The record's value."""
        return json.dumps(self.value, ensure_ascii=False).encode()


@app.command(
    epilog=examples(
        """twilio-kafka send send-message '{"to": "+1555…", "from": "+1555…", "body": "Hi"}'""",
        "twilio-kafka send send-message -p to=+1555… -p from=+1555… -p 'body=Hi'",
        "twilio-kafka send place-call @call.json --key customer-42 --id order-7",
        "twilio-kafka send list -p resource=messages -p limit=5 --format json",
        "twilio-kafka send get -p resource=message -p sid=SM… --dry-run",
    )
)
def send(
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND",
            help="send-message, place-call, get, list, update, delete, …",
            autocompletion=command_names,
        ),
    ],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="JSON", help="The parameters: JSON, @FILE, or - for standard input.", show_default=False
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param",
            "-p",
            metavar="NAME=VALUE",
            help="One parameter, over those in JSON; again for a list; name:=JSON for any JSON.",
            autocompletion=parameter_names,
        ),
    ] = None,
    config: ConfigOption = None,
    kafka: KafkaOption = None,
    key: Annotated[str | None, typer.Option(help="Record key: commands of one key run in their order.")] = None,
    command_id: Annotated[
        str | None, typer.Option("--id", help="Your own id: seen again, it is not run again.")
    ] = None,
    connection: Annotated[
        str | None, typer.Option(help="Which Twilio connection; else the one called default.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Not to be executed after it: RFC 3339, or from now on, such as 5m."),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A further header, such as correlation-id=order-7.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = True,  # noqa: FBT002
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, show the request, send nothing.")] = False,  # noqa: FBT002
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait for the result.")] = 30.0,
    output: FormatOption = Format.text,
) -> None:
    """Send a command, wait for its result and print it.

    Exit code 0 for succeeded and duplicate, 1 for any other outcome, 69 when no result came in time.
    """
    from connector.resources import COMMANDS

    if command not in COMMANDS:
        raise unknown(command, "command", COMMANDS)
    named = {"id": command_id or str(uuid.uuid4()), "connection": connection, "expires-at": _moment(expires)}
    further = dict(_header(text) for text in header or ())
    headers = {name: text for name, text in {**named, **further}.items() if text}
    order = Order(COMMANDS[command], _value(COMMANDS[command], value, param or []), headers, key)
    settings = kafka_settings(config, kafka).kafka
    if dry_run:
        raise typer.Exit(_show(order, settings.topic_prefix, output))
    if command_id is None and "id" not in further:
        say(f"id {headers['id']}", err=True)
    if not wait:
        run_async(_post(order, settings), kafka=settings)
        if output is Format.json:
            say_json({"id": headers["id"]})
        else:
            say(f"sent, id {headers['id']}")
        return
    try:
        outcome = run_async(_converse(order, settings, timeout, output), kafka=settings)
    except KeyboardInterrupt:
        say("Stopped waiting; the command may still be executed.", err=True)
        say_lines(_what_now(headers["id"]), err=True)
        raise typer.Exit(1) from None
    raise typer.Exit(0 if outcome in FINE else 1)


def _what_now(command_id: str) -> str:
    """How to look a command up whose result is not known, and how to repeat it without a second execution."""
    again = [argument for argument in sys.argv[1:] if argument != "--no-wait"]
    if command_id not in " ".join(again):
        again += ["--id", command_id]
    source = " (give it the same standard input)" if "-" in again else ""
    return (
        f"  Look it up:       twilio-kafka tail --since 1h --no-follow --where {shlex.quote(f'command={command_id}')}\n"
        f"  Repeat it safely: twilio-kafka {shlex.join(again)}{source}\n"
        "  An id that was seen within commands.dedupe_window is not executed again."
    )


def _value(command: "Command", given: str | None, options: list[str]) -> Mapping[str, Any]:
    from connector.cli.parameters import with_options

    if given is None and not options:
        raise typer.BadParameter("There is nothing to send: give JSON, @FILE, - for standard input, or --param.")
    base = _read(given) if given is not None else {}
    return with_options(command, base, options) if options else base


def _read(given: str) -> dict[str, Any]:
    """The JSON object of an argument, a file or standard input."""
    origin, text = "The argument", given
    if given == "-":
        origin, text = "Standard input", sys.stdin.read()
    elif given.startswith("@"):
        origin = given[1:]
        try:
            text = Path(origin).read_text(encoding="utf-8")
        except OSError as error:
            raise typer.BadParameter(f"{origin} cannot be read: {error.strerror}.") from error
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise typer.BadParameter(
            f"{origin} is not JSON ({error.msg}, {place}). In a shell, quote it with '…'."
        ) from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{origin} is no JSON object such as {{"to": "+15557654321"}}.')
    return value


def _header(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise typer.BadParameter(f"{text!r} is no header; write for example correlation-id=order-7.")
    return name, value


def _moment(text: str | None) -> str | None:
    from connector.events import timestamp
    from connector.settings import parse_duration, parse_instant

    if text is None:
        return None
    try:
        return timestamp(parse_instant(text) if "-" in text else datetime.now(UTC) + parse_duration(text))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither an RFC 3339 time nor a duration from now such as 5m.") from error


def _show(order: Order, prefix: str, output: Format) -> int:
    """Print the record that would be sent, and the request that it means; returns the exit code."""
    from connector.errors import Rejected
    from connector.resources.commands import parse

    problem = request = None
    try:
        operation, parameters = parse(order.command, order.raw)
        request = operation.request(parameters)
    except Rejected as error:
        problem = str(error)
    topic = f"{prefix}.commands.{order.command.name}"
    if output is Format.json:
        record = {"topic": topic, "key": order.key, "headers": order.headers, "value": order.value, "problem": problem}
        say_json({**record, "request": request and _request(request)})
    else:
        rows = [
            ("topic", topic),
            ("key", order.key or "-"),
            *(("header", " = ".join(pair)) for pair in order.headers.items()),
        ]
        for name, text in (*rows, ("value", order.raw.decode()), *_request_lines(request)):
            say(f"{name:<8} {text}")
        say(f"It would be rejected: {problem}" if problem else "It is valid. Nothing was sent.", err=bool(problem))
    return 1 if problem else 0


def _request(request: "Request") -> dict[str, Any]:
    """The request to Twilio, without credentials and the callback addresses that the connector adds."""
    shown = {"host": request.host, "method": request.method, "path": request.path, "query": request.query}
    body = {"body": request.body.decode()} if request.body is not None else {"form": request.form}
    return {**shown, "headers": request.headers, **body}


def _request_lines(request: "Request | None") -> Iterator[tuple[str, str]]:
    if request is None:
        return
    yield "request", f"{request.method} {request.path} at the host {request.host}"
    for name, pairs in (("query", request.query), ("header", request.headers), ("form", request.form or ())):
        yield from ((f"  {name}", " = ".join(pair)) for pair in pairs)
    if request.body is not None:
        yield "  body", request.body.decode()


async def _post(order: Order, kafka: "KafkaSettings") -> None:
    from connector.events import Record
    from connector.kafka import produce

    headers = [(name, text.encode()) for name, text in order.headers.items()]
    key = order.key.encode() if order.key else None
    await produce.send(kafka, Record(f"{kafka.topic_prefix}.commands.{order.command.name}", key, order.raw, headers))


async def _converse(order: Order, kafka: "KafkaSettings", timeout: float, output: Format) -> str:  # noqa: ASYNC109
    import asyncio
    from contextlib import aclosing

    from connector.errors import Unavailable

    outcome = ""
    hint = asyncio.get_running_loop().call_later(PATIENCE_SECONDS, _tell_that_it_waits)
    try:
        async with asyncio.timeout(timeout), aclosing(_results(order, kafka)) as results:
            async for result in results:
                hint.cancel()
                _print(result, output)
                outcome = result["outcome"]
    except TimeoutError as error:
        raise Unavailable(
            f"No result came within {timeout:g} s. The command stays in its topic for a connector to execute: "
            f"is one running with role commands and the prefix {kafka.topic_prefix}?\n"
            f"{_what_now(order.headers['id'])}"
        ) from error
    finally:
        hint.cancel()
    return outcome


async def _results(order: Order, kafka: "KafkaSettings") -> AsyncGenerator[dict[str, Any], None]:
    """Send the command and yield its results until the last one."""
    from dataclasses import replace

    from connector.events import decode
    from connector.kafka import clients, reading

    command_id = order.headers.get("id") or str(uuid.uuid4())
    topic = f"{kafka.topic_prefix}.results.{order.command.name}"
    async with clients.reading(kafka) as consumer:
        await reading.assign(consumer, {topic: reading.END})
        await _post(replace(order, headers={**order.headers, "id": command_id}), kafka)
        async for record in reading.records(consumer):
            if command_id.encode() not in (record.value or b""):
                continue
            result = decode(record.value, record.headers).data
            if result["command"]["id"] == command_id:
                yield result
                if result["last"]:
                    return


def _tell_that_it_waits() -> None:
    if sys.stderr.isatty():
        say("Sent; waiting for the result. Ctrl-C ends the waiting, not the command.", err=True)


def _print(result: dict[str, Any], output: Format) -> None:
    if output is Format.json:
        say_json(result)
        return
    shown = console()
    colour = "green" if result["outcome"] in FINE else "red"
    shown.print(result["outcome"], style=f"bold {colour}")
    rest = {name: item for name, item in result.items() if item and name != "outcome"}
    shown.print_json(json.dumps(_filled(rest), ensure_ascii=False))


def _filled(value: Any) -> Any:
    """Without members that are null: people do not miss them."""
    if isinstance(value, list):
        return [_filled(item) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item) for name, item in value.items() if item is not None}
    return value
