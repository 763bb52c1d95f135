"""Media of recordings that really play: WAV and MP3 of a tone, generated block by block, never held.

WAV is 16 bit PCM at 8 kHz (128 kbit/s a channel). MP3 is MPEG-1 Layer III at 32 kHz and 32 kbit/s: frames of 144 bytes
built by hand, each granule with one spectral line.
"""

import math
import struct
from collections.abc import AsyncIterator

BLOCK = 64 * 1024
WAV_RATE = 8000
SAMPLE_BYTES = 2
TONE_PERIOD = 20  # samples at 8 kHz: 400 Hz
AMPLITUDE = 8000
WAV_HEADER = 44

MP3_RATE = 32_000
MP3_FRAME = 144
MP3_SAMPLES = 1152
SIDE_INFO = {1: 17, 2: 32}  # bytes, by channels
LINE = 20  # spectral line of the tone: about 560 Hz
GLOBAL_GAIN = 200
GRANULES = 2


def wav_length(seconds: int, channels: int) -> int:
    """Return the size of a WAV file in bytes."""
    return WAV_HEADER + seconds * WAV_RATE * SAMPLE_BYTES * channels


async def wav(seconds: int, channels: int) -> AsyncIterator[bytes]:
    """Yield a WAV file of a tone."""
    size = wav_length(seconds, channels) - WAV_HEADER
    rate = WAV_RATE * SAMPLE_BYTES * channels
    yield struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, WAV_RATE),
        *(rate, SAMPLE_BYTES * channels, 8 * SAMPLE_BYTES, b"data", size),
    )
    samples = (round(AMPLITUDE * math.sin(2 * math.pi * n / TONE_PERIOD)) for n in range(TONE_PERIOD))
    period = b"".join(struct.pack("<h", sample) * channels for sample in samples)
    async for block in _repeat(period, size):
        yield block


def mp3_frames(seconds: int) -> int:
    """Return how many frames cover so many seconds."""
    return -(-seconds * MP3_RATE // MP3_SAMPLES)


def mp3_length(seconds: int) -> int:
    """Return the size of an MP3 file in bytes."""
    return mp3_frames(seconds) * MP3_FRAME


async def mp3(seconds: int, channels: int) -> AsyncIterator[bytes]:
    """Yield an MP3 file of a tone."""
    async for block in _repeat(mp3_frame(channels), mp3_length(seconds)):
        yield block


def mp3_frame(channels: int) -> bytes:
    """Build one frame: header, side information, and two granules with one spectral line per channel."""
    mode = 0b11 if channels == 1 else 0b00
    header = bytes([0xFF, 0xFB, 0x18, mode << 6 | 0b0100])
    main = "1" * (LINE // 2) + "010"  # table 1: pairs (0,0) are `1`, the pair (1,0) is `01` and a sign
    side = "0" * 9 + "0" * (5 if channels == 1 else 3) + "0" * 4 * channels
    side += _granule(len(main)) * GRANULES * channels
    bits = side + main * GRANULES * channels
    return (header + _bytes(bits)).ljust(MP3_FRAME, b"\0")


def _granule(length: int) -> str:
    """Write the side information of one granule: long blocks, table 1 in all regions, no scale factors."""
    big_values = LINE // 2 + 1
    fields = ((length, 12), (big_values, 9), (GLOBAL_GAIN, 8), (0, 4), (0, 1))
    tables = ((1, 5), (1, 5), (1, 5), (15, 4), (7, 3))
    flags = ((0, 1), (0, 1), (0, 1))
    return "".join(f"{value:0{width}b}" for value, width in (*fields, *tables, *flags))


def _bytes(bits: str) -> bytes:
    padded = bits + "0" * (-len(bits) % 8)
    return int(padded, 2).to_bytes(len(padded) // 8, "big")


async def _repeat(unit: bytes, size: int) -> AsyncIterator[bytes]:
    """Yield a unit repeated up to a size, in blocks."""
    block = unit * max(1, BLOCK // len(unit))
    while size > 0:
        yield block[:size]
        size -= len(block)
