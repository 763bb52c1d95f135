"""`python -m tests.guarantees.long_journal`: how long a start takes with millions of entries in the journal.

The journal is written as owners leave it: an attempt and an end for each command, digests of the ids, and commits that
say where to read from. With `--forgotten` the group has no commits any more, and all of it has to be read.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from connector.dev.broker import Broker
from connector.events import Record
from connector.executor import offsets
from connector.executor.dedupe import Ids, number_of
from connector.executor.offsets import Commit
from connector.kafka.sending.batches import partition_of
from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.state import journal
from connector.state.journal import Entry
from tests.running import Connector, configuration, wait_for_records

PREFIX = "long"
PARTITIONS = 4
TOPIC = f"{PREFIX}.commands.send-message"
MESSAGE = orjson.dumps({"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": "new"})


class Batches:
    """Records of one partition, written in batches; `end` is the offset of the next one."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        self.end = 0
        self._producer = producer
        self._place = (topic, partition)
        self._batch = producer.create_batch()
        self._sent: list[asyncio.Future[Any]] = []

    async def add(self, record: Record, at: datetime) -> int:
        """Write a record, sooner or later; returns its offset."""
        milliseconds = int(at.timestamp() * 1000)
        while self._batch.append(key=record.key, value=record.value, timestamp=milliseconds) is None:
            await self.flush()
        self.end += 1
        return self.end - 1

    async def flush(self) -> None:
        """Send what is there."""
        topic, partition = self._place
        self._sent.append(await self._producer.send_batch(self._batch, topic, partition=partition))
        self._batch = self._producer.create_batch()
        if len(self._sent) > 16:
            await self._sent.pop(0)

    async def finish(self) -> None:
        """Wait until everything is there."""
        await self.flush()
        await asyncio.gather(*self._sent)


def _commands(count: int, partition: int, window: timedelta) -> Iterator[Entry]:
    """The attempts of so many commands, spread evenly over the window before now."""
    start, step = datetime.now(UTC) - window, window / count
    for offset in range(count):
        at = start + offset * step
        yield Entry("attempting", TOPIC, offset, f"id-{partition}-{offset}", at, alike="a" * 32, explicit=True)


async def _write(producer: AIOKafkaProducer, partition: int, count: int, window: timedelta) -> str:
    """The journal of one partition, and the commands themselves; returns a commit's metadata."""
    lines = Batches(producer, f"{PREFIX}.{journal.TOPIC}", partition)
    records = Batches(producer, TOPIC, partition)
    ids, digest_at = Ids(), None
    for attempt in _commands(count, partition, window):
        end = replace(attempt, state="done", outcome="succeeded", sid=f"SM{attempt.offset:032x}")
        await lines.add(journal.encode(PREFIX, attempt, partition=partition), attempt.at)
        ended = await lines.add(journal.encode(PREFIX, end, partition=partition), attempt.at)
        ids.note(number_of(TOPIC, attempt.id), ended, attempt.at)
        digest = ids.digest(through=lines.end, previous=digest_at)
        if digest is not None:
            digest_at = await lines.add(journal.encode_digest(PREFIX, digest, partition=partition), attempt.at)
            ids.keep(digest)
        await records.add(Record(TOPIC, None, b"{}", []), attempt.at)
    await lines.finish()
    await records.finish()
    return offsets.encode(count, Commit(low=lines.end, digest=digest_at, end=count))


async def _commit(kafka: str, values: dict[TopicPartition, OffsetAndMetadata]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, group_id=f"{PREFIX}-command", enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(values))
        await consumer.commit(values)
    finally:
        await consumer.stop()


@asynccontextmanager
async def _prepared(entries: int, window: timedelta, *, forgotten: bool) -> AsyncIterator[tuple[Connector, str]]:
    """A connector that has not started yet, before a journal of so many entries; and the broker's address."""
    broker = await Broker().start()
    try:
        async with Simulator() as simulator:
            document = configuration(simulator, kafka=broker.bootstrap_servers, prefix=PREFIX, roles=["commands"])
            process = Connector(document, Path(tempfile.mkdtemp(prefix="long-journal-")))
            await process.apply_topics()
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, max_batch_size=900_000, acks=1)
            await producer.start()
            each = entries // 2 // PARTITIONS
            texts = [await _write(producer, partition, each, window) for partition in range(PARTITIONS)]
            await producer.stop()
            if not forgotten:
                values = {
                    TopicPartition(TOPIC, place): OffsetAndMetadata(each, text) for place, text in enumerate(texts)
                }
                await _commit(broker.bootstrap_servers, values)
            yield process, broker.bootstrap_servers
    finally:
        await broker.stop(gracefully=False)


async def measure(entries: int, window: timedelta, *, forgotten: bool = False) -> dict[str, float]:
    """Seconds until the process is ready and until every partition has executed a new command, and its memory."""
    async with _prepared(entries, window, forgotten=forgotten) as (process, kafka):
        producer = AIOKafkaProducer(bootstrap_servers=kafka)
        await producer.start()
        began = time.monotonic()
        try:
            await process.start()
            ready = time.monotonic() - began
            for partition in range(PARTITIONS):
                headers = [("id", f"new-{partition}".encode())]
                await producer.send_and_wait(TOPIC, MESSAGE, key=_key_of(partition), headers=headers)
            await wait_for_records(kafka, f"{PREFIX}.results.send-message", PARTITIONS, within=300)
            executed = time.monotonic() - began
            return {"ready s": ready, "executed s": executed, "peak MiB": _peak(process)}
        finally:
            await producer.stop()
            await process.stop()


def _key_of(partition: int) -> bytes:
    """A key whose commands are executed there."""
    return next(key for number in count() if partition_of(key := b"key-%d" % number, PARTITIONS) == partition)


def _peak(process: Connector) -> float:
    assert process.process is not None
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.guarantees.long_journal", description=__doc__)
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--hours", type=float, default=168, help="over which the entries are spread")
    parser.add_argument("--forgotten", action="store_true", help="the group has no commits")
    given = parser.parse_args()
    found = asyncio.run(measure(given.entries, timedelta(hours=given.hours), forgotten=given.forgotten))
    sys.stdout.write(f"{given.entries} entries over {given.hours:g} h: {found}\n")


if __name__ == "__main__":
    main()
