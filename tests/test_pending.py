"""What the headers of a command say: identities are bytes, the last header of a name counts."""

from collections.abc import Sequence
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.events import identity, shown, text_of
from connector.executor.command import Command, command_of


def command(*headers: tuple[str, bytes | None], milliseconds: int = 0) -> Command:
    """A command with these headers."""
    return command_of(
        topic="t.commands.send-message",
        partition=1,
        offset=2,
        key=b"key",
        value=b"{}",
        headers=headers,
        milliseconds=milliseconds,
        command="send-message",
    )


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"order-7", "order-7"),
        ("Größe 😀".encode(), "Größe 😀"),
        (b" ", " "),
        ((128).to_bytes(8, "big"), "0000000000000080"),
        ((65).to_bytes(8, "big"), "0000000000000041"),
        (b"\xff", "ff"),
        (b"a\nb", "610a62"),
        ("\u009b".encode(), "c29b"),
        (b"\xed\xa0\xbd", "eda0bd"),
        (bytes(16), "00000000-0000-0000-0000-000000000000"),
        (UUID(int=2**127 + 5).bytes, str(UUID(int=2**127 + 5))),
        (b"sixteen letters!", "sixteen letters!"),
        (b"sixteen letters\n", str(UUID(bytes=b"sixteen letters\n"))),
    ],
)
def test_an_id_is_text_where_it_is_text_else_a_uuid_or_hexadecimal(raw: bytes, text: str) -> None:
    assert identity(raw) == text
    found = command(("id", raw))
    assert (found.id, found.explicit) == (text, True)


@given(st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
def test_other_bytes_are_another_identity(one: bytes, other: bytes) -> None:
    same = identity(one) == identity(other)
    # A caller may write as text what stands for bytes: whoever types them means them.
    typed = {text_of(one), text_of(other)} != {None} and one != other
    assert same == (one == other) or (same and typed)


@given(st.lists(st.tuples(st.sampled_from(["id", "ce_id"]), st.none() | st.binary(max_size=6)), max_size=6))
def test_the_last_header_of_a_name_counts(headers: Sequence[tuple[str, bytes | None]]) -> None:
    last = dict(headers)
    counts = last.get("id") or last.get("ce_id")
    assert command(*headers).id == (identity(counts) if counts else "t.commands.send-message/1/2")


@pytest.mark.parametrize(
    ("raw", "number"),
    [(b"\0\0\0\0", 0), (b"\0\0\1\2", 258), (b"7", 7), (b"1234", 1234), (b"0000000012", 12)],
)
def test_spring_s_partition_is_an_integer_of_java_s_or_its_digits(raw: bytes, number: int) -> None:
    found = command(("kafka_replyPartition", raw), ("kafka_replyTopic", b"replies"))
    assert (found.reply_to, found.reply_partition, found.problem) == ("replies", number, None)
    assert dict(found.echoed) == {"kafka_replyPartition": raw, "kafka_replyTopic": b"replies"}


@pytest.mark.parametrize(
    ("name", "raw", "sentence"),
    [
        ("id", b"x" * 257, "header id: has 257 characters, 256 are the most."),
        ("id", b"\xff" * 129, "header id: has 258 characters, 256 are the most."),
        ("correlation-id", b"x" * 900_000, "header correlation-id: has 900000 characters, 256 are the most."),
        ("connection", b"default\xff", r"header connection: b'default\xff' is not text."),
        ("connection", b"x" * 900_000, "header connection: has 900000 bytes, 256 are the most."),
        ("reply-to", b"\x1b]0;title\x07", r"header reply-to: b'\x1b]0;title\x07' is not text."),
        ("kafka_replyTopic", b"\xff", r"header kafka_replyTopic: b'\xff' is not text."),
        ("kafka_replyPartition", b"\xff" * 4, "is not the number of a partition."),
        ("kafka_replyPartition", b"12345678901", "is not the number of a partition."),
        ("kafka_replyPartition", b"-1", "is not the number of a partition."),
        ("expires-at", b"\xff", r"header expires-at: b'\xff' is not text."),
    ],
)
def test_what_a_header_cannot_mean_is_said_in_a_sentence(name: str, raw: bytes, sentence: str) -> None:
    found = command((name, raw), ("reply-to", b"replies") if name != "reply-to" else ("x", b""))
    assert sentence in str(found.problem)
    assert found.reply_to is None
    assert len(found.problem or "") < 400
    assert len(found.id) <= 256


def test_a_timestamp_may_be_any_number() -> None:
    for milliseconds in (-(2**63), -1, 0, 2**63 - 1):
        assert command(milliseconds=milliseconds).received.tzinfo is not None


def test_bytes_in_a_sentence_are_quoted_escaped_and_bounded() -> None:
    assert shown("caf\u00e9".encode()) == "'café'"
    assert shown("a\u202eb".encode()) == r"'a\u202eb'"
    assert shown(b"x" * 100, longest=3) == "'xxx'…"
    assert shown(b"\xff" * 100, longest=2) == r"b'\xff\xff'…"
