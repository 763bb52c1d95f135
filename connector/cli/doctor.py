"""`twilio-kafka doctor`: whether everything is there that the connector needs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from connector.cli.options import Commands, ConfigOption, Format, FormatOption, examples, run_async
from connector.cli.output import say_json
from connector.terminal import console, visible

if TYPE_CHECKING:
    from connector.doctor import Check

MARKS = {"ok": ("green", "✓"), "warning": ("yellow", "!"), "failed": ("red", "✗"), "skipped": ("dim", "·")}


app = Commands()


@app.command(epilog=examples("twilio-kafka doctor", "twilio-kafka doctor --offline --format json"))
def doctor(
    config: ConfigOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither Twilio nor the public address.")] = False,  # noqa: FBT002
    output: FormatOption = Format.text,
) -> None:
    """Check broker, topics, rights, Twilio's credentials, the clock and the callback URL.

    It makes one authenticated GET to Twilio and one signed request to callbacks.public_url, which stores nothing.
    Exit code 1 if a check fails.
    """
    from connector.catalog import rights_of, topics_of
    from connector.doctor import examine
    from connector.settings import load

    settings = load(config, need_connections=not offline)
    found: list[Check] = []

    async def run() -> None:
        async for check in examine(settings, topics_of(settings), rights_of(settings), offline=offline):
            found.append(check)
            if output is Format.text:
                _print(check)

    run_async(run())
    fine = all(check.state != "failed" for check in found)
    if output is Format.json:
        say_json({"ok": fine, "checks": [asdict(check) for check in found]}, indent=2)
    raise typer.Exit(0 if fine else 1)


def _print(check: "Check") -> None:
    from rich.text import Text

    colour, mark = MARKS[check.state]
    line = Text.assemble((mark, colour), " ", (f"{check.name:<20} ", "bold"), visible(check.sentence))
    shown = console()
    shown.print(line)
    if check.remedy and check.state in ("failed", "warning"):
        shown.print(Text(f"{'':<23}{visible(check.remedy)}", style="dim"))
