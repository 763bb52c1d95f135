"""Everything private of aiokafka that we use, each with a test that fails when a new version no longer has it.

`tests/test_aiokafka_internals.py` has the tests and sees to it that nothing private is used elsewhere. The wire
protocol's definitions (`aiokafka.protocol`), which no page documents either, are used where a request needs them.
"""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import create_conn
from aiokafka.consumer import fetcher
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder as BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchPy as BatchInPython
from aiokafka.record.memory_records import MemoryRecords

from connector.events import boot_seconds

__all__ = ["BatchBuilder", "BatchInPython", "MemoryRecords", "PartitionRecords", "create_conn"]

PartitionRecords = fetcher.PartitionRecords

# Of the protocol: the first version of a fetch that has sessions, and the last number of a fetch in a session.
FIRST_WITH_SESSIONS, LAST_EPOCH = 7, 2**31 - 1


# --- connections ------------------------------------------------------------------------------------------------------
class Connected(Protocol):
    """Our own producer, or one of the client's classes, all with the connections inside."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""


def connections(**options: Any) -> AIOKafkaClient:
    """Connections and metadata alone."""
    return AIOKafkaClient(**options)


def connections_of(client: Any) -> AIOKafkaClient:
    """What holds a client's connections and metadata."""
    is_aiokafkas = isinstance(client, AIOKafkaConsumer | AIOKafkaAdminClient)
    return client._client if is_aiokafkas else client.client


def pause_without_brokers(client: Connected, seconds: float) -> None:
    """Let the client wait this long after it has found no broker, before it asks again."""
    connections = connections_of(client)
    update = connections._metadata_update

    async def update_or_pause(*given: Any) -> bool:
        is_updated: bool = await update(*given)
        if not is_updated:
            await asyncio.sleep(seconds)
        return is_updated

    connections._metadata_update = update_or_pause


def use_context(client: Connected, context: ssl.SSLContext) -> None:
    """Use this context for the next connections."""
    connections_of(client)._ssl_context = context


def use_password(client: Connected, username: str | None, password: str | None) -> None:
    """Use these for the next connections."""
    connections = connections_of(client)
    connections._sasl_plain_username, connections._sasl_plain_password = username, password


async def count_of(connections: AIOKafkaClient, topic: str) -> int:
    """How many partitions the topic has. Raises what the client raises, after seconds when it does not exist."""
    return len(await connections._wait_on_metadata(topic))


async def ask(admin: AIOKafkaAdminClient, request: Any) -> Any:
    """The answer of any broker to a request that the client has no method for. Raises what the client raises."""
    return await admin._send_request(request)


async def partitions_of(consumer: AIOKafkaConsumer, topics: Iterable[str]) -> Mapping[str, list[int]]:
    """The partitions of those of these topics that exist; the public way knows only subscribed ones.

    Raises what the client raises. Takes seconds when one does not exist.
    """
    connections, found = connections_of(consumer), {}
    wanted = list(dict.fromkeys(topics))
    # All in one request.
    await connections.set_topics(wanted)
    for topic in wanted:
        try:
            found[topic] = sorted(await connections._wait_on_metadata(topic))
        except UnknownTopicOrPartitionError:
            continue
    return found


# --- batches ----------------------------------------------------------------------------------------------------------
CODECS: Mapping[str, int] = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
"""The batch format's number of each compression."""


# --- consumers --------------------------------------------------------------------------------------------------------
def read_with(records: type, partition_records: type) -> None:
    """Let every consumer of this process use these classes for what a fetch brings."""
    fetcher.MemoryRecords = records
    fetcher.PartitionRecords = partition_records


def position(consumer: AIOKafkaConsumer, where: TopicPartition) -> int | None:
    """Where the consumer reads on; None while that is not known. The public way may wait for it."""
    state = consumer._subscription.subscription.assignment.state_value(where)
    return state.position if state is not None and state.has_valid_position else None


def wait_for_records(consumer: AIOKafkaConsumer, milliseconds: int) -> None:
    """Let the broker wait so long for records from the next fetch on, before it answers that there are none."""
    consumer._fetcher._fetch_max_wait_ms = milliseconds


