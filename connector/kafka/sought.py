"""Batches in which nothing is that is looked for: passed over as bytes, since making records of them takes far longer.

Whatever is in a record stands in its batch as it is, once that is decompressed; what is found may still be no match.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from aiokafka import codec

# Kafka, Message Format v2: the fields of a batch before its records.
HEAD = struct.Struct(">qiibIhi")
RECORDS_AT = 61
NEWEST_FORMAT = 2
CODEC, CONTROL = 0x07, 0x20
DECODERS = (None, codec.gzip_decode, codec.snappy_decode, codec.lz4_decode, codec.zstd_decode)

_needles: ContextVar[Sequence[bytes]] = ContextVar("needles", default=())


@contextmanager
def only(needles: Sequence[bytes]) -> Iterator[None]:
    """What clients that are started here read holds one of these, or shares a batch with something that does."""
    token = _needles.set(() if b"" in needles else tuple(needles))
    try:
        yield
    finally:
        _needles.reset(token)


def needles() -> Sequence[bytes]:
    """What the client of this task looks for; nothing when it reads everything."""
    return _needles.get()


class Passed:
    """A batch that is passed over, as far as the client asks about it. `next_offset`: that of the next batch."""

    producer_id = None
    is_control_batch = is_transactional = False

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset

    def validate_crc(self) -> bool:
        """Nothing of it is used."""
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(())


def passed(raw: bytes, start: int, end: int, needles: Sequence[bytes]) -> Passed | None:
    """The batch at raw[start:end] without its records; None when it has to be read."""
    if end - start < RECORDS_AT:
        return None
    base, _, _, version, _, attributes, last = HEAD.unpack_from(raw, start)
    if version != NEWEST_FORMAT or attributes & CONTROL or attributes & CODEC >= len(DECODERS):
        return None
    decode = DECODERS[attributes & CODEC]
    try:
        text, first, stop = (
            (raw, start + RECORDS_AT, end) if decode is None else _whole(decode(raw[start + RECORDS_AT : end]))
        )
    except Exception:  # noqa: BLE001 - the client says what is wrong with it
        return None
    return None if any(text.find(needle, first, stop) >= 0 for needle in needles) else Passed(base + last + 1)


def _whole(text: bytes) -> tuple[bytes, int, int]:
    return text, 0, len(text)
