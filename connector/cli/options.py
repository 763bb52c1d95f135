"""Options and helpers that several commands share."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from connector.settings import Settings

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


def run_async(main: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end; Ctrl-C ends it with a KeyboardInterrupt for the command to handle."""
    from connector import telemetry

    telemetry.configure_logging(level="error")
    return asyncio.run(main)


def moment(text: str) -> datetime:
    """A moment as an option gives it: a duration ago (15m), or an RFC 3339 time. Raises typer.BadParameter."""
    from connector.settings import parse_duration, parse_instant

    try:
        return parse_instant(text) if "-" in text else datetime.now(UTC) - parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a duration ago such as 15m nor an RFC 3339 time.") from error
