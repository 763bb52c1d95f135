"""Header names that are not UTF-8: such a record is read with escapes, and no other one is lost or repeated."""

import pytest
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.memory_records import _MemoryRecordsPy
from aiokafka.structs import TopicPartition

from connector.kafka import clients  # noqa: F401 - installs it
from connector.kafka.header_names import Fetched, PartitionRecords
from tests.odd_commands import HeaderName

ODD = HeaderName(b"\xffname".hex())


def batch(first: int, names: list[str], *, compression: int = 0, producer: int = -1) -> bytes:
    """The bytes of a batch with a record for each header name, from this offset on."""
    builder = _DefaultRecordBatchBuilderPy(2, compression, int(producer >= 0), producer, 0, 0, 1_000_000)
    for number, name in enumerate(names):
        builder.append(number, 1, None, b"%d" % (first + number), [("fine", None), (name, b"x")])
    return first.to_bytes(8, "big") + bytes(builder.build())[8:]


def read(raw: bytes, *, start: int = 0, aborted: list[tuple[int, int]] | None = None) -> list[tuple[int, bytes, str]]:
    """Offset, value and name of the second header of each record."""
    place = TopicPartition("topic", 0)
    records = PartitionRecords(place, Fetched(raw), aborted, start, None, None, True, 1)  # noqa: FBT003 - the client's order
    return [(record.offset, record.value, record.headers[1][0]) for record in records]


@pytest.mark.parametrize("compression", [0, 1, 4])
def test_a_record_with_an_odd_name_is_read_with_escapes_and_so_are_its_neighbours(compression: int) -> None:
    names = ["a", "b", ODD, "c"]
    raw = batch(0, ["first"]) + batch(1, names, compression=compression) + batch(5, ["d", ODD]) + batch(7, ["last"])
    assert read(raw) == [
        (0, b"0", "first"),
        (1, b"1", "a"),
        (2, b"2", "b"),
        (3, b"3", r"\xffname"),
        (4, b"4", "c"),
        (5, b"5", "d"),
        (6, b"6", r"\xffname"),
        (7, b"7", "last"),
    ]


def test_what_was_read_before_is_not_read_again() -> None:
    assert [offset for offset, _, _ in read(batch(2, ["seen", "new", ODD]), start=3)] == [3, 4]


def test_what_was_aborted_is_not_read() -> None:
    raw = batch(0, ["aborted", ODD], producer=9) + batch(2, ["a", ODD]) + batch(4, ["aborted", ODD], producer=9)
    assert [offset for offset, _, _ in read(raw, aborted=[(9, 0)])] == [2, 3]


def test_the_parser_in_python_is_helped_too() -> None:
    fetched = Fetched(batch(0, ["a", ODD, "b"]))
    fetched._batches = _MemoryRecordsPy(fetched._raw)
    records = PartitionRecords(TopicPartition("topic", 0), fetched, None, 0, None, None, True, 1)  # noqa: FBT003 - the same
    assert [record.offset for record in records] == [0, 1, 2]


def test_every_consumer_reads_so() -> None:
    assert fetcher.PartitionRecords is PartitionRecords
    assert fetcher.MemoryRecords is Fetched
