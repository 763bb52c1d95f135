"""The topics that exist, their settings, and whether the broker has them so."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from connector.errors import Unavailable
from connector.kafka.clients import administration
from connector.settings import KafkaSettings

DAY_MS = 86_400_000
COMPACT = {"cleanup.policy": "compact", "segment.ms": "3600000", "min.cleanable.dirty.ratio": "0.1"}
JOURNAL = {"cleanup.policy": "delete", "retention.ms": str(7 * DAY_MS)}
CONTROL = {"cleanup.policy": "delete", "retention.ms": str(30 * DAY_MS)}
KEPT = {"cleanup.policy": "delete"}

SETTLE_SECONDS = 10.0

UNKNOWN_TOPIC = 3
EXISTS = 36
# How each of these settings is judged; others of a topic are the operator's business.
CHECKED = ("cleanup.policy",)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that must exist. `name` is whole; `partitions` must be exact where `exact`, else at least one."""

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wrong with a topic; `missing` ones can be created, `growable` ones need more partitions."""

    topic: Topic
    sentence: str
    missing: bool = False
    growable: bool = False
    config: bool = False


def names(prefix: str, *, events: Iterable[str], commands: Iterable[str]) -> dict[str, str]:
    """Each topic -> what it is for: event, command, result, media, dead-letters, cursors, journal or control."""
    found = dict.fromkeys(events, "event")
    for command in commands:
        found |= {f"commands.{command}": "command", f"results.{command}": "result"}
    found |= {"recording-media": "media"} | {name: name for name in ("dead-letters", "cursors", "journal", "control")}
    return {f"{prefix}.{name}": purpose for name, purpose in found.items()}


def wanted(kafka: KafkaSettings, *, events: Iterable[str], commands: Iterable[str]) -> list[Topic]:
    """The topics of a configuration."""
    config = {"cursors": COMPACT, "journal": JOURNAL, "control": CONTROL}
    exact = {"command", "result", "journal"}
    # Requests are carried out in one order, so control has one partition.
    counts = {"control": 1}
    return [
        Topic(
            name,
            counts.get(purpose, kafka.partitions),
            kafka.replication_factor,
            config.get(purpose, KEPT),
            exact=purpose in exact,
        )
        for name, purpose in names(kafka.topic_prefix, events=events, commands=commands).items()
    ]


async def differences(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[Difference]:
    """What of these topics is missing or wrong on the broker, one sentence each. Raises Unavailable."""
    try:
        described = {item["topic"]: item for item in await admin.describe_topics([topic.name for topic in topics])}
        present = [topic for topic in topics if not _error_of(described.get(topic.name))]
        configs = await _configs(admin, [topic.name for topic in present])
    except KafkaError as error:
        raise Unavailable(f"Topics cannot be described: {error!r:.200}") from error
    found: list[Difference] = []
    for topic in topics:
        item = described.get(topic.name)
        if code := _error_of(item):
            found.append(_absent(topic, code))
            continue
        assert item is not None  # noqa: S101 - a missing one has an error code
        found += _partition_differences(topic, len(item["partitions"]))
        found += _config_differences(topic, configs.get(topic.name, {}))
    return found


def _error_of(item: Mapping[str, Any] | None) -> int:
    return UNKNOWN_TOPIC if item is None else int(item["error_code"])


def _absent(topic: Topic, code: int) -> Difference:
    if code == UNKNOWN_TOPIC:
        sentence = f"Topic {topic.name} does not exist; create it with `twilio-kafka topics apply`."
        return Difference(topic, sentence, missing=True)
    return Difference(topic, f"Topic {topic.name} cannot be described: {for_code(code).__name__}.")


def _partition_differences(topic: Topic, actual: int) -> list[Difference]:
    if not topic.exact or actual == topic.partitions:
        return []
    sentence = (
        f"Topic {topic.name} has {actual} partitions and kafka.partitions is {topic.partitions}: command, result and "
        f"journal topics must agree, or keys lose their order."
    )
    return [Difference(topic, sentence, growable=actual < topic.partitions)]


def _config_differences(topic: Topic, actual: Mapping[str, str]) -> list[Difference]:
    found = []
    for name in CHECKED:
        if name in topic.config and actual.get(name, topic.config[name]) != topic.config[name]:
            sentence = f"Topic {topic.name} has {name}={actual[name]}; it must be {topic.config[name]}."
            found.append(Difference(topic, sentence, config=True))
    retention = int(actual.get("retention.ms", "-1"))
    if topic.config is JOURNAL and 0 <= retention < DAY_MS:
        sentence = f"Topic {topic.name} keeps {retention} ms; the journal must outlive an outage: best 7 days."
        found.append(Difference(topic, sentence, config=True))
    return found


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


async def durability(kafka: KafkaSettings, topics: Sequence[Topic]) -> list[str]:
    """A sentence for each topic whose acknowledgement does not outlive the loss of a broker."""
    async with administration(kafka) as admin:
        configs = await _configs(admin, [topic.name for topic in topics])
    weak = sorted(name for name, config in configs.items() if int(config.get("min.insync.replicas", "1")) < 2)  # noqa: PLR2004
    if not weak:
        return []
    sentence = f"min.insync.replicas is 1 for {len(weak)} topics ({weak[0]} …)"
    return [f"{sentence}: an acknowledged record can be lost with its broker."]


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
    new = [NewTopic(t.name, t.partitions, t.replication_factor, topic_configs=dict(t.config)) for t in topics]
    try:
        response = await admin.create_topics(new)
    except KafkaError as error:
        raise Unavailable(f"Topics cannot be created: {error!r:.200}") from error
    for name, code, *message in response.topic_errors:
        if code not in (0, EXISTS):
            detail = next((text for text in message if text), for_code(code).__name__)
            raise Unavailable(f"Topic {name} cannot be created: {detail}")
    return [f"created {t.name} ({t.partitions} partitions, {t.replication_factor} replicas)" for t in topics]


async def _grow(admin: AIOKafkaAdminClient, topics: Sequence[Topic]) -> list[str]:
    if not topics:
        return []
    try:
        await admin.create_partitions({topic.name: NewPartitions(topic.partitions) for topic in topics})
    except KafkaError as error:
        raise Unavailable(f"Partitions cannot be added: {error!r:.200}") from error
    return [f"grew {topic.name} to {topic.partitions} partitions" for topic in topics]
