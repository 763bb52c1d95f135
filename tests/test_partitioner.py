"""Keys lie where Kafka's other clients put them."""

import pytest
from aiokafka.partitioner import murmur2 as of_the_client
from hypothesis import example, given
from hypothesis import strategies as st

from connector.kafka.sending.batches import murmur2, partition_of


@given(st.binary(max_size=300))
@example(b"")
@example(b"SM" + b"f" * 32)
def test_the_hash_equals_the_clients(key: bytes) -> None:
    assert murmur2(key) == of_the_client(key) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("key", "value"),
    # From Apache Kafka's own UtilsTest.testMurmur2.
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_the_hash_equals_javas(key: bytes, value: int) -> None:
    assert murmur2(key) == value & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_every_key_has_a_partition(key: bytes, count: int) -> None:
    assert 0 <= partition_of(key, count) < count
