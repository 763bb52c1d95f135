"""The command line: `twilio-kafka`. One module for each group of commands, no logic of their own.

Modules import what is heavy inside the functions that need it: help must answer at once.
"""

import sys
from typing import NoReturn

import typer

from connector.cli import backfill, config, doctor, run, schemas, send, signature, tail, topics, version, watches
from connector.errors import ConnectorError

app = typer.Typer(
    name="twilio-kafka",
    help="Watches Twilio, receives its callbacks and executes commands, with Apache Kafka as the other side.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("dev")(run.dev)
app.command("simulator")(run.simulator)
app.add_typer(config.app, name="config")
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schemas")
app.command("asyncapi")(schemas.asyncapi)
app.command("send")(send.send)
app.command("tail")(tail.tail)
app.command("backfill")(backfill.backfill)
app.add_typer(watches.app, name="watches")
app.command("doctor")(doctor.doctor)
app.add_typer(signature.app, name="signature")
app.command("version")(version.version)


def main() -> NoReturn:
    """Run the command line; what goes wrong is a sentence on standard error and an exit code (contract, section 6)."""
    try:
        app()
    except ConnectorError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
    sys.exit(0)
