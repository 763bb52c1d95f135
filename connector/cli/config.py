"""`twilio-kafka config`: check the configuration, show what is in effect, print its JSON Schema."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from connector.cli.options import ConfigOption, Format, FormatOption

if TYPE_CHECKING:
    from connector.settings import Loaded, Row

app = typer.Typer(help="Check, show and describe the configuration.", no_args_is_help=True)


@app.command()
def check(config: ConfigOption = None) -> None:
    """Say whether the configuration is valid, and otherwise everything that is wrong with it (exit code 78)."""
    loaded = _loaded(config)
    for note in loaded.notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"{loaded.file or 'The environment'} is valid")


@app.command()
def show(config: ConfigOption = None, output: FormatOption = Format.text) -> None:
    """Print every setting in effect and where it comes from; secrets are masked."""
    from connector.settings import effective

    loaded = _loaded(config)
    rows = effective(loaded)
    typer.echo(_as_json(loaded, rows) if output is Format.json else _as_text(rows))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and pipelines."""
    from connector.settings import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _loaded(config: Path | None) -> "Loaded":
    from connector.settings import load_with_origins

    return load_with_origins(config)


def _as_json(loaded: "Loaded", rows: "tuple[Row, ...]") -> str:
    settings = {row.key: {"value": row.value, "origin": str(row.origin)} for row in rows}
    file = None if loaded.file is None else str(loaded.file)
    return json.dumps({"file": file, "notes": loaded.notes, "settings": settings}, indent=2, ensure_ascii=False)


def _as_text(rows: "tuple[Row, ...]") -> str:
    width = max(len(row.key) for row in rows)
    lines = (f"{row.key:<{width}}  {_written(row.value):<28}  {row.origin}" for row in rows)
    return "\n".join(lines)


def _written(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
