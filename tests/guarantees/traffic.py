"""The commands of a run: with ids and keys, by several producers, some twice, some odd, some in transactions."""

import asyncio
import contextlib
import random
import time
import zlib
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from connector.simulator import OTHER_PHONE_NUMBER, PHONE_NUMBER
from tests.guarantees.accounting.commands import CREATED, Position, Sent
from tests.guarantees.producers import Crc32, Header, Murmur2
from tests.guarantees.stage import Stage
from tests.odd_commands import OddCommand, odd_commands, produce

KEYS = 40
SEND, CALL, DELETE, LIST = "send-message", "place-call", "delete", "list"
COMMANDS = (SEND, CALL, DELETE, LIST, "call-api", "update", "get")
REPLIES = "replies"
# How often commands are something else than a message.
SHARES = {CALL: 0.1, DELETE: 0.02, LIST: 0.01}
REPEATED, REPLIED, EXPIRING = 0.03, 0.05, 0.03
EXPIRES_SECONDS = (1.0, 8.0)
# Long enough that a list takes several results.
LISTED = 1_500
DAY_SECONDS = 86_400
ODD_SECONDS = 1.0
TRANSACTION_SECONDS = 0.5
# The longest record whose dead letter holds all of it.
WHOLE_BYTES = 400_000
# A list of calls does not show their URL: calls must differ in whom they call to be told apart.
URL = "https://example.com/"


