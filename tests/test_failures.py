"""What Kafka refuses ends one write; every error of the client has its meaning."""

from collections.abc import Iterator

import pytest
from aiokafka import errors
from aiokafka.errors import KafkaError, for_code

from connector.errors import Superseded, Unavailable, Unwritable
from connector.events import Record
from connector.kafka import failures, topics
from connector.kafka.topics import Topic
from connector.kafka.transactions import Transactions
from tests.executing import kafka_settings
from tests.running import read_all

REFUSED = """
    UnknownError CorruptRecordException UnknownTopicOrPartitionError MessageSizeTooLargeError InvalidTopicError
    RecordListTooLargeError TopicAuthorizationFailedError InvalidTimestampError InvalidRequestError
    UnsupportedForMessageFormatError PolicyViolationError InvalidRecordError UnsupportedCompressionError
"""
FENCED = "ProducerFenced InvalidProducerEpoch NewerProducerError"
PASSING = """
    KafkaError IllegalStateError IllegalArgumentError NoBrokersAvailable NodeNotReadyError
    KafkaProtocolError CorrelationIdError Cancelled TooManyInFlightRequests StaleMetadata
    MetadataEmptyBrokerList UnrecognizedBrokerVersion IncompatibleBrokerVersion CommitFailedError
    AuthenticationMethodNotSupported AuthenticationFailedError KafkaUnavailableError KafkaTimeoutError
    KafkaConnectionError UnsupportedCodecError KafkaConfigurationError QuotaViolationError
    NoOffsetForPartitionError RecordTooLargeError ProducerClosed BrokerResponseError NoError
    OffsetOutOfRangeError InvalidFetchRequestError LeaderNotAvailableError NotLeaderForPartitionError
    RequestTimedOutError BrokerNotAvailableError ReplicaNotAvailableError StaleControllerEpochError
    OffsetMetadataTooLargeError StaleLeaderEpochCodeError GroupLoadInProgressError
    GroupCoordinatorNotAvailableError NotCoordinatorForGroupError NotEnoughReplicasError
    NotEnoughReplicasAfterAppendError InvalidRequiredAcksError IllegalGenerationError
    InconsistentGroupProtocolError InvalidGroupIdError UnknownMemberIdError InvalidSessionTimeoutError
    RebalanceInProgressError InvalidCommitOffsetSizeError GroupAuthorizationFailedError
    ClusterAuthorizationFailedError UnsupportedSaslMechanismError IllegalSaslStateError
    UnsupportedVersionError TopicAlreadyExistsError InvalidPartitionsError InvalidReplicationFactorError
    InvalidReplicationAssignmentError InvalidConfigurationError NotControllerError OutOfOrderSequenceNumber
    DuplicateSequenceNumber InvalidTxnState InvalidProducerIdMapping InvalidTransactionTimeout
    ConcurrentTransactions TransactionCoordinatorFenced TransactionalIdAuthorizationFailed SecurityDisabled
    OperationNotAttempted KafkaStorageError LogDirNotFound SaslAuthenticationFailed UnknownProducerId
    ReassignmentInProgress DelegationTokenAuthDisabled DelegationTokenNotFound DelegationTokenOwnerMismatch
    DelegationTokenRequestNotAllowed DelegationTokenAuthorizationFailed DelegationTokenExpired
    InvalidPrincipalType NonEmptyGroup GroupIdNotFound FetchSessionIdNotFound InvalidFetchSessionEpoch
    ListenerNotFound MemberIdRequired
    TransactionAbortableError
"""
MEANINGS = {
    **dict.fromkeys(REFUSED.split(), Unwritable),
    **dict.fromkeys(FENCED.split(), Superseded),
    **dict.fromkeys(PASSING.split(), Unavailable),
}


def _kinds(kind: type[KafkaError] = KafkaError) -> Iterator[type[KafkaError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def _known() -> dict[str, type[KafkaError]]:
    modules = (errors.__name__, failures.__name__)
    return {kind.__name__: kind for kind in _kinds() if kind.__module__ in modules}


def test_every_error_of_the_client_has_a_meaning() -> None:
    """A new version of the client may bring new ones: decide what they mean."""
    assert _known().keys() == MEANINGS.keys()


@pytest.mark.parametrize("name", MEANINGS)
def test_an_error_means_what_the_table_says(name: str) -> None:
    with pytest.raises(MEANINGS[name]) as found, failures.writing("A write failed"):
        raise _known()[name]
    assert type(found.value) is MEANINGS[name]
    with pytest.raises(Unavailable), failures.reading("A read failed"):
        raise _known()[name]


@pytest.mark.parametrize("error", [OSError("reset"), TimeoutError(), AssertionError("state")])
def test_what_is_no_answer_of_kafka_passes(error: Exception) -> None:
    with pytest.raises(Unavailable), failures.writing("A write failed"):
        raise error


@pytest.mark.parametrize(
    ("code", "meaning"), [(87, Unwritable), (90, Superseded), (120, Unavailable), (999, Unwritable)]
)
def test_a_code_that_the_client_does_not_know_has_a_meaning(code: int, meaning: type[Exception]) -> None:
    assert type(failures.of_write("A write failed", for_code(code)())) is meaning


@pytest.mark.parametrize(
    ("config", "record"),
    [
        ({"cleanup.policy": "compact"}, (None, b"no key")),
        ({"max.message.bytes": "100"}, (b"key", b"x" * 200)),
    ],
    ids=["no key on a compacted topic", "larger than the topic takes"],
)
async def test_a_record_that_a_topic_does_not_take_is_unwritable(
    config: dict[str, str], record: tuple[bytes | None, bytes], kafka: str, prefix: str
) -> None:
    settings = kafka_settings(kafka, prefix)
    await topics.apply(settings, [Topic(f"{prefix}.picky", 1, 1, config), Topic(f"{prefix}.plain", 1, 1)])
    transactions = Transactions(settings, f"{prefix}-0")
    await transactions.open()
    try:
        with pytest.raises(Unwritable):
            await transactions.write([Record(f"{prefix}.plain", b"k", b"with it"), Record(f"{prefix}.picky", *record)])
        await transactions.open()
        await transactions.write([Record(f"{prefix}.plain", b"k", b"after it")])
    finally:
        await transactions.close()
    assert [found.value for found in await read_all(kafka, f"{prefix}.plain")] == [b"after it"]
