"""An attempt is written beside the transactions: two locks keep a superseded owner from sending it.

Each is shown alone, with the other one taken away, and then without itself: the same story ends with two messages.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from connector.dev.broker import QUICK, Broker
from connector.kafka.sending.batches import partition_of
from tests.guarantees.windows import SESSION_SECONDS, Scene, scene, stopped
from tests.running import until

Property = Callable[[str, object], None]
PARTITION = partition_of(b"key", 2)
# What the broker forgets after days. It looks for it twice a second.
FORGETFUL = {
    "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    "producer.id.expiration.check.interval.ms": "500",
}
FORGOTTEN_SECONDS = 14


@pytest.fixture
async def playing(kafka: str, prefix: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene(kafka, prefix, tmp_path) as found:
        yield found


async def _meet(playing: Scene, *, without: str, hold: str) -> None:
    """The first process stops before an attempt, the second at `hold`; the first wakes up, and then the second."""
    await playing.start(playing.first, without=without, hold="attempt:c1")
    await playing.send("c1")
    await stopped(playing.first)
    await playing.start(playing.second, without=without, hold=hold, ready=False)
    await stopped(playing.second)
    playing.first.send_signal(signal.SIGCONT)
    await until(lambda: playing.executed() or "owner superseded" in playing.first.log)
    before = len(playing.executed())
    playing.second.send_signal(signal.SIGCONT)
    # By the second one, or by the first, to which the group may have given its partition again.
    await until(lambda: len(playing.executed()) > before)
    await asyncio.sleep(SESSION_SECONDS + 1)


@pytest.mark.parametrize(
    ("without", "hold"),
    [
        ("proof, keeper", "attempt:c1"),
        ("proof, keeper, fence", "attempt:c1"),
        ("proof, keeper", f"end:{PARTITION}"),
        ("proof, keeper, fence before the end", f"end:{PARTITION}"),
    ],
)
async def test_the_broker_refuses_an_attempt_once_its_successor_has_begun(
    playing: Scene, without: str, hold: str, record_property: Property
) -> None:
    """To open the id is not enough, and a fence that comes after the end of the journal was looked up is too late."""
    await _meet(playing, without=without, hold=hold)
    record_property("executions of one command", len(playing.executed()))
    assert playing.executed() == ["c1"] * (2 if "fence" in without else 1)


@pytest.mark.parametrize("without", ["", "proof"])
async def test_where_the_broker_has_forgotten_whom_to_refuse_the_group_knows(
    prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    """As after days in which a process stood still, and its successor did not write."""
    async with _forgetting(FORGOTTEN_SECONDS - 5) as kafka, scene(kafka, prefix, tmp_path) as playing:
        await _sleep_while_a_successor_rests(playing, without=without)
        record_property("executions of one command", len(playing.executed()))
        assert playing.executed() == (["c1", "c1"] if without else ["c1"])


@pytest.mark.parametrize("without", ["proof, an hour", "proof, an hour, kept fence"])
async def test_the_broker_is_reminded_of_whom_it_refuses_while_there_is_nothing_to_do(
    prefix: str, tmp_path: Path, without: str, record_property: Property
) -> None:
    async with _forgetting(FORGOTTEN_SECONDS - 5) as kafka, scene(kafka, prefix, tmp_path) as playing:
        await _sleep_while_a_successor_rests(playing, without=without)
        record_property("executions of one command", len(playing.executed()))
        assert playing.executed() == (["c1", "c1"] if "kept fence" in without else ["c1"])


async def _sleep_while_a_successor_rests(playing: Scene, *, without: str) -> None:
    await playing.start(playing.first, without=without, hold="attempt:c1")
    await playing.send("c1")
    await stopped(playing.first)
    await playing.start(playing.second, without=without)
    await playing.results(1)
    await asyncio.sleep(FORGOTTEN_SECONDS)
    playing.first.send_signal(signal.SIGCONT)
    await asyncio.sleep(SESSION_SECONDS + 1)


@asynccontextmanager
async def _forgetting(seconds: int) -> AsyncIterator[str]:
    """A broker that forgets ids and producers after so many seconds."""
    expiry = {f"{what}.expiration.ms": str(seconds * 1000) for what in ("transactional.id", "producer.id")}
    broker = await Broker(jvm=QUICK, properties={**FORGETFUL, **expiry}).start()
    try:
        yield broker.bootstrap_servers
    finally:
        await broker.stop(gracefully=False)
