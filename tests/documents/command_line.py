"""The command line in words, read off the commands themselves."""

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import typer

from connector.cli import ENTRIES, app, imported


def reference() -> Iterator[str]:
    """Every command: usage, what it does, arguments, options, examples."""
    for name, command in every_command():
        if not command.hidden:
            yield from _command(command, tuple(name.split()))


def every_command() -> Iterator[tuple[str, Any]]:
    """The commands by what is typed after `twilio-kafka`."""
    named: Any = typer.main.get_command(app)
    for name, command in named.commands.items():
        yield from _below(imported(name) if name in ENTRIES else command, name)


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield name, command
        return
    for more, below in command.commands.items():
        yield from _below(below, f"{name} {more}")


def _command(command: Any, path: tuple[str, ...]) -> Iterator[str]:
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option" and parameter.name != "help"]
    usage = " ".join(["twilio-kafka", *path, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    yield from (f"## {' '.join(path)}", f"`{usage}`", "", cleandoc(command.help), "")
    if arguments or options:
        yield from ("| | |", "|---|---|")
    for parameter in [*arguments, *options]:
        yield f"| {_name(parameter)} | {_help(parameter)} |"
    yield from ("", "```text", *_examples(command.epilog), "```", "")


def _argument(parameter: Any) -> str:
    name = _metavar(parameter) + ("…" if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`"
    names = [*parameter.opts, *parameter.secondary_opts]
    value = "" if parameter.is_flag else f" {parameter.metavar}" if parameter.metavar else ""
    return " ".join(f"`{name}{value}`" for name in names)


def _help(parameter: Any) -> str:
    default = parameter.default
    is_said = default in (None, False, (), []) or parameter.param_type_name == "argument"
    if parameter.param_type_name == "option" and parameter.secondary_opts:
        default, is_said = parameter.opts[0] if default else parameter.secondary_opts[0], False
    value = getattr(default, "value", default)
    text = re.sub(r"\s+", " ", parameter.help or "").replace("|", "\\|")
    return text if is_said else f"{text} Default: `{value}`."


def _examples(epilog: str | None) -> list[str]:
    return [line.removeprefix("  ") for line in (epilog or "").splitlines()[2:]]
