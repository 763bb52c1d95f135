"""Options and helpers that several commands share."""

import os
import re
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from connector.conditions import ENTRY_FIELDS, LETTER_FIELDS

if TYPE_CHECKING:
    from connector.settings import KafkaSettings, Settings

# At the beginning of a line of help.
HEADING = re.compile(r"^[A-Z][a-z]+:", re.MULTILINE)

Result = TypeVar("Result")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Format(StrEnum):
    """For people or for machines."""

    text = "text"
    json = "json"


class _Brief:
    """Help as short as it can be, in plain text: there at once, and whole in a pipe."""

    help: str | None

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with no type behind a switch: it takes no value."""
        params = super().get_params(ctx)  # type: ignore[misc]  # of the command that it is mixed into
        for param in params:
            if param.metavar is None and getattr(param, "is_flag", False):
                param.metavar = ""
        return params

    def get_short_help_str(self, limit: int = 0) -> str:
        """The first line of the help, whole."""
        del limit
        return (self.help or "").partition("\n")[0]

    def get_help(self, ctx: Any) -> str:
        """The help, its headings bold on a terminal that may be coloured."""
        text: str = super().get_help(ctx)  # type: ignore[misc]  # the same
        is_plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()
        return text if is_plain else HEADING.sub("\x1b[1m\\g<0>\x1b[0m", text)


class Command(_Brief, TyperCommand):
    """A command with brief help."""


class Group(_Brief, TyperGroup):
    """A group with brief help, and nothing to read where the name of a command is the first word.

    Typer loads pydantic to read the options of a group, also where none is given; help must answer at once.
    """

    _is_bare = False

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The words behind the options."""
        self._is_bare = bool(args) and not args[0].startswith("-")
        try:
            return super().parse_args(ctx, args)
        finally:
            self._is_bare = False

    def get_params(self, ctx: Any) -> Any:
        """The options, if there are any to read."""
        return [] if self._is_bare else super().get_params(ctx)


class Commands(typer.Typer):
    """One command, or a group of them."""

    def __init__(self, *, add_completion: bool = False, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(add_completion=add_completion, cls=cls, rich_markup_mode=None, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Decorated], Decorated]:
        """As typer's."""
        return super().command(name, **{"cls": Command, **options})


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", metavar="FILE", help="YAML file; else CONNECTOR_CONFIG, else ./connector.yaml if present."
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="For people or for machines.")]
KafkaOption = Annotated[
    str | None, typer.Option("--kafka", metavar="HOST:PORT", help="Broker; else what the configuration says.")
]


def kafka_settings(config: Path | None, kafka: str | None = None) -> "Settings":
    """Settings for commands that only need Kafka. Raises ConfigurationError."""
    from connector.settings import load

    return load(config, overrides={"kafka.bootstrap_servers": kafka}, need_connections=False)


def run_async(main: Coroutine[Any, Any, Result], *, kafka: "KafkaSettings | None" = None) -> Result:
    """Run to the end; Ctrl-C ends it with a KeyboardInterrupt for the command to handle.

    With `kafka`, a broker that does not answer is told with its address, the reason and the remedy.
    """
    try:
        import asyncio

        from connector.telemetry.logs import configure_logging

        configure_logging(level="error")
        return asyncio.run(main if kafka is None else _explaining(main, kafka))
    except asyncio.CancelledError:
        # Ctrl-C before the first step.
        raise KeyboardInterrupt from None
    finally:
        main.close()


async def _explaining(main: Coroutine[Any, Any, Result], kafka: "KafkaSettings") -> Result:
    from connector.errors import TopicsUnfit, Unavailable
    from connector.kafka import diagnosis

    try:
        return await main
    except TopicsUnfit:
        raise
    except Unavailable as error:
        cause = await diagnosis.cause(kafka)
        if cause is None:
            raise
        hint = " --kafka HOST:PORT names another broker." if cause.path == diagnosis.ADDRESS else ""
        raise Unavailable(f"{cause}{hint}") from error


def unknown(given: str, kind: str, known: Iterable[str]) -> typer.BadParameter:
    """The error for a name that is not one of the known ones: the nearest, else all of them."""
    from difflib import get_close_matches

    names = sorted(known)
    nearest = get_close_matches(given, names, n=1)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names) or 'none'}."
    return typer.BadParameter(f"{given!r} is no {kind}. {hint}")


def examples(*lines: str) -> str:
    """The end of a command's help: what people type most."""
    # The mark keeps click from filling these lines up.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def moment(text: str) -> datetime:
    """A moment as an option gives it: a duration ago (15m), or an RFC 3339 time. Raises typer.BadParameter."""
    from connector.settings import parse_duration, parse_instant

    try:
        return parse_instant(text) if "-" in text else datetime.now(UTC) - parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a duration ago such as 15m nor an RFC 3339 time.") from error


def condition(text: str, fields: Iterable[str]) -> tuple[str, str]:
    """Field and text of a condition such as state=failed. Raises typer.BadParameter."""
    name, sign, wanted = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"{text!r} is no condition; write for example topic=*send-message.")
    if name not in fields:
        raise unknown(name, "field of a condition", fields)
    return name, wanted


# --- what the shell completes beside commands and options ----------------------------------------------------------
class Context(Protocol):
    """What typer tells: the options and arguments so far; `args` holds those of a line that ends in the middle."""

    params: dict[str, Any]
    args: list[str]


def command_names(incomplete: str) -> list[str]:
    """Names of commands."""
    from connector.resources import COMMANDS

    return _beginning(incomplete, COMMANDS)


def parameter_names(ctx: Context, incomplete: str) -> list[str]:
    """`to=`, `from=` …: the parameters of the command that was named, whatever its resource."""
    from connector.resources import COMMANDS
    from connector.resources.models import public_names

    words = [str(ctx.params.get("command")), *ctx.args]
    command = next((COMMANDS[word] for word in words if word in COMMANDS), None)
    operations = command.operations.values() if command else ()
    names = {name for operation in operations for name in public_names(operation.parameters).values()}
    resources = {f"resource={name}" for name in (command.operations if command else ()) if name}
    return _beginning(incomplete, {*(f"{name}=" for name in names - {"resource"}), *resources})


def topic_names(ctx: Context, incomplete: str) -> list[str]:
    """Topics without their prefix, as `tail` takes them; none where the configuration cannot be read."""
    from connector.errors import ConnectorError

    try:
        return _beginning(incomplete, topics_to_show(kafka_settings(ctx.params.get("config"))))
    except ConnectorError:
        return []


def condition_fields(incomplete: str) -> list[str]:
    """Fields of a condition."""
    return _beginning(incomplete, (f"{name}=" for name in ENTRY_FIELDS))


def letter_fields(incomplete: str) -> list[str]:
    """Fields of a condition on dead letters."""
    return _beginning(incomplete, (f"{name}=" for name in LETTER_FIELDS))


def topics_to_show(settings: "Settings") -> Iterator[str]:
    """The topics that hold what people read, without their prefix."""
    from connector.catalog import topics_of

    hidden = {"cursors", "journal", "control", "recording-media", "forwarded-commands", "checkpoints"}
    names = (topic.name.removeprefix(f"{settings.kafka.topic_prefix}.") for topic in topics_of(settings))
    return (name for name in names if name not in hidden)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))
