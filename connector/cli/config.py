"""`twilio-kafka config`: check the configuration, show what is in effect, print its JSON Schema."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from connector.settings import Loaded, Row

app = typer.Typer(help="Check, show and describe the configuration.", no_args_is_help=True)


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


@app.command()
def check(config: ConfigOption = None) -> None:
    """Say whether the configuration is valid, and otherwise everything that is wrong with it (exit code 78)."""
    loaded = _loaded(config)
    for note in loaded.notes:
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"{loaded.file or 'The environment'} is valid")


@app.command()
def show(
    config: ConfigOption = None,
    output: Annotated[Format, typer.Option("--format", help="For people or for machines.")] = Format.text,
) -> None:
    """Print every setting in effect and where it comes from; secrets are masked."""
    from connector.settings import effective  # noqa: PLC0415  # heavy: only where it is needed

    loaded = _loaded(config)
    rows = effective(loaded)
    typer.echo(_as_json(loaded, rows) if output is Format.json else _as_text(rows))


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and pipelines."""
    from connector.settings import json_schema  # noqa: PLC0415  # heavy: only where it is needed

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))


def _loaded(config: Path | None) -> "Loaded":
    from connector.settings import load_with_origins  # noqa: PLC0415  # heavy: only where it is needed

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
