"""What processes cost: CPU seconds and memory of a process with all its descendants, from /proc (Linux)."""

import asyncio
import contextlib
import os
import signal
import statistics
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")
# Fields of /proc/PID/stat after the command: parent, user time, system time (proc(5)).
PARENT, USER, SYSTEM = 1, 11, 12


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since the start, and MiB, of a process tree.

    `memory` is its proportional set (Pss): what several processes share counts once. `resident` counts it for each.
    """

    cpu: float
    memory: float
    resident: float


def _stat(pid: int) -> Sequence[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(int(entry.name))[PARENT]), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def usage(pid: int) -> Usage:
    """What the tree has used so far."""
    cpu = memory = resident = 0.0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            fields = _stat(member)
            cpu += (int(fields[USER]) + int(fields[SYSTEM])) / TICKS
            held = _memory(member)
            memory, resident = memory + held["Pss"], resident + held["Rss"]
    return Usage(cpu, memory, resident)


def _memory(pid: int) -> Mapping[str, float]:
    """The MiB of a process by what they are; a process that ends just now has none."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:]
    named = (line.partition(":") for line in lines)
    return {"Pss": 0.0, "Rss": 0.0} | {name: int(size.split()[0]) / 1024 for name, _, size in named}


async def highest(pid: int) -> Usage:
    """The last CPU seconds and the highest memory of a process that ends by itself."""
    cpu = memory = resident = 0.0
    while (used := usage(pid)).memory:
        cpu, memory, resident = max(cpu, used.cpu), max(memory, used.memory), max(resident, used.resident)
        await asyncio.sleep(0.05)
    return Usage(cpu, memory, resident)


def compiled() -> dict[str, str]:
    """This environment, with which modules are compiled once, as they are where they were installed."""
    return {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class Program:
    """A started program; its output goes to `folder/name.log`."""

    def __init__(self, name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = (folder / f"{name}.log").open("ab")
        self._process = subprocess.Popen(  # noqa: S603 - our own commands
            command, env={**compiled(), **environment}, stdout=self._log, stderr=self._log, start_new_session=True
        )
        self.pid = self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it in order, or after fifteen seconds at once."""
        if self.runs:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(15)
            except subprocess.TimeoutExpired:
                for member in tree(self.pid):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(member, signal.SIGKILL)
                self._process.wait()
        self._log.close()

    async def listens(self, port: int, *, within: float = 30.0) -> None:
        """Wait until the port accepts connections; raises TimeoutError, or RuntimeError when the program has ended."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not self.runs:
                raise RuntimeError(f"{self.name} has ended; its log is {self._log.name}.")
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)
        raise TimeoutError(f"{self.name} does not listen on {port}; its log is {self._log.name}.")


def spread(values: Iterable[float], form: str = ".0f") -> str:
    """`min / median / max`."""
    ordered = sorted(values)
    if not ordered:
        return "-"
    shown = (ordered[0], statistics.median(ordered), ordered[-1])
    return " / ".join(format(value, form) for value in shown)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie; the values are sorted."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
