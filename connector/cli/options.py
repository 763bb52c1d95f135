"""Options and helpers that several commands share."""

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from connector.settings import KafkaSettings, Settings

Result = TypeVar("Result")


class Format(StrEnum):
    """For people or for machines."""

    text = "text"
    json = "json"


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


def console(*, stderr: bool = False) -> "Console":
    """Where people read: styled on a terminal only, and plain where NO_COLOR is set."""
    from rich.console import Console

    made = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return Console(stderr=stderr, highlight=False, soft_wrap=True, color_system=None) if made.no_color else made


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
