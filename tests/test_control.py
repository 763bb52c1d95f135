"""Run-time control of watches through the control topic, with real processes."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from connector.events import Record
from connector.kafka.produce import send
from connector.simulator import Simulator
from connector.state.control import Request, ask
from tests.forked import completed
from tests.running import Connector, configuration, headers_of, read_all, running, values, wait_for_records
from tests.scraping import scrape

WATCHES = [{"resource": "messages", "interval": "200ms"}, {"resource": "calls", "interval": "200ms"}]
PHONE = "+15551234567"


def receive(simulator: Simulator, count: int = 1) -> list[str]:
    """Messages that come in at Twilio now."""
    return [simulator.receive(from_="+15550100001", to=PHONE, body="Hi").sid for _ in range(count)]


async def command_line(process: Connector, *arguments: str) -> tuple[int, str, str]:
    """Run `twilio-kafka` with the process's configuration: exit code, output, error output."""
    file = str(process.folder / f"{process.name}.yaml")
    done = await asyncio.to_thread(completed, *arguments, "-c", file, env={**os.environ, "NO_COLOR": "1"})
    return done.returncode, done.stdout, done.stderr


def on_a_terminal(process: Connector, *arguments: str) -> str:
    """What the command line prints on a terminal on which every question is answered with no."""
    leader, follower = pty.openpty()
    os.write(leader, b"n\n")
    command = (sys.executable, "-m", "connector", *arguments, "-c", str(process.folder / f"{process.name}.yaml"))
    written = b""
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower) as running_process:  # noqa: S603 - our own
        os.close(follower)
        # Linux's way to say that nobody has the terminal open any more is an error.
        with suppress(OSError):
            while chunk := os.read(leader, 65536):
                written += chunk
        running_process.wait(timeout=60)
    os.close(leader)
    return written.decode()


async def listed(process: Connector) -> Mapping[str, Any]:
    """Each watch by its name, as the command line lists it."""
    code, output, problem = await command_line(process, "watches", "list", "--format", "json")
    assert code == 0, problem
    return {status["name"]: status for status in json.loads(output)}


async def started(process: Connector) -> None:
    """Wait until both watches have a cursor."""
    async with asyncio.timeout(30):
        while process.log.count("watch starts anew") < 2:  # noqa: ASYNC110 - a process's log has no event
            await asyncio.sleep(0.05)


async def test_a_paused_watch_publishes_nothing_over_a_restart_and_everything_when_it_is_resumed(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,):
        await started(process)
        code, output, _ = await command_line(process, "watches", "pause", "messages")
        assert code == 0, output
        states = {name: status["state"] for name, status in (await listed(process)).items()}
        assert states == {"messages": "paused", "calls": "watching"}

        assert await process.stop() == 0
        sids = receive(simulator, 3)
        await process.start()
        # The answer to a request that comes later shows that the watch has been opened again and is still paused.
        refused = await ask(process.settings.kafka, Request(action="rescan", watch="messages"))
        assert not refused.done
        assert (await scrape(process)).by("watch_paused", "watch") == {"messages": 1}
        assert await read_all(kafka, f"{prefix}.messages") == []

        code, output, _ = await command_line(process, "watches", "resume", "messages")
        assert code == 0, output
        records = await wait_for_records(kafka, f"{prefix}.messages", 3)
        assert sorted(record.key.decode() for record in records) == sorted(sids)
        assert (await scrape(process)).by("watch_paused", "watch") == {}


async def test_a_rewound_watch_publishes_again_with_the_same_ids(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,):
        await started(process)
        receive(simulator, 2)
        await wait_for_records(kafka, f"{prefix}.messages", 2)
        # Without --yes it says first how much would be published again, and asks.
        code, _, problem = await command_line(process, "watches", "rewind", "messages", "--to", "1h")
        assert (code, "--yes rewinds without asking" in problem) == (2, True)
        asked = await asyncio.to_thread(on_a_terminal, process, "watches", "rewind", "messages", "--to", "1h")
        assert "messages has published 2 events of what was created since" in asked
        assert "Rewind? [y/N]" in asked

        code, output, problem = await command_line(process, "watches", "rewind", "messages", "--to", "1h", "--yes")
        assert code == 0, output + problem
        records = await wait_for_records(kafka, f"{prefix}.messages", 4)
    ids = [headers_of(record)["ce_id"] for record in records]
    assert sorted(ids) == sorted(2 * list(dict.fromkeys(ids)))


async def test_a_request_reaches_the_owner_in_whichever_process_it_runs_and_is_carried_out_once(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path, count=2) as processes:
        settings = processes[0].settings.kafka
        answers = [
            await ask(settings, Request(action=action, watch=watch))
            for watch in ("messages", "calls")
            for action in ("pause", "resume", "rescan")
        ]
        assert all(answer.done for answer in answers)
        # The other process takes the watches over, reads the same requests, and must not carry them out again.
        await processes[0].stop()
        await ask(settings, Request(action="rescan", watch="messages"), seconds=40)
        await ask(settings, Request(action="rescan", watch="calls"), seconds=40)
        entries = values(await read_all(kafka, f"{prefix}.control"))
    assert [entry.get("outcome") for entry in entries].count(None) == 8
    assert [entry.get("outcome") for entry in entries].count("done") == 8


async def test_a_request_that_nobody_is_there_for_waits_until_the_watch_is_opened(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,):
        await started(process)
        await process.stop()
        code, _, problem = await command_line(process, "watches", "pause", "calls", "--timeout", "1")
        assert code == 69
        assert "carried out when one does" in problem
        await process.start()
        answer = await ask(process.settings.kafka, Request(action="rescan", watch="calls"))
        assert not answer.done
        assert "paused" in answer.message


async def test_what_cannot_be_read_on_the_control_topic_stops_nothing(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,):
        await started(process)
        settings = process.settings.kafka
        await send(settings, Record(f"{prefix}.control", None, b"\xff{", partition=0))
        answer = await ask(settings, Request(action="dance", watch="calls"))
        assert not answer.done
        receive(simulator)
        await wait_for_records(kafka, f"{prefix}.messages", 1)


async def test_a_mistyped_watch_is_refused_with_a_suggestion(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix, watches=WATCHES)
    async with running(document, tmp_path) as (process,):
        code, _, problem = await command_line(process, "watches", "pause", "mesages")
    assert code == 2
    assert "Did you mean messages?" in problem
