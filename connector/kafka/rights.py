"""The rights that a configuration needs on Kafka, none of them in vain, and what the broker allows us.

What each role reads and writes, said once: `topics list --acls` prints it, the start compares it with what the broker
allows, and doctor explains it. Read and Write include Describe (Kafka's authorizer). What is allowed is asked without
trying: authorized operations of topics, and who may find a coordinator.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from connector.kafka import aiokafka_internals
from connector.kafka.clients import administration
from connector.kafka.topics import FORWARDED_COMMANDS
from connector.settings import KafkaSettings

Resource = Literal["topic", "group", "transactional-id"]
Operation = Literal["Read", "Write", "Describe", "DescribeConfigs"]
Purpose = Literal["start", "watch", "callbacks", "commands", "console"]
"""`start`: whatever the role; `console`: what is only shown or done there, or by hand on the command line."""

READ: tuple[Operation, ...] = ("Read",)
WRITE: tuple[Operation, ...] = ("Write",)
BOTH: tuple[Operation, ...] = ("Read", "Write")
# Of no use to people: what the console reads is what they read.
UNSHOWN = (FORWARDED_COMMANDS, "checkpoints")
LOOK: tuple[Operation, ...] = ("Describe", "DescribeConfigs")


@dataclass(frozen=True, slots=True)
class Acl:
    """One line: who has this may do `operation` on the resource `name`, or on all that begin so (`prefixed`)."""

    resource: Resource
    name: str
    operation: Operation
    purposes: tuple[Purpose, ...]
    prefixed: bool = False

    @property
    def is_vital(self) -> bool:
        """Whether a role needs it."""
        return self.purposes != ("console",)


@dataclass(frozen=True, slots=True)
class Uses:
    """What a configuration has: topics by what they are for, without the prefix. `replies` are patterns of topics."""

    roles: Sequence[str]
    watched: Sequence[str]
    callbacks: Sequence[str]
    commands: Sequence[str]
    every: Sequence[str]
    replies: Sequence[str] = ()
    stores_media: bool = True


Need = tuple[Purpose, Iterable[str], tuple[Operation, ...]]


def needed(kafka: KafkaSettings, uses: Uses, *, console: bool = True) -> list[Acl]:
    """Every right, by resource and name; `console` False leaves out what only the console needs."""
    found: dict[tuple[str, Operation], list[Purpose]] = {}
    for purpose, names, operations in _needs_of_topics(uses):
        if purpose in ("start", *uses.roles) or (purpose == "console" and console):
            for name in names:
                for operation in operations:
                    found.setdefault((name, operation), []).append(purpose)
    implied = {name for name, operation in found if operation in ("Read", "Write")}
    topics = [
        Acl("topic", f"{kafka.topic_prefix}.{name}", operation, tuple(dict.fromkeys(purposes)))
        for (name, operation), purposes in sorted(found.items())
        if operation != "Describe" or name not in implied
    ]
    # One for all who replay dead letters: each ends the one before.
    replaying = [Acl("transactional-id", f"{kafka.topic_prefix}-replay", "Write", ("console",))] if console else []
    return [*topics, *_of_replies(uses), *_of_groups(kafka, uses), *replaying]


def _needs_of_topics(uses: Uses) -> Iterator[Need]:
    commands = [f"commands.{name}" for name in uses.commands]
    results = [f"results.{name}" for name in uses.commands]
    media = ["recording-media"]
    yield "start", uses.every, LOOK
    yield "watch", uses.watched, WRITE
    yield "watch", ["cursors", "control"], BOTH
    yield "watch", ["dead-letters"], WRITE
    yield "callbacks", uses.callbacks, WRITE
    yield "commands", commands, READ
    # Commands are sent on to the partition where those of their key or id meet; a repeat reads the first result.
    yield "commands", [FORWARDED_COMMANDS, *results, "journal", "checkpoints"], BOTH
    yield "commands", ["dead-letters", *(media if uses.stores_media else [])], WRITE
    yield "console", [name for name in uses.every if name not in (*media, *UNSHOWN)], READ
    yield "console", [*commands, "control"], WRITE


def _of_replies(uses: Uses) -> Iterator[Acl]:
    """A pattern with a wild card inside has no ACL of its own: what is before it is the prefix."""
    if "commands" in uses.roles:
        for pattern in uses.replies:
            fixed = next((pattern[:place] for place, sign in enumerate(pattern) if sign in "*?["), pattern)
            yield Acl("topic", fixed or "*", "Write", ("commands",), prefixed=bool(fixed) and fixed != pattern)


def _of_groups(kafka: KafkaSettings, uses: Uses) -> Iterator[Acl]:
    for role, group in (("watch", "watch"), ("commands", "command")):
        if role in uses.roles:
            name = f"{kafka.topic_prefix}-{group}"
            purpose: Purpose = "watch" if role == "watch" else "commands"
            yield Acl("group", name, "Read", (purpose,))
            yield Acl("transactional-id", f"{name}-", "Write", (purpose,), prefixed=True)


def command(acl: Acl, *, principal: str, bootstrap_servers: str) -> str:
    """The line for kafka-acls.sh that grants it."""
    pattern = "prefixed" if acl.prefixed else "literal"
    return (
        f"kafka-acls.sh --bootstrap-server {bootstrap_servers} --add --allow-principal '{principal}' "
        f"--operation {acl.operation} --{acl.resource} '{acl.name}' --resource-pattern-type {pattern}"
    )


def sentences(acls: Sequence[Acl]) -> list[str]:
    """One sentence for each resource on which these rights are missing."""
    by_resource: dict[tuple[str, str], list[Acl]] = {}
    for acl in acls:
        by_resource.setdefault((acl.resource, acl.name), []).append(acl)
    return [_sentence(found) for found in by_resource.values()]


def _sentence(acls: Sequence[Acl]) -> str:
    first = acls[0]
    operations = " and ".join(acl.operation for acl in acls)
    where = f"{first.resource.replace('-', ' ')}{'s that begin with' if first.prefixed else ''} {first.name}"
    purposes = ", ".join(dict.fromkeys(purpose for acl in acls for purpose in acl.purposes))
    remedy = "`twilio-kafka topics list --acls` prints the ACL"
    return f"{operations} on {where} is not allowed to us ({purposes}); {remedy}."


ANSWER_SECONDS = 10.0
# Kafka, AclOperation: the code of each, which is its bit among the authorized operations (KIP-430).
BITS: Mapping[str, int] = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
UNKNOWN_TOPIC = 3
TOPIC_DENIED, GROUP_DENIED, TRANSACTIONAL_ID_DENIED = 29, 30, 53
COORDINATORS: Mapping[str, tuple[int, int]] = {
    "group": (0, GROUP_DENIED),
    "transactional-id": (1, TRANSACTIONAL_ID_DENIED),
}


class _MetadataResponse(Response):  # type: ignore[misc]  # untyped in the library
    """Version 8, which tells what is allowed; the client's own is older."""

    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            Array(("node_id", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8"))),
        ),
        ("cluster_id", String("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", String("utf-8")),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]  # untyped in the library
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]  # untyped in the library
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = list(topics)

    def build(self, struct: type[_MetadataStruct]) -> Any:
        """The request of the version that the broker knows."""
        return struct(self._topics, False, False, True)  # noqa: FBT003 - the protocol's order


