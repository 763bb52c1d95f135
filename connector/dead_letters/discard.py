"""Dead letters are discarded: each is decided once, with a note; the records stay in their topic."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from connector.dead_letters.reading import read
from connector.dead_letters.replay import ABSENT, Choice, Outcome, Plan, chosen, decisions_of
from connector.events import Record, timestamp
from connector.settings import KafkaSettings
from connector.state import control

MOST_LETTERS = 100
"""Decisions that are written at once."""

Publish = Callable[[Sequence[Record]], Awaitable[None]]


async def planned(kafka: KafkaSettings, choice: Choice) -> Plan:
    """What discarding a choice would do, and nothing done. Raises Unavailable."""
    decisions, plan = await decisions_of(kafka), Plan(choice=choice)
    missing = dict.fromkeys(choice.places)
    async with aclosing(chosen(kafka, choice, decisions)) as records:
        async for record in records:
            place = read(record).place
            missing.pop(place, None)
            verdict = decisions.of(place)
            if verdict is None:
                plan.chosen[place] = Outcome(place)
            elif choice.places:
                sentence = f"It was {verdict.decision} already at {timestamp(verdict.at)}."
                plan.refused.append(Outcome(place, refused=sentence))
            else:
                plan.skipped["decided"] += 1
    plan.refused.extend(Outcome(place, refused=ABSENT) for place in missing)
    return plan


async def discard_all(
    kafka: KafkaSettings, plan: Plan, *, note: str, by: str, publish: Publish
) -> AsyncGenerator[Sequence[Outcome], None]:
    """Write the decisions of a plan, some at a time; what is yielded is decided. Raises what `publish` raises."""
    places = list(plan.chosen)
    for start in range(0, len(places), MOST_LETTERS):
        some = places[start : start + MOST_LETTERS]
        verdicts = (
            control.Verdict(partition=partition, offset=offset, decision="discarded", note=note, by=by)
            for partition, offset in some
        )
        await publish([control.encode(kafka.topic_prefix, verdict) for verdict in verdicts])
        yield [plan.chosen[place] for place in some]
