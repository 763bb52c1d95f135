"""`make soak`: innocent commands and watches beside a producer of odd records and a Twilio that answers oddly.

Three processes. Every second second each answer of Twilio's is odd, one sort after the other. Innocents must not
notice: none is lost, done twice or late, and the processes' memory stays flat. Each odd command has exactly one result.
"""

import argparse
import asyncio
import itertools
import logging
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine
from connector.simulator import ACCOUNT_SID, Simulator
from tests.guarantees import commands, watches
from tests.guarantees.accounting.account import Account
from tests.guarantees.accounting.commands import Answer, Position, of_commands
from tests.guarantees.accounting.watches import of_events
from tests.guarantees.stage import Stage, seeded, stage
from tests.guarantees.traffic import COMMANDS, Traffic
from tests.running import headers_of, read_all

SECONDS = 600.0
COMMANDS_PER_SECOND, ROWS_PER_SECOND = 20.0, 8.0
LATE_SECONDS = 30.0
SAMPLE_SECONDS = 2.0
JUMP_MIB = 15.0
# The messages of commands are not those that are watched.
WATCHED = "+15550177001"
# Memory is flat when the last third of a run needs no more than the one before, but for the ids of the window.
FLAT_FACTOR, FLAT_MIB, FLAT_FROM_SECONDS = 1.1, 6.0, 120.0
# Of no rows: what a list without its filter shows was not asked for.
ENDLESS = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json?To=%2B15550000000&PageSize=50&Page=1"
HUGE = '{"message":"' + "x" * 1_500_000 + '"}'
SECTIONS: Mapping[str, Any] = {
    "roles": ["commands", "watch"],
    "kafka": {"session_timeout": "10s"},
    "commands": commands.SECTIONS["commands"],
    "watches": [
        row | ({"from": WATCHED} if row["resource"] in {"messages", "calls"} else {}) for row in watches.WATCHES
    ],
}
SIMULATED: Mapping[str, Any] = {**watches.SIMULATED, "auto_advance": False}

Odd = tuple[str, str, Mapping[str, Any]]
"""A fault: its kind, its operations, its options."""

ODD_ANSWERS: Mapping[str, Sequence[Odd]] = {
    "half a surrogate pair": [
        ("odd-answer", "Create*", {"status": 201, "swap": {'"error_message":null': r'"error_message":"\ud83d"'}}),
        ("odd-answer", "List*", {"status": 200, "swap": {'"error_message":null': r'"error_message":"\udc00"'}}),
    ],
    "null": [("odd-answer", "*", {"status": 200, "body": "null"})],
    "no SID": [("odd-answer", "Create*", {"status": 201, "body": '{"sid":null}'})],
    "null among the rows": [("odd-answer", "List*", {"status": 200, "swap": {"[{": "[null,17,{"}})],
    "nothing": [("odd-answer", "*", {"status": 200, "body": ""})],
    "half of its JSON": [("odd-answer", "*", {"status": 200, "body": '{"messages":[{"sid":'})],
    "a page of HTML": [("odd-answer", "*", {"status": 200, "body": "<html><body>Sign in</body></html>"})],
    "bytes": [("odd-answer", "*", {"status": 200, "body": "\ud83d\x00\x1b"})],
    "1.5 MB": [("odd-answer", "*", {"status": 200, "body": HUGE})],
    "10,000 brackets": [("odd-answer", "*", {"status": 200, "body": "[" * 10_000})],
    "pages without end": [
        ("odd-answer", "ListMessage", {"status": 200, "swap": {'"next_page_uri":null': f'"next_page_uri":"{ENDLESS}"'}})
    ],
    "an hour ahead": [("wrong-date", "*", {"seconds": 3600})],
    "an hour behind": [("wrong-date", "*", {"seconds": -3600})],
    "no date": [("odd-answer", "*", {"status": 200, "body": None, "headers": {"Date": "soon"}})],
    "Retry-After in words": [("odd-answer", "List*", {"status": 429, "headers": {"Retry-After": "soon"}})],
    "Retry-After below zero": [("odd-answer", "List*", {"status": 429, "headers": {"Retry-After": "-1e9"}})],
    "a reset": [("lose-answer", "*", {})],
    "half an answer": [("cut-answer", "*", {})],
    "an error afterwards": [("error-after", "*", {"status": 503})],
    "a code in words": [
        ("odd-answer", "*", {"status": 500, "body": '{"code":"12345678901234567890123","message":[]}'})
    ],
    "a late answer": [("slow-answer", "*", {"seconds": 1.0})],
}


@dataclass
class Twilio:
    """Makes Twilio answer oddly every second second."""

    simulator: Simulator
    sorts: Iterator[str]
    seconds: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """One sort after the other, until stopped."""
        faults = self.simulator.faults
        while not stop.is_set():
            added = [faults.add(kind, operation, **more) for kind, operation, more in ODD_ANSWERS[next(self.sorts)]]
            await asyncio.sleep(1)
            faults.rows = [row for row in faults.rows if row not in added]
            self.seconds += 1
            await asyncio.sleep(1)


