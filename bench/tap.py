"""Singer's Twilio source beside the watch: the same rows, written as Singer's lines to a file."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import machine, traffic

SCRIPT = Path(__file__).parent / "peers" / "tap_messages.py"
RECORD = b'{"type": "RECORD", "stream": "messages"'


async def measure(folder: Path, python: str, api: str, *, days: int, rows: int) -> dict[str, float]:
    """Rate, CPU and memory of one run by the interpreter `python`, which has tap-twilio."""
    start = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    environment = {**os.environ, "API_URL": api, "ACCOUNT_SID": traffic.ACCOUNT_SID, "TOKEN": traffic.TOKEN}
    lines, log = folder / "tap-twilio.lines", folder / "tap-twilio.log"
    began = time.monotonic()
    with lines.open("wb") as output, log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            python, str(SCRIPT), stdout=output, stderr=errors, env={**environment, "START": start}
        )
        used = await machine.highest(process.pid)
        await process.wait()
    seconds = time.monotonic() - began
    count = sum(line.startswith(RECORD) for line in lines.open("rb"))
    lines.unlink()
    # Its last window ends with yesterday.
    if count < rows * (days - 1) / days:
        raise RuntimeError(f"tap-twilio read {count} of {rows} rows; its log is {log}.")
    return {"rate": count / seconds, "cost": used.cpu / count * 1000, "memory": used.memory}
