"""`twilio-kafka version`."""

import platform
from importlib.metadata import version as version_of

import typer

from connector import __version__


def version() -> None:
    """Print the versions of the connector and of what it stands on."""
    libraries = ", ".join(f"{name} {version_of(name)}" for name in ("aiokafka", "aiohttp", "pydantic"))
    typer.echo(f"twilio-kafka {__version__} (Python {platform.python_version()}, {libraries})")
