"""An idempotent producer, transactional where it has an id, over the client's connections and metadata.

One that writes beside transactions has the id for its epoch alone: the broker refuses it in each partition to which a
successor of the same id has written.

Each leader has one request on its way, with one batch of each of its partitions, while the next ones fill. So a batch
that is sent again, after a refusal that passes or a connection that broke, is the next one that the broker expects of
its partition, or the one that it has already. A refusal that does not pass ends the producer.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import randrange
from typing import Any

from aiokafka.errors import (
    ConcurrentTransactions,
    DuplicateSequenceNumber,
    KafkaError,
    NodeNotReadyError,
    OperationNotAttempted,
    RequestTimedOutError,
    for_code,
)
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest

from connector.errors import Unacknowledged, Unavailable
from connector.events import Record
from connector.kafka import aiokafka_internals, clients, failures
from connector.kafka.sending import requests
from connector.kafka.sending.batches import Batch, Lane, Write, partition_of
from connector.settings import KafkaSettings
from connector.telemetry import metrics

TRANSACTION_TIMEOUT_MS = 20_000
NO_TRANSACTION_MS = 2**31 - 1
BATCH_BYTES = 128 * 1024
# Of a request a batch at least, whatever its size; brokers take 100 MB by default.
REQUEST_BYTES = 8 * 1024 * 1024
# The number of a topic's partitions may change; the client, too, learns of it within minutes.
COUNTED_SECONDS = 60.0
UNCOUNTED = (0, 0.0)
RETRY_SECONDS = 0.1
# While the broker writes the markers of the transaction before: milliseconds, unless one of its neighbours is away.
BUSY_SECONDS = 0.004
TRANSACTION = 1
"""The kind of coordinator."""
TRANSACTION_VERSION = 2
"""The level of the feature `transaction.version` from which each transaction has an epoch of its own (KIP-890)."""


class Sender:
    """Use `clients.start` and `clients.end`. After any failure it is of no more use.

    `late` is called when a batch is not acknowledged in time, `failed` with what went wrong: it returns what callers
    are told.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        transactional_id: str | None = None,
        is_beside: bool = False,
        transaction_timeout_ms: int = TRANSACTION_TIMEOUT_MS,
        compresses: bool = True,
        batch_bytes: int = BATCH_BYTES,
        late: Callable[[], None] = lambda: None,
        failed: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        self.client = aiokafka_internals.connections(**clients.options(kafka))
        self.transactional_id = transactional_id
        self.has_epochs = False
        """Whether each transaction has an epoch of its own."""
        self._is_transactional = transactional_id is not None and not is_beside
        self._timeout_ms = transaction_timeout_ms if transactional_id else NO_TRANSACTION_MS
        self._builder = partial(
            aiokafka_internals.BatchBuilder,
            2,
            aiokafka_internals.CODECS[kafka.compression if compresses else "none"],
            self._is_transactional,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=0,
            batch_size=batch_bytes,
        )
        self._late = late
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._identity = (-1, -1)
        self._coordinator: int | None = None
        self._counts: dict[str, tuple[int, float]] = {}
        self._lanes: dict[tuple[str, int], Lane] = {}
        # In their order.
        self._due: dict[Lane, None] = {}
        self._is_scheduled = self._is_open = False
        self._busy: set[int] = set()
        self._joining = asyncio.Lock()
        self._joined: set[Lane] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over: Exception | None = None
        clients.patient(self)

    # --- life -----------------------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Connect, and fence the predecessor of a transactional id. Raises what the client raises."""
        await self.client.bootstrap()
        answer = await self._ask(InitProducerIdRequest(self.transactional_id, self._timeout_ms))
        self._identity = answer.producer_id, answer.producer_epoch
        if self._is_transactional:
            self.has_epochs = await self._agreed("transaction.version") >= TRANSACTION_VERSION

    async def _agreed(self, feature: str) -> int:
        try:
            return requests.feature(await self.client.send(self._coordinator, requests.Features()), feature)
        except NotImplementedError:
            # A broker before Kafka 2.4.
            return 0

    def end(self, error: Exception) -> None:
        """Fail everything that waits, and send nothing more."""
        self._over = self._over or error
        self._due.clear()
        for lane in self._lanes.values():
            for batch in lane.take_all():
                batch.fail(error)

    async def flush(self) -> None:
        """Return when everything is acknowledged, or has failed."""
        while not all(lane.is_empty for lane in self._lanes.values()):  # noqa: ASYNC110 - at the end only
            await asyncio.sleep(BUSY_SECONDS)

    async def stop(self) -> None:
        """Fail what waits and close all connections."""
        self.end(Unavailable("The Kafka client has ended before it acknowledged."))
        await self._until_quiet(cancels=True)
        await self.client.close()

    async def _until_quiet(self, *, cancels: bool = False) -> None:
        for task in self._tasks if cancels else ():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # --- what callers write ---------------------------------------------------------------------------------------
    async def write(self, records: Sequence[Record], *, seconds: float | None = None) -> list[int]:
        """Return the offsets of these records when all are acknowledged; those of a partition keep their order.

        In a transaction they are visible when it is committed. An offset is -1 where the broker has forgotten it.
        Raises Superseded, Unwritable with the topic that refuses a record, and Unavailable; Unacknowledged when a batch
        is not acknowledged so many seconds after its first record came: its records may still arrive.
        """
        return await (await self.enqueue(records, seconds=seconds))

    async def enqueue(self, records: Sequence[Record], *, seconds: float | None = None) -> "asyncio.Future[list[int]]":
        """Put the records into batches; what is returned has their offsets when all are acknowledged."""
        while (stored := self.put(records, seconds=seconds)) is None:
            await self._count(records, seconds)
        return stored

    def put(self, records: Sequence[Record], *, seconds: float | None = None) -> "asyncio.Future[list[int]] | None":
        """Put the records into batches; what is returned has their offsets when all are acknowledged, or the failure.

        None, and nothing is put anywhere, when it is not known how many partitions a topic has.
        """
        write, lanes, is_due = Write(len(records)), [], False
        if self._over is not None:
            write.fail(self._over)
            return write.done
        now = self._loop.time()
        try:
            for record in records:
                count, until = self._counts.get(record.topic, UNCOUNTED)
                partition = record.partition
                if until < now or (partition or 0) >= count:
                    return None
                if partition is None:
                    key = record.key
                    partition = randrange(count) if key is None else partition_of(key, count)  # noqa: S311 - spreading
                place = record.topic, partition
                lanes.append(self._lanes.get(place) or self._lanes.setdefault(place, Lane(*place, self._builder)))
            for index, lane in enumerate(lanes):
                record = records[index]
                begun = lane.add(record, write, index)
                if begun is not None and seconds is not None:
                    begun.deadline = self._loop.call_later(seconds, self._expire, lane, begun, seconds)
                if lane.sending is None and not lane.rests:
                    self._due[lane] = None
                    is_due = True
        except failures.CHECKS as error:
            write.fail(failures.of_record(record.topic, error))
        if is_due:
            self._schedule()
        return write.done

    async def _count(self, records: Iterable[Record], seconds: float | None) -> None:
        """Ask once for each topic and partition, however many records there are."""
        for topic, partition in dict.fromkeys((record.topic, record.partition or 0) for record in records):
            try:
                async with asyncio.timeout(seconds):
                    count = await aiokafka_internals.count_of(self.client, topic)
                if not 0 <= partition < count:
                    raise ValueError(f"there is no partition {partition}")
            except (KafkaError, *failures.CHECKS) as error:
                raise failures.of_record(topic, error) from error
            self._counts[topic] = count, self._loop.time() + COUNTED_SECONDS

    def _expire(self, lane: Lane, batch: Batch, seconds: float) -> None:
        lane.drop(batch)
        # What was written at the same time expires at nearly the same time.
        waiting = {other.place.topic for other in self._lanes.values() if other.has_waited(seconds / 2)}
        silent = sorted({lane.place.topic, *waiting})
        told = f"Kafka has not acknowledged records of {', '.join(silent)} within {seconds:g} s."
        batch.fail(Unacknowledged(told, topic=lane.place.topic if len(silent) == 1 else None))
        self._late()

    # --- what is sent ---------------------------------------------------------------------------------------------
    def _schedule(self) -> None:
        """Send what is due, with all that comes in this turn of the loop."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._send_due)

    def _send_due(self) -> None:
        """One request for each leader that has none on its way."""
        self._is_scheduled = False
        for lane in [*self._due]:
            leader = self.client.cluster.leader_for_partition(lane.place)
            if leader is None or leader < 0:
                del self._due[lane]
                if not lane.is_empty:
                    self._send_later(lane, RETRY_SECONDS, is_lost=True)
            elif leader not in self._busy:
                self._busy.add(leader)
                task = self._loop.create_task(self._send(leader), name=f"produce-{leader}")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _send_later(self, lane: Lane, seconds: float, *, is_lost: bool) -> None:
        """Send what the lane has, perhaps to another leader."""
        if is_lost:
            self.client.force_metadata_update()
        lane.rests = True
        self._loop.call_later(seconds, self._send_again, lane)

    def _send_again(self, lane: Lane) -> None:
        lane.rests = False
        if self._over is None:
            self._due[lane] = None
            self._schedule()

    async def _send(self, leader: int) -> None:
        lanes: Sequence[Lane] = ()
        try:
            lanes, request = self._next(leader)
            if lanes:
                self._is_open = True
                if self._is_transactional and not self.has_epochs:
                    await self._join()
            if lanes and self._over is None:
                answer = await self.client.send(leader, request)
                self._settle(lanes, answer)
                if answer.throttle_time_ms:
                    # The broker reads nothing from us for so long.
                    await asyncio.sleep(answer.throttle_time_ms / 1000)
        except KafkaError as error:
            for lane in lanes:
                self._refused(lane, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, this producer is of no more use
            self._end_for(error)
        finally:
            self._busy.discard(leader)
            if self._due:
                self._schedule()

    def _next(self, leader: int) -> tuple[Sequence[Lane], Any]:
        """The partitions of which something is due there, and the request that carries a batch of each."""
        lanes: list[Lane] = []
        batches: dict[str, dict[int, bytearray]] = {}
        size = 0
        for lane in [*self._due]:
            if size < REQUEST_BYTES and self.client.cluster.leader_for_partition(lane.place) == leader:
                del self._due[lane]
                encoded = lane.encoded(*self._identity)
                # There is nothing where its batch has expired.
                if encoded is not None:
                    size += len(encoded)
                    lanes.append(lane)
                    batches.setdefault(lane.place.topic, {})[lane.place.partition] = encoded
        if self.has_epochs:
            return lanes, requests.Produce(str(self.transactional_id), clients.REQUEST_TIMEOUT_MS, batches)
        topics = [(topic, [*partitions.items()]) for topic, partitions in batches.items()]
        transactional_id = self.transactional_id if self._is_transactional else None
        return lanes, ProduceRequest(transactional_id, requests.ALL_REPLICAS, clients.REQUEST_TIMEOUT_MS, topics)

    def _settle(self, lanes: Iterable[Lane], answer: Any) -> None:
        found = {(topic, row[0]): row[1:3] for topic, rows, *_ in answer.topics for row in rows}
        for lane in lanes:
            code, offset = found.get(lane.place, (RequestTimedOutError.errno, -1))
            if self._over is not None:
                return
            if code in (0, DuplicateSequenceNumber.errno):
                opened = lane.acknowledge(offset)
                if not self._is_transactional:
                    metrics.KAFKA_PRODUCE_SECONDS.observe(time.monotonic() - opened)
                if lane.filling is not None or lane.full:
                    self._due[lane] = None
            else:
                self._refused(lane, for_code(code)())

    def _refused(self, lane: Lane, error: KafkaError) -> None:
        if isinstance(error, ConcurrentTransactions):
            self._send_later(lane, BUSY_SECONDS, is_lost=False)
        elif error.retriable:
            self._send_later(lane, RETRY_SECONDS, is_lost=error.invalid_metadata)
        else:
            self._end_for(failures.of_record(lane.place.topic, error))

    def _end_for(self, error: Exception) -> None:
        self.end(self._failed(error) if self._over is None else error)

    # --- transactions ---------------------------------------------------------------------------------------------
    async def commit(self) -> None:
        """End the transaction, whose records are acknowledged. Raises what the client raises: it may have happened."""
        if self._is_open:
            await self._finish(commits=True)

    async def abort(self) -> None:
        """End the transaction and the use of this producer. Raises what the client raises."""
        self.end(Unavailable("The transaction was given up."))
        # A record that came after the end would be in no transaction, or in the next one.
        await self._until_quiet()
        await self._finish(commits=False)

    async def _finish(self, *, commits: bool) -> None:
        self._is_open = False
        if self.has_epochs:
            answer = await self._ask(requests.EndTransaction(self.transactional_id, *self._identity, commits=commits))
            self._identity = answer.producer_id, answer.producer_epoch
            self._lanes.clear()
        else:
            # A copy that came late could end the next transaction.
            await self._ask(EndTxnRequest(self.transactional_id, *self._identity, commits), is_repeatable=False)
            self._joined.clear()

    async def keep_id(self, topic: str, partition: int) -> None:
        """Let the coordinator remember the id of a sender that writes beside transactions.

        That takes a transaction now and then: this one has no records, and leaves its marker in the partition. Raises
        what the client raises: the producer of a successor has fenced this one.
        """
        commits = True
        await self._ask(AddPartitionsToTxnRequest(self.transactional_id, *self._identity, [(topic, [partition])]))
        await self._ask(EndTxnRequest(self.transactional_id, *self._identity, commits))

    async def _join(self) -> None:
        """Let the partitions of all lanes join the transaction, those of other leaders too."""
        async with self._joining:
            new = {lane for lane in self._lanes.values() if not lane.is_empty} - self._joined
            if new:
                topics: dict[str, list[int]] = {}
                for lane in new:
                    topics.setdefault(lane.place.topic, []).append(lane.place.partition)
                await self._ask(AddPartitionsToTxnRequest(self.transactional_id, *self._identity, [*topics.items()]))
                self._joined |= new

    async def _ask(self, request: Any, *, is_repeatable: bool = True) -> Any:
        """The answer of the coordinator, or of any broker where there is no transaction, after what passes.

        Raises what the client raises, Unwritable with the topic when one is refused.
        """
        busy = BUSY_SECONDS
        while True:
            pause = RETRY_SECONDS
            try:
                if self._coordinator is None:
                    self._coordinator = await self._found_coordinator()
                answer = await self.client.send(self._coordinator, request)
            except KafkaError as error:
                if not error.retriable or not is_repeatable:
                    raise
                self._coordinator = None
                await self.client.force_metadata_update()
            else:
                refusal, topic = _refusal(answer)
                if refusal is None:
                    return answer
                if isinstance(refusal, ConcurrentTransactions):
                    pause, busy = busy, min(2 * busy, RETRY_SECONDS)
                elif refusal.retriable:
                    self._coordinator = None
                else:
                    raise failures.of_record(topic, refusal) if topic else refusal
            await asyncio.sleep(pause)

    async def _found_coordinator(self) -> int:
        node = self.client.get_random_node()
        if node is None:
            # A broker that has just started knows of none, not even of itself.
            raise NodeNotReadyError
        if self.transactional_id is not None:
            node = await self.client.coordinator_lookup(TRANSACTION, self.transactional_id)
        return int(node)


def _refusal(answer: Any) -> tuple[KafkaError | None, str | None]:
    """Why a request to the coordinator was refused, and the topic for which it was; None when it was not."""
    rows: list[tuple[str | None, int]] = [
        (topic, code) for topic, partitions in getattr(answer, "errors", ()) for _, code in partitions
    ]
    rows = rows or [(None, getattr(answer, "error_code", 0))]
    for topic, code in rows:
        if code not in (0, OperationNotAttempted.errno):
            return for_code(code)(), topic
    return None, None
