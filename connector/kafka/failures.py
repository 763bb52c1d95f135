"""What a failure of Kafka's client means, as one of our errors.

A record that Kafka refuses for whatever reason ends one write: Unwritable. A producer that the broker refuses ends its
owner: Superseded. Everything else passes, or an operator must act: Unavailable.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors
from aiokafka.errors import BrokerResponseError, KafkaError, ProducerFenced

from connector.errors import ConnectorError, Superseded, Unavailable, Unwritable


class InvalidRecordError(BrokerResponseError):  # type: ignore[misc]  # untyped in the library
    """The broker's validation of a record failed: it has no key and its topic is compacted, say."""

    errno = 87
    message = "INVALID_RECORD"


class NewerProducerError(ProducerFenced, BrokerResponseError):  # type: ignore[misc]  # untyped in the library
    """A newer producer has the transactional id."""

    errno = 90
    message = "PRODUCER_FENCED"


class UnsupportedCompressionError(BrokerResponseError):  # type: ignore[misc]  # untyped in the library
    """The topic does not take records in this compression."""

    errno = 76
    message = "UNSUPPORTED_COMPRESSION_TYPE"


class TransactionAbortableError(BrokerResponseError):  # type: ignore[misc]  # untyped in the library
    """The transaction has failed and may be begun again (KIP-890)."""

    errno = 120
    message = "TRANSACTION_ABORTABLE"


ADDED = (InvalidRecordError, NewerProducerError, UnsupportedCompressionError, TransactionAbortableError)
# The client takes a code that it does not know for UnknownError.
errors.kafka_errors.update({error.errno: error for error in ADDED})

# Refusals of these records by any broker and for any producer: the same records would be refused again.
REFUSED = (
    # What the broker has no word for, or the client does not know. Retried for ever it would stop a partition.
    errors.UnknownError,
    # Also what an older broker says of a record without a key for a compacted topic.
    errors.CorruptRecordException,
    errors.InvalidRequestError,
    errors.InvalidTimestampError,
    errors.InvalidTopicError,
    errors.MessageSizeTooLargeError,
    errors.PolicyViolationError,
    errors.RecordListTooLargeError,
    errors.TopicAuthorizationFailedError,
    errors.UnknownTopicOrPartitionError,
    errors.UnsupportedForMessageFormatError,
    InvalidRecordError,
    UnsupportedCompressionError,
)
OF_THE_TOPIC = (
    errors.InvalidTopicError,
    errors.TopicAuthorizationFailedError,
    errors.UnknownTopicOrPartitionError,
    errors.UnsupportedForMessageFormatError,
    UnsupportedCompressionError,
)
# The client's own: a partition that the topic does not have, a value that is not bytes.
CHECKS = (AssertionError, OverflowError, TypeError, ValueError)
FENCED = (ProducerFenced, errors.InvalidProducerEpoch)


def of_write(what: str, error: BaseException, *, topic: str | None = None) -> ConnectorError:
    """Why a write has failed; `what` begins the sentence, `topic` is that of the records, where it is known."""
    if isinstance(error, FENCED):
        return Superseded(f"{what}: taken over by another owner, or the transaction timed out.")
    sentence = f"{what}: {error!r:.200}"
    if isinstance(error, REFUSED):
        return Unwritable(sentence, topic=topic, is_of_topic=isinstance(error, OF_THE_TOPIC))
    return Unavailable(sentence)


def of_record(topic: str, error: Exception) -> Exception:
    """Why a record of this topic cannot be written. What no record is the reason of is left as it is."""
    if isinstance(error, KafkaError):
        return of_write(f"Topic {topic}", error, topic=topic)
    if isinstance(error, CHECKS):
        return Unwritable(f"Topic {topic}: {error!r:.200}", topic=topic)
    return error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Kafka's exceptions as Superseded, Unwritable or Unavailable."""
    with _ended(what):
        try:
            yield
        except (KafkaError, OSError, TimeoutError, AssertionError) as error:
            raise of_write(what, error) from error


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Kafka's exceptions as Unavailable."""
    with _ended(what):
        try:
            yield
        except (KafkaError, OSError, TimeoutError) as error:
            raise Unavailable(f"{what}: {error!r:.200}") from error


@contextmanager
def _ended(what: str) -> Iterator[None]:
    """The client raises CancelledError of its own when it ends its inner tasks: that does not cancel the caller."""
    try:
        yield
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise Unavailable(f"{what}: the client has ended.") from error


def is_cancelled() -> bool:
    """Whether the running task is to end, rather than something that it awaits."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
