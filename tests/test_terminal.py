"""What strangers wrote is shown escaped: nothing that a terminal obeys, hides or turns around gets there."""

import ast
import asyncio
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from hypothesis import given
from hypothesis import strategies as st

import connector
from connector.catalog import topics_of
from connector.cli.options import Format
from connector.cli.output import Column, print_table
from connector.cli.send import _print
from connector.kafka import topics
from connector.settings import load
from connector.terminal import as_json, console, visible, visible_lines
from tests.test_command_line import with_kafka

UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
HOSTILE = (
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31m",
    "\x90q\x9c",
    "\u202egpj.exe",
    "\u2066a\u2069",
    "a\u200bb\u2060c\ufeffd",
    "line\u2028line\u2029",
    "a\rb\x08c",
    "\ud83d",
    "\U000e0041\U000e007f",
    "[red]not red[/red] [link=https://evil.example]link[/link]",
    ":warning:",
)
ALL = " ".join(HOSTILE)


def unsafe(text: str, *, allowed: str = "\n") -> list[str]:
    """What a terminal would not simply show."""
    return [character for character in text if unicodedata.category(character) in UNSAFE and character not in allowed]


@given(st.text(st.characters()))
def test_no_text_keeps_anything_that_does_not_show_as_itself(text: str) -> None:
    assert unsafe(visible(text), allowed="") == []
    assert unsafe(visible_lines(text), allowed="\n\t") == []
    assert visible(visible(text)) == visible(text)


@given(
    st.recursive(
        st.text(st.characters()) | st.integers() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_a_json_document_means_the_same_and_shows_as_itself(value: Any) -> None:
    for indent in (None, 2):
        written = as_json(value, indent=indent)
        assert unsafe(written) == []
        assert json.loads(written) == value


def test_people_read_which_character_it_was() -> None:
    assert visible("a\x1b]0;t\x07\n\u202e\x9b\U000e0041é漢🎉") == r"a\x1b]0;t\x07\n\u202e\x9b\U000e0041é漢🎉"
    assert visible_lines("a\n\tb\r") == "a\n\tb\\r"


def test_neither_markup_nor_emoji_codes_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(ALL)
    print_table([Column("NAME"), Column("TEXT", wraps=True)], [(text, text) for text in HOSTILE])
    shown = capsys.readouterr().out
    assert unsafe(shown) == []
    assert "[red]not red[/red]" in shown
    assert ":warning:" in shown


def test_columns_stand_below_each_other_whatever_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("NAME"), Column("STATE")], [("\x1b\u202ea", "one"), ("plain", "two")])
    lines = capsys.readouterr().out.splitlines()
    assert [line.index(word) for line, word in zip(lines, ("STATE", "one", "two"), strict=True)] == [13] * 3


def test_one_long_text_does_not_make_the_other_rows_long(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([Column("ID"), Column("STATE")], [("x" * 100_000, "one"), *[("plain", "two")] * 100])
    longest, *others = sorted(capsys.readouterr().out.splitlines(), key=len, reverse=True)
    assert "x" * 100_000 in longest
    assert max(map(len, others)) < 100


@pytest.mark.parametrize("output", list(Format))
def test_a_result_is_shown_escaped(output: Format, capsys: pytest.CaptureFixture[str]) -> None:
    _print({"outcome": f"failed {ALL}", "error": {"message": ALL}, ALL: [ALL], "bundles": [{"body": ALL}]}, output)
    assert unsafe(capsys.readouterr().out) == []


# --- one door ---------------------------------------------------------------------------------------------------------
DOORS = {"connector/terminal.py", "connector/cli/output.py"}
PRINTING = {"print", "echo", "secho", "Console", "pprint", "write"}


def printing(tree: ast.AST) -> Iterator[str]:
    """Calls that put text on a terminal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "typer.echo", "typer.secho", "rich.print", "Console", "click.echo", "pprint"):
                yield name
            if name in ("sys.stdout.write", "sys.stderr.write"):
                yield name


def test_the_command_line_prints_through_one_door() -> None:
    root = Path(connector.__file__).parents[1]
    found: dict[str, list[str]] = {}
    for path in sorted((root / "connector").rglob("*.py")):
        place = str(path.relative_to(root))
        if place not in DOORS and not place.startswith("connector/admin/") and place != "connector/app.py":
            calls = list(printing(ast.parse(path.read_text(encoding="utf-8"))))
            found |= {place: calls} if calls else {}
    assert found == {}


# --- the command line -------------------------------------------------------------------------------------------------
def on_a_terminal(*arguments: str, env: dict[str, str]) -> str:
    """What the command line prints on a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "COLUMNS": "200", "TERM": "xterm", **env}
    process = subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "connector", *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    process.wait(timeout=60)
    os.close(ours)
    return shown.decode(errors="surrogateescape")


