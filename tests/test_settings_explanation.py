"""`config init` and `config explain`: every key in words, and a file to begin with that works."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from connector.settings import explain, load, template
from connector.settings.shape import leaves
from tests.forked import completed

SID = "AC" + "0" * 32
ENVIRONMENT = {"TWILIO_ACCOUNT_SID": SID, "TWILIO_AUTH_TOKEN": "secret", "KAFKA_BOOTSTRAP_SERVERS": "broker:9092"}


def test_the_file_to_begin_with_is_valid_and_changes_no_default(tmp_path: Path) -> None:
    file = tmp_path / "connector.yaml"
    file.write_text(template())
    assert load(file, environ=ENVIRONMENT) == load(None, environ=ENVIRONMENT)


def test_the_file_to_begin_with_names_every_key_with_its_description() -> None:
    text = template()
    for path, shape in leaves():
        key = path[-1] if path[-1] != "default" else path[-2]
        assert re.search(rf"^[# ]*(?:- )?#?{key}:", text, re.MULTILINE), path
        if shape.info is not None and shape.info.description:
            assert shape.info.description.split()[0] in text


def test_its_watches_are_valid_when_they_are_taken_out_of_their_comment(tmp_path: Path) -> None:
    text = template()
    begin, end = text.index("# watches:"), text.index("\n\n", text.index("# watches:"))
    block = "\n".join(line.removeprefix("# ") for line in text[begin:end].splitlines())
    file = tmp_path / "connector.yaml"
    file.write_text(text[:begin] + block + text[end:])
    settings = load(file, environ=ENVIRONMENT)
    assert [watch.name for watch in settings.watches] == ["messages"]


def test_every_key_is_explained() -> None:
    for path, _ in leaves():
        key = ".".join(str(segment) for segment in path if segment != 0)
        (found, *_) = explain(key)
        assert found.description, key
        assert found.kind, key
        assert found.variable.isupper(), key


@pytest.mark.parametrize(
    ("asked", "key", "kind", "default"),
    [
        ("watches.interval", "watches.interval", "a duration, such as 500ms, 15s, 10m, 24h", "15s"),
        ("watches.3.interval", "watches.interval", "a duration, such as 500ms, 15s, 10m, 24h", "15s"),
        ("callbacks.max_body", "callbacks.max_body", "a size, such as 512B, 64KiB, 1MiB, 1KiB to 16MiB", "64KiB"),
        ("connections.work.auth_token", "connections.default.auth_token", "text, a secret", None),
        ("connections.auth_token", "connections.default.auth_token", "text, a secret", None),
        ("admin.port", "admin.port", "a whole number, 0 to 65535", "9090"),
        ("commands.in_doubt", "commands.in_doubt", "one of report, resend", "report"),
    ],
)
def test_a_key_is_found_with_or_without_names_and_positions(
    asked: str, key: str, kind: str, default: str | None
) -> None:
    (found,) = explain(asked)
    assert (found.key, found.kind, found.default) == (key, kind, default)


def test_a_section_explains_all_its_keys_and_a_mistyped_key_suggests_others() -> None:
    assert {found.key for found in explain("admin")} == {"admin.host", "admin.port", "admin.token"}
    with pytest.raises(KeyError) as problem:
        explain("kafka.partitons")
    assert "kafka.partitions" in problem.value.args


def run(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return completed("config", *arguments, cwd=folder, env={"PATH": "/usr/bin", "NO_COLOR": "1", **environment})


def test_config_init_writes_the_file_once(tmp_path: Path) -> None:
    assert run(tmp_path, "init").returncode == 0
    assert yaml.safe_load((tmp_path / "connector.yaml").read_text())["kafka"]["bootstrap_servers"].startswith("${")
    second = run(tmp_path, "init")
    assert second.returncode == 2
    assert "is there already" in " ".join(second.stderr.split())
    assert run(tmp_path, "check", **ENVIRONMENT).returncode == 0
    assert run(tmp_path, "init", "-").stdout == template()


def test_config_explain_tells_what_is_in_effect_and_where_it_comes_from(tmp_path: Path) -> None:
    found = run(tmp_path, "explain", "kafka.partitions", **ENVIRONMENT, CONNECTOR_KAFKA__PARTITIONS="12")
    assert found.returncode == 0, found.stderr
    assert "In effect: 12  (kafka.partitions, from CONNECTOR_KAFKA__PARTITIONS)" in found.stdout
    secret = run(tmp_path, "explain", "connections.default.auth_token", **ENVIRONMENT)
    assert "secret" not in secret.stdout.replace("text, a secret", "")
    mistyped = run(tmp_path, "explain", "kafka.partitons")
    assert mistyped.returncode == 2
    assert "Did you mean kafka.partitions" in " ".join(mistyped.stderr.replace("│", " ").split())
