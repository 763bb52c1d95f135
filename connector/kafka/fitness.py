"""Whether a topic is as our promises need it: what must not be so, and what makes a promise weaker. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

DAY_MS = 86_400_000
UNLIMITED = -1
# A dead letter is its original and the reasons beside it.
LETTER_OVERHEAD = 16 * 1024

# What a compacted topic must keep for good.
FORGETFUL = {
    "cursors": "cursors of watches that rest",
    "checkpoints": "what was executed, when the connector rests",
}
READ_BY_KEY = "it is compacted: of two records of a key the first would vanish; set cleanup.policy=delete"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that must exist.

    `name` is whole; `partitions` must be exact where `exact`, else so many at least. `purpose` is event, command,
    forwarded, result, media, dead-letters, cursors, checkpoints, journal or control; `keep_ms` is how long its records
    are needed.
    """

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False
    purpose: str = "event"
    keep_ms: int = 0


@dataclass(frozen=True, slots=True)
class Actual:
    """What the brokers say of a topic. `config` is empty where we may not read it."""

    partitions: int
    replicas: int
    config: Mapping[str, str] = field(default_factory=dict)

    def number(self, name: str, default: int) -> int:
        """A setting that is a number."""
        text = self.config.get(name, "")
        return int(text) if text.lstrip("-").isdecimal() else default

    @property
    def is_compacted(self) -> bool:
        """Whether only the last record of a key is kept."""
        return "compact" in self.config.get("cleanup.policy", "delete")


def wrong_partitions(topic: Topic, actual: Actual) -> str | None:
    """A sentence when there are not as many as needed."""
    if actual.partitions == topic.partitions or (not topic.exact and actual.partitions > topic.partitions):
        return None
    reason = "a watch whose cursor lives beyond would never run" if topic.purpose == "cursors" else ""
    if topic.exact:
        reason = "command, forwarded, result and journal topics must agree, or keys lose their order"
    if not reason:
        return None
    return (
        f"Topic {topic.name} has {actual.partitions} partitions and kafka.partitions is {topic.partitions}: {reason}."
    )


def wrong_settings(topic: Topic, actual: Actual) -> list[str]:
    """A sentence for each setting with which a promise would be broken."""
    found = []
    policy = actual.config.get("cleanup.policy")
    if topic.purpose in FORGETFUL and policy not in (None, "compact"):
        found.append(f"cleanup.policy={policy} deletes {FORGETFUL[topic.purpose]}; set it to compact")
    elif topic.purpose not in (*FORGETFUL, "event") and actual.is_compacted:
        found.append(READ_BY_KEY)
    retention = actual.number("retention.ms", UNLIMITED)
    if topic.keep_ms and not actual.is_compacted and 0 <= retention < topic.keep_ms:
        found.append(f"retention.ms={retention} is less than the {topic.keep_ms} that its records are needed for")
    insync = actual.number("min.insync.replicas", 1)
    if insync > actual.replicas:
        found.append(
            f"min.insync.replicas={insync} and {actual.replicas} replicas: nothing can be written; add replicas or "
            "lower it"
        )
    return [f"Topic {topic.name}: {sentence}." for sentence in found]


def weaknesses(topics: Sequence[Topic], actual: Mapping[str, Actual]) -> list[str]:
    """A sentence for each way in which the brokers' settings make a promise weaker; topics of one kind together."""
    present = [(topic, actual[topic.name]) for topic in topics if topic.name in actual]
    sentences = [
        _of(
            [topic.name for topic, found in present if found.number("min.insync.replicas", 1) == 1],
            "min.insync.replicas is 1 for",
            "an acknowledged record can be lost with its broker",
        ),
        _of(
            [t.name for t, found in present if 1 < found.replicas == found.number("min.insync.replicas", 1)],
            "min.insync.replicas is the number of replicas for",
            "while one broker is away nothing can be written",
        ),
        _of(
            [t.name for t, found in present if found.config.get("unclean.leader.election.enable") == "true"],
            "unclean.leader.election.enable is true for",
            "an acknowledged record can be lost when leaders change",
        ),
        _of(
            [t.name for t, found in present if t.purpose == "journal" and found.number("retention.bytes", -1) >= 0],
            "retention.bytes is set for",
            "the journal may be shorter than an outage; let retention.ms alone decide",
        ),
        _outlived(present),
        _forgotten(present),
        _too_small(present),
    ]
    return [sentence for sentence in sentences if sentence]


def _of(names: Sequence[str], what: str, consequence: str) -> str:
    if not names:
        return ""
    shown = f"{len(names)} topics ({min(names)} …)" if len(names) > 1 else f"topic {names[0]}"
    return f"{what} {shown}: {consequence}."


def _outlived(present: Iterable[tuple[Topic, Actual]]) -> str:
    """What was executed of commands that outlive the journal may not be known when the group's offsets are lost."""
    kept = {topic.purpose: found.number("retention.ms", UNLIMITED) for topic, found in present}
    journal = kept.get("journal", UNLIMITED)
    longer = [
        topic.name
        for topic, found in present
        if topic.purpose == "command" and journal >= 0 and not 0 <= found.number("retention.ms", UNLIMITED) <= journal
    ]
    consequence = "after a crash and an outage that outlasts the group's offsets, some may be answered unknown"
    return _of(longer, "commands are kept longer than the journal in", consequence)


def _forgotten(present: Iterable[tuple[Topic, Actual]]) -> str:
    """What was decided about a dead letter must be known as long as the letter is there."""
    kept = {topic.purpose: (topic, found.number("retention.ms", UNLIMITED)) for topic, found in present}
    if not {"control", "dead-letters"} <= kept.keys():
        return ""
    (control, decisions), (_, letters) = kept["control"], kept["dead-letters"]
    is_shorter = decisions >= 0 and not 0 <= letters <= decisions
    consequence = "dead letters that are older cannot be replayed without --again; set its retention.ms to theirs"
    return _of([control.name] if is_shorter else [], "decisions are kept shorter than dead letters in", consequence)


def _too_small(present: Iterable[tuple[Topic, Actual]]) -> str:
    """A dead letter must take the largest command and the reasons beside it, a forwarded one where it came from."""
    sizes = [(topic, found.number("max.message.bytes", 0)) for topic, found in present]
    least = max((size for topic, size in sizes if topic.purpose == "command"), default=0) + LETTER_OVERHEAD
    small = [t.name for t, size in sizes if t.purpose in ("dead-letters", "forwarded") and 0 < size < least]
    return _of(small, "max.message.bytes is too small for", "the value of a large command would be left out")
