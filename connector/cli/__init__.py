"""The command line: `twilio-kafka`. One module for each command or group of them, imported when it is called."""

import platform
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from connector import __version__
from connector.cli.options import Command, Commands, Format, FormatOption, Group, examples
from connector.cli.output import say, say_json, say_lines
from connector.errors import ConnectorError, Unavailable
from connector.terminal import visible_lines

# The root of typer's own exceptions, whichever version of click it carries.
UsageProblem: type[typer.BadParameter] = typer.BadParameter.__mro__[2]

LIBRARIES = ("aiokafka", "aiohttp", "pydantic")


class Entry(NamedTuple):
    """A command: where it is defined, and the first line of its help, so that the list of commands imports none."""

    module: str
    help: str
    attribute: str = "app"


ENTRIES = {
    "run": Entry("run", "Run the connector until SIGTERM or Ctrl-C; what is in flight is finished first."),
    "dev": Entry(
        "run", "Start Kafka, a simulated Twilio and the connector on loopback, and show their traffic.", "dev_app"
    ),
    "simulator": Entry(
        "run",
        "Run the Twilio simulator alone: messages, calls, callbacks and faults, without an account.",
        "simulator_app",
    ),
    "trigger": Entry(
        "trigger",
        "Let something happen at the simulated Twilio: a message that comes in, one that fails, a call, an alert.",
    ),
    "config": Entry("config", "Begin, check, show and explain the configuration."),
    "topics": Entry("topics", "List the topics of this configuration, create what is missing."),
    "schemas": Entry("schemas", "JSON Schemas of bundles, events, commands and results."),
    "asyncapi": Entry("schemas", "Print the AsyncAPI 3.1 document of all topics.", "asyncapi_app"),
    "send": Entry("send", "Send a command, wait for its result and print it."),
    "tail": Entry("tail", "Show events, commands and results as they come, joined into one timeline each."),
    "backfill": Entry("backfill", "Publish what was created in [FROM, TO), with the same ids as a watch."),
    "watches": Entry("watches", "List the watches; pause, resume, rewind, re-scan one."),
    "dead-letters": Entry("dead_letters", "List dead letters, show one, replay or discard them."),
    "doctor": Entry("doctor", "Check broker, topics, rights, Twilio's credentials, the clock and the callback URL."),
    "signature": Entry("signature", "Compute and check the signature of a callback."),
}


def imported(name: str) -> Any:
    """The command or group of this name in ENTRIES, whole."""
    entry = ENTRIES[name]
    command = typer.main.get_command(getattr(import_module(f"connector.cli.{entry.module}"), entry.attribute))
    command.name = name
    return command


class LazyGroup(Group):
    """Lists the commands from ENTRIES, and imports the module of the one that is called."""

    def __init__(self, *, commands: Any = None, **options: Any) -> None:
        listed = {name: Command(name, help=entry.help) for name, entry in ENTRIES.items()}
        super().__init__(commands={**listed, **(commands or {})}, **options)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called, and its arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, imported(name) if name in ENTRIES else command, rest


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        say(f"twilio-kafka {__version__}")
        raise typer.Exit


app = Commands(
    name="twilio-kafka",
    help="Watches Twilio, receives its callbacks and executes commands, with Apache Kafka as the other side.",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "twilio-kafka dev                    everything on loopback, with traffic",
        "twilio-kafka config init            a commented file to begin with",
        "twilio-kafka doctor                 what is missing or wrong",
        "twilio-kafka send --help            more examples of each command",
        "twilio-kafka --install-completion   names with the Tab key",
    ),
)


@app.callback()
def options(
    version: Annotated[  # noqa: FBT002 - an option
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Watches Twilio, receives its callbacks and executes commands, with Apache Kafka as the other side."""
    del version


@app.command("version", epilog=examples("twilio-kafka version", "twilio-kafka version --format json"))
def version_(output: FormatOption = Format.text) -> None:
    """Print the versions of the connector and of what it stands on."""
    from importlib.metadata import version as version_of

    found = {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}
    if output is Format.json:
        say_json({"twilio-kafka": __version__, **found})
        return
    rest = ", ".join(f"{name} {number}" for name, number in found.items() if name != "python")
    say(f"twilio-kafka {__version__} (Python {found['python']}, {rest})")


def main() -> int:
    """Run the command line; what goes wrong is a sentence on standard error. Returns the exit code."""
    try:
        code = app(prog_name="twilio-kafka", standalone_mode=False)
    except UsageProblem as error:
        # Plain lines instead of typer's box, which cuts sentences where a pipe or a log has no width.
        error.message = visible_lines(error.message)
        error.show()
        code = error.exit_code
    except typer.Abort:
        code = 1
    except ConnectorError as error:
        say_lines(str(error), err=True)
        code = error.exit_code
    except OSError as error:
        # A file or folder that is needed and cannot be had; an error without a name is a mistake of ours.
        if error.filename is None:
            raise
        say(f"{error.filename}: {error.strerror}: correct its name or its rights.", err=True)
        code = Unavailable.exit_code
    return int(code or 0)
