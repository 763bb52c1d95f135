"""What the command line prints: every sentence, document and table goes through here.

Texts of strangers are shown escaped (`connector.terminal`). Of a table the columns that matter most are there at any
width; a pipe or a file loses nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from connector.terminal import as_json, console, visible, visible_lines

if TYPE_CHECKING:
    from rich.console import Console

GAP = 2
LEAST_WIDTH = 20
"""What a column that wraps may be narrowed to."""
MOST_PADDED = 80
"""One text of a stranger's may be a megabyte long: the other rows are not filled up to its width."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. Where they do not all fit, those of the highest `rank` are left out first; rank 0 always stays.

    A column that `wraps` takes what the others leave, over several lines if need be.
    """

    name: str
    rank: int = 0
    wraps: bool = False
    right: bool = False


def say(text: str, *, err: bool = False) -> None:
    """Print one line."""
    typer.echo(visible(text), err=err)


def say_lines(text: str, *, err: bool = False) -> None:
    """Print lines of ours: what others wrote in them is `visible` already."""
    typer.echo(visible_lines(text), err=err)


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Print a JSON document; on one line without `indent`."""
    typer.echo(as_json(value, indent=indent))


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    *,
    styles: Mapping[str, str] | None = None,
    to: "Console | None" = None,
) -> None:
    """Print a row for each item, in the order of the columns. `styles` colours whole cells by their text."""
    cells = [[visible(cell) for cell in row] for row in rows]
    where = to or console()
    if not where.is_terminal:
        _print_plain(columns, cells, where)
        return
    shown = _fitting(columns, cells, where.width)
    left_out = [column.name for number, column in enumerate(columns) if number not in shown]
    where.print(_drawn(columns, cells, shown, styles or {}), soft_wrap=False)
    if left_out:
        where.print(f"Too narrow for {', '.join(left_out)}: widen the window, or use --format json.", style="dim")


def _print_plain(columns: Sequence[Column], cells: Sequence[Sequence[str]], where: "Console") -> None:
    """A line for each row, nothing shortened: for grep, and for files."""
    widths = [min(width, MOST_PADDED) for width in _widths(columns, cells)]
    lines = []
    for row in ([column.name for column in columns], *cells):
        padded = (
            text.rjust(width) if column.right else text.ljust(width)
            for text, width, column in zip(row, widths, columns, strict=True)
        )
        lines.append((" " * GAP).join(padded).rstrip())
    # In one write: `head` may be gone before the second.
    where.print("\n".join(lines), soft_wrap=True)


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    texts = ([column.name for column in columns], *cells)
    return [max(cell_len(row[number]) for row in texts) for number in range(len(columns))]


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """Which columns fit into so many characters, by their positions."""
    widths = [
        min(natural, LEAST_WIDTH) if column.wraps else natural
        for natural, column in zip(_widths(columns, cells), columns, strict=True)
    ]
    shown = list(range(len(columns)))
    for number in sorted(shown, key=lambda number: -columns[number].rank):
        if sum(widths[one] for one in shown) + GAP * (len(shown) - 1) <= width or not columns[number].rank:
            break
        shown.remove(number)
    return shown


def _drawn(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], shown: Sequence[int], styles: Mapping[str, str]
) -> object:
    from rich.table import Table
    from rich.text import Text

    widths = _widths(columns, cells)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for number in shown:
        column = columns[number]
        table.add_column(
            column.name,
            no_wrap=not column.wraps,
            overflow="fold",
            min_width=min(LEAST_WIDTH, widths[number]) if column.wraps else None,
            justify="right" if column.right else "left",
        )
    for row in cells:
        styled: list[Text] = [Text(row[number], style=styles.get(row[number], "")) for number in shown]
        table.add_row(*styled)
    return table
