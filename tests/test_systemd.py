"""The unit of deploy/systemd: each sentence means something to systemd, and fits what the connector does."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest

from connector.errors import ConfigurationError, Unavailable
from connector.settings import load

UNIT = Path(__file__).parents[1] / "deploy" / "systemd" / "twilio-kafka.service"
ANALYZE = shutil.which("systemd-analyze")
LINE = re.compile(r"(?P<key>[A-Z][A-Za-z]+)=(?P<value>.*)")


def sentences() -> dict[str, list[str]]:
    """The values of each key, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            matched = LINE.fullmatch(line)
            assert matched, line
            found[matched["key"]].append(matched["value"])
    return found


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit as it would be installed, with a program and a user that are there."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/twilio-kafka/bin/twilio-kafka", sys.executable)
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"(?m)^(User|Group)=.*$", r"\1=root", text))
    return copy


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")
def test_systemd_understands_every_sentence(installed: Path) -> None:
    done = subprocess.run([str(ANALYZE), "verify", str(installed)], capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed (Debian: systemd)")
def test_little_is_exposed(installed: Path) -> None:
    text = installed.read_text().replace("=root", "=twilio-kafka")
    installed.write_text(text)
    command = [str(ANALYZE), "security", "--offline=yes", "--no-pager", "--threshold=25", str(installed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert done.returncode == 0, done.stdout[-1000:]


def test_it_waits_for_kafka_for_ever_and_not_for_a_wrong_configuration() -> None:
    unit = sentences()
    assert unit["Restart"] == ["on-failure"]
    assert unit["StartLimitIntervalSec"] == ["0"]
    assert int(unit["RestartSec"][0].removesuffix("s")) >= 10
    final = {int(code) for code in unit["RestartPreventExitStatus"][0].split()}
    assert ConfigurationError.exit_code in final
    assert Unavailable.exit_code not in final


def test_it_has_the_time_to_drain() -> None:
    grace = load(environ={}, need_connections=False).shutdown_grace
    assert timedelta(seconds=int(sentences()["TimeoutStopSec"][0])) >= grace + timedelta(seconds=10)


def test_its_variables_name_the_files_of_secrets(tmp_path: Path) -> None:
    texts = {"account-sid": "AC" + "0" * 31 + "1", "auth-token": "fictional", "admin-token": "fictional-token-of-20"}
    environ = dict(item.split("=", 1) for item in sentences()["Environment"])
    for variable, file in environ.items():
        name = Path(file).name
        (tmp_path / name).write_text(texts[name] + "\n")
        environ[variable] = str(tmp_path / name)
    settings = load(environ=environ)
    assert settings.connections["default"].account_sid == texts["account-sid"]
    assert settings.admin.token is not None


def test_the_process_can_read_its_own_metrics_and_raise_its_limits() -> None:
    unit = sentences()
    # /proc/stat tells when the machine started, which process metrics need; the soft limit of files is raised at start.
    assert "ProcSubset" not in unit
    assert all("@resources" not in value for value in unit["SystemCallFilter"])
