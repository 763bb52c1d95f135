"""Options and helpers that several commands share."""

from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from connector.settings import KafkaSettings, Settings

Result = TypeVar("Result")
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Format(StrEnum):
    """For people or for machines."""

    text = "text"
    json = "json"


def _without_switch_types(params: Any) -> Any:
    """The parameters, with no type behind a switch: it takes no value."""
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


class Command(TyperCommand):
    """A command whose help is as short as it can be."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as the help shows them."""
        return _without_switch_types(super().get_params(ctx))


class Group(TyperGroup):
    """A group whose help is as short as it can be."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as the help shows them."""
        return _without_switch_types(super().get_params(ctx))


class Commands(typer.Typer):
    """One command, or a group of them."""

    def __init__(self, *, add_completion: bool = False, cls: type[Group] = Group, **options: Any) -> None:
        super().__init__(add_completion=add_completion, cls=cls, **options)

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
    import asyncio

    from connector import telemetry

    telemetry.configure_logging(level="error")
    return asyncio.run(main if kafka is None else _explaining(main, kafka))


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
    return "\n".join(["Examples:", *(f"  {line}" for line in lines)])


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
