"""The topics that exist, whether the broker has them so, and as our promises need them."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from connector.errors import Unavailable
from connector.kafka import failures
from connector.kafka.clients import administration
from connector.settings import KafkaSettings

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


COMPACT = {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
JOURNAL = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}
CONTROL = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}
KEPT = {"cleanup.policy": "delete"}
# Owners send a command on through it to the owner of the partition where commands of its key or id meet.
FORWARDED_COMMANDS = "forwarded-commands"
# The largest record that a topic takes by default, and the reasons beside it, or where it came from.
LETTERS = {"cleanup.policy": "delete", "max.message.bytes": str(1_048_588 + LETTER_OVERHEAD)}
CONFIG: Mapping[str, Mapping[str, str]] = {
    "cursors": COMPACT,
    "checkpoints": COMPACT,
    "journal": JOURNAL,
    "control": CONTROL,
    "dead-letters": LETTERS,
    "forwarded": LETTERS,
}

SETTLE_SECONDS = 10.0
SAFE_REPLICAS = 3

UNKNOWN_TOPIC = 3
EXISTS = 36


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with a topic; `missing` ones can be created, `growable` ones need more partitions."""

    topic: Topic
    sentence: str
    missing: bool = False
    growable: bool = False
    config: bool = False


def names(prefix: str, *, events: Iterable[str], commands: Iterable[str]) -> dict[str, str]:
    """Each topic -> what it is for.

    event, command, result, media, forwarded, dead-letters, cursors, checkpoints, journal or control.
    """
    found = dict.fromkeys(events, "event")
    for command in commands:
        found |= {f"commands.{command}": "command", f"results.{command}": "result"}
    found |= {"recording-media": "media", FORWARDED_COMMANDS: "forwarded"}
    found |= {name: name for name in ("dead-letters", "cursors", "checkpoints", "journal", "control")}
    return {f"{prefix}.{name}": purpose for name, purpose in found.items()}


def wanted(
    kafka: KafkaSettings,
    *,
    events: Iterable[str],
    commands: Iterable[str],
    dedupe_window: timedelta = timedelta(0),
) -> list[Topic]:
    """The topics of a configuration; the journal must remember ids for the dedupe window."""
    exact = {"command", "forwarded", "result", "journal", "checkpoints"}
    # Requests are carried out in one order, so control has one partition.
    counts = {"control": 1}
    keep = {"journal": max(DAY_MS, int(dedupe_window.total_seconds() * 1000))}
    return [
        Topic(
            name,
            counts.get(purpose, kafka.partitions),
            kafka.replication_factor,
            CONFIG.get(purpose, KEPT),
            exact=purpose in exact,
            purpose=purpose,
            keep_ms=keep.get(purpose, 0),
        )
        for name, purpose in names(kafka.topic_prefix, events=events, commands=commands).items()
    ]


async def differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[Difference]:
    """What of these topics is missing or wrong on the broker, one sentence each. Raises Unavailable."""
    described, actual = await _described(admin, topics)
    found: list[Difference] = []
    for topic in topics:
        if code := _error_of(described.get(topic.name)):
            found.append(_absent(topic, code))
        elif topic.name in actual:
            found += _differences(topic, actual[topic.name])
    return found


async def _described(
    admin: AIOKafkaAdminClient, topics: Sequence[Topic]
) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, Actual]]:
    """What the brokers answer for each topic, and what that says of those that exist. Raises Unavailable."""
    try:
        described = {item["topic"]: item for item in await admin.describe_topics([topic.name for topic in topics])}
        present = [topic.name for topic in topics if not _error_of(described.get(topic.name))]
        configs = await _configs(admin, present)
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Topics cannot be described: {error!r:.200}") from error
    return described, {name: _actual(described[name]["partitions"], configs.get(name, {})) for name in present}


def _actual(partitions: Sequence[Mapping[str, Any]], config: Mapping[str, str]) -> Actual:
    replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
    return Actual(len(partitions), replicas, config)


