"""`python -m bench [callbacks commands watch start growth] [--quick]`: measure, print, keep tables in `bench/out`."""

import argparse
import asyncio
import datetime as dt
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

from bench import callbacks, commands, growth, kafka, soak, start, watch

HERE = Path(__file__).parent
OUT = HERE / "out"
PARTS = ("callbacks", "commands", "watch", "start", "growth")
# Takes an hour: only when it is named.
LONG_PARTS = ("soak",)


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
                    sections.append(await _section(part, servers, folder, quick=quick, only=only))
                    (OUT / f"{part}.md").write_text(sections[-1])
        finally:
            logs = OUT / "logs"
            logs.mkdir(exist_ok=True)
            for log in folder.glob("*.log"):
                shutil.copy(log, logs)
    return "\n".join(sections)


async def _section(part: str, servers: str, folder: Path, *, quick: bool, only: frozenset[str]) -> str:
    rounds, seconds = (2, 3.0) if quick else (5, 8.0)
    match part:
        case "callbacks":
            options = callbacks.Options(rounds=rounds, seconds=seconds, only=only)
            table = callbacks.table(await callbacks.measure(servers, folder, options))
            return (
                f"\n## Callbacks: signed form → acknowledgement → 2xx, {callbacks.CONNECTIONS} connections\n{table}\n"
            )
        case "commands":
            count = 3_000 if quick else 10_000
            text = ""
            for latency in (20.0, 100.0):
                chosen = commands.Options(rounds=min(3, rounds), commands=count, latency=latency, only=only)
                table = commands.table(await commands.measure(servers, folder, chosen))
                text += (
                    f"\n## Commands: {chosen.in_flight} in flight, API {latency:.0f} ms, {commands.KEYS} keys; "
                    f"steady {chosen.rate:.0f}/s\n{table}\n"
                )
            return text
        case "watch":
            options_of_watch = watch.Options(rounds=min(3, rounds), rows=20_000 if quick else 100_000, only=only)
            table = watch.table(await watch.measure(servers, folder, options_of_watch))
            return f"\n## Watch: back-fill of {options_of_watch.rows:,} rows, limit 5,000\n{table}\n"
        case "start":
            return f"\n## Start\n{start.table(await start.measure(servers, folder))}\n"
        case "soak":
            minutes = await soak.measure(servers, folder, 2 if quick else soak.MINUTES)
            soak.draw(minutes, OUT)
            return (
                f"\n## Soak: {soak.MESSAGES_PER_SECOND} messages/s with their callbacks, {len(soak.WATCHES)} watches\n"
                f"{soak.table(minutes)}\n"
            )
        case _:
            found = await growth.measure(servers, folder, only & frozenset(growth.PARTS))
            growth.plots(found, OUT)
            return f"\n## Growth\n{growth.table(found)}\n"


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
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}: all of these without; or soak, an hour")
    parser.add_argument("--quick", action="store_true", help="few and short rounds, to see that everything runs")
    parser.add_argument(
        "--only", default="", help="these targets, separated by commas; of growth: rates, keys, watches"
    )
    options = parser.parse_args()
    if unknown := sorted(set(options.parts) - {*PARTS, *LONG_PARTS}):
        parser.error(f"unknown parts {unknown}; there are {', '.join((*PARTS, *LONG_PARTS))}")
    only = frozenset(filter(None, options.only.split(",")))
    report = asyncio.run(run(options.parts or list(PARTS), quick=options.quick, only=only))
    (OUT / "report.md").write_text(report)
    print(report)
    sys.exit(0)


if __name__ == "__main__":
    main()
