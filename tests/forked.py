"""Processes under test that are forked from one that has imported everything: a start costs no second of imports.

It is a process like any other: with an id, an environment, a folder and streams of its own, and killed as hard. Only
Python's own start is not in it; a test whose claim is about that starts its process afresh.
"""

import asyncio
import gc
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from connector.cli import ENTRIES

_server: Any = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(
    ["uvloop", "connector.app", *(f"connector.cli.{row.module}" for row in ENTRIES.values())]
)
_POLL_SECONDS = 0.01


class _Stream:
    """A descriptor on its way to the process, where it is a number again."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (DupFd(self._descriptor),)


def _arrived(descriptor: Any) -> int:
    return int(descriptor.detach())


class Forked:
    """A process under test, as asyncio's own are: `returncode` is None while it lives, negative for a signal."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, when it has ended."""
        code: int | None = self._process.exitcode
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it lives."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        while (code := self.returncode) is None:  # noqa: ASYNC110 - a process has no event
            await asyncio.sleep(_POLL_SECONDS)
        return code


def start(
    *arguments: str,
    environment: Mapping[str, str],
    streams: Mapping[int, int],
    module: str = "connector",
    folder: Path | None = None,
) -> Forked:
    """`python -m module` with these arguments; `streams` are its descriptors -> ours. Without one it reads nothing."""
    theirs = {number: _Stream(stream) for number, stream in streams.items()}
    given = (module, arguments, dict(environment), folder or Path.cwd(), theirs)
    process = _server.Process(target=_become, args=given, daemon=True)
    process.start()
    return Forked(process)


def completed(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None, text: str = "", timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns for `python -m connector` with these arguments, and `text` as its input."""
    with ExitStack() as stack:
        given, out, err = files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3)]
        given.write(text)
        given.seek(0)
        streams = {number: file.fileno() for number, file in enumerate(files)}
        process = start(*arguments, environment=env, streams=streams, folder=cwd)
        process._process.join(timeout)
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            raise subprocess.TimeoutExpired(arguments, timeout)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, process.returncode, out.read(), err.read())


def end() -> None:
    """Kill what is left."""
    for process in multiprocessing.active_children():
        process.kill()


def _become(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, streams: Mapping[int, int]
) -> None:
    """In the process: all that the system would have given it, then the module."""
    gc.freeze()
    for number, stream in streams.items():
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    os.chdir(folder)
    sys.stdin, sys.stdout = (open(number, mode, closefd=False) for number, mode in ((0, "r"), (1, "w")))  # noqa: SIM115 - for as long as it lives
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - the same
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
