"""`twilio-kafka config`: begin a configuration, check it, show what is in effect, explain a key."""

import json
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import Commands, ConfigOption, Format, FormatOption, examples
from connector.cli.output import Column, print_table, say, say_json, say_lines
from connector.terminal import visible

if TYPE_CHECKING:
    from connector.settings import Explanation, Loaded, Row

app = Commands(help="Begin, check, show and explain the configuration.", no_args_is_help=True)


@app.command(epilog=examples("twilio-kafka config check", "twilio-kafka config check -c connector.yaml"))
def check(config: ConfigOption = None) -> None:
    """Say whether the configuration is valid, and otherwise everything that is wrong with it (exit code 78)."""
    loaded = _loaded(config)
    for note in loaded.notes:
        say(f"Note: {note}", err=True)
    say(f"{loaded.file or 'The environment'} is valid")


@app.command(epilog=examples("twilio-kafka config show", "twilio-kafka config show --format json"))
def show(config: ConfigOption = None, output: FormatOption = Format.text) -> None:
    """Print every setting in effect and where it comes from; secrets are masked."""
    from connector.settings import effective

    loaded = _loaded(config)
    rows = effective(loaded)
    if output is Format.json:
        say_json(_as_json(loaded, rows), indent=2)
        return
    columns = (Column("KEY", wraps=True), Column("VALUE", wraps=True), Column("FROM", rank=1, wraps=True))
    print_table(columns, [(row.key, _written(row.value), str(row.origin)) for row in rows])


@app.command(epilog=examples("twilio-kafka config init", "twilio-kafka config init /etc/twilio-kafka/connector.yaml"))
def init(
    file: Annotated[Path, typer.Argument(help="Where to write; - prints it.")] = Path("connector.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,  # noqa: FBT002
) -> None:
    """Write a commented file with every key, its meaning and its default."""
    from connector.settings import template

    text = template()
    if str(file) == "-":
        say_lines(text.rstrip("\n"))
        return
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already: name another file, or replace it with --force.")
    file.write_text(text, encoding="utf-8")
    say(f"Wrote {file}. It reads TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN; check it: twilio-kafka config check")


@app.command(
    "explain",
    epilog=examples("twilio-kafka config explain watches.interval", "twilio-kafka config explain callbacks"),
)
def explain_key(
    key: Annotated[str, typer.Argument(help="Such as watches.interval, or a section such as callbacks.")],
    config: ConfigOption = None,
    output: FormatOption = Format.text,
) -> None:
    """Say what a key does, what it may be, its default, its variable, and what is in effect."""
    from connector.settings import explain

    try:
        found = explain(key)
    except KeyError as error:
        hint = f" Did you mean {', '.join(error.args)}?" if error.args else ""
        raise typer.BadParameter(f"{key!r} is no key of the configuration.{hint}") from error
    effective = _in_effect(config)
    if output is Format.json:
        rows = [{**asdict(item), "in_effect": effective.get(item.key, [])} for item in found]
        say_json(rows, indent=2)
        return
    say_lines("\n\n".join(_explained(item, effective.get(item.key, [])) for item in found))


@app.command(epilog=examples("twilio-kafka config schema > connector.schema.json"))
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and pipelines."""
    from connector.settings import json_schema

    say_json(json_schema(), indent=2)


def _explained(item: "Explanation", effective: list[dict[str, object]]) -> str:
    facts = [("Value", item.kind), ("Default", item.default or "none"), ("Variable", item.variable)]
    facts += [
        ("In effect", visible(f"{_written(row['value'])}  ({row['key']}, from {row['origin']})")) for row in effective
    ]
    lines = [item.key, *wrap(item.description, 88, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join([*lines, *(f"  {name + ':':<11}{text}" for name, text in facts)])


def _in_effect(config: Path | None) -> dict[str, list[dict[str, object]]]:
    """Values in effect by key without positions and names; nothing where there is no valid configuration."""
    import re

    from connector.errors import ConfigurationError
    from connector.settings import effective

    try:
        rows = effective(_loaded(config))
    except ConfigurationError:
        return {}
    found: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        key = re.sub(r"^(watches)\.\d+", r"\1", re.sub(r"^(connections)\.[^.]+", r"\1.default", row.key))
        found.setdefault(key, []).append({"key": row.key, "value": row.value, "origin": str(row.origin)})
    return found


def _loaded(config: Path | None) -> "Loaded":
    from connector.settings import load_with_origins

    return load_with_origins(config)


def _as_json(loaded: "Loaded", rows: "tuple[Row, ...]") -> dict[str, object]:
    settings = {row.key: {"value": row.value, "origin": str(row.origin)} for row in rows}
    file = None if loaded.file is None else str(loaded.file)
    return {"file": file, "notes": loaded.notes, "settings": settings}


def _written(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
