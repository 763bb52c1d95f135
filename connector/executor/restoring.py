"""What a new owner reads before it reads commands: commits, checkpoint, journal, and which attempts are open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from connector import telemetry
from connector.executor import forwarding
from connector.executor.beginnings import Beginning, Found, beginnings, has_lost_ids
from connector.executor.offsets import Progress
from connector.kafka import checkpoints, journal, reading, topic_ids
from connector.kafka.checkpoints import Checkpoint
from connector.kafka.journal import EntryAndOffset, TopicOffset
from connector.kafka.ownership import Assignment
from connector.settings import KafkaSettings

log = telemetry.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is known of one partition number.

    `end` is the journal's; `attempts` are open, and the records of `lost` among them are gone; `former` are open
    attempts of topics that were created anew. `checkpoint` holds what the next one begins with.
    `lost_ids` are the commands of which the journal may have lost ids.
    """

    end: int
    progress: Mapping[str, Progress]
    attempts: Mapping[TopicOffset, EntryAndOffset]
    lost: Sequence[journal.Entry]
    former: Sequence[journal.Entry]
    digest_at: int | None
    lost_ids: Sequence[str]
    checkpoint: Checkpoint


async def restore(kafka: KafkaSettings, assignment: Assignment, topics: Mapping[str, str]) -> Restored:
    """Read everything; the fencing producer must be open. Raises Unavailable."""
    partition = assignment.partition
    found = await _found(kafka, assignment, topics)
    begun = beginnings(found, topics)
    end = found.bounds[found.journal][1]
    low = min(beginning.read_from for beginning in begun.values())
    lows = {topic: beginning.low for topic, beginning in begun.items()}
    state = await journal.restore(kafka, partition, low=low, end=end, lows=lows)
    _tell(partition, begun, state)
    digests = [one.commit.digest for one in begun.values() if one.commit is not None and one.commit.digest is not None]
    attempts = {place: attempt for place, attempt in state.open.items() if place[0] in begun}
    has_lost = has_lost_ids(found) or any(beginning.reason for beginning in begun.values())
    return Restored(
        end=end,
        progress={topic: _progress(beginning, state, topic) for topic, beginning in begun.items()},
        attempts=attempts,
        lost=[entry for entry, _ in attempts.values() if not _is_within(found.bounds[entry.topic], entry.offset)],
        former=[entry for entry, _ in state.former.values() if begun[entry.topic].former is not None],
        digest_at=max(digests, default=None),
        lost_ids=_callers_commands(topics) if has_lost else (),
        checkpoint=Checkpoint(
            commits={},
            ids={**(found.checkpoint.ids if found.checkpoint else {}), **found.ids},
            doubtful={topic: beginning.doubtful for topic, beginning in begun.items() if beginning.doubtful},
            outdated=found.group if any(beginning.reason for beginning in begun.values()) else {},
            has_lost_ids=has_lost,
        ),
    )


async def _found(kafka: KafkaSettings, assignment: Assignment, topics: Mapping[str, str]) -> Found:
    entries = journal.topic_of(kafka)
    results = [f"{kafka.topic_prefix}.results.{name}" for name in _callers_commands(topics)]
    # Committed offsets are read after the fencing producer was opened, and bounds after all that may still be written.
    group = await assignment.committed()
    checkpoint = await checkpoints.restore(kafka, assignment.partition)
    bounds = await reading.bounds(kafka, [entries, *topics, *results], assignment.partition)
    return Found(
        journal=entries,
        group=group,
        checkpoint=checkpoint,
        bounds=bounds,
        ids=await topic_ids.topic_ids(kafka, [entries, *topics]),
        has_results=any(bounds[topic][1] > 0 for topic in results),
    )


def _callers_commands(topics: Mapping[str, str]) -> list[str]:
    return [name for name in topics.values() if name != forwarding.NAME]


def _progress(beginning: Beginning, state: journal.State, topic: str) -> Progress:
    commit = beginning.commit
    finished = state.finished[topic]
    if commit is None:
        return Progress(beginning.base, finished=finished)
    return Progress(beginning.base, end=commit.end, pending=commit.pending, finished=finished)


def _is_within(bounds: tuple[int, int], offset: int) -> bool:
    return bounds[0] <= offset < bounds[1]


def _tell(partition: int, begun: Mapping[str, Beginning], state: journal.State) -> None:
    for topic, beginning in begun.items():
        if beginning.reason:
            log.error(
                "commands in doubt",
                topic=topic,
                partition=partition,
                from_offset=beginning.base,
                below_offset=beginning.doubtful,
                reason=beginning.reason,
                consequence="Creates among them are answered unknown and not sent; others are executed (again).",
            )
    if state.records:
        log.info("commands restored", partition=partition, journal_records=state.records, in_doubt=len(state.open))