@dataclass
class Traffic:
    """Sends commands as long as it runs; all that were acknowledged are in `sent`.

    `dimensions`: `partitioners`, `odd` and `transactions` add what their names say.
    """

    stage: Stage
    random: random.Random
    per_second: float = 30.0
    dimensions: Collection[str] = ()
    sent: list[Sent] = field(default_factory=list)
    deleted: dict[str, str] = field(default_factory=dict)
    bodies: dict[str, str] = field(default_factory=dict)
    _numbers: Counter[str] = field(default_factory=Counter)
    _recent: deque[Sent] = field(default_factory=lambda: deque(maxlen=50))
    _repeating: bool = True
    _listed: frozenset[str] = frozenset()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until stopped."""
        before = self.stage.simulator.state.now() - 1.5 * DAY_SECONDS
        self._listed = frozenset(self.stage.simulator.fill("recordings", count=LISTED, first=before))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._plain(stop))
            if "odd" in self.dimensions:
                tasks.create_task(self._odd(stop))
            if "transactions" in self.dimensions:
                tasks.create_task(self._transactions(stop))

    # --- plain commands -------------------------------------------------------------------------------------------
    async def _plain(self, stop: asyncio.Event) -> None:
        kinds = (Murmur2, Crc32) if "partitioners" in self.dimensions else (Murmur2,)
        async with _started([kind(self.stage.kafka) for kind in kinds]) as producers:
            while not stop.is_set():
                producer = self.random.choice(producers)
                await self._send(producer, self._next())
                await asyncio.sleep(self.random.expovariate(self.per_second))

    def _next(self) -> Sent:
        """The next command, which stands nowhere yet: a new one, or one of the last once more."""
        if self._repeating and self._recent and self.random.random() < REPEATED:
            return replace(self.random.choice(self._recent), has_reply=False, expires_at=None)
        key = f"key-{self.random.randrange(KEYS)}" if self.random.random() < 0.9 else None
        name = self.random.choices([SEND, *SHARES], [1 - sum(SHARES.values()), *SHARES.values()])[0]
        return self._new(name, key)

    def _new(self, name: str, key: str | None) -> Sent:
        self._numbers[str(key)] += 1
        command_id = f"{name}/{key}/{self._numbers[str(key)]}"
        creates = name in {SEND, CALL}
        expires_at = time.time() + self.random.uniform(*EXPIRES_SECONDS) if self.random.random() < EXPIRING else None
        return Sent(
            position=(self._topic(name), -1, -1),
            id=command_id,
            key=key.encode() if key else None,
            value=orjson.dumps(self._value(name, command_id)),
            outcomes=CREATED if creates else frozenset({"succeeded"}),
            creates=creates,
            rows=self._listed if name == LIST else None,
            has_reply=self.random.random() < REPLIED,
            expires_at=expires_at if creates else None,
        )

    def _topic(self, name: str) -> str:
        return f"{self.stage.prefix}.commands.{name}"

    def _value(self, name: str, command_id: str) -> dict[str, Any]:
        match name:
            case "delete":
                (sid,) = self.stage.simulator.fill("messages", count=1, body="to be deleted")
                self.deleted[sid] = command_id
                return {"resource": "message", "sid": sid}
            case "list":
                # Those of today are watched.
                today = datetime.fromtimestamp(self.stage.simulator.state.now(), UTC).strftime("%Y-%m-%dT00:00:00Z")
                return {"resource": "recordings", "date_created_before": today}
            case "place-call":
                number = f"+1555{zlib.crc32(command_id.encode()) % 10**7:07}"
                return {"to": number, "from": PHONE_NUMBER, "url": f"{URL}{command_id}"}
            case _:
                return {"to": OTHER_PHONE_NUMBER, "from": PHONE_NUMBER, "body": command_id}

    async def _send(self, producer: Murmur2 | Crc32, one: Sent) -> None:
        topic = one.position[0]
        position = await producer.send(topic, one.value or b"", key=one.key, headers=self._headers(one))
        written = replace(one, position=position, producer=producer.name)
        self.sent.append(written)
        if one.creates:
            self._recent.append(written)

    def _headers(self, one: Sent) -> list[Header]:
        headers = [("id", one.id.encode())]
        if one.has_reply:
            headers.append(("reply-to", f"{REPLIES}.{self.stage.prefix}".encode()))
        if one.expires_at is not None:
            headers.append(("expires-at", datetime.fromtimestamp(one.expires_at, UTC).isoformat().encode()))
        return headers

    # --- odd commands ---------------------------------------------------------------------------------------------
    async def _odd(self, stop: asyncio.Event) -> None:
        """One odd record a second, in any partition."""
        async with _producing(self.stage.kafka) as producer:
            for run in count():
                rows = odd_commands(self.stage.prefix, run)
                self.random.shuffle(rows)
                for odd in rows:
                    if stop.is_set():
                        return
                    await self._send_odd(producer, odd)
                    await asyncio.sleep(self.random.expovariate(1 / ODD_SECONDS))

    async def _send_odd(self, producer: AIOKafkaProducer, odd: OddCommand) -> None:
        named = replace_body(odd, f"odd-{len(self.bodies)}")
        partition = self.random.randrange(self.stage.partitions)
        written = await produce(producer, self._topic(odd.command), named, partition=partition)
        position = (self._topic(odd.command), written.partition, written.offset)
        one = odd_one(named, position)
        self.bodies[f"odd-{len(self.bodies)}"] = one.id
        self.sent.append(one)

    # --- transactions of callers ----------------------------------------------------------------------------------
    async def _transactions(self, stop: asyncio.Event) -> None:
        """Some commands at a time, committed or broken off: their markers are holes in the offsets."""
        while not stop.is_set():
            try:
                async with _producing(self.stage.kafka, transactional_id=f"{self.stage.prefix}-caller") as producer:
                    while not stop.is_set():
                        await self._transaction(producer)
                        await asyncio.sleep(self.random.expovariate(1 / TRANSACTION_SECONDS))
            except KafkaError:
                # The broker was killed meanwhile: the next producer ends the transaction.
                await asyncio.sleep(1)

    async def _transaction(self, producer: AIOKafkaProducer) -> None:
        is_kept = self.random.random() < 0.7
        ones = [self._new(SEND, f"transaction-{self.random.randrange(KEYS)}") for _ in range(self.random.randint(1, 3))]
        written: list[Sent] = []
        with contextlib.suppress(_BrokenOff):
            try:
                async with producer.transaction():
                    for one in ones:
                        position = await self._write(producer, one)
                        written.append(replace(one, position=position, producer="transactions"))
                    if not is_kept:
                        raise _BrokenOff
            except KafkaError:
                # Nobody knows whether it was committed.
                self.sent += [replace(one, may_be_passed_over=True) for one in written]
                raise
            self.sent += written

    async def _write(self, producer: AIOKafkaProducer, one: Sent) -> Position:
        topic = one.position[0]
        written = await producer.send_and_wait(topic, one.value, key=one.key, headers=self._headers(one))
        return topic, written.partition, written.offset

    # --- what a loss of Kafka's memory excuses --------------------------------------------------------------------
    async def without_repeats(self, answered: Collection[Position]) -> bool:
        """Send no repeats any more; whether all that were sent have their answers."""
        self._repeating = False
        names = Counter(one.name for one in self.sent)
        return all(one.position in answered for one in self.sent if names[one.name] > 1)

    def forget(self) -> None:
        """Repeat only what is sent from now on."""
        self._recent.clear()
        self._repeating = True

    def pass_over(self, answered: Collection[Position]) -> None:
        """What is unanswered now may stay so: nobody can know what became of it."""
        self.sent = [replace(one, may_be_passed_over=one.position not in answered) for one in self.sent]


class _BrokenOff(Exception):
    """A transaction that its producer breaks off."""


def odd_one(odd: OddCommand, position: Position) -> Sent:
    """An odd command as a record that was sent. Its id is its own business: the accounts know it by its position."""
    outcomes = odd.outcomes | {"unknown"} if "succeeded" in odd.outcomes else odd.outcomes
    size = sum(len(raw or b"") for raw in (odd.key, odd.value, *(raw for _, raw in odd.headers)))
    return Sent(
        position=position,
        id="/".join(map(str, position)),
        key=odd.key,
        value=odd.value,
        producer=f"odd {position[1]}",
        outcomes=outcomes,
        creates=odd.command == SEND,
        expires_at=0.0 if "expired" in odd.outcomes else None,
        is_named=False,
        label=odd.name,
        is_whole=size + sum(len(name) for name, _ in odd.headers) < WHOLE_BYTES,
    )


def replace_body(odd: OddCommand, body: str) -> OddCommand:
    """The odd command with a body that no other one has, where it is to be sent."""
    if odd.value is None or "succeeded" not in odd.outcomes:
        return odd
    value = odd.value
    for former in (b'"odd"', b'"second"', rb'"a\u0000b\u001b[31m' + "\u202e".encode() + b'"'):
        value = value.replace(former, orjson.dumps(body))
    return replace(odd, value=value)


@asynccontextmanager
async def _started(producers: Sequence[Murmur2 | Crc32]) -> AsyncIterator[Sequence[Murmur2 | Crc32]]:
    try:
        for producer in producers:
            await producer.start()
        yield producers
    finally:
        for producer in producers:
            await producer.stop()


@asynccontextmanager
async def _producing(kafka: str, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True, **options)
    await producer.start()
    try:
        yield producer
    finally:
        with contextlib.suppress(KafkaError):
            await producer.stop()