async def missing(kafka: KafkaSettings, acls: Sequence[Acl]) -> list[Acl]:
    """Which of these rights the broker does not give us.

    None when it is too old to tell (before Kafka 2.3). Raises Unavailable when no broker answers.
    """
    async with administration(kafka) as admin:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return [*await _of_topics(admin, acls), *await _of_coordinators(admin, kafka, acls)]
        except (KafkaError, NotImplementedError, TimeoutError):
            return []


async def _of_topics(admin: AIOKafkaAdminClient, acls: Sequence[Acl]) -> list[Acl]:
    wanted = [acl for acl in acls if acl.resource == "topic" and not acl.prefixed and acl.name != "*"]
    response = await aiokafka_internals.ask(admin, _MetadataRequest(list(dict.fromkeys(acl.name for acl in wanted))))
    # The check of topics reports what does not exist.
    allowed = {
        topic["topic"]: 0 if topic["error_code"] == TOPIC_DENIED else topic["authorized_operations"]
        for topic in response.to_object()["topics"]
        if topic["error_code"] != UNKNOWN_TOPIC
    }
    return [acl for acl in wanted if acl.name in allowed and not allowed[acl.name] >> BITS[acl.operation] & 1]


async def _of_coordinators(admin: AIOKafkaAdminClient, kafka: KafkaSettings, acls: Sequence[Acl]) -> list[Acl]:
    """Finding the coordinator takes Describe, which only comes with the right that we need."""
    found = []
    for acl in acls:
        if acl.resource in COORDINATORS:
            kind, denied = COORDINATORS[acl.resource]
            # Any partition has a transactional id of this kind.
            key = f"{acl.name}{kafka.partitions - 1}" if acl.prefixed else acl.name
            response = await aiokafka_internals.ask(admin, FindCoordinatorRequest(key, kind))
            found += [acl] if response.error_code == denied else []
    return found