@dataclass
class Memory:
    """MiB of each process over time: its own share (Pss), and what it has resident."""

    playing: Stage
    samples: list[tuple[float, list[machine.Usage]]] = field(default_factory=list)

    async def run(self, stop: asyncio.Event) -> None:
        """Look now and then until stopped."""
        began = time.monotonic()
        while not stop.is_set():
            used = [machine.usage(process.process.pid) for process in self.playing.processes if process.process]
            self.samples.append((time.monotonic() - began, used))
            await asyncio.sleep(SAMPLE_SECONDS)

    def grown(self) -> list[str]:
        """The processes whose memory is not flat; none of a run that is too short to tell."""
        seconds = self.samples[-1][0]
        if seconds < FLAT_FROM_SECONDS:
            return []
        found = []
        for number, process in enumerate(self.playing.processes):
            middle, last = (
                statistics.median(used[number].memory for at, used in self.samples if low <= at / seconds * 3 <= high)
                for low, high in ((1, 2), (2, 3))
            )
            if last > middle * FLAT_FACTOR + FLAT_MIB:
                found.append(f"{process.name} {middle:.0f} -> {last:.0f} MiB")
        return found

    def jumps(self) -> Iterator[str]:
        """When a process took much memory at once."""
        for (_, before), (at, after) in itertools.pairwise(self.samples):
            for process, one, other in zip(self.playing.processes, before, after, strict=False):
                if other.memory > one.memory + JUMP_MIB:
                    yield f"{at:7.0f}   {process.name} {one.memory:.0f} -> {other.memory:.0f} MiB"

    def table(self) -> str:
        """A few moments, a process in each column."""
        step = max(1, len(self.samples) // 8)
        lines = ["seconds   MiB of each process, proportional / resident"]
        for at, used in [*self.samples[::step], self.samples[-1]]:
            lines.append(f"{at:7.0f}   " + "   ".join(f"{one.memory:.0f} / {one.resident:.0f}" for one in used))
        return "\n".join([*lines, *self.jumps()])


async def _times(playing: Stage, topics: Sequence[str]) -> dict[Position, float]:
    """When each record of these topics was written."""
    records = [record for topic in topics for record in await read_all(playing.kafka, topic)]
    return {(record.topic, record.partition, record.offset): record.timestamp / 1000 for record in records}


async def late_commands(playing: Stage, traffic: Traffic) -> list[str]:
    """The innocent commands whose final result came too late."""
    prefix = playing.prefix
    asked = await _times(playing, [f"{prefix}.commands.{name}" for name in COMMANDS])
    innocent = {one.position: one.id for one in traffic.sent if one.is_named}
    found = []
    for name in COMMANDS:
        for record in await read_all(playing.kafka, f"{prefix}.results.{name}"):
            answer = Answer(record.partition, record.key, record.value)
            needed = record.timestamp / 1000 - asked.get(answer.position, float("inf"))
            if answer.position in innocent and answer.document["last"] and needed > LATE_SECONDS:
                found.append(f"{innocent[answer.position]} after {needed:.0f} s")
    return found


async def late_rows(playing: Stage, made: watches.Traffic) -> list[str]:
    """The rows whose event came too late."""
    found = []
    for resource, rows in made.made.items():
        for record in await read_all(playing.kafka, f"{playing.prefix}.{resource}"):
            headers = headers_of(record)
            row = rows.get(headers["ce_subject"])
            needed = record.timestamp / 1000 - row.created if row is not None else 0.0
            if headers["ce_type"].split(".")[-2] == "created" and needed > LATE_SECONDS:
                found.append(f"{headers['ce_subject']} of {headers['ce_watch']} after {needed:.0f} s")
    return found


async def run(folder: Path, *, seed: int, seconds: float) -> tuple[Account, str]:
    """What came of it, and what the processes needed."""
    async with stage(folder, seed=seed, simulated=SIMULATED, **SECTIONS) as playing:
        await commands.prepare(playing)
        await watches.started(playing)
        traffic = Traffic(playing, seeded(seed, "commands"), COMMANDS_PER_SECOND, ("odd",))
        common = {name: {"from": WATCHED} for name in ("messages", "calls")}
        made = watches.Traffic(playing, seeded(seed, "rows"), ROWS_PER_SECOND, ("changes",), common)
        sorts = list(ODD_ANSWERS)
        seeded(seed, "answers").shuffle(sorts)
        twilio, memory = Twilio(playing.simulator, itertools.cycle(sorts)), Memory(playing)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for one in (traffic, made, twilio, memory):
                tasks.create_task(one.run(stop))
            await asyncio.sleep(seconds)
            stop.set()
        settled = await commands.has_settled(playing, traffic, within=120)
        await watches.settled(playing, made, within=120)
        codes = await playing.stop()
        account = Account({"odd seconds of Twilio's": twilio.seconds})
        account.counts["odd commands"] = sum(not one.is_named for one in traffic.sent)
        account.add("commands", of_commands(await commands.trace(playing, traffic, (), is_odd=True)))
        for name, resource in watches.NAMES.items():
            events = await watches.events(playing, name)
            account.add(name, of_events(made.made[resource], events, has_changes=name == watches.CHANGING))
        account.promise("not settled after two minutes", [] if settled else ["see the logs"])
        account.promise("commands answered too late", await late_commands(playing, traffic))
        account.promise("rows published too late", await late_rows(playing, made))
        account.promise("memory grows", memory.grown())
        account.promise("not ended in order", [code for code in codes if code])
        return account, memory.table()


def main() -> None:
    """Run for as long as the arguments say; exit with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.guarantees.soak", description=__doc__)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    parser.add_argument("seconds", nargs="?", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--logs", type=Path, help="where the processes' logs go")
    given = parser.parse_args()
    folder = given.logs or Path(tempfile.mkdtemp(prefix="soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"soak: {given.seconds:.0f} s, seed {given.seed}, logs in {folder}\n")
    sys.stdout.flush()
    account, memory = asyncio.run(run(folder, seed=given.seed, seconds=given.seconds))
    verdict = "KEPT" if account.kept else "BROKEN"
    sys.stdout.write(f"{account.table()}\n{memory}\n{verdict}\n")
    sys.exit(0 if account.kept else 1)


if __name__ == "__main__":
    main()
