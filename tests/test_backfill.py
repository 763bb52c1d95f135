"""`twilio-kafka backfill` as a process of its own: complete, oldest first, resumable."""

import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.simulator import Simulator
from connector.watcher.cursor import CatchUp, Cursor
from connector.watcher.status import Stretch, of_cursor, statuses
from tests.forked import completed
from tests.running import Connector, configuration, headers_of, read_all, values, wait_for_records

FROM, TO = "2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z"


async def begun(process: Connector, *arguments: str) -> asyncio.subprocess.Process:
    process._file()
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "connector", "backfill", *arguments),
        *("-c", str(process.folder / f"{process.name}.yaml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )


async def ended(process: Connector, *arguments: str) -> tuple[int, str, str]:
    file = str(process._file())
    environment = {**os.environ, "NO_COLOR": "1"}
    done = await asyncio.to_thread(completed, "backfill", *arguments, "-c", file, env=environment)
    return done.returncode, done.stdout, done.stderr


async def filled(process: Connector, *arguments: str) -> dict[str, Any]:
    code, output, problem = await ended(process, *arguments, "--format", "json")
    assert code == 0, output + problem
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture
async def connector(kafka: str, prefix: str, simulator: Simulator, tmp_path: Path) -> Connector:
    process = Connector(configuration(simulator, kafka=kafka, prefix=prefix), tmp_path)
    await process.apply_topics()
    return process


@pytest.mark.parametrize("resource", ["messages", "calls", "recordings", "transcriptions"])
async def test_everything_of_the_stretch_is_published_once_and_nothing_else(
    kafka: str, prefix: str, simulator: Simulator, connector: Connector, resource: str
) -> None:
    simulator.fill(resource, count=300)
    found = await filled(connector, resource, "--from", FROM, "--to", TO)
    records = await read_all(kafka, f"{prefix}.{resource}")
    assert found["complete"]
    assert found["published"] == len(records)
    ids = [headers_of(record)["ce_id"] for record in records]
    assert len(set(ids)) == len(ids)
    created = [value["date_created"] for value in values(records)]
    assert all(FROM <= moment < TO for moment in created)


async def test_an_interrupted_backfill_goes_on_where_it_stood(
    kafka: str, prefix: str, simulator: Simulator, connector: Connector
) -> None:
    sids = simulator.fill("messages", count=3000)
    process = await begun(connector, "messages", "--from", "300d", "--limit", "50")
    await wait_for_records(kafka, f"{prefix}.messages", 200)
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert b"To go on from there" in output
    before = len(await read_all(kafka, f"{prefix}.messages"))
    assert 0 < before < len(sids)

    found = await filled(connector, "messages", "--from", "300d")
    records = await read_all(kafka, f"{prefix}.messages")
    assert found["published"] == len(records) - before
    counted = [record.key.decode() for record in records]
    assert len(counted) == len(set(counted))
    assert set(counted) <= set(sids)


async def test_a_complete_backfill_is_not_done_twice_unless_asked_for(
    kafka: str, prefix: str, simulator: Simulator, connector: Connector
) -> None:
    simulator.fill("messages", count=50)
    first = await filled(connector, "messages", "--from", FROM, "--to", TO)
    second = await filled(connector, "messages", "--from", FROM, "--to", TO)
    again = await filled(connector, "messages", "--from", FROM, "--to", TO, "--again")
    assert (second["published"], again["published"]) == (0, first["published"])
    records = await read_all(kafka, f"{prefix}.messages")
    assert len(records) == 2 * first["published"]


async def test_a_list_that_nothing_watches_is_back_filled_once_it_has_its_topic(
    kafka: str, prefix: str, simulator: Simulator, connector: Connector
) -> None:
    for conference in simulator.fill("conferences", count=3):
        simulator.fill("participants", count=4, first="2026-03-01T00:00:00Z", parent=conference)
    asked = ("participants", "--from", FROM, "--to", TO)
    code, _, problem = await ended(connector, *asked)
    sentence = (
        "does not exist: add `- resource: participants` to watches, and create it with `twilio-kafka topics apply`"
    )
    assert code == 78
    assert f"Topic {prefix}.participants {sentence}" in " ".join(problem.split())
    connector.document["watches"] = [{"resource": "participants"}]
    await connector.apply_topics()
    assert (await filled(connector, *asked))["published"] == 12
    assert len({record.key for record in await read_all(kafka, f"{prefix}.participants")}) == 12


async def test_an_end_that_has_not_come_by_twilios_clock_is_refused(simulator: Simulator, connector: Connector) -> None:
    simulator.configure(clock_ahead=-3600.0)
    simulator.fill("messages", count=50)
    code, _, problem = await ended(connector, "messages", "--from", "30d")
    assert code == 78
    assert "by Twilio's clock it is" in problem


async def test_refused_credentials_end_a_backfill_with_a_sentence(
    kafka: str, prefix: str, simulator: Simulator, tmp_path: Path
) -> None:
    document = configuration(simulator, kafka=kafka, prefix=prefix)
    document["connections"]["default"]["auth_token"] = "wrong"
    process = Connector(document, tmp_path)
    await process.apply_topics()
    code, _, problem = await ended(process, "messages", "--from", FROM, "--to", TO)
    assert code == 1
    assert "refuses the credentials of connection default" in problem


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("mesages", "--from", FROM), "Did you mean messages?"),
        (("messages", "--from", "yesterday"), "neither a duration"),
        (("messages", "--from", TO, "--to", FROM), "is not before"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused_with_a_sentence(
    simulator: Simulator, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    document = configuration(simulator, kafka="127.0.0.1:1", prefix="x")
    code, _, problem = await ended(Connector(document, tmp_path), *arguments)
    assert code == 2
    assert sentence in " ".join(problem.replace("│", " ").split())


@pytest.mark.parametrize("connection", ["default", "eu-west", "a-20260101T000000"])
def test_the_name_of_a_backfill_tells_what_it_publishes(connection: str) -> None:
    stretch = Stretch.of(f"backfill-messages-{connection}-20260101T000000-20260201T000000")
    assert stretch is not None
    assert (stretch.resource, stretch.connection) == ("messages", connection)
    assert Stretch.of(stretch.name) == stretch
    assert Stretch.of("messages") is None


@pytest.mark.parametrize(("minutes", "state"), [(1, "backfilling"), (6, "interrupted")])
def test_a_back_fill_that_no_process_goes_on_with_is_interrupted_and_says_how_it_goes_on(
    minutes: int, state: str
) -> None:
    now = datetime(2026, 2, 1, tzinfo=UTC)
    stretch = Stretch("messages", "second", now - timedelta(days=2), now - timedelta(days=1))
    catch_up = CatchUp(phase="windows", until=stretch.until, low=stretch.since, high=stretch.until)
    polled = now - timedelta(minutes=minutes)
    began = stretch.since
    cursor = Cursor(since=began, complete_until=began, started_at=began, polled_at=polled, catch_up=catch_up)
    (status,) = statuses([], {stretch.name: of_cursor(cursor)}, now=now)
    assert status.state == state
    assert status.title == "messages of 2026-01-30 00:00 to 2026-01-31 00:00"
    assert status.command == (
        "twilio-kafka backfill messages --from 2026-01-30T00:00:00Z --to 2026-01-31T00:00:00Z --connection second"
    )
