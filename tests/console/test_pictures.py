"""The pictures of the README: `make pictures` copies what these tests and those of the pages leave in tests/out."""

import asyncio
import os
import sys
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from tests.console.conftest import OUT, Live

pytestmark = pytest.mark.asyncio(loop_scope="package")

COLUMNS = 108
ROWS = 14
# rich's own frame names fonts of another host, which an image on a page may not load.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {terminal_width} {terminal_height}" role="img">
<title>The traffic of the demo in a terminal</title>
<style>
  .{unique_id}-matrix {{
    font: {char_height}px/{line_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  }}
  {styles}
</style>
<defs>
  <clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
  {lines}
</defs>
<rect width="{terminal_width}" height="{terminal_height}" rx="10" fill="#1a1b1e"/>
<g transform="translate(12, 8)" clip-path="url(#{unique_id}-clip-terminal)">
  {backgrounds}<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


async def test_the_demo_s_traffic_is_drawn_as_a_terminal_shows_it(live: Live) -> None:
    arguments = ("tail", "--since", "1h", "--no-follow", "--limit", "200", "--kafka", live.kafka)
    environment = {
        **os.environ,
        "FORCE_COLOR": "1",
        "CONNECTOR_KAFKA__TOPIC_PREFIX": live.prefix,
        "COLUMNS": str(COLUMNS),
        "TERM": "xterm-256color",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "connector", *arguments, stdout=asyncio.subprocess.PIPE, env=environment
    )
    printed = (await process.communicate())[0].decode()
    assert process.returncode == 0
    terminal = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    # The commands that are rejected at the start of the test are not what a demo looks like.
    shown = [line for line in printed.splitlines() if "rejected-" not in line]
    terminal.print(Text.from_ansi("\n".join(shown[-ROWS:])), overflow="crop", no_wrap=True)
    picture = terminal.export_svg(title="", code_format=SVG, unique_id="tail")
    OUT.mkdir(exist_ok=True)
    (OUT / "tail.svg").write_text(picture)
    assert "command" in picture
    assert "http" not in picture.replace('xmlns="http://www.w3.org/2000/svg"', "")