def of_rich(shown: str) -> str:
    """Without the escape sequences for colours and weights, which are rich's own."""
    return re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")


async def test_nothing_that_is_in_a_topic_steers_the_terminal(kafka: str, prefix: str) -> None:
    env = with_kafka(kafka, prefix)
    settings = load(environ=env, need_connections=False)
    await topics.apply(settings.kafka, topics_of(settings))
    await asyncio.to_thread(write_hostile_records, kafka, prefix)
    asked = [
        ("dead-letters", "list"),
        ("dead-letters", "show", "0/0"),
        ("dead-letters", "show", "0/0", "--content"),
        ("dead-letters", "replay", "0/0", "--dry-run"),
        ("tail", "--no-follow"),
        ("watches", "list"),
        ("watches", "pause", "\x1b]0;x\x07"),
        ("send", "\x1b[31m", "{}"),
        ("send", "get", "{}", "--dry-run", "--id", "\x1b\u202e", "--key", "\x9b"),
        ("config", "explain", "\x1b\u202e"),
    ]
    for arguments in asked:
        shown = of_rich(await asyncio.to_thread(on_a_terminal, *arguments, env=env))
        assert unsafe(shown) == [], (arguments, shown)
        assert shown.strip(), arguments
        if arguments[0] == "dead-letters" and "replay" not in arguments:
            assert r"\x1b]0;title\x07" in shown, (arguments, shown)
    for arguments in asked[:6]:
        shown = await asyncio.to_thread(on_a_terminal, *arguments, "--format", "json", env=env)
        assert unsafe(of_rich(shown)) == [], (arguments, shown)


def write_hostile_records(kafka: str, prefix: str) -> None:
    text = ALL.encode(errors="surrogatepass")
    producer = Producer({"bootstrap.servers": kafka})
    reasons = {"topic": f"{prefix}.commands.send-message".encode(), "partition": b"0", "offset": b"1"}
    reasons |= dict.fromkeys(("message", "class", "stage", "timestamp", "group", "twilio-code"), text)
    headers = [(f"dlq.errors.{name}", raw) for name, raw in reasons.items()]
    producer.produce(
        f"{prefix}.dead-letters", key=text, value=text, headers=[*headers, ("id", text), ("x\x1b", text)], partition=0
    )
    producer.produce(f"{prefix}.commands.send-message", key=text, value=text, headers=[("id", text)])
    event = {"ce_id": text, "ce_type": text, "ce_source": b"/twilio/x/y", "ce_subject": text, "ce_causationid": text}
    document = json.dumps(
        {"message_status": HOSTILE[0], "from": ALL, "to": ALL, "error": {"message": ALL, "code": ALL}}
    )
    producer.produce(f"{prefix}.message-status", key=text, value=document.encode(), headers=list(event.items()))
    producer.produce(f"{prefix}.results.send-message", key=text, value=document.encode(), headers=list(event.items()))
    producer.produce(f"{prefix}.cursors", key=text, value=b'{"resource": "\\u001b[31m"}')
    assert producer.flush(20) == 0


# --- the log ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("style", ["console", "json"])
def test_the_log_is_escaped(style: str) -> None:
    code = (
        "import logging, sys; from connector.telemetry.logs import configure_logging, logger;"
        f"configure_logging(level='info', style={style!r});"
        "text = sys.argv[1].encode(errors='surrogateescape').decode(errors='surrogatepass');"
        "logger('x').info('event', reason=text, id=text, listed=[text]);"
        "logging.getLogger('aiohttp').warning('%s', text)"
    )
    made = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code, ALL.encode(errors="surrogatepass")], capture_output=True, timeout=60, check=True
    )
    shown = of_rich(made.stderr.decode(errors="surrogateescape"))
    assert shown.count("\n") == 2
    assert unsafe(shown) == []


def test_a_connector_that_runs_has_not_imported_what_draws_for_people() -> None:
    command = [sys.executable, "-c", "import sys, connector.app; sys.exit('rich' in sys.modules)"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0  # noqa: S603 - our own
