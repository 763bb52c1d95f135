"""`python -m bench [callbacks commands watch …] [--quick]`: measure, print, keep tables in `bench/out`."""

import argparse
import asyncio
import datetime as dt
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import callbacks, commands, growth, idle, kafka, search, soak, start, watch

HERE = Path(__file__).parent
OUT = HERE / "out"


async def run(parts: list[str], *, quick: bool, only: frozenset[str]) -> str:
    """The report of these measurements."""
    sections = [_header()]
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        try:
            async with kafka.broker() as servers:
                for part in parts:
                    print(f"{part} …", flush=True)
                    sections.append(await PARTS[part](Run(servers, folder, quick, only)))
                    (OUT / f"{part}.md").write_text(sections[-1])
        finally:
            logs = OUT / "logs"
            logs.mkdir(exist_ok=True)
            for log in folder.glob("*.log"):
                shutil.copy(log, logs)
    return "\n".join(sections)


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how long to measure."""

    servers: str
    folder: Path
    quick: bool
    only: frozenset[str]

    @property
    def rounds(self) -> int:
        """How many rounds the parts have that take long."""
        return 2 if self.quick else 3


async def _callbacks(run: Run) -> str:
    if run.quick:
        options = callbacks.Options(rounds=2, seconds=3.0, quiet_rounds=1, quiet_seconds=5.0, only=run.only)
    else:
        options = callbacks.Options(only=run.only)
    table = callbacks.table(await callbacks.measure(run.servers, run.folder, options))
    return f"\n## Callbacks: signed form → acknowledgement → 2xx, {callbacks.CONNECTIONS} connections\n{table}\n"


async def _commands(run: Run) -> str:
    text = ""
    for latency in (20.0, 100.0):
        count, warm_up = (3_000, 3_000) if run.quick else (10_000, 40_000)
        chosen = commands.Options(
            rounds=run.rounds, commands=count, warm_up=0 if text else warm_up, latency=latency, only=run.only
        )
        table = commands.table(await commands.measure(run.servers, run.folder, chosen))
        text += (
            f"\n## Commands: {chosen.in_flight} in flight, API {latency:.0f} ms, {commands.KEYS} keys; "
            f"steady {chosen.rate:.0f}/s\n{table}\n"
        )
    return text


async def _watch(run: Run) -> str:
    text = ""
    for page, rows in ((15.0, 20_000 if run.quick else 100_000), (500.0, 5_000 if run.quick else 20_000)):
        chosen = watch.Options(rounds=run.rounds, rows=rows, page_ms=page, only=run.only)
        table = watch.table(await watch.measure(run.servers, run.folder, chosen))
        text += f"\n## Watch: back-fill of {rows:,} rows, {page:.0f} ms a page, limit 5,000\n{table}\n"
    return text


async def _idle(run: Run) -> str:
    chosen = idle.Options(rounds=run.rounds, seconds=5.0 if run.quick else 20.0, only=run.only)
    return f"\n## At rest\n{idle.table(await idle.measure(run.servers, run.folder, chosen))}\n"


async def _start(run: Run) -> str:
    return f"\n## Start\n{start.table(await start.measure(run.servers, run.folder))}\n"


async def _growth(run: Run) -> str:
    found = await growth.measure(run.servers, run.folder, run.only & frozenset(growth.PARTS))
    growth.plots(found, OUT)
    return f"\n## Growth\n{growth.table(found)}\n"


async def _soak(run: Run) -> str:
    minutes = await soak.measure(run.servers, run.folder, 2 if run.quick else soak.MINUTES)
    soak.draw(minutes, OUT)
    return (
        f"\n## Soak: {soak.MESSAGES_PER_SECOND} messages/s with their callbacks, {len(soak.WATCHES)} watches\n"
        f"{soak.table(minutes)}\n"
    )


async def _search(run: Run) -> str:
    records = 100_000 if run.quick else 1_000_000
    chosen = search.Options(records=records, rounds=2 if run.quick else 8)
    found = await search.measure(run.servers, run.folder, chosen)
    return f"\n## Search: {records:,} records\n{search.table(found)}\n"


PARTS: Mapping[str, Callable[[Run], Awaitable[str]]] = {
    "callbacks": _callbacks,
    "commands": _commands,
    "watch": _watch,
    "idle": _idle,
    "start": _start,
    "search": _search,
    "growth": _growth,
    "soak": _soak,
}
# An hour and ten minutes: only when they are named.
LONG_PARTS = ("soak", "search")


def _header() -> str:
    moment = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    generator = "wrk" if shutil.which("wrk") else "bench.load"
    return (
        f"# Measured {moment}\n{machine}; load before: {load}; ceiling driven by {generator}. Broker, load generator "
        "and targets share the machine: read ratios, not rates. Cells are min / median / max over the rounds.\n"
    )


def main() -> None:
    """Read the options, measure, print and keep the report."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", help=f"of {', '.join(PARTS)}; without: all but {' and '.join(LONG_PARTS)}, fifty minutes"
    )
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to see that everything runs")
    parser.add_argument(
        "--only", default="", help="these targets, separated by commas; of growth: rates, keys, watches"
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - PARTS.keys()):
        parser.error(f"unknown parts {unknown}; there are {', '.join(PARTS)}")
    only = frozenset(filter(None, options.only.split(",")))
    report = asyncio.run(
        run(options.parts or [part for part in PARTS if part not in LONG_PARTS], quick=options.quick, only=only)
    )
    (OUT / "report.md").write_text(report)
    print(report)
    sys.exit(0)


if __name__ == "__main__":
    main()
