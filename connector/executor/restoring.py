"""Where a new owner begins with each topic: what group, checkpoint, journal and topics say, and what to believe.

Offsets of the group expire, journals are deleted, topics are created anew. What was executed is known as far as a
commit tells and the journal from its mark on, without a gap. A create beyond that is in doubt and is not sent.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from connector.executor import offsets
from connector.executor.command import FORWARDED
from connector.executor.offsets import Commit
from connector.executor.under_way import Progress
from connector.kafka import reading
from connector.kafka.ownership import Assignment
from connector.settings import KafkaSettings
from connector.state import checkpoints, journal, topic_ids
from connector.state.checkpoints import Checkpoint, Commits
from connector.state.journal import EntryAndOffset, TopicOffset
from connector.telemetry.logs import logger

log = logger(__name__)

Bounds = Mapping[str, tuple[int, int]]
"""For each topic the first offset of a partition and its end."""

ANEW = "The topic was created anew; what is in it may have been executed before."
SHORTER = "The topic is shorter than what was executed of it."
GAP = "The journal has lost entries, and no commit or checkpoint is as new as they were."


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What Kafka says of one partition number.

    `has_results`: something was executed here, some day. `has_only_fences`: of it the journal holds nothing else.
    """

    journal: str
    group: Commits
    checkpoint: Checkpoint | None
    bounds: Bounds
    ids: Mapping[str, str]
    has_results: bool
    has_only_fences: bool = False

    @property
    def is_blank(self) -> bool:
        """Whether the journal says nothing of what was executed."""
        return self.bounds[self.journal][1] == 0 or self.has_only_fences


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Where to begin with a topic.

    `commit` says what is finished from `base` on, and the journal from `low` on completes it. Below `doubtful` it is
    not known which of the commands that are left were executed. `reason` is what was found to be wrong with the topic.
    `former`: entries of the journal before `low` speak of another topic of this name; they are read from there on.
    """

    base: int
    commit: Commit | None
    low: int
    doubtful: int = 0
    reason: str = ""
    former: int | None = None

    @property
    def read_from(self) -> int:
        """Where the journal is to be read from."""
        return self.low if self.former is None else self.former


class _Known(NamedTuple):
    base: int
    commit: Commit
    source: tuple[int, str]


def beginnings(found: Found, topics: Iterable[str]) -> dict[str, Beginning]:
    """Where to begin with each topic."""
    return {topic: _beginning(found, topic) for topic in topics}


def _beginning(found: Found, topic: str) -> Beginning:
    known = max(_known(found, topic), key=_newness(found), default=None)
    if not _is_same(found, topic):
        return _anew(found, topic, known, ANEW)
    if known is not None and known.commit.end > found.bounds[topic][1] and topic not in _checkpointed_ids(found):
        return _anew(found, topic, known, SHORTER)
    return _continued(found, topic, known)


def has_lost_ids(found: Found) -> bool:
    """Whether the journal may have held more ids than it holds: its beginning is gone, or it is, or was, another."""
    first, _ = found.bounds[found.journal]
    has_lost = found.checkpoint is not None and found.checkpoint.has_lost_ids
    return has_lost or first > 0 or not _is_same(found, found.journal) or (found.is_blank and found.has_results)


def _anew(found: Found, topic: str, known: _Known | None, reason: str) -> Beginning:
    """Begin with a topic of which nothing is known but that it has had another life."""
    start, end = found.bounds[topic]
    first, last = found.bounds[found.journal]
    former = last if known is None else min(max(known.commit.low, first), last)
    return Beginning(base=start, commit=None, low=last, doubtful=end, reason=reason, former=former)


def _continued(found: Found, topic: str, known: _Known | None) -> Beginning:
    start, end = found.bounds[topic]
    first, _ = found.bounds[found.journal]
    # An offset that an operator has set is where to go on at the earliest.
    base = max(start, _offset_of_others(found, topic), known.base if known else 0)
    if known is None:
        low = first
        is_whole = first == 0 and not (found.is_blank and found.has_results)
        is_whole = is_whole and _is_same(found, found.journal)
    else:
        low, is_whole = _mark(found, topic, known)
    reason = GAP if not is_whole and end > base else ""
    commit = known.commit if known else None
    if commit is not None and commit.end > end:
        reason = reason or SHORTER
        commit = Commit(commit.low, commit.digest, end, [offset for offset in commit.pending if offset < end])
    former = found.checkpoint.doubtful.get(topic, 0) if found.checkpoint else 0
    return Beginning(
        base=min(base, end),
        commit=commit,
        low=low,
        doubtful=former if is_whole else end,
        reason=reason,
    )


def _mark(found: Found, topic: str, known: _Known) -> tuple[int, bool]:
    """Where the journal goes on from what is known, and whether it does so without a gap."""
    first, last = found.bounds[found.journal]
    low, checkpoint = known.commit.low, found.checkpoint
    is_same = _is_same(found, found.journal)
    if is_same and first <= low <= last:
        return low, True
    # Nothing was attempted after an orderly stop: what has become of its journal does not matter.
    is_final = checkpoint is not None and checkpoint.is_final and checkpoint.commits.get(topic) == known.source
    return (last, True) if is_final and not (is_same and low < last) else (first, False)


def _is_same(found: Found, topic: str) -> bool:
    """Whether the topic is the one that the checkpoint speaks of, as far as Kafka tells."""
    before = _checkpointed_ids(found).get(topic)
    return before is None or found.ids.get(topic, before) == before


def _checkpointed_ids(found: Found) -> Mapping[str, str]:
    return found.checkpoint.ids if found.checkpoint else {}


def _known(found: Found, topic: str) -> Iterator[_Known]:
    """What the group and the checkpoint say of a topic."""
    checkpoint = found.checkpoint
    sources = [checkpoint.commits] if checkpoint else []
    if checkpoint is None or checkpoint.outdated.get(topic) != found.group.get(topic):
        sources.append(found.group)
    for source in sources:
        if topic in source:
            base, text = source[topic]
            commit = offsets.decode(base, text)
            if commit is not None:
                yield _Known(base, commit, source[topic])


def _newness(found: Found) -> Callable[[_Known], tuple[object, ...]]:
    """Of two that name the same mark in the journal the one that knows more; one of another journal comes last."""
    last = found.bounds[found.journal][1]
    return lambda known: (known.commit.low <= last, known.commit.low, known.commit.end, known.base)


def _offset_of_others(found: Found, topic: str) -> int:
    """The group's offset if an operator has set it (with a tool for offsets, say), else 0."""
    base, text = found.group.get(topic, (0, ""))
    is_ours = offsets.decode(base, text) is not None
    return 0 if is_ours or base > found.bounds[topic][1] else base


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
    """Read everything; the fencing producers must be open, and the fence written. Raises Unavailable."""
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
    first, last = bounds[entries]
    # Our own fence stands in it: that it has an end does not say that anything was written down.
    has_only_fences = first == 0 and await journal.holds_only_fences(kafka, assignment.partition, start=first, end=last)
    return Found(
        journal=entries,
        group=group,
        checkpoint=checkpoint,
        bounds=bounds,
        ids=await topic_ids.topic_ids(kafka, [entries, *topics]),
        has_results=any(bounds[topic][1] > 0 for topic in results),
        has_only_fences=has_only_fences,
    )


def _callers_commands(topics: Mapping[str, str]) -> list[str]:
    return [name for name in topics.values() if name != FORWARDED]


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
