import asyncio
import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.cli import ENTRIES, imported, main
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator
from tests.documents.command_line import every_command
from tests.forked import completed
from tests.producing import Message, produce
from tests.running import configuration, running, until

VALID = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}


def started(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with this environment only."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "connector", *arguments],
        env=alone(env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def twilio_kafka(
    *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The same in a process that is forked."""
    return completed(*arguments, env=alone(env), **options)


def alone(env: dict[str, str] | None) -> dict[str, str]:
    """An environment that has nothing of ours but this."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **(env or {})}


def with_kafka(kafka: str, prefix: str) -> dict[str, str]:
    """The environment of topics that are cheap to create."""
    few = {"CONNECTOR_KAFKA__REPLICATION_FACTOR": "1", "CONNECTOR_KAFKA__PARTITIONS": "2"}
    return {"KAFKA_BOOTSTRAP_SERVERS": kafka, "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix, **few}


async def in_thread(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The same while this loop serves the simulator."""
    return await asyncio.to_thread(functools.partial(twilio_kafka, *arguments, **options))


@dataclass
class Here:
    """The command line in this process: cheaper where only words are asked for."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def code(self, *arguments: str, **env: str) -> int:
        """Run it; returns the exit code."""
        for name, text in env.items():
            self.monkeypatch.setenv(name, text)
        self.monkeypatch.setattr(sys, "argv", ["twilio-kafka", *arguments])
        try:
            return main()
        except SystemExit as ended:  # completion ends the process by itself
            return int(ended.code or 0)

    def said(self) -> Any:
        """What it printed since the last time."""
        return self.capsys.readouterr()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Here:
    """The command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Here(monkeypatch, capsys)


def test_run_without_any_configuration_stops_with_78_and_says_what_to_set(tmp_path: Path) -> None:
    done = started("run", cwd=tmp_path)
    assert done.returncode == 78
    assert "set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ({"kafka": {"topic_prefixx": "x"}}, "kafka.topic_prefixx: "),
        ({"connections": {"default": {"account_sid": "AC1", "auth_token": "t"}}}, "connections.default.account_sid: "),
        ({"connections": {"default": {"account_sid": ACCOUNT_SID}}}, "connections.default.auth_token: "),
    ],
)
def test_wrong_configuration_stops_the_start_with_one_sentence_with_file_line_and_key(
    tmp_path: Path, lines: dict[str, Any], sentence: str
) -> None:
    valid = {"connections": {"default": {"account_sid": ACCOUNT_SID, "auth_token": AUTH_TOKEN}}}
    file = tmp_path / "connector.yaml"
    file.write_text(yaml.safe_dump({**valid, **lines}))
    done = started("run", "-c", str(file))
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    origin, _, rest = line.partition(": ")
    assert origin.startswith(f"{file}:")
    assert rest.startswith(sentence)


def test_an_unreachable_broker_stops_the_start_with_69_naming_key_and_origin(tmp_path: Path) -> None:
    done = started("run", env={**VALID, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, cwd=tmp_path)
    assert done.returncode == 69
    assert done.stderr.startswith("KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap_servers: 127.0.0.1:1 does not answer: ")


def test_missing_topics_stop_the_start_with_69_and_a_sentence_for_each(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {**VALID, "KAFKA_BOOTSTRAP_SERVERS": kafka, "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix}
    done = started("run", env=env, cwd=tmp_path)
    assert done.returncode == 69
    assert f"Topic {prefix}.messages does not exist; create it with `twilio-kafka topics apply`." in done.stderr


def test_topics_apply_creates_everything_and_a_second_time_nothing(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = with_kafka(kafka, prefix)
    first = twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    second = twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    listed = twilio_kafka("topics", "list", "--format", "json", env=env, cwd=tmp_path)
    assert (first.returncode, second.returncode, listed.returncode) == (0, 0, 0), first.stderr + second.stderr
    assert f"created {prefix}.cursors" in first.stdout
    assert second.stdout == "Every topic is as it should be.\n"
    assert json.loads(listed.stdout)["problems"] == []


async def test_send_prints_the_result_and_its_exit_code_tells_the_outcome(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    message = '{"to": "+15557654321", "from": "+15551234567", "body": "Hello"}'
    async with running(document, tmp_path) as (process,):
        config = ("-c", str(tmp_path / f"{process.name}.yaml"))
        sent = await asyncio.to_thread(twilio_kafka, "send", "send-message", message, *config, "--format", "json")
        rejected = await asyncio.to_thread(twilio_kafka, "send", "send-message", "{}", *config)
        mistyped = await asyncio.to_thread(twilio_kafka, "send", "send-mesage", message, *config)
        # Who reads on has gone when the bundles come.
        script = f"{sys.executable} -m connector send send-message '{message}' -c {config[1]} | head -1"
        cut = await asyncio.to_thread(
            subprocess.run, ["bash", "-c", script], capture_output=True, text=True, timeout=60
        )
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["outcome"] == "succeeded"
    assert cut.stdout == "succeeded\n"
    assert re.fullmatch(r"id [0-9a-f-]{36}\n", cut.stderr)
    assert rejected.returncode == 1
    assert "to is missing" in rejected.stdout
    assert mistyped.returncode == 2
    assert "Did you mean send-message?" in mistyped.stderr


async def test_send_takes_its_parameters_from_a_file_standard_input_and_options(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    file = tmp_path / "message.json"
    file.write_text('{"to": "+15557654321", "from": "+15551234567", "body": "From a file"}')
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,):
        common = ("-c", str(tmp_path / f"{process.name}.yaml"), "--format", "json")
        run = functools.partial(in_thread, "send", "send-message")
        sent = [
            await run(f"@{file}", *common),
            await run("-", *common, text=file.read_text()),
            await run(f"@{file}", "-p", "body=From an option", "--param", "smart_encoded=true", *common),
        ]
        posted = await run(f"@{file}", "--no-wait", "--id", "later", *common)
        await until(lambda: len(simulator.journal.of("CreateMessage")) == 4)
    assert [done.returncode for done in sent] == [0, 0, 0], [done.stderr for done in sent]
    bodies = [json.loads(done.stdout)["bundles"][0]["body"] for done in sent]
    assert bodies == ["From a file", "From a file", "From an option"]
    assert json.loads(posted.stdout) == {"id": "later"}


def test_a_dry_run_shows_the_record_and_whether_it_would_be_rejected(tmp_path: Path) -> None:
    message = ("send", "send-message", "-p", "to=+15557654321", "-p", "body=Hello", "--id", "a", "--dry-run")
    short = twilio_kafka(*message, cwd=tmp_path)
    whole = twilio_kafka(*message, "-p", "from=+15551234567", "--key", "k", "--format", "json", cwd=tmp_path)
    assert (short.returncode, whole.returncode) == (1, 0)
    assert "from or messaging_service_sid is needed" in short.stderr
    assert json.loads(whole.stdout) == {
        "topic": "twilio.commands.send-message",
        "key": "k",
        "headers": {"id": "a"},
        "value": {"to": "+15557654321", "body": "Hello", "from": "+15551234567"},
        "problem": None,
        "request": {
            "host": "api",
            "method": "POST",
            "path": "/2010-04-01/Accounts/{AccountSid}/Messages.json",
            "query": [],
            "headers": [],
            "form": [["To", "+15557654321"], ["From", "+15551234567"], ["Body", "Hello"]],
        },
    }


def test_a_dry_run_of_an_api_call_shows_its_request_or_the_nearest_path(tmp_path: Path) -> None:
    call = ("send", "call-api", "--id", "a", "--dry-run", "-p", "method=POST", "-p", "body.Outcome=confirmed", "-p")
    path = f"/2010-04-01/Accounts/{{AccountSid}}/Messages/SM{'a' * 32}/Feedback.json"
    right = twilio_kafka(*call, f"url={path}", cwd=tmp_path)
    wrong = twilio_kafka(*call, f"url={path.replace('Feedback', 'Feedbak')}", cwd=tmp_path)
    assert (right.returncode, wrong.returncode) == (0, 1)
    assert f"request  POST {path} at the host api\n  form   Outcome = confirmed\n" in right.stdout
    assert "did you mean /2010-04-01/Accounts/{AccountSid}/Messages/{MessageSid}/Feedback.json?" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("send", "send-mesage", "{}"), "'send-mesage' is no command. Did you mean send-message?"),
        (("send", "send-message", "-p", "boddy=x"), "'boddy' is no parameter of send-message. Did you mean body?"),
        (("send", "get", "-p", "resource=mesage"), "'mesage' is no resource of get. Did you mean message?"),
        (("send", "get", "-p", "sid=SM1"), "get needs resource=…, one of alert, call, "),
        (("send", "place-call", "-p", "timeout=soon"), "timeout='soon' is not JSON"),
        (("send", "place-call", "-p", "record=3"), "record='3' is no boolean."),
        (("send", "send-message", "-p", "body"), "'body' is no parameter; write name=value"),
        (("send", "send-message", "{'to'}"), "The argument is not JSON"),
        (("send", "send-message", "[]"), "The argument is no JSON object"),
        (("send", "send-message", "@nowhere.json"), "nowhere.json cannot be read: No such file or directory."),
        (("send", "send-message"), "There is nothing to send"),
        (("send", "send-message", "{}", "--expires", "soon"), "'soon' is neither"),
        (("send", "send-message", "{}", "--header", "x"), "'x' is no header"),
        (("send", "send-message", "{}", "--tiemout", "3"), "--timeout"),
        (("tail", "mesages"), "'mesages' is no topic of this configuration. Did you mean messages?"),
        (("tail", "--where", "sdi=SM1"), "'sdi' is no field of a condition. Did you mean sid?"),
        (("tail", "--where", "SM1"), "'SM1' is no condition"),
        (("tail", "--since", "yesterday"), "'yesterday' is neither a duration ago such as 15m nor an RFC 3339 time."),
        (("tail", "--format", "jsn"), "'jsn' is not one of"),
        (("tpics",), "Did you mean 'topics'?"),
        (("watches", "puase", "messages"), "Did you mean 'pause'?"),
        (("dead-letters", "show", "7"), "'7' is no place; write PARTITION/OFFSET"),
        (("dead-letters", "replay"), "Say which: PARTITION/OFFSET, --since, --until or --where"),
        (("dead-letters", "replay", "3/7", "--rate", "fast"), "'fast' is no rate"),
        (("dead-letters", "list", "--where", "topc=x"), "'topc' is no field of a condition. Did you mean topic?"),
    ],
)
def test_a_mistake_is_answered_on_one_line_with_the_value_and_the_remedy(
    arguments: tuple[str, ...], sentence: str, here: Here
) -> None:
    assert here.code(*arguments) == 2
    (line,) = (line for line in here.said().err.splitlines() if line.startswith("Error: "))
    assert sentence in line


@pytest.mark.parametrize(
    "arguments",
    [("send", "get", "{}"), ("tail", "--no-follow"), ("topics", "list"), ("topics", "apply"), ("watches", "list")],
)
def test_a_broker_that_does_not_answer_is_named_with_the_remedy(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = twilio_kafka(*arguments, "--kafka", "127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1].startswith("kafka.bootstrap_servers: 127.0.0.1:1 does not answer: ")
    assert "--kafka HOST:PORT" in done.stderr


def test_send_without_a_connector_gives_up_with_69(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = with_kafka(kafka, prefix)
    twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    done = twilio_kafka("send", "delete", "{}", "--timeout", "1", env=env, cwd=tmp_path)
    assert done.returncode == 69
    assert "No result came within 1 s." in done.stderr
    made = done.stderr.splitlines()[0].removeprefix("id ")
    assert f"twilio-kafka tail --since 1h --no-follow --where command={made}" in done.stderr
    assert f"twilio-kafka send delete '{{}}' --timeout 1 --id {made}" in done.stderr


INTERRUPTED = """
import sys
from connector.__main__ import main

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.argv = ["twilio-kafka", {command!r}, "--no-follow"]
main()
"""


@pytest.mark.parametrize(("command", "code"), [("tail", 0), ("doctor", 130)])
@pytest.mark.parametrize("module", ["connector.cli", "connector.cli.{command}", "connector.settings", "aiokafka"])
def test_ctrl_c_while_a_module_is_imported_ends_without_a_traceback(command: str, code: int, module: str) -> None:
    script = INTERRUPTED.format(module=module.format(command=command), command=command)
    script = script if command == "tail" else script.replace("--no-follow", "--offline")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (code, "")


def test_a_signature_that_was_signed_is_verified_and_another_is_explained(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("MessageSid=SM1&From=%2B15551234567")
    common = ("--url", "https://hooks.example.com/cb?x=1", "--auth-token", "secret", "--body-file", str(body))
    made = twilio_kafka("signature", "sign", *common).stdout.strip()
    good = twilio_kafka("signature", "verify", *common, "--signature", made)
    bad = twilio_kafka("signature", "verify", *common, "--signature", "AAAA", "--format", "json")
    assert (good.returncode, bad.returncode) == (0, 1)
    assert (
        json.loads(bad.stdout)["attempts"][0]["signed"]
        == "https://hooks.example.com/cb?x=1From+15551234567MessageSidSM1"
    )


@pytest.mark.parametrize("given", ["http://hooks.example.com/cb", "https://hooks.example.com/cb/?x=1"])
def test_a_signature_for_another_address_names_it(given: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_text("MessageSid=SM1")
    right, common = "https://hooks.example.com/cb", ("--auth-token", "secret", "--body-file", str(body))
    made = twilio_kafka("signature", "sign", "--url", right, *common).stdout.strip()
    for url, named in ((given, True), ("https://other.example.com/cb", False), (right, False)):
        verify = ("signature", "verify", "--url", url, *common, "--signature", made)
        found = json.loads(twilio_kafka(*verify, "--format", "json").stdout)
        assert (found["valid"], found["matching_url"]) == (url == right, right if named else None)
        assert (f"It was signed for {right}:" in twilio_kafka(*verify).stdout) is named


def test_a_shared_key_signs_and_verifies_with_sha256_also_from_a_file(tmp_path: Path) -> None:
    url = ("--url", "https://hooks.example.com/cb")
    file = tmp_path / "key"
    file.write_text("secret\n")
    made = twilio_kafka("signature", "sign", *url, "--shared-key", "secret").stdout.strip()
    assert len(made) == 44
    from_file = ("--shared-key-file", str(file))
    assert twilio_kafka("signature", "verify", *url, *from_file, "--signature", made).returncode == 0
    both = twilio_kafka("signature", "sign", *url, *from_file, "--shared-key", "secret")
    assert (both.returncode, "not both" in both.stderr) == (2, True)


def test_a_switch_has_no_type_in_the_help_and_the_version_is_an_option() -> None:
    assert "bool" not in twilio_kafka("send", "--help").stdout + twilio_kafka("--help").stdout
    assert twilio_kafka("--version").stdout.startswith("twilio-kafka ")


def test_help_names_every_command_and_suggests_the_nearest() -> None:
    listed = twilio_kafka("--help")
    mistyped = twilio_kafka("tpics")
    assert listed.returncode == 0
    assert {"run", "dev", "simulator", "topics", "config", "send", "tail", "signature"} <= set(listed.stdout.split())
    assert mistyped.returncode == 2
    assert "topics" in mistyped.stderr


async def test_tail_joins_a_command_its_result_and_its_status_events(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    message = '{"to": "+15557654321", "from": "+15551234567", "body": "Hello"}'
    async with running(document, tmp_path) as (process,):
        config = ("-c", str(tmp_path / f"{process.name}.yaml"))
        await asyncio.to_thread(twilio_kafka, "send", "send-message", message, *config, "--id", "story-1")
        await simulator.settle()
        shown = await asyncio.to_thread(
            twilio_kafka, "tail", "--since", "5m", "--no-follow", "--where", "command=story-1", *config
        )
    kinds = [line.split()[3] for line in shown.stdout.splitlines()]
    assert set(kinds) == {"command", "result", "event"}
    assert "Hello" not in shown.stdout
    assert "+15557654321" not in shown.stdout


async def test_tail_by_sid_shows_the_whole_timeline_in_the_order_of_time(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    async with running(document, tmp_path) as (process,):
        config = ("-c", str(tmp_path / f"{process.name}.yaml"))
        message = ("send", "send-message", '{"to": "+15557654321", "from": "+15551234567", "body": "Hello"}')
        sent = [
            await asyncio.to_thread(twilio_kafka, *message, *config, "--key", key, "--id", key, "--format", "json")
            for key in ("one", "two")
        ]
        await simulator.settle()
        sid = json.loads(sent[1].stdout)["bundles"][0]["sid"]
        tail = functools.partial(in_thread, "tail", "--no-follow", *config, "--format", "json")
        story = await tail("--where", f"sid={sid}")
        results = await tail("--where", "topic=results.*", "--where", "state=succ*")
        last = await tail("commands.send-message", "--limit", "1")
        everything = await tail("--since", "1h")
    records = [json.loads(line) for line in story.stdout.splitlines()]
    assert {record["story"] for record in records} == {"two"}
    assert [record["topic"].removeprefix(f"{prefix}.") for record in records] == [
        "commands.send-message",
        "results.send-message",
        *["message-status"] * (len(records) - 2),
    ]
    assert len(records) > 3
    assert [json.loads(line)["story"] for line in results.stdout.splitlines()] == ["one", "two"]
    assert [json.loads(line)["story"] for line in last.stdout.splitlines()] == ["two"]
    times = [json.loads(line)["timestamp"] for line in everything.stdout.splitlines()]
    assert times == sorted(times)


def test_a_pipe_that_closes_ends_tail_without_a_word(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **with_kafka(kafka, prefix)}
    twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    produce(kafka, (Message(f"{prefix}.commands.get", b"{}", str(number)) for number in range(5_000)))
    script = f"{sys.executable} -m connector tail --no-follow | head -2"
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603, S607 - our own
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == ""


def test_ctrl_c_ends_tail_with_0(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **with_kafka(kafka, prefix)}
    twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    # Where the tests run in the background, their shell has it ignored, and what they start with them.
    heeding = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        process = subprocess.Popen([sys.executable, "-m", "connector", "tail"], env=env, cwd=tmp_path)
    finally:
        signal.signal(signal.SIGINT, heeding)
    deadline = time.monotonic() + 20
    tasks = Path(f"/proc/{process.pid}/net/tcp")
    while time.monotonic() < deadline and tasks.exists() and not _connected(process.pid):
        continue
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()


def _connected(pid: int) -> bool:
    """Whether the process has an open socket."""
    try:
        return any("socket:" in str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("wat",), {"watches"}),
        (("watches", "re"), {"resume", "rewind", "rescan"}),
        (("send", "send"), {"send-message", "send-to-conversation"}),
        (("send", "send-message", "-p", "media"), {"media_url="}),
        (("send", "get", "-p", "resource=me"), {"resource=media", "resource=message"}),
        (("tail", "message"), {"messages", "message-status"}),
        (("tail", "--where", "s"), {"sid=", "state="}),
        (("tail", "-c", "nowhere.yaml", "mess"), set[str]()),
        (("tail", "--format", "j"), {"json"}),
        (("dead-letters", "replay", "--where", "t"), {"topic=", "twilio-code="}),
    ],
)
def test_the_shell_completes_commands_parameters_topics_and_fields(
    words: tuple[str, ...], wanted: set[str], here: Here
) -> None:
    line = "\n".join(["twilio-kafka", *words])
    assert here.code(COMP_WORDS=line, COMP_CWORD=str(len(words)), _TWILIO_KAFKA_COMPLETE="complete_bash") == 0
    assert set(here.said().out.split()) == wanted


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_shell_that_is_named(shell: str, tmp_path: Path) -> None:
    # Typer finds the shell by its processes; here there is none.
    env = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = twilio_kafka("--install-completion", shell, env=env)
    assert done.returncode == 0, done.stderr
    assert f"{shell} completion installed" in done.stdout
    assert any("_COMPLETE" in file.read_text() for file in tmp_path.rglob("*") if file.is_file())


def on_a_terminal(*arguments: str, **env: str) -> str:
    """What the command line prints on a terminal."""
    leader, follower = pty.openpty()
    plain = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "TERM": "xterm-256color", **env}
    command = [sys.executable, "-m", "connector", *arguments]
    with subprocess.Popen(command, env=plain, stdin=follower, stdout=follower, stderr=follower) as process:  # noqa: S603
        os.close(follower)
        written = b""
        while chunk := _read(leader):
            written += chunk
        process.wait(timeout=60)
    os.close(leader)
    return written.decode()


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # Linux's way to say that nobody has the terminal open any more
        return b""


@pytest.mark.parametrize("arguments", [("--help",), ("send", "--help"), ("tail", "--no-follow"), ("topics", "tail")])
def test_colour_is_for_terminals_and_not_where_no_color_is_set(
    arguments: tuple[str, ...], kafka: str, prefix: str
) -> None:
    env = with_kafka(kafka, prefix)
    if arguments[0] == "tail":
        twilio_kafka("topics", "apply", env=env)
        produce(kafka, [Message(f"{prefix}.commands.get", b"{}")])
    assert ("\x1b[" in on_a_terminal(*arguments, **env)) == (arguments != ("topics", "tail"))
    assert "\x1b[" not in on_a_terminal(*arguments, NO_COLOR="1", **env)
    assert "\x1b[" not in twilio_kafka(*arguments, env=env).stdout


@pytest.mark.parametrize("arguments", [["--help"], ["signature", "--help"], ["signature", "verify", "--help"]])
def test_help_imports_nothing_that_is_heavy(arguments: list[str]) -> None:
    script = f"import sys; from connector.cli import main; sys.argv[1:] = {arguments}; main()"
    report = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    done = subprocess.run([sys.executable, "-c", report + script], capture_output=True, text=True, check=False)  # noqa: S603
    assert "signature" in done.stdout
    loaded = set(done.stderr.split())
    assert "connector.cli.options" in loaded
    assert "connector.cli.send" not in loaded
    assert (
        loaded
        & {"aiohttp", "aiokafka", "pydantic", "rich.console", "structlog", "prometheus_client", "connector.resources"}
        == set()
    )


@pytest.mark.parametrize("name", ENTRIES)
def test_the_list_of_commands_says_of_each_what_its_own_help_says(name: str) -> None:
    assert ENTRIES[name].help == imported(name).help.splitlines()[0]


@pytest.mark.parametrize(("name", "command"), [*every_command()])
def test_the_help_of_every_command_says_what_it_does_and_shows_an_example(name: str, command: Any) -> None:
    assert command.help
    assert command.help.splitlines()[0].endswith((".", ":"))
    assert f"twilio-kafka {name}" in (command.epilog or "")
    for parameter in command.params:
        assert getattr(parameter, "help", "-") or getattr(parameter, "hidden", False), f"{name}: {parameter.name}"
