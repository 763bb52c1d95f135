"""The rights that a configuration needs on Kafka, none of them in vain. Pure.

What each role reads and writes, said once: `topics list --acls` prints it, the start compares it with what the broker
allows, and doctor explains it. Read and Write include Describe (Kafka's authorizer).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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
    for purpose, names, operations in _of_topics(uses):
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


def _of_topics(uses: Uses) -> Iterator[Need]:
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


def missing(acls: Sequence[Acl]) -> list[str]:
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
