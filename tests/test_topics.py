"""Topics: what is missing or wrong is said in a sentence each, and what can be made right is."""

from collections.abc import Mapping

import pytest
from aiokafka.admin import NewTopic

from connector.kafka import topics
from connector.kafka.clients import administration
from connector.kafka.topics import DAY_MS, Actual, Topic, weaknesses, wrong_partitions, wrong_settings
from connector.settings import KafkaSettings
from tests.executing import kafka_settings

COMMAND = Topic("t.commands.send-message", 6, 3, exact=True, purpose="command")
JOURNAL = Topic("t.journal", 6, 3, exact=True, purpose="journal", keep_ms=DAY_MS)
CURSORS = Topic("t.cursors", 6, 3, purpose="cursors")
EVENTS = Topic("t.messages", 6, 3)
LETTERS = Topic("t.dead-letters", 6, 3, purpose="dead-letters")
CONTROL = Topic("t.control", 1, 3, purpose="control")


def actual(config: Mapping[str, str], *, partitions: int = 6) -> Actual:
    return Actual(partitions, 3, config)


GOOD = {"cleanup.policy": "delete", "min.insync.replicas": "2", "retention.ms": str(7 * DAY_MS)}


@pytest.mark.parametrize(
    ("topic", "found", "sentence"),
    [
        (COMMAND, actual(GOOD), None),
        (COMMAND, actual({**GOOD, "cleanup.policy": "compact"}), "compacted"),
        (COMMAND, actual({**GOOD, "cleanup.policy": "compact,delete"}), "compacted"),
        (COMMAND, actual({**GOOD, "min.insync.replicas": "4"}), "nothing can be written"),
        (JOURNAL, actual(GOOD), None),
        (JOURNAL, actual({**GOOD, "retention.ms": "3600000"}), "retention.ms=3600000"),
        (JOURNAL, actual({**GOOD, "retention.ms": "-1"}), None),
        (CURSORS, actual({**GOOD, "cleanup.policy": "compact"}), None),
        (CURSORS, actual(GOOD), "set it to compact"),
        (CURSORS, actual({**GOOD, "cleanup.policy": "compact,delete"}), "set it to compact"),
        (EVENTS, actual({**GOOD, "cleanup.policy": "compact"}), None),
        (EVENTS, actual({}), None),
    ],
)
def test_settings_that_break_a_promise_are_named(topic: Topic, found: Actual, sentence: str | None) -> None:
    said = wrong_settings(topic, found)
    assert (said == []) if sentence is None else (len(said) == 1 and sentence in said[0] and topic.name in said[0])


@pytest.mark.parametrize(
    ("topic", "partitions", "sentence"),
    [
        (COMMAND, 6, None),
        (COMMAND, 5, "lose their order"),
        (COMMAND, 7, "lose their order"),
        (CURSORS, 7, None),
        (CURSORS, 5, "never run"),
        (EVENTS, 1, None),
    ],
)
def test_partitions_must_agree_where_keys_need_it(topic: Topic, partitions: int, sentence: str | None) -> None:
    said = wrong_partitions(topic, actual({}, partitions=partitions))
    assert said is None if sentence is None else said is not None and sentence in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"t.messages": {"min.insync.replicas": "1"}}, "lost with its broker"),
        ({"t.messages": {"min.insync.replicas": "3"}}, "while one broker is away"),
        ({"t.journal": {"unclean.leader.election.enable": "true"}}, "when leaders change"),
        ({"t.journal": {"retention.bytes": "1000"}}, "shorter than an outage"),
        ({"t.commands.send-message": {"retention.ms": "-1"}}, "answered unknown"),
        ({"t.commands.send-message": {"retention.ms": str(8 * DAY_MS)}}, "answered unknown"),
        ({"t.dead-letters": {"max.message.bytes": "1048588"}}, "left out"),
        ({"t.dead-letters": {"retention.ms": str(8 * DAY_MS)}}, "cannot be replayed without --again"),
        ({"t.dead-letters": {"retention.ms": "-1"}}, "cannot be replayed without --again"),
        ({"t.dead-letters": {"retention.ms": "-1"}, "t.control": {"retention.ms": "-1"}}, None),
    ],
)
def test_settings_that_weaken_a_promise_are_named(changes: Mapping[str, dict[str, str]], sentence: str | None) -> None:
    sizes = {"t.dead-letters": {"max.message.bytes": "1064972"}}
    topics_ = [COMMAND, JOURNAL, EVENTS, LETTERS, CONTROL]
    configs = {
        topic.name: {**GOOD, "max.message.bytes": "1048588", **sizes.get(topic.name, {}), **changes.get(topic.name, {})}
        for topic in topics_
    }
    found = {name: actual(config) for name, config in configs.items()}
    said = weaknesses(topics_, found)
    assert (said == []) if sentence is None else (len(said) == 1 and sentence in said[0])


def test_many_topics_with_one_weakness_are_one_sentence() -> None:
    found = {topic.name: actual({**GOOD, "min.insync.replicas": "1"}) for topic in (COMMAND, JOURNAL, EVENTS)}
    (said,) = weaknesses([COMMAND, JOURNAL, EVENTS], found)
    assert said.startswith("min.insync.replicas is 1 for 3 topics (t.commands.send-message …)")


# --- with Kafka -------------------------------------------------------------------------------------------------------
@pytest.fixture
def settings(kafka: str, prefix: str) -> KafkaSettings:
    return kafka_settings(kafka, prefix, partitions=2)


def _wanted(settings: KafkaSettings) -> list[Topic]:
    return topics.wanted(settings, events=["messages"], commands=["send-message"])


async def test_missing_topics_are_named_and_made_and_then_nothing_differs(settings: KafkaSettings) -> None:
    wanted = _wanted(settings)
    said = await topics.check(settings, wanted)
    assert len(said) == len(wanted)
    assert all("does not exist" in sentence and "topics apply" in sentence for sentence in said)
    done, left = await topics.apply(settings, wanted)
    assert (len(done), left) == (len(wanted), [])
    assert await topics.apply(settings, wanted) == ([], [])
    assert await topics.check(settings, wanted) == []


async def test_what_has_too_few_partitions_grows(settings: KafkaSettings) -> None:
    await topics.apply(settings, _wanted(settings))
    larger = settings.model_copy(update={"partitions": 3})
    assert any("lose their order" in sentence for sentence in await topics.check(larger, _wanted(larger)))
    done, left = await topics.apply(larger, _wanted(larger))
    assert left == []
    assert f"grew {settings.topic_prefix}.journal to 3 partitions" in done


async def test_what_has_the_wrong_settings_stays_and_is_named(settings: KafkaSettings) -> None:
    async with administration(settings) as admin:
        name = f"{settings.topic_prefix}.cursors"
        await admin.create_topics([NewTopic(name, 2, 1, topic_configs={"cleanup.policy": "delete"})])
    _, left = await topics.apply(settings, _wanted(settings))
    assert len(left) == 1
    assert name in left[0]


async def test_one_replica_is_a_weakness_that_is_told(settings: KafkaSettings) -> None:
    await topics.apply(settings, _wanted(settings))
    assert any("lost with its broker" in sentence for sentence in await topics.durability(settings, _wanted(settings)))
