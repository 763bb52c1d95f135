"""Commands that lie in another partition than the one of their key or id are sent on, in their order. Pure.

They are sent on through a topic that only owners of partitions write. So what tells that a command was sent on, and
from where, is nothing that a caller can write: on a command topic the same header means nothing.
"""

import re
from collections.abc import Container
from dataclasses import dataclass

from connector.events import Position, Record
from connector.executor.ids import partition_of_id
from connector.executor.pending import Pending, RawHeaders
from connector.kafka.produce import partition_of
from connector.kafka.topics import FORWARDED_COMMANDS

NAME = FORWARDED_COMMANDS
"""The topic without its prefix, and what its commands are counted as until it is read which they are."""
HEADER = "forwarded-from"
_ORIGIN = re.compile(rb"([A-Za-z0-9._-]{1,249})/([0-9]{1,9})/([0-9]{1,18})/(-?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class Origin:
    """The record as its caller wrote it: its position, its timestamp in milliseconds, and its headers."""

    position: Position
    milliseconds: int
    headers: RawHeaders


def partition_of_command(command: Pending, count: int) -> int:
    """The partition, of `count`, where this command belongs.

    Commands of one key meet in the partition that Kafka's default partitioner (murmur2) gives it, whatever partitioner
    their producers have; those of one id and without a key in that of the id. Any other stays where it is.
    """
    if command.key is not None:
        return partition_of(command.key, count)
    return partition_of_id(command.id, count) if command.explicit else command.partition


def forwarded_record(command: Pending, *, prefix: str, partition: int) -> Record:
    """The command byte for byte, for the owner of that partition; the last header says where it came from."""
    origin = origin_text(command.position, command.milliseconds).encode()
    # Kafka knows headers without a value, and they are kept as they are.
    headers: list[tuple[str, bytes]] = [*command.headers, (HEADER, origin)]  # type: ignore[list-item]
    return Record(f"{prefix}.{NAME}", command.key, command.value, headers, partition=partition)


def origin_text(position: Position, milliseconds: int) -> str:
    """Where and when a caller wrote a record, as `origin_of` reads it."""
    return "/".join(map(str, (*position, milliseconds)))


def origin_of(headers: RawHeaders, topics: Container[str]) -> Origin | None:
    """Where a record of the forwarded commands came from; None when no owner can have written it."""
    name, value = headers[-1] if headers else ("", None)
    found = _ORIGIN.fullmatch(value or b"") if name == HEADER else None
    if found is None or (topic := found[1].decode()) not in topics:
        return None
    position = Position(topic, int(found[2]), int(found[3]))
    return Origin(position, int(found[4]), headers[:-1])
