"""What a search passes over unread: batches in which nothing is that is looked for, and none besides."""

import pytest
from aiokafka.structs import TopicPartition

from connector.events import Record
from connector.kafka import scanning, sought, topics
from connector.kafka.header_names import Fetched, PartitionRecords
from connector.kafka.produce import send
from connector.kafka.topics import Topic
from tests.executing import kafka_settings
from tests.test_header_names import ODD, batch

CODECS = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


def read(raw: bytes, *needles: bytes, aborted: list[tuple[int, int]] | None = None) -> tuple[list[int], int]:
    """The offsets of the records that are read, and where reading goes on."""
    with sought.only(needles):
        fetched = Fetched(raw)
    records = PartitionRecords(TopicPartition("topic", 0), fetched, aborted, 0, None, None, True, 1)  # noqa: FBT003 - the client's order
    return [record.offset for record in records], records.next_fetch_offset


@pytest.mark.parametrize("compression", CODECS)
def test_batches_without_what_is_looked_for_are_passed_over(compression: int) -> None:
    raw = b"".join(
        batch(first, names, compression=compression)
        for first, names in ((0, ["a", "b"]), (2, ["c", "needle"]), (4, ["d", "e"]), (6, ["thread"]), (7, ["f", "g"]))
    )
    assert read(raw, b"needle", b"thread") == ([2, 3, 6], 9)
    assert read(raw, b"none of them") == ([], 9)
    # Whoever looks for nothing, or for what is in everything, reads all of them.
    assert read(raw)[0] == read(raw, b"needle", b"")[0] == list(range(9))


def test_what_was_aborted_stays_unread_behind_what_is_passed_over() -> None:
    raw = batch(0, ["passed"], producer=9) + batch(1, ["needle"], producer=9) + batch(2, ["needle"])
    assert read(raw, b"needle", aborted=[(9, 0)]) == ([2], 3)


@pytest.mark.parametrize("compression", CODECS)
def test_odd_header_names_are_found_too(compression: int) -> None:
    raw = batch(0, ["a", "b"], compression=compression) + batch(2, ["needle", ODD], compression=compression)
    assert read(raw, b"needle") == ([2, 3], 4)


@pytest.mark.parametrize(("place", "value"), [(16, 1), (22, 7), (61, 0)], ids=["format", "codec", "records"])
def test_the_client_judges_what_cannot_be_searched(place: int, value: int) -> None:
    """A batch of another format, of a codec that nobody knows, or that cannot be decompressed."""
    raw = bytearray(batch(0, ["abc"] * 50, compression=1))
    assert sought.passed(bytes(raw), 0, len(raw), [b"needle"]) is not None
    raw[place] = value
    assert sought.passed(bytes(raw), 0, len(raw), [b"needle"]) is None


@pytest.mark.parametrize("compression", CODECS.values())
async def test_a_scan_finds_what_is_there_and_knows_how_far_it_is(kafka: str, prefix: str, compression: str) -> None:
    settings = kafka_settings(kafka, prefix, partitions=3).model_copy(update={"compression": compression})
    topic = f"{prefix}.scanned"
    await topics.apply(settings, [Topic(topic, 3, 1)])
    texts = [b"needle %d" % number if number % 100 == 7 else b"hay" * 50 for number in range(300)]
    await send(settings, *(Record(topic, b"%d" % number, text) for number, text in enumerate(texts)))
    found, read_ = [], 0
    async for portion in scanning.scan(settings, {topic: None, f"{prefix}.none": None}, needles=[b"needle"]):
        found += [bytes(record.value) for record in portion.records if b"needle" in record.value]
        read_ = portion.done
    assert sorted(found) == [b"needle 107", b"needle 207", b"needle 7"]
    assert read_ == portion.total == 300
