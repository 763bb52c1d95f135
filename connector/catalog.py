"""What a configuration uses of Kafka: topics, rights, schemas; and whether the broker has them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from connector.errors import TopicsUnfit, Unavailable
from connector.kafka import diagnosis, rights, topics
from connector.kafka.topics import Topic
from connector.resources import CALLBACKS, COMMANDS, WATCHES
from connector.resources.rows import Watch
from connector.schemas import registry
from connector.settings import Loaded, Settings
from connector.telemetry.logs import logger

LISTED: Mapping[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}
"""What our schemas tell of a list by configuration."""

log = logger(__name__)


def watched_by(settings: Settings) -> list[Watch]:
    """The lists that have a topic: the standard ones, and those that the configuration watches."""
    return [*(row for row in WATCHES.values() if row.is_standard), *(watch.row for watch in settings.watches)]


def topics_of(settings: Settings) -> list[Topic]:
    """Every topic that this configuration uses."""
    events = dict.fromkeys([*(row.topic for row in watched_by(settings)), *(row.topic for row in CALLBACKS.values())])
    window = settings.commands.dedupe_window
    return topics.wanted(settings.kafka, events=events, commands=COMMANDS, dedupe_window=window)


def acls_of(settings: Settings, *, console: bool = True) -> list[rights.Acl]:
    """Every right on Kafka that this configuration needs."""
    uses = rights.Uses(
        roles=settings.roles,
        watched=list(dict.fromkeys(watch.row.topic for watch in settings.watches)),
        callbacks=list(dict.fromkeys(row.topic for row in CALLBACKS.values())),
        commands=list(COMMANDS),
        every=[topic.name.removeprefix(f"{settings.kafka.topic_prefix}.") for topic in topics_of(settings)],
        replies=settings.commands.reply_topics,
        stores_media=settings.commands.recording_store == "kafka",
    )
    return rights.needed(settings.kafka, uses, console=console)


def rights_of(settings: Settings) -> list[rights.Acl]:
    """The same as single rights to ask for: what the roles need, and what only the console does."""
    return [*acls_of(settings, console=False), *(acl for acl in acls_of(settings) if not acl.is_vital)]


def flows_of(settings: Settings) -> dict[str, str]:
    """Each topic that the console reads -> watched, callbacks, commands, results, or its own name."""
    prefix = settings.kafka.topic_prefix
    rows = watched_by(settings)
    events = dict.fromkeys([*(row.topic for row in CALLBACKS.values()), *(row.topic for row in rows)])
    watched = {f"{prefix}.{row.topic}" for row in rows}
    flows = {"command": "commands", "result": "results", "event": "callbacks"}
    named = topics.names(prefix, events=events, commands=COMMANDS)
    return {
        name: "watched" if name in watched else flows.get(purpose, purpose)
        for name, purpose in named.items()
        if purpose not in ("media", "forwarded", "checkpoints")
    }


@lru_cache(maxsize=1)
def command_schemas() -> Mapping[str, Any]:
    """The JSON Schema of each command's parameters."""
    from connector.schemas.documents import documents  # noqa: PLC0415 - a second of work, for the console's form only

    found = documents()
    return {name: found[f"commands/{name}.json"] for name in COMMANDS}


def schemas_of(settings: Settings) -> dict[str, Mapping[str, Any]]:
    """The JSON Schema of each topic of values that this configuration reads or writes."""
    from connector.schemas.documents import documents  # noqa: PLC0415 - a second of work, for a registry only

    watched = [watch.row for watch in settings.watches if "watch" in settings.roles]
    called = [row.topic for row in CALLBACKS.values() if "callbacks" in settings.roles]
    commanded = [
        f"{kind}/{name}" for kind in ("commands", "results") for name in COMMANDS if "commands" in settings.roles
    ]
    found = documents()
    topics = [*(row.topic for row in watched if row.is_published), *called]
    paths = dict.fromkeys([*(f"events/{topic}" for topic in topics), *commanded])
    prefix = settings.kafka.topic_prefix
    return {f"{prefix}.{row.topic}": LISTED for row in watched if not row.is_published} | {
        f"{prefix}.{path.removeprefix('events/').replace('/', '.')}": found[f"{path}.json"] for path in paths
    }


async def register_schemas(settings: Settings) -> None:
    """Tell the schema registry, if there is one. Raises ConfigurationError or Unavailable."""
    if settings.kafka.schema_registry is not None:
        await registry.register(settings.kafka.schema_registry, schemas_of(settings))


async def check_topics(settings: Settings, loaded: Loaded | None) -> None:
    """Raises TopicsUnfit when topics are missing or wrong, Unavailable when no broker answers."""
    wanted = topics_of(settings)
    try:
        denied = await rights.missing(settings.kafka, rights_of(settings))
        vital = rights.sentences([acl for acl in denied if acl.is_vital])
        problems = vital or await topics.check(settings.kafka, wanted)
    except Unavailable as error:
        cause = await diagnosis.cause(settings.kafka)
        if cause is None:
            raise
        origin = f"{loaded.origin(cause.path)}: " if loaded else ""
        raise Unavailable(f"{origin}{cause}") from error
    if problems:
        raise TopicsUnfit(problems)
    for sentence in rights.sentences(denied):
        log.info("rights", reason=sentence)
    # One replica is what the settings ask for in development.
    say = log.warning if settings.kafka.replication_factor > 1 else log.info
    for sentence in await topics.durability(settings.kafka, wanted):
        say("durability", reason=sentence)
