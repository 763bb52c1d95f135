import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator
from tests.running import configuration, running

VALID = {"TWILIO_ACCOUNT_SID": ACCOUNT_SID, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}


def twilio_kafka(
    *arguments: str, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with this environment only."""
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "connector", *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def test_run_without_any_configuration_stops_with_78_and_says_what_to_set(tmp_path: Path) -> None:
    done = twilio_kafka("run", cwd=tmp_path)
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
    done = twilio_kafka("run", "-c", str(file))
    assert done.returncode == 78
    (line,) = done.stderr.splitlines()
    origin, _, rest = line.partition(": ")
    assert origin.startswith(f"{file}:")
    assert rest.startswith(sentence)


def test_an_unreachable_broker_stops_the_start_with_69_naming_key_and_origin(tmp_path: Path) -> None:
    done = twilio_kafka("run", env={**VALID, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}, cwd=tmp_path)
    assert done.returncode == 69
    assert done.stderr.startswith("KAFKA_BOOTSTRAP_SERVERS: kafka.bootstrap_servers: 127.0.0.1:1 does not answer.")


def test_missing_topics_stop_the_start_with_69_and_a_sentence_for_each(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {**VALID, "KAFKA_BOOTSTRAP_SERVERS": kafka, "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix}
    done = twilio_kafka("run", env=env, cwd=tmp_path)
    assert done.returncode == 69
    assert f"Topic {prefix}.messages does not exist; create it with `twilio-kafka topics apply`." in done.stderr


def test_topics_apply_creates_everything_and_a_second_time_nothing(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix,
        "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1",
    }
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
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["outcome"] == "succeeded"
    assert rejected.returncode == 1
    assert "to is missing" in rejected.stdout
    assert mistyped.returncode == 2
    assert "Did you mean send-message?" in mistyped.stderr


def test_send_without_a_connector_gives_up_with_69(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix,
        "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1",
    }
    twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    done = twilio_kafka("send", "delete", "{}", "--timeout", "1", env=env, cwd=tmp_path)
    assert done.returncode == 69
    assert "No result came within 1 s." in done.stderr


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


def test_a_shared_key_signs_and_verifies_with_sha256() -> None:
    common = ("--url", "https://hooks.example.com/cb", "--shared-key", "secret")
    made = twilio_kafka("signature", "sign", *common).stdout.strip()
    assert len(made) == 44
    assert twilio_kafka("signature", "verify", *common, "--signature", made).returncode == 0


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


def test_ctrl_c_ends_tail_with_0(kafka: str, prefix: str, tmp_path: Path) -> None:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "CONNECTOR_KAFKA__TOPIC_PREFIX": prefix,
        "CONNECTOR_KAFKA__REPLICATION_FACTOR": "1",
    }
    twilio_kafka("topics", "apply", env=env, cwd=tmp_path)
    process = subprocess.Popen([sys.executable, "-m", "connector", "tail"], env=env, cwd=tmp_path)
    deadline = time.monotonic() + 20
    tasks = Path(f"/proc/{process.pid}/net/tcp")
    while time.monotonic() < deadline and tasks.exists() and not _connected(process.pid):
        continue
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0


def _connected(pid: int) -> bool:
    """Whether the process has an open socket."""
    try:
        return any("socket:" in str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
