"""What a commit says beside its offset, as the text that Kafka keeps with it. Pure."""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

VERSION = "1"
# What a text may unpack to: far beyond what owners write.
LARGEST_TEXT = 1024 * 1024
MOST_PENDING = 1_000_000


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit says beside its offset.

    A successor reads the journal from `low`; the newest digest of ids stands at `digest` (None: there is none); above
    the committed offset everything below `end` is finished but `pending`.
    """

    low: int
    digest: int | None
    end: int
    pending: Sequence[int] = ()


def encode(base: int, commit: Commit) -> str:
    """`1:<low>:<digest>:<lengths>`: how many are pending, finished, pending … from the base on; base64 of deflate."""
    lengths = b"".join(_varint(length) for length in _runs(base, commit.end, commit.pending))
    packed = base64.b64encode(zlib.compress(lengths, 9)).decode() if lengths else ""
    return f"{VERSION}:{commit.low}:{'' if commit.digest is None else commit.digest}:{packed}"


def decode(base: int, text: str) -> Commit | None:
    """What a commit says; None for metadata that is not ours."""
    version, _, rest = text.partition(":")
    if version != VERSION or rest.count(":") != 2:  # noqa: PLR2004 - three members
        return None
    low, digest, packed = rest.split(":")
    try:
        lengths = zlib.decompressobj().decompress(base64.b64decode(packed), LARGEST_TEXT) if packed else b""
        end, pending = _unpacked(base, lengths)
        return Commit(low=int(low), digest=int(digest) if digest else None, end=end, pending=tuple(pending))
    except (ValueError, zlib.error):
        return None


def _runs(base: int, end: int, pending: Sequence[int]) -> list[int]:
    """Lengths of the runs of pending, finished, pending … offsets from `base` to `end`; the first may be 0."""
    lengths: list[int] = []
    position = base
    for first, last in _intervals(pending):
        lengths += [first - position] if lengths else [0, first - position] if first > position else []
        lengths.append(last - first)
        position = last
    if end > position:
        lengths += [end - position] if lengths else [0, end - position]
    return lengths


def _intervals(offsets: Sequence[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for offset in offsets:
        if found and found[-1][1] == offset:
            found[-1] = (found[-1][0], offset + 1)
        else:
            found.append((offset, offset + 1))
    return found


def _unpacked(base: int, lengths: bytes) -> tuple[int, list[int]]:
    """Where the runs end, and which offsets are pending."""
    pending: list[int] = []
    position = base
    is_pending = True
    for length in _varints(lengths):
        if is_pending and len(pending) + length > MOST_PENDING:
            raise ValueError("More is pending than any owner holds.")
        if is_pending:
            pending += range(position, position + length)
        position += length
        is_pending = not is_pending
    return position, pending


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:  # noqa: PLR2004 - seven bits
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _varints(data: bytes) -> list[int]:
    found: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:  # noqa: PLR2004 - the last of its number
            found.append(number)
            number = shift = 0
    return found
