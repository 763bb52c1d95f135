"""Tables on narrow terminals, in pipes and files: what matters most is always there."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from connector.cli import letters, watches
from connector.cli.output import Column, print_table
from connector.watcher.status import Status

MOMENT = datetime(2026, 11, 24, 18, 3, 38, tzinfo=UTC)
STATUSES = [
    Status(
        name="inbound-messages-of-the-shop-in-zurich",
        resource="messages",
        connection="subaccount-west",
        state="catching up",
        since=MOMENT,
        complete_until=MOMENT,
        lag=timedelta(hours=31),
        polled_at=MOMENT,
    ),
    Status(name="calls", resource="calls", connection="default", state="not configured"),
]
LETTER = {
    "partition": 31,
    "offset": 4_711_000_815,
    "at": 1_795_000_000_000,
    "stage": "command",
    "topic": "twilio.commands.download-recording",
    "class": "connector.errors.Rejected",
    "message": "download-recording: sid 'RE1' must be RE and 32 hexadecimal digits; copy it from the recording.",
    "replays": 2,
    "verdict": None,
}
WIDTHS = (60, 80, 100, 200)


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False)


def pipe() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, color_system=None, markup=False)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def cell(lines: Sequence[str], heading: str) -> str:
    """What stands below a heading, put together again."""
    begin = lines[0].index(heading)
    end = next((at for at in range(begin + len(heading), len(lines[0])) if lines[0][at] != " "), None)
    return "".join(line[begin:end].strip() for line in lines[1:])


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_of_watches_keeps_name_state_and_lag(width: int) -> None:
    where = terminal(width)
    watches.print_statuses(STATUSES[:1], to=where)
    lines = printed(where)
    assert cell(lines, "NAME").startswith(STATUSES[0].name)
    assert cell(lines, "STATE").replace(" ", "").startswith("catchingup")
    assert cell(lines, "LAG").startswith("31h")
    assert max(len(line) for line in lines) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_of_dead_letters_keeps_place_and_the_whole_message(width: int) -> None:
    where = terminal(width)
    letters.print_letters([LETTER], "twilio", to=where)
    lines = printed(where)
    assert cell(lines, "PLACE").startswith("31/4711000815")
    assert cell(lines, "MESSAGE").replace(" ", "").startswith(str(LETTER["message"]).replace(" ", ""))
    assert max(len(line) for line in lines) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_left_out_is_said(width: int) -> None:
    where = terminal(width)
    letters.print_letters([LETTER], "twilio", to=where)
    text = " ".join(printed(where))
    for column in letters.COLUMNS:
        assert column.name in text
    assert ("Too narrow for" in text) == (width < 200)


def test_a_pipe_gets_every_column_and_nothing_is_shortened() -> None:
    where = pipe()
    letters.print_letters([{**LETTER, "message": "long " * 400}], "twilio", to=where)
    heading, row = printed(where)
    assert heading.split() == [column.name for column in letters.COLUMNS]
    assert "long " * 399 in row
    assert "commands.download-recording" in row


def test_columns_go_by_their_rank_the_highest_first() -> None:
    columns = (Column("A"), Column("B", rank=2), Column("C", rank=1))
    shown = {}
    for width in (30, 22, 12):
        where = terminal(width)
        print_table(columns, [("a" * 8, "b" * 8, "c" * 8)], to=where)
        shown[width] = printed(where)[0].split()
    assert shown == {30: ["A", "B", "C"], 22: ["A", "C"], 12: ["A"]}
