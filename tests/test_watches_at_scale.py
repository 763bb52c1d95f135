"""Thousands of rows of each list with ties, late rows, deletions while paging, moving sort keys: each exactly once.

The breadth runs watchers against the simulator with a Kafka that fails by choice.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from structlog.testing import capture_logs

from connector.events import Record
from connector.resources import WATCHES
from connector.resources.rows import Request
from connector.settings import WatchSettings
from connector.simulator import Simulator
from connector.watcher.cursor import Cursor
from tests.running import configuration, running, until
from tests.twilio_servers import connected
from tests.watch_lives import (
    BUILT_IN,
    BURSTS,
    CAP,
    DAYS,
    LISTS,
    PARENTS,
    PER_BURST,
    STANDARD,
    UNDER,
    WITHIN,
    History,
    Ledger,
    living,
    rows_of,
    sid_of,
    watched,
)


def holds_more_than(ledger: Ledger, count: int) -> bool:
    return len(ledger.sids) >= count


SEEDS = {"messages": 11, "calls": 12, "recordings": 13, "alerts": 14}
SEEDS |= {resource: 15 + number for number, resource in enumerate((*LISTS, *BUILT_IN))}


@pytest.mark.parametrize("resource", SEEDS)
async def test_thousands_of_rows_are_published_exactly_once_oldest_first(resource: str) -> None:
    random = Random(SEEDS[resource])  # noqa: S311 - choices that can be repeated
    simulated = {
        "granularity": random.choice(["day", "second"]),
        "ties": random.choice(["newest", "oldest", "sid"]),
        "deleted_token": random.choice(["continue", "refuse"]),
        "auto_advance": False,
        "alert_cap": CAP,
    }
    ledger = Ledger(random, fails=0.1)
    async with Simulator(seed=random.random().hex(), settings=simulated) as simulator:
        history = History(simulator, resource, random)
        history.old(int(simulator.state.now()))
        simulator.fault("short-page", "List*", rows=random.randrange(1, 200), probability=0.05)
        own = WATCHES[BUILT_IN[resource]].operation if resource in UNDER else "List*"
        chance = 0.1 if resource in STANDARD else 1
        simulator.fault("delete-while-paging", own, rows=2, probability=chance, times=20)
        simulator.fault("bad-token", "List*", probability=0.05, times=5)
        start = datetime.now(UTC) - timedelta(days=DAYS + 2)
        chosen = {"limit": random.choice([93, 400, 1000]), "rows_per_page": random.choice([67, 200, 1000])}
        if resource not in STANDARD:
            chosen["rows_per_page"] = 200  # a list, and that of each parent, has some pages
        async with living(simulator, ledger, start=start, cap=CAP, **watched(resource), **chosen):
            await until(lambda: len(ledger.sids) > history.count * 0.9, within=WITHIN)
            for _ in range(BURSTS):
                history.burst(int(simulator.state.now()))
                await asyncio.sleep(0)
                seen = len(ledger.sids)
                await until(partial(holds_more_than, ledger, seen + PER_BURST // 2))
            await until(lambda: set(history.there) <= set(ledger.sids), within=WITHIN)
            polled = simulator.journal.total
            await until(lambda: simulator.journal.total >= polled + 5)
        deleted = set(history.all) - set(history.there)
    assert len(history.all) == rows_of(resource)
    assert set(Counter(ledger.sids).values()) == {1}
    assert set(ledger.sids) >= set(history.all) - deleted
    assert set(ledger.sids) <= set(history.all)
    assert ledger.largest <= chosen["limit"]
    assert ledger.restarts > 0
    assert deleted
    in_order = [history.plain[sid] for sid in ledger.sids if sid in history.plain]
    assert in_order == sorted(in_order)


async def test_more_alerts_in_a_window_than_a_query_shows_are_all_published() -> None:
    ledger = Ledger(Random(1))  # noqa: S311 - fails never
    async with Simulator(seed=1) as simulator:
        first = int(simulator.state.now()) - 3 * 86_400
        sids = simulator.fill("alerts", count=10_300, first=first, step=0.5)
        start = datetime.now(UTC) - timedelta(days=4)
        async with living(simulator, ledger, resource="alerts", start=start, limit=5000):
            await until(lambda: len(ledger.sids) >= len(sids), within=WITHIN)
        capped = [entry for entry in simulator.journal.of("ListAlert") if "Page=9&" in entry.target]
    assert Counter(ledger.sids) == Counter(sids)
    assert capped


@pytest.mark.parametrize("resource", ["messages", "calls", "alerts"])
async def test_a_start_beyond_the_retention_is_clamped_with_one_warning(resource: str) -> None:
    ledger = Ledger(Random(1))  # noqa: S311 - fails never
    retention = WATCHES[resource].retention
    assert retention is not None
    async with Simulator(seed=1) as simulator:
        now = simulator.state.now()
        too_old, *kept = (
            simulator.fill(resource, count=1, first=now - (retention + timedelta(days=days)).total_seconds())[0]
            for days in (5, -5, -10)
        )
        start = datetime.now(UTC) - timedelta(days=1000)
        with capture_logs() as lines:
            async with living(simulator, ledger, resource=resource, start=start):
                await until(lambda: any(line["event"] == "caught up" for line in lines))
        refused = [entry for entry in simulator.journal if entry.status >= 400]
    assert ledger.sids == kept
    assert too_old not in ledger.sids
    assert refused == []
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "the start is beyond Twilio's retention, older records cannot be had"
    ]


async def test_the_real_process_publishes_10000_rows_of_each_list_exactly_once_though_it_is_killed(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    limits = {"messages": 5000, "calls": 1000, "recordings": 700, "alerts": 300}
    await survive_a_kill(kafka, prefix, tmp_path, limits)


async def test_the_real_process_publishes_lists_by_configuration_exactly_once_though_it_is_killed(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    await survive_a_kill(kafka, prefix, tmp_path, {"queues": 900, "verification_attempts": 600, "conversations": 400})


async def test_the_real_process_publishes_further_built_in_lists_exactly_once_though_it_is_killed(
    kafka: str, prefix: str, tmp_path: Path
) -> None:
    await survive_a_kill(kafka, prefix, tmp_path, dict.fromkeys(BUILT_IN, 400))


async def survive_a_kill(kafka: str, prefix: str, folder: Path, limits: Mapping[str, int]) -> None:
    """Thousands of rows of each list, while the process is killed and more rows come: each exactly once, in order."""
    start = datetime.now(UTC) - timedelta(days=DAYS + 2)
    # Most of the further lists are read as a whole by each poll.
    interval = "200ms" if set(limits) <= set(STANDARD) else "1s"
    common = {"interval": interval, "start": start.isoformat(), "overlap": "30s"}
    watches = [{**watched(resource), "limit": limit, **common} for resource, limit in limits.items()]
    topics = {resource: WatchSettings(**watched(resource)).row.topic for resource in limits}
    async with Simulator(seed=5, settings={"auto_advance": False}) as simulator:
        random = Random(5)  # noqa: S311 - choices that can be repeated
        histories = {resource: History(simulator, resource, random) for resource in limits}
        for history in histories.values():
            history.old(int(simulator.state.now()))
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=watches, roles=["watch"])
        async with running(document, folder) as (process,), reading(kafka, prefix, list(topics.values())) as read:
            await until(lambda: len(read) > min(history.count for history in histories.values()))
            await process.kill()
            await process.start()
            for _ in range(BURSTS):
                for history in histories.values():
                    history.burst(int(simulator.state.now()))
                await asyncio.sleep(0.1)
            await until(
                lambda: len(read) >= sum(map(rows_of, limits)) + PARENTS * ("participants" in limits), within=2 * WITHIN
            )
            polled = simulator.journal.total
            await until(lambda: simulator.journal.total > polled + 12)
    for resource, history in histories.items():
        parents = [sid for other in histories.values() for sid in other.made if UNDER[other.resource][0] == resource]
        records = [record for record in read if record.topic == f"{prefix}.{topics[resource]}"]
        assert Counter(sid_of(record.key.decode()) for record in records) == Counter([*history.all, *parents])
        for partition in range(4):
            found = [sid_of(record.key.decode()) for record in records if record.partition == partition]
            in_order = [history.plain[sid] for sid in found if sid in history.plain]
            assert in_order == sorted(in_order)


@contextlib.asynccontextmanager
async def reading(kafka: str, prefix: str, names: Sequence[str]) -> AsyncIterator[list[ConsumerRecord]]:
    """What is committed on the topics, as it comes."""
    topics = [f"{prefix}.{name}" for name in names]
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=kafka, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    found: list[ConsumerRecord] = []

    async def read() -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found.extend(records)

    async with consumer:
        task = asyncio.create_task(read())
        try:
            yield found
        finally:
            task.cancel()


# --- changes --------------------------------------------------------------------------------------------------------
@dataclass
class Versions(Ledger):
    """Every event of a record, in order: its id, its type and its fields."""

    events: list[tuple[str, str, Any]] = field(default_factory=list)

    async def commit(self, records: Sequence[Record], cursor: Cursor | None) -> None:
        await super().commit(records, cursor)
        for record in records:
            headers = dict(record.headers)
            value = orjson.loads(record.value or b"")
            self.events.append((headers["ce_id"].decode(), headers["ce_type"].decode(), value))

    def of(self, sid: str) -> list[tuple[str, str, Any]]:
        return [event for event in self.events if event[2]["sid"] == sid]


QUICK_LIVES = {"price_delay": 0.3, "price_updates_date": False, "talk_seconds": 0.3, "process_delay": 0.3}
FINAL: dict[str, dict[str, Any]] = {
    "messages": {"status": "delivered", "price": "-0.00750"},
    "calls": {"status": "completed", "price": "-0.01300", "duration": 1},
    "recordings": {"status": "completed", "price": "-0.00250", "duration": 1},
}


@pytest.mark.parametrize("overlap", ["30s", "0s"])
async def test_each_change_of_status_price_and_duration_is_published_once_until_the_record_is_final(
    overlap: str,
) -> None:
    ledgers = {resource: Versions(Random(1)) for resource in FINAL}  # noqa: S311 - fails never
    async with Simulator(seed=1, settings=QUICK_LIVES) as simulator, contextlib.AsyncExitStack() as stack:
        for resource, ledger in ledgers.items():
            watch = living(simulator, ledger, resource=resource, emit="changes", overlap=overlap)
            await stack.enter_async_context(watch)
        await until(lambda: all(ledger.cursor is not None for ledger in ledgers.values()))
        await make_something(simulator)
        for resource, ledger in ledgers.items():
            await until(partial(ends_with, ledger, FINAL[resource]))
        (message,) = {event[2]["sid"] for event in ledgers["messages"].events}
        polled = simulator.journal.total
        await until(lambda: simulator.journal.total > polled + 9)
        if overlap != "0s":
            simulator.state.stores[simulator.account_sid].messages.rows[message].body = ""
            await until(lambda: ledgers["messages"].events[-1][2]["body"] == "")
    for resource, ledger in ledgers.items():
        ids = [event[0] for event in ledger.events]
        assert len(ids) == len(set(ids)), ids
        noun = WATCHES[resource].noun
        types = [event[1] for event in ledger.events]
        assert types == [f"twilio.{noun}.created.v1", *[f"twilio.{noun}.updated.v1"] * (len(types) - 1)]
        assert len({(v["status"], v.get("price"), v.get("duration"), v.get("body")) for _, _, v in ledger.events}) > 2


def ends_with(ledger: Versions, values: dict[str, Any]) -> bool:
    return bool(ledger.events) and values.items() <= ledger.events[-1][2].items()


async def make_something(simulator: Simulator) -> None:
    """A message, and a call that is recorded."""
    async with connected(simulator.url) as client:
        both = (("To", "+15550100002"), ("From", "+15550100001"))
        path = "/2010-04-01/Accounts/{AccountSid}"
        await client.request(Request("POST", f"{path}/Messages.json", form=(*both, ("Body", "Hello"))))
        call = (*both, ("Twiml", "<Response/>"), ("Record", "true"))
        await client.request(Request("POST", f"{path}/Calls.json", form=call))
