"""The topics that exist, their settings, and whether the broker has them so."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from connector.errors import Unavailable
from connector.kafka import failures
from connector.kafka.clients import administration
from connector.kafka.fitness import (
    DAY_MS,
    LETTER_OVERHEAD,
    Actual,
    Topic,
    weaknesses,
    wrong_partitions,
    wrong_settings,
)
from connector.settings import KafkaSettings

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
