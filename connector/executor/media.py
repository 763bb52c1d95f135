"""Where downloaded media go: chunks on a topic, all or none, or an object store. No file is held in memory.

A download has bounds: its size, its duration, and what all of them keep in temporary files.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson
from yarl import URL

from connector.errors import (
    ConfigurationError,
    NotExecuted,
    PerhapsStored,
    Refused,
    Superseded,
    Unavailable,
    Unreadable,
    Unwritable,
)
from connector.events import Event, Record, encode, now, timestamp
from connector.executor.job import Call, Store
from connector.kafka import reading
from connector.kafka.transactions import Transactions
from connector.process.needs import writable_folder
from connector.settings import KafkaSettings
from connector.telemetry.logs import logger
from connector.twilio.download import Download

log = logger(__name__)

TOPIC = "recording-media"
CHUNK_BYTES = 512 * 1024
MEDIA_SECONDS = 100.0
MEDIA_TRANSACTION_MS = 120_000
# Until this size a download stays in memory, then it goes to a temporary file.
SPOOL_BYTES = 1024 * 1024
# Eighteen hours of a call in one channel as WAV.
LARGEST_BYTES = 2 * 1024 * 1024 * 1024
# A download that takes longer does not end.
DOWNLOAD_SECONDS = 900.0
# In the temporary files of all downloads together.
SPOOLED_BYTES = 2 * LARGEST_BYTES
EVENT_TYPE = "twilio.recording.media.v1"
CONTENT_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


@dataclass(frozen=True, slots=True)
class Media:
    """A complete download: `sha256` of the whole, hexadecimal; `size` in bytes."""

    sid: str
    content_type: str
    size: int
    sha256: str

    def bundle(self, **more: Any) -> bytes:
        """What the result says of it."""
        members = {"sid": self.sid, "content_type": self.content_type, "size": self.size, "sha256": self.sha256}
        return orjson.dumps(members | more)


def _named(call: Call) -> tuple[str, str]:
    """SID and format of the download."""
    return str(getattr(call.parameters, "sid", "")), str(getattr(call.parameters, "format", "wav"))


def _check_size(size: int | None) -> None:
    if size is not None and size > LARGEST_BYTES:
        raise Refused(f"The recording has more than {LARGEST_BYTES} bytes, which are the most. An mp3 is smaller.")


def _check_length(download: Download, size: int) -> None:
    if download.content_length is not None and download.content_length != size:
        raise Unreadable(f"The download ended after {size} of {download.content_length} bytes.")


def _check_type(content_type: str) -> None:
    if content_type.startswith("text/") or content_type.endswith(("json", "xml", "html")):
        raise Unreadable(f"The download is {content_type} and not a recording.")


async def _bounded(download: Download, size: int) -> AsyncIterator[bytes]:
    """The chunks of a download.

    Raises Refused when there are too many bytes, Unreadable when there are too few, or when it is something else.
    """
    _check_type(download.content_type)
    _check_size(download.content_length)
    read = 0
    async for chunk in download.chunks(size):
        read += len(chunk)
        _check_size(read)
        yield chunk
    _check_length(download, read)
    if not read:
        raise Unreadable("The download is empty.")


@asynccontextmanager
async def _downloading(call: Call) -> AsyncIterator[Download]:
    """The download of a call. Raises TwilioError; Unreadable when it takes too long."""
    seconds = min(DOWNLOAD_SECONDS, call.within_seconds)
    try:
        async with asyncio.timeout(seconds) as limit, call.client.stream(call.request) as download:
            yield download
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise Unreadable(f"The download did not end within {seconds:.0f} seconds.") from error


class MediaWriter:
    """Writes of large files, one after the other.

    They have a producer of their own, so that they delay no other command and a failed one does not spoil its producer.
    """

    def __init__(self, kafka: KafkaSettings, transactional_id: str) -> None:
        self._transactions = Transactions(
            kafka,
            transactional_id,
            compresses=False,
            transaction_timeout_ms=MEDIA_TRANSACTION_MS,
        )
        self._kafka = kafka
        self._topic = f"{kafka.topic_prefix}.{TOPIC}"
        self._lock = asyncio.Lock()

    async def write(self, chunks: AsyncIterator[Record]) -> int:
        """Write all or none; returns how many.

        Raises NotExecuted when another owner is at work, PerhapsStored when Kafka does not say whether it took them,
        Unreadable when it does not take them in time, and Refused when it never takes them.
        """
        clock = asyncio.get_running_loop().time
        async with self._lock:
            started = clock()
            try:
                if not self._transactions.usable:
                    await self._transactions.open()
                    started = clock()
                return await self._transactions.write_all(chunks, seconds=MEDIA_SECONDS)
            except Unwritable as error:
                log.warning("recording not stored", reason=f"{error!r:.200}")
                raise Refused("Kafka refuses the recording; the connector's log says why.") from error
            except Superseded as error:
                raise NotExecuted("The media could not be written to Kafka.") from error
            except Unavailable as error:
                if clock() - started >= MEDIA_SECONDS:
                    raise Unreadable(f"Kafka did not take the recording within {MEDIA_SECONDS:.0f} seconds.") from error
                raise PerhapsStored("Kafka did not say whether the media were written.") from error

    async def end_predecessor(self) -> None:
        """End what a predecessor has left open: readers of all media wait for it, up to two minutes.

        Where nothing is open, no producer is opened.
        """
        try:
            if await reading.holds_back(self._kafka, self._topic):
                async with self._lock:
                    if not self._transactions.usable:
                        await self._transactions.open()
        except Unavailable as error:
            log.info("media may wait for a transaction that was broken off", reason=f"{error!r:.120}")

    async def close(self) -> None:
        """End the producer."""
        await self._transactions.close()


class Room:
    """What the temporary files of all downloads take together, in bytes."""

    def __init__(self) -> None:
        self._taken = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function that takes room for one download, until its end. It raises NotExecuted when none is left."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self._taken + size > SPOOLED_BYTES:
                raise NotExecuted("Other downloads take the room for temporary files now.")
            mine += size
            self._taken += size

        try:
            yield take
        finally:
            self._taken -= mine


def topic_store(topic: str) -> Store:
    """Store into chunks of 512 KiB on the topic, in one transaction, keyed by the SID."""
    room = Room()

    async def store(call: Call) -> AsyncIterator[bytes]:
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file, room.share() as take:
            media = await _spool(call, file, take)
            file.seek(0)
            count = await call.media.write(_chunks(call, media, file, topic))
        yield media.bundle(chunks=count, url=None)

    return store


async def _spool(call: Call, file: IO[bytes], take: Callable[[int], None]) -> Media:
    sid, extension = _named(call)
    digest = hashlib.sha256()
    size = 0
    async with _downloading(call) as download:
        async for chunk in _bounded(download, CHUNK_BYTES // 4):
            take(len(chunk))
            _write(file, chunk)
            digest.update(chunk)
            size += len(chunk)
    return Media(sid, CONTENT_TYPES[extension], size, digest.hexdigest())


def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        log.warning("recording not spooled", folder=tempfile.gettempdir(), reason=error.strerror)
        raise Unreadable(f"The connector has no room to keep the recording meanwhile ({error.strerror}).") from error


async def _chunks(call: Call, media: Media, file: IO[bytes], topic: str) -> AsyncIterator[Record]:
    total = max(1, -(-media.size // CHUNK_BYTES))
    moment = now()
    for number in range(total):
        event = Event(
            id=f"{media.sid}/{media.sha256}/{number}",
            source=f"/twilio/{call.client.account_sid}/recordings",
            type=EVENT_TYPE,
            subject=media.sid,
            time=moment,
            data=file.read(CHUNK_BYTES),
            extensions={"recordedtime": timestamp(moment)},
            content_type=media.content_type.encode(),
        )
        record = encode(event, topic, media.sid)
        described = [
            ("chunk", str(number).encode()),
            ("chunks", str(total).encode()),
            ("sha256", media.sha256.encode()),
        ]
        yield Record(record.topic, record.key, record.value, [*record.headers, *described])


def object_store(url: str) -> Store:
    """Store into S3, GCS, Azure or a folder, named by SID and format.

    Raises ConfigurationError when the `store` extra is missing or the address is unusable, Unavailable when the folder
    cannot be written.
    """
    try:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.store import from_url  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ConfigurationError(
            "commands.recording_store: an object store needs the extra 'store': "
            "pip install '.[store]' where the source is; the image has it."
        ) from error
    if url.startswith("file:"):
        writable_folder("commands.recording_store", Path(URL(url).path))
    try:
        bucket = from_url(url)
    except Exception as error:
        raise ConfigurationError(f"commands.recording_store: {url} cannot be used: {error}") from error

    async def store(call: Call) -> AsyncIterator[bytes]:
        sid, extension = _named(call)
        digest = hashlib.sha256()
        size = 0

        async def hashed(download: Download) -> AsyncIterator[bytes]:
            nonlocal size
            # All of it is checked before the store makes the file visible.
            async for chunk in _bounded(download, CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                yield chunk

        name = f"{sid}.{extension}"
        async with _downloading(call) as download:
            try:
                await obstore.put_async(bucket, name, hashed(download))
            except obstore.exceptions.BaseError as error:
                log.warning("recording not stored, it is tried again", sid=sid, reason=type(error).__name__)
                raise NotExecuted(f"The object store did not take the file ({type(error).__name__}).") from error
        media = Media(sid, CONTENT_TYPES[extension], size, digest.hexdigest())
        yield media.bundle(chunks=None, url=f"{url}/{name}")

    return store
