"""The command line: `twilio-kafka`. One module for each group of commands, no logic of their own.

Modules import what is heavy inside the functions that need it: help must answer at once.
"""

import os
import sys
from typing import NoReturn

import typer

from connector.cli import (
    backfill,
    config,
    dead_letters,
    doctor,
    run,
    schemas,
    send,
    signature,
    tail,
    topics,
    version,
    watches,
)
from connector.cli.options import examples
from connector.errors import ConnectorError

# The root of typer's own exceptions, whichever version of click it carries.
UsageProblem: type[typer.BadParameter] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="twilio-kafka",
    help="Watches Twilio, receives its callbacks and executes commands, with Apache Kafka as the other side.",
    no_args_is_help=True,
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
app.command("run", epilog=run.RUN_EXAMPLES)(run.run)
app.command("dev", epilog=run.DEV_EXAMPLES)(run.dev)
app.command("simulator", epilog=run.SIMULATOR_EXAMPLES)(run.simulator)
app.add_typer(config.app, name="config")
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.command("asyncapi", epilog=examples("twilio-kafka asyncapi > asyncapi.yaml"))(schemas.asyncapi)
app.command("send", epilog=send.EPILOG)(send.send)
app.command("tail", epilog=tail.EPILOG)(tail.tail)
app.command(
    "backfill",
    epilog=examples(
        "twilio-kafka backfill messages --from 30d",
        "twilio-kafka backfill calls --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z",
    ),
)(backfill.backfill)
app.add_typer(watches.app, name="watches")
app.add_typer(dead_letters.app, name="dead-letters")
app.command("doctor", epilog=examples("twilio-kafka doctor", "twilio-kafka doctor --offline --format json"))(
    doctor.doctor
)
app.add_typer(signature.app, name="signature")
app.command("version", epilog=examples("twilio-kafka version", "twilio-kafka version --format json"))(version.version)


def main() -> NoReturn:
    """Run the command line; what goes wrong is a sentence on standard error and an exit code (contract, section 6)."""
    if os.environ.get("NO_COLOR"):
        _help_without_colour()
    try:
        code = app(prog_name="twilio-kafka", standalone_mode=False)
    except UsageProblem as error:
        # Plain lines instead of typer's box, which cuts sentences where a pipe or a log has no width.
        error.show()
        code = error.exit_code
    except typer.Abort:
        code = 1
    except ConnectorError as error:
        typer.echo(str(error), err=True)
        code = error.exit_code
    sys.exit(code or 0)


def _help_without_colour() -> None:
    from typer import rich_utils

    rich_utils.COLOR_SYSTEM = None
