"""`twilio-kafka version`."""

import json
import platform
from importlib.metadata import version as version_of

import typer

from connector import __version__
from connector.cli.options import Format, FormatOption

LIBRARIES = ("aiokafka", "aiohttp", "pydantic")


def version(output: FormatOption = Format.text) -> None:
    """Print the versions of the connector and of what it stands on."""
    found = {"python": platform.python_version(), **{name: version_of(name) for name in LIBRARIES}}
    if output is Format.json:
        typer.echo(json.dumps({"twilio-kafka": __version__, **found}))
        return
    rest = ", ".join(f"{name} {number}" for name, number in found.items() if name != "python")
    typer.echo(f"twilio-kafka {__version__} (Python {found['python']}, {rest})")