def _differences(topic: Topic, actual: Actual) -> list[Difference]:
    found = [Difference(topic, sentence, config=True) for sentence in wrong_settings(topic, actual)]
    sentence = wrong_partitions(topic, actual)
    if sentence is not None:
        found.append(Difference(topic, sentence, growable=actual.partitions < topic.partitions))
    return found


def _error_of(item: Mapping[str, Any] | None) -> int:
    return UNKNOWN_TOPIC if item is None else int(item["error_code"])


def _absent(topic: Topic, code: int) -> Difference:
    if code == UNKNOWN_TOPIC:
        sentence = f"Topic {topic.name} does not exist; create it with `twilio-kafka topics apply`."
        return Difference(topic, sentence, missing=True)
    return Difference(topic, f"Topic {topic.name} cannot be described: {for_code(code).__name__}.")


async def _configs(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each topic its settings by name."""
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    found: dict[str, dict[str, str]] = {}
    for response in await admin.describe_configs(resources):
        for _code, _message, _type, name, entries in response.resources:
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def check(kafka: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    """A sentence for each missing or wrong topic. Raises Unavailable when no broker answers."""
    async with administration(kafka) as admin:
        return [difference.sentence for difference in await differences(admin, topics)]


async def misfit(kafka: KafkaSettings, names: Sequence[str]) -> str | None:
    """A sentence about the first of these topics whose partitions are not those of the settings. Raises Unavailable."""
    async with administration(kafka) as admin:
        with failures.reading("Topics cannot be described"):
            described = await admin.describe_topics([*names])
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described if not topic["error_code"]}
    for name in names:
        if name not in counts:
            return f"Topic {name} does not exist; create it with `twilio-kafka topics apply`."
        if counts[name] != kafka.partitions:
            return (
                f"Topic {name} has {counts[name]} partitions and kafka.partitions is {kafka.partitions}: stop every "
                "process of this prefix, and start them with the number that all topics have."
            )
    return None


async def durability(kafka: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    """A sentence for each way in which the brokers' settings make a promise weaker. Raises Unavailable."""
    async with administration(kafka) as admin:
        return weaknesses(topics, (await _described(admin, topics))[1])


async def apply(kafka: KafkaSettings, topics: Sequence[Topic]) -> tuple[list[str], list[str]]:
    """Create what is missing and grow what has too few partitions.

    Returns what was done and what still differs, one sentence each. Raises Unavailable.
    """
    async with administration(kafka) as admin:
        found = await differences(admin, topics)
        done = await _create(admin, [difference.topic for difference in found if difference.missing])
        done += await _grow(admin, [difference.topic for difference in found if difference.growable])
        left = await _settled(admin, topics) if done else found
    return done, [difference.sentence for difference in left]


async def _settled(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[Difference]:
    """What differs once the brokers know of what was created: the controller answers before they do."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        left = await differences(admin, topics)
        if time.monotonic() > deadline or not any(difference.missing or difference.growable for difference in left):
            return left
        await asyncio.sleep(0.1)


async def _create(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    if not topics:
        return []
    new = [
        NewTopic(t.name, t.partitions, t.replication_factor, topic_configs={**_insync(t), **t.config}) for t in topics
    ]
    try:
        response = await admin.create_topics(new)
    except KafkaError as error:
        raise Unavailable(f"Topics cannot be created: {error!r:.200}") from error
    for name, code, *message in response.topic_errors:
        if code not in (0, EXISTS):
            detail = next((text for text in message if text), for_code(code).__name__)
            raise Unavailable(f"Topic {name} cannot be created: {detail}")
    return [f"created {t.name} ({t.partitions} partitions, {t.replication_factor} replicas)" for t in topics]


def _insync(topic: Topic) -> Mapping[str, str]:
    """With three replicas an acknowledged record shall survive one broker, whatever the brokers' default is."""
    return {"min.insync.replicas": "2"} if topic.replication_factor >= SAFE_REPLICAS else {}


async def _grow(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    if not topics:
        return []
    try:
        await admin.create_partitions({topic.name: NewPartitions(topic.partitions) for topic in topics})
    except KafkaError as error:
        raise Unavailable(f"Partitions cannot be added: {error!r:.200}") from error
    return [f"grew {topic.name} to {topic.partitions} partitions" for topic in topics]
