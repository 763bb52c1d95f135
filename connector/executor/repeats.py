"""What the results tell of commands that were executed before: the first answer to a repeat, and ids that were lost.

Results are read by their time, and no more than so many: what is not found there is left out.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import orjson

from connector.events import Position
from connector.executor.command import Command
from connector.kafka import reading
from connector.settings import KafkaSettings
from connector.state.journal import Entry

# A result is written together with its journal entry, and timed a moment later.
SPREAD = timedelta(seconds=2)
MOST_RECORDS = 20_000


async def first_bundles(kafka: KafkaSettings, command: Command, first: Entry) -> Sequence[bytes]:
    """The bundles of the result of the first command of an id, if they are still there. Raises Unavailable.

    Of a list that took several records they are those of the last one.
    """
    topic = f"{kafka.topic_prefix}.results.{command.command}"
    # Most records are told apart without parsing them.
    quoted = orjson.dumps(command.id)
    async with aclosing(_values(kafka, topic, command.partition, since=first.at - SPREAD)) as values:
        async for value in values:
            if quoted in value and (result := _result(value)) is not None and result["command"]["id"] == command.id:
                return [orjson.dumps(bundle) for bundle in result["bundles"]]
    return ()


def is_answer_to(entry: Entry, command: Command) -> bool:
    """Whether this result, which names the command's position, is its own.

    The position may have been another command's, in a topic that was created anew since.
    """
    return command.explicit and command.id == entry.id and command.milliseconds <= entry.at.timestamp() * 1000


async def answered(
    kafka: KafkaSettings, commands: Iterable[str], partition: int, since: datetime | None
) -> AsyncGenerator[tuple[Position, Entry], None]:
    """The commands that have a result: where their callers wrote them, and what the journal would say of them.

    `since` is None for as long ago as there are results. Raises Unavailable.
    """
    for name in commands:
        topic = f"{kafka.topic_prefix}.results.{name}"
        async with aclosing(_values(kafka, topic, partition, since=since, newest=True)) as values:
            async for value in values:
                result = _result(value)
                if result is not None:
                    command = result["command"]
                    yield Position(command["topic"], command["partition"], command["offset"]), _entry(result)


def _entry(result: Mapping[str, Any]) -> Entry:
    command, bundles = result["command"], result["bundles"]
    sid = bundles[0].get("sid") if len(bundles) == 1 and isinstance(bundles[0], dict) else None
    return Entry(
        state="done",
        topic=command["topic"],
        # Where the command lies is not what its caller wrote, if it was sent on: no command of that id is this one.
        offset=-1,
        id=command["id"],
        at=datetime.fromisoformat(result["finished_at"]),
        outcome=result["outcome"],
        sid=sid if isinstance(sid, str) else None,
        explicit=True,
    )


async def _values(
    kafka: KafkaSettings, topic: str, partition: int, *, since: datetime | None, newest: bool = False
) -> AsyncGenerator[bytes, None]:
    """The records from a time on: no more than so many, the first of them or the last."""
    start = await reading.offset_at(kafka, topic, partition, since) if since is not None else 0
    if start is None:
        return
    # Committed does not mean visible yet: up to the end, whatever is still open there.
    first, end = (await reading.bounds(kafka, [topic], partition))[topic]
    start = max(start, first)
    start, end = (max(start, end - MOST_RECORDS), end) if newest else (start, min(end, start + MOST_RECORDS))
    async with aclosing(reading.between(kafka, topic, partition, start=start, end=end)) as batches:
        async for batch in batches:
            for item in batch:
                if item.value is not None:
                    yield item.value


def _result(value: bytes) -> Mapping[str, Any] | None:
    """The last result of a command that is no repeat's; None for anything else, whoever has written it."""
    try:
        result = orjson.loads(value)
        result = result.get("data", result)
        command = result["command"]
        is_sound = (
            all(isinstance(command[name], str) for name in ("id", "topic"))
            and all(isinstance(command[name], int) for name in ("partition", "offset"))
            and isinstance(result["bundles"], list)
            and datetime.fromisoformat(result["finished_at"]).tzinfo is not None
        )
        return result if is_sound and result["last"] and result["outcome"] != "duplicate" else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
