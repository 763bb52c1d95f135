"""Each argued window, with its safeguard and without: a process that stops or dies at the worst moment.

Without the safeguard the same story must end badly, or the test would prove nothing.
"""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from connector.watcher import cursor as cursors
from tests.guarantees.windows import SESSION_SECONDS, Scene, scene, stopped
from tests.running import headers_of, until, wait_for_records

Property = Callable[[str, object], None]
"""What was counted goes into the report of the run (--junitxml)."""


async def _send(playing: Scene, count: int) -> None:
    for number in range(1, count + 1):
        await playing.send(f"c{number}")


@pytest.mark.parametrize("without", ["", "fencing"])
async def test_a_process_that_sleeps_before_its_attempt_is_written_sends_nothing_when_it_wakes(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await playing.start(playing.first, without=without, hold="attempt:c3")
        await _send(playing, 5)
        await stopped(playing.first)
        await playing.start(playing.second, without=without)
        await playing.results(5)
        playing.first.send_signal(signal.SIGCONT)
        await asyncio.sleep(SESSION_SECONDS + 1)
        await playing.results(5)
        twice = [body for body in set(playing.executed()) if playing.executed().count(body) > 1]
        doubled = [found for found, count in (await playing.outcomes(5)).items() if count > 1]
    record_property("executed twice", len(twice))
    record_property("results doubled", len(doubled))
    if without:
        assert twice
        assert doubled
    else:
        assert playing.executed() == ["c1", "c2", "c3", "c4", "c5"]
        assert doubled == []
        assert playing.executed(by=playing.first) == ["c1", "c2"]


async def _wakes_late(playing: Scene, *, without: str, hold: str) -> None:
    """The first process stops at a step, the second takes over and answers, the first wakes up."""
    await playing.start(playing.first, without=without, hold=hold)
    await playing.send("c1")
    await stopped(playing.first)
    await playing.start(playing.second)
    (result,) = await playing.results(1)
    playing.first.send_signal(signal.SIGCONT)
    await asyncio.sleep(SESSION_SECONDS + 1)
    assert len(await playing.results(1)) == 1
    # Nobody could know whether it was sent.
    assert result["outcome"] == "unknown"


@pytest.mark.parametrize("without", ["", "lease"])
async def test_a_process_that_sleeps_before_it_sends_does_not_send_late(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await _wakes_late(playing, without=without, hold="send:c1")
    record_property("sent though said to be unknown", len(playing.executed()))
    assert playing.executed() == (["c1"] if without else [])


@pytest.mark.parametrize("without", ["", "check at the socket"])
async def test_a_process_that_sleeps_after_its_last_check_writes_nothing_to_the_socket_late(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await _wakes_late(playing, without=without, hold="write:")
    record_property("sent though said to be unknown", len(playing.executed()))
    assert playing.executed() == (["c1"] if without else [])


@pytest.mark.parametrize("without", ["", "restored journal"])
async def test_a_process_that_dies_between_result_and_commit_leaves_nothing_to_do_again(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await playing.start(playing.first, without=without, hold="finish:c3")
        await _send(playing, 5)
        await stopped(playing.first)
        await playing.first.kill()
        await playing.start(playing.second, without=without)
        await playing.results(6 if without else 5)
        outcomes = await playing.outcomes(5)
    executed = playing.executed()
    record_property("executed twice", len(executed) - len(set(executed)))
    record_property("results doubled", sum(count - 1 for count in outcomes.values()))
    if without:
        assert len(executed) > len(set(executed))
        assert max(outcomes.values()) > 1
    else:
        assert executed == ["c1", "c2", "c3", "c4", "c5"]
        assert outcomes == {(f"c{number}", "succeeded"): 1 for number in range(1, 6)}


@pytest.mark.parametrize("without", ["", "journal", "in-doubt branch"])
async def test_a_process_that_dies_while_twilio_works_has_its_message_adopted(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        struck = playing.simulator.fault("slow-answer", "CreateMessage", seconds=10, times=1)
        await playing.start(playing.first, without=without)
        await playing.send("c1")
        await until(lambda: struck.hit == 1)
        await playing.first.kill()
        await playing.start(playing.second, without=without)
        (result,) = await playing.results(1)
    record_property("executions of one command", len(playing.executed()))
    if without:
        assert playing.executed() == ["c1", "c1"]
    else:
        assert playing.executed() == ["c1"]
        assert (result["outcome"], result["reconciled"]) == ("succeeded", True)


@pytest.mark.parametrize("without", ["", "dedupe window"])
async def test_an_id_that_was_seen_is_not_executed_again_by_a_successor(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        await playing.start(playing.first, without=without)
        await playing.send("c1")
        await playing.results(1)
        await playing.first.kill()
        await playing.start(playing.second, without=without)
        await playing.send("c1")
        outcomes = await playing.outcomes(2)
    record_property("executions of one id", len(playing.executed()))
    assert len(playing.executed()) == (2 if without else 1)
    assert outcomes[("c1", "duplicate")] == (0 if without else 1)


@pytest.mark.parametrize("without", ["", "drain"])
async def test_an_orderly_stop_leaves_nothing_in_doubt(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with scene(kafka, prefix, tmp_path) as playing:
        playing.simulator.fault("slow-answer", "CreateMessage", seconds=0.8, jitter=0.3)
        await playing.start(playing.first, without=without)
        for number in range(40):
            await playing.send(f"c{number}", key=f"key-{number}")
        await until(lambda: len(playing.executed()) >= 20)
        assert await playing.first.stop() == 0
        await playing.start(playing.second, without=without)
        results = await playing.results(40)
    record_property("left in doubt of 40", sum(one["reconciled"] for one in results))
    # What is broken off before it was sent is never sent.
    assert len(playing.executed()) == len(set(playing.executed()))
    assert without or len(playing.executed()) == 40
    assert (sum(one["reconciled"] for one in results) > 0) is bool(without)


@pytest.mark.parametrize("without", ["", "drain"])
async def test_a_process_that_joins_puts_nothing_in_doubt(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    """The group takes partitions away from the one that has them: it finishes what is in flight first."""
    async with scene(kafka, prefix, tmp_path) as playing:
        playing.simulator.fault("slow-answer", "CreateMessage", seconds=0.6, jitter=0.3)
        await playing.start(playing.first, without=without)
        sent, joining = 0, None
        # Every key has a command in flight when the group takes partitions away, until the second one has its share.
        while not playing.executed(by=playing.second) and sent < 1200:
            if sent - len(playing.executed()) < 36:
                for number in range(sent, sent + 12):
                    await playing.send(f"c{number}", key=f"key-{number % 12}")
                sent += 12
            if joining is None and len(playing.executed()) >= 12:
                joining = asyncio.create_task(playing.start(playing.second, without=without))
            await asyncio.sleep(0.1)
        assert joining is not None
        await joining
        results = await playing.results(sent)
    record_property("put in doubt", sum(one["reconciled"] for one in results))
    assert len(playing.executed()) == len(set(playing.executed()))
    assert without or len(playing.executed()) == sent
    assert (sum(one["reconciled"] for one in results) > 0) is bool(without)


@pytest.mark.parametrize("stays", [True, False], ids=["joins again", "ends"])
async def test_a_frozen_process_executes_nothing_more_of_what_was_taken_from_it(
    kafka: str, prefix: str, tmp_path: Path, *, stays: bool
) -> None:
    """One that ends as soon as it wakes up is given nothing new: whatever it executed then would be left over."""
    async with scene(kafka, prefix, tmp_path) as playing:
        playing.simulator.fault("latency", "CreateMessage", seconds=0.15, jitter=0.1)
        await playing.start(playing.first)
        for number in range(120):
            await playing.send(f"c{number}", key=f"key-{number % 6}")
        await until(lambda: len(playing.executed()) > 10)
        playing.first.send_signal(signal.SIGSTOP)
        # Once the requests that were under way have come to an end, it can have executed nothing more.
        await asyncio.sleep(0.5)
        before = playing.executed(by=playing.first)
        await playing.start(playing.second)
        await until(lambda: len(playing.executed(by=playing.second)) > 20)
        if not stays:
            playing.first.send_signal(signal.SIGTERM)
        playing.first.send_signal(signal.SIGCONT)
        outcomes = await playing.outcomes(120, within=60)
    # Of what stood still between the journal and the request nobody can know.
    unknown = {name for name, outcome in outcomes if outcome == "unknown"}
    assert sorted(playing.executed()) == sorted({f"c{number}" for number in range(120)} - unknown)
    assert len(outcomes) == 120
    assert len(unknown) <= 6
    if not stays:
        assert playing.executed(by=playing.first) == before


@pytest.mark.parametrize("without", ["", "cursor in the transaction"])
async def test_a_watch_that_dies_after_its_events_were_written_writes_none_twice(
    kafka: str, prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    watches = [{"name": "sent", "resource": "messages", "interval": "300ms"}]
    async with scene(kafka, prefix, tmp_path, roles=["watch"], watches=watches) as playing:
        await playing.start(playing.first, without=without, hold="cursor:")
        await playing.first.wait_for_log("watch starts")
        sids = playing.simulator.fill("messages", count=20, step=0)
        await stopped(playing.first)
        await playing.first.kill()
        await playing.start(playing.second, without=without)
        sids += playing.simulator.fill("messages", count=5, step=0)
        found = await _events(playing, 45 if without else 25)
    record_property("published twice of 25", len(found) - len(set(found)))
    assert set(found) == set(sids)
    assert (len(found) > len(set(found))) is bool(without)


async def test_a_watch_keeps_its_cursor_when_partitions_are_added(kafka: str, prefix: str, tmp_path: Path) -> None:
    watches = [{"name": "sent", "resource": "messages", "interval": "300ms"}]
    assert cursors.partition_of("sent", 2) != cursors.partition_of("sent", 3)
    async with scene(kafka, prefix, tmp_path, roles=["watch"], watches=watches) as playing:
        await playing.start(playing.first)
        await playing.first.wait_for_log("watch starts")
        sids = playing.simulator.fill("messages", count=5, step=0)
        await _events(playing, 5)
        assert await playing.first.stop() == 0
        sids += playing.simulator.fill("messages", count=5, step=0)
        playing.second.document["kafka"]["partitions"] = 3
        await playing.second.apply_topics()
        await playing.start(playing.second)
        found = await _events(playing, 10)
    assert sorted(found) == sorted(sids)


async def _events(playing: Scene, count: int) -> list[str]:
    records = await wait_for_records(playing.kafka, f"{playing.prefix}.messages", count)
    return [headers_of(record)["ce_subject"] for record in records]
