"""What the shell completes beside commands and options: names of commands, parameters, topics and fields."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from connector.conditions import ENTRY_FIELDS, LETTER_FIELDS

if TYPE_CHECKING:
    from connector.settings import Settings


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
    from connector.cli.options import kafka_settings
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
