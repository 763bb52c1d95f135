"""`twilio-kafka schemas` and `asyncapi`: the shapes of everything, generated from the models."""

from pathlib import Path
from typing import Annotated

import typer

from connector.cli.options import Commands, examples
from connector.cli.output import say, say_lines

app = Commands(help="JSON Schemas of bundles, events, commands and results.", no_args_is_help=True)


@app.callback()
def schemas() -> None:
    """JSON Schemas of bundles, events, commands and results."""


@app.command(epilog=examples("twilio-kafka schemas export", "twilio-kafka schemas export ./schemas --check"))
def export(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path("schemas"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 1 when a file differs.")] = False,  # noqa: FBT002
) -> None:
    """Write every schema, the AsyncAPI document and the configuration's schema."""
    from connector.schemas import export as export_schemas

    differences = export_schemas(folder, check=check)
    for sentence in differences:
        say(sentence, err=check)
    if not check:
        say(f"{folder} is up to date, {len(differences)} files changed.")
    if check and differences:
        say("Run `make schemas` and commit what it wrote.", err=True)
        raise typer.Exit(1)


asyncapi_app = Commands()


@asyncapi_app.command(epilog=examples("twilio-kafka asyncapi > asyncapi.yaml"))
def asyncapi() -> None:
    """Print the AsyncAPI 3.1 document of all topics.

    It holds every schema; the one that `schemas export` writes refers to the files beside it.
    """
    import yaml

    from connector.schemas import self_contained

    class Whole(yaml.SafeDumper):
        """Repeats what occurs twice: not every reader of AsyncAPI knows YAML's anchors."""

        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    say_lines(yaml.dump(self_contained(), Dumper=Whole, sort_keys=False, allow_unicode=True).rstrip())
