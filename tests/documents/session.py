"""The session that the snippets run against: `twilio-kafka dev --no-demo`, a real process with its own broker."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from connector.dev.broker import free_port
from tests.documents.snippets import ROOT, Snippet

START_SECONDS = 90
SNIPPET_SECONDS = 60
SHOWN = {
    "kafka": re.compile(r"^Kafka +(\S+)$", re.MULTILINE),
    "simulator": re.compile(r"^Twilio simulator +http://(\S+)", re.MULTILINE),
    "callbacks": re.compile(r"^Callbacks +http://([^/\s]+)", re.MULTILINE),
    "admin": re.compile(r"^Console, metrics +http://([^/\s]+)", re.MULTILINE),
}
# The addresses that the documents name, because they are what a reader has.
NAMED = {"kafka": "9092", "simulator": "8090", "callbacks": "8080", "admin": "9090"}
STATE = 'export -p > "$STATE"; pwd > "$STATE.folder"'


def environment() -> dict[str, str]:
    """A newcomer's environment, with the programs of this one."""
    ours = ("CONNECTOR", "TWILIO", "KAFKA", "PYTEST")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@dataclass
class Session:
    """A running session; `addresses` are host:port by name."""

    log: Path
    process: "subprocess.Popen[bytes]"
    addresses: dict[str, str] = field(default_factory=dict)

    @classmethod
    def start(cls, folder: Path, *, kafka: str | None = None) -> "Session":
        """Start it and wait until it is ready."""
        log = folder / "dev.log"
        options = ["--kafka", kafka] if kafka else []
        with log.open("wb") as output:
            command = [sys.executable, "-m", "connector", "dev", "--no-demo", *options]
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment(), cwd=folder)  # noqa: S603
        session = cls(log, process)
        _wait(lambda: "Ready after" in log.read_text(), process, log, START_SECONDS)
        session.addresses = {
            name: found[1] for name, shown in SHOWN.items() if (found := shown.search(log.read_text()))
        }
        return session

    def stop(self) -> int:
        """End it with Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=30)
        finally:
            self.process.kill()

    def here(self, text: str) -> str:
        """A snippet with the addresses of this session."""
        for name, port in NAMED.items():
            text = re.sub(rf"(?:127\.0\.0\.1|localhost):{port}\b", self.addresses[name], text)
        return text.replace("8091", str(_SPARE))


# Another port that the documents name, for what is started beside the session.
_SPARE = free_port(8091)


def _wait(condition: object, process: "subprocess.Popen[bytes]", log: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]  # a callable without arguments
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)


class Shell:
    """The reader's shell for one document: variables and folder last from snippet to snippet."""

    def __init__(self, session: Session, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._state = folder.parent / f"{folder.name}.state"
        (folder / ".venv").symlink_to(Path(sys.prefix))

    def run(self, snippet: Snippet) -> str | None:
        """Execute a snippet; returns what went wrong."""
        text = self._session.here(snippet.text)
        if snippet.language == "python":
            return self._python(snippet, text)
        before = f'. "{self._state}"; cd "$(cat "{self._state}.folder")"\n' if self._state.exists() else ""
        script = f"set -euo pipefail\n{before}STATE='{self._state}'\ntrap '{STATE}' EXIT\n{text}"
        if until := snippet.marks.get("until"):
            return self._until(snippet, ["bash", "-c", f"{before}{text}"], until)
        return self._finished(snippet, ["bash", "-c", script])

    def _python(self, snippet: Snippet, text: str) -> str | None:
        file = self._folder / f"test_line_{snippet.line}.py"
        file.write_text(text)
        if "pytest" in snippet.marks:
            options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
            return self._finished(snippet, [sys.executable, "-m", "pytest", *options, str(file)])
        return self._finished(snippet, [sys.executable, str(file)])

    def _environment(self) -> Mapping[str, str]:
        return {**environment(), "KAFKA_BOOTSTRAP_SERVERS": self._session.addresses["kafka"], "HOME": str(self._folder)}

    def _finished(self, snippet: Snippet, command: list[str]) -> str | None:
        done = subprocess.run(  # noqa: S603 - our own documents
            command,
            cwd=self._folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=SNIPPET_SECONDS,
            check=False,
        )
        if done.returncode == snippet.exit_code:
            return None
        return (
            f"{snippet.place} ended with {done.returncode}:\n{snippet.text}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        )

    def _until(self, snippet: Snippet, command: list[str], until: str) -> str | None:
        with tempfile.NamedTemporaryFile(dir=self._folder) as output:
            process = _begin(command, self._folder, self._environment(), output)
            try:
                _wait(lambda: until in Path(output.name).read_text(), process, Path(output.name), SNIPPET_SECONDS)
            except AssertionError as error:
                return f"{snippet.place} did not print {until!r}:\n{snippet.text}\n{error}"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGINT)
                code = process.wait(timeout=SNIPPET_SECONDS)
            return None if code in (0, 130, -signal.SIGINT) else f"{snippet.place} ended with {code} after Ctrl-C"


def _begin(command: list[str], folder: Path, env: Mapping[str, str], output: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - our own documents
        command, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True
    )