def note_known(consumer: AIOKafkaConsumer, known: Callable[[float], None]) -> None:
    """Tell when each request was sent whose answer shows that the group knows this member and is not rebalancing.

    By the clock never set. An accepted commit does not show as much: the group may be about to go on without us.
    """
    connections = connections_of(consumer)
    send = connections.send

    async def send_and_note(node: int, request: Any, **options: Any) -> Any:
        sent = boot_seconds()
        response = await send(node, request, **options)
        if isinstance(request, HeartbeatRequest | SyncGroupRequest) and not response.error_code:
            known(sent)
        return response

    connections.send = send_and_note


class _Session:
    """What a broker remembers of a consumer's partitions: each with the offset that was asked for (KIP-227).

    `assignment`: that of the consumer which it was begun for.
    """

    def __init__(self) -> None:
        self.id = self.epoch = 0
        self.assignment: object = None
        self.known: Mapping[tuple[str, int], Any] = {}

    def begin(self, assignment: object) -> None:
        """Name everything in the next fetch: the broker ends the session of this id, and begins another."""
        self.epoch, self.known, self.assignment = 0, {}, assignment

    def changes(self, whole: FetchRequest) -> "_Changes":
        """The request for the same that names what the broker does not know."""
        wanted = _partitions(whole)
        changed = {where: asked for where, asked in wanted.items() if self.known.get(where) != asked}
        left = {(topic, number): number for topic, number in self.known if (topic, number) not in wanted}
        return _Changes(whole, _by_topic(changed), (self.id, self.epoch, _by_topic(left)))

    def answered(self, whole: FetchRequest, response: Any) -> None:
        """Go on with what the broker has answered.

        It tells no id where it does not know the session any more, has no room for one, or is of old.
        """
        self.id = getattr(response, "session_id", 0)
        self.epoch, self.known = (self.epoch % LAST_EPOCH + 1, _partitions(whole)) if self.id else (0, {})


class _Changes(FetchRequest):  # type: ignore[misc]  # untyped in the library
    """A fetch that names what has changed since the one before."""

    def __init__(self, whole: FetchRequest, topics: Any, session: tuple[int, int, Any]) -> None:
        self.__dict__.update(whole.__dict__)
        self._topics = topics
        self._session = session

    def build(self, request_struct_class: Any) -> Any:
        """The request in a version of the protocol; before the seventh there are no sessions."""
        request = super().build(request_struct_class)
        if request_struct_class.API_VERSION >= FIRST_WITH_SESSIONS:
            names = ("session_id", "session_epoch", "forgotten_topics_data")
            request.__dict__.update(zip(names, self._session, strict=True))
        return request


def _partitions(whole: FetchRequest) -> Mapping[tuple[str, int], Any]:
    return {(topic, asked[0]): asked for topic, partitions in whole.topics for asked in partitions}


def _by_topic(found: Mapping[tuple[str, int], Any]) -> list[tuple[str, list[Any]]]:
    topics: dict[str, list[Any]] = defaultdict(list)
    for (topic, _), asked in found.items():
        topics[topic].append(asked)
    return list(topics.items())


def fetch_changes(consumer: AIOKafkaConsumer) -> None:
    """Let the brokers remember what this consumer reads: a fetch names and brings only what has changed.

    For a consumer that lives long: a broker remembers a thousand of them.
    """
    connections = connections_of(consumer)
    send, sessions = connections.send, defaultdict[int, _Session](_Session)

    async def send_changes(node: int, request: Any, **options: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return await send(node, request, **options)
        session, assignment = sessions[node], consumer._subscription.subscription.assignment
        # What was told to another assignment is not known in this one.
        if session.assignment is not assignment:
            session.begin(assignment)
        try:
            response = await send(node, session.changes(request), **options)
        except BaseException:
            # Whether the broker has read it is not known.
            session.begin(None)
            raise
        session.answered(request, response)
        return response

    connections.send = send_changes
