"""Dead letters are replayed: each is written to its topic again, once, even if several ask or a replayer dies.

The record and the decision that it was replayed are written in one transaction. There is one transactional id: who
opens it ends the one before, and then reads every decision that was taken.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Container, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from connector.conditions import Condition
from connector.dead_letters.reading import (
    Decisions,
    Place,
    certain_failure,
    fields,
    id_of_replay,
    read,
    refusal,
    replay,
)
from connector.errors import InvalidRecord, Superseded, Unavailable
from connector.events import BEGINNING, Position, Received, Record
from connector.kafka import reading
from connector.kafka.transactions import Transactions
from connector.resources import COMMANDS
from connector.settings import KafkaSettings
from connector.state import control

# Of one transaction.
MOST_LETTERS = 100
MOST_BYTES = 1024 * 1024
TRANSACTIONS_PER_SECOND = 10
ABSENT = "There is no dead letter here (any more)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which dead letters: those at these places, else all; written in [since, until); that fulfil the conditions."""

    places: Sequence[Place] = ()
    since: datetime | None = None
    until: datetime | None = None
    conditions: Sequence[Condition] = ()

    def takes(self, record: Received, decisions: Decisions) -> bool:
        """Whether this letter is one of them."""
        after = self.since is None or record.timestamp >= self.since.timestamp() * 1000
        before = self.until is None or record.timestamp < self.until.timestamp() * 1000
        named = fields(record, decisions) if self.conditions else {}
        return after and before and all(condition.fits(named[condition.field]) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a letter: the topic that it was written to, the command's id there; or why it was not written.

    `fails`: in a plan, why it must fail again as it is.
    """

    place: Place
    topic: str = ""
    command: str = ""
    refused: str | None = None
    fails: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a replay of a choice would do, by places; `skipped` counts what is left out of those that were not named."""

    choice: Choice
    chosen: dict[Place, Outcome] = field(default_factory=dict)
    refused: list[Outcome] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def command_topics(prefix: str) -> frozenset[str]:
    """Where dead letters are replayed to."""
    return frozenset(f"{prefix}.commands.{name}" for name in COMMANDS)


async def decisions_of(kafka: KafkaSettings, *, fenced: bool = False) -> Decisions:
    """What was decided; `fenced` for the replayer that has ended the others. Raises Unavailable."""
    return Decisions(*await control.decided(kafka, fenced=fenced))


async def chosen(kafka: KafkaSettings, choice: Choice, decisions: Decisions) -> AsyncGenerator[Received, None]:
    """The letters of a choice that are there now, in the order of time. Raises Unavailable."""
    topic = f"{kafka.topic_prefix}.dead-letters"
    if choice.places:
        found = await reading.records_at(kafka, [Position(topic, *place) for place in choice.places])
        for record in found.values():
            if choice.takes(record, decisions):
                yield record
        return
    since = choice.since or BEGINNING
    async with aclosing(reading.follow(kafka, [topic], since=since, until_end=True)) as records:
        async for record in records:
            if choice.takes(record, decisions):
                yield record


async def planned(kafka: KafkaSettings, choice: Choice, *, again: bool = False) -> Plan:
    """What replaying a choice would do, and nothing done. Raises Unavailable."""
    topics, decisions, plan = command_topics(kafka.topic_prefix), await decisions_of(kafka), Plan(choice=choice)
    missing = dict.fromkeys(choice.places)
    async with aclosing(chosen(kafka, choice, decisions)) as records:
        async for record in records:
            found = read(record)
            missing.pop(found.place, None)
            refused = refusal(found, topics, decisions)
            if refused is None or (again and refused.again):
                record_again = replay(record, topics, decisions=decisions, again=again, partitions=kafka.partitions)
                fails = certain_failure(record, kafka.topic_prefix)
                name = id_of_replay(record_again)
                plan.chosen[found.place] = Outcome(found.place, record_again.topic, name, fails=fails)
            elif choice.places:
                hint = " --again replays it all the same." if refused.again else ""
                plan.refused.append(Outcome(found.place, refused=refused.sentence + hint))
            else:
                plan.skipped[refused.kind] += 1
    plan.refused.extend(Outcome(place, refused=ABSENT) for place in missing)
    return plan


class Replayer:
    """One who replays, as `by`. Use it with `async with`; any failure but a refused letter ends its usefulness.

    Every method raises Superseded when another one has been opened meanwhile, and Unavailable; what was replayed until
    then is decided, and nothing else was written.
    """

    def __init__(self, kafka: KafkaSettings, *, by: str) -> None:
        self._kafka = kafka
        self._by = by
        self._topics: Container[str] = command_topics(kafka.topic_prefix)
        self._transactions = Transactions(kafka, f"{kafka.topic_prefix}-replay")
        self._decisions = Decisions()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._transactions.close()

    async def _open(self) -> None:
        """End the one before, then read what it has decided: in this order nothing is missed."""
        await self._transactions.open()
        self._decisions = await decisions_of(self._kafka, fenced=True)

    async def replay_all(
        self, plan: Plan, *, value: bytes | None = None, rate: float | None = None, again: bool = False
    ) -> AsyncGenerator[Outcome, None]:
        """Replay what is planned in the order of time, at most `rate` letters a second; else many at once."""
        clock = asyncio.get_running_loop().time
        due, most = clock(), MOST_LETTERS if rate is None else int(rate / TRANSACTIONS_PER_SECOND)
        async with aclosing(_batches(self._planned(plan), most)) as batches:
            async for batch in batches:
                await asyncio.sleep(max(0.0, due - clock()))
                for outcome in await self.replay(batch, value=value, again=again):
                    yield outcome
                due = max(due, clock()) + (len(batch) / rate if rate else 0)

    async def _planned(self, plan: Plan) -> AsyncGenerator[Received, None]:
        # What it chose by may have changed: its decisions, and the time in which "an hour ago" is meant.
        everything = Choice(places=list(plan.chosen) if plan.choice.places else (), since=plan.choice.since)
        async with aclosing(chosen(self._kafka, everything, self._decisions)) as records:
            async for record in records:
                if (record.partition, record.offset) in plan.chosen:
                    yield record

    async def replay(
        self, letters: Sequence[Received], *, value: bytes | None = None, again: bool = False
    ) -> list[Outcome]:
        """Replay these letters in one transaction; `value` replaces their content, `again` what was decided."""
        if not self._transactions.usable:
            await self._open()
        outcomes, records, verdicts = [], list[Record](), list[control.Verdict]()
        for original in letters:
            place = (original.partition, original.offset)
            try:
                record = replay(
                    original,
                    self._topics,
                    value=value,
                    decisions=self._decisions,
                    again=again,
                    partitions=self._kafka.partitions,
                )
            except InvalidRecord as error:
                outcomes.append(Outcome(place, refused=str(error)))
                continue
            outcomes.append(Outcome(place, record.topic, id_of_replay(record)))
            records.append(record)
            verdicts.append(self._verdict(place, "" if record.value == original.value else "edited"))
        if records:
            await self._write(records, [control.encode(self._kafka.topic_prefix, verdict) for verdict in verdicts])
        for verdict in verdicts:
            self._decisions.add(verdict)
        return outcomes

    def _verdict(self, place: Place, note: str) -> control.Verdict:
        return control.Verdict(partition=place[0], offset=place[1], decision="replayed", note=note, by=self._by)

    async def _write(self, records: Sequence[Record], decided: Sequence[Record]) -> None:
        try:
            await self._transactions.write([*records, *decided])
        except Superseded as error:
            raise Superseded(
                "Somebody else has begun to replay dead letters (command line or console), which ends this. What was "
                "replayed until then is known: the same again replays the rest."
            ) from error
        except Unavailable as error:
            raise Unavailable(f"{error} The same again goes on where this ended; nothing is replayed twice.") from error


async def _batches(letters: AsyncIterator[Received], most: int) -> AsyncGenerator[list[Received], None]:
    batch, size = list[Received](), 0
    async for record in letters:
        batch.append(record)
        size += len(record.value or b"")
        if len(batch) >= most or size >= MOST_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
