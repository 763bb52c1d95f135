"""What bounds a download: its size, its duration, and what all of them keep in temporary files."""

import asyncio
import gzip
import hashlib
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from connector.errors import NotExecuted, Refused, TwilioError, Unreadable
from connector.events import Record
from connector.executor import media
from connector.executor.job import Call, Store
from connector.resources import COMMANDS
from tests.twilio_servers import connected, serving

LARGEST = 300_000
PARAMETERS = {"sid": "RE" + "0" * 32}
DOWNLOAD = COMMANDS["download-recording"].operations[None]

BOMB = gzip.compress(bytes(10 * LARGEST))

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Chunks:
    """Takes what goes to a topic."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    async def write(self, chunks: AsyncIterator[Record]) -> int:
        self.taken = [record.value or b"" async for record in chunks]
        return len(self.taken)


async def download(handler: Handler, store: Store, sink: Chunks | None = None) -> dict[str, Any]:
    """What a download from this server says of the file."""
    parameters = DOWNLOAD.parameters.model_validate(PARAMETERS)
    async with serving(handler) as base, connected(base) as client:
        call = Call(
            client=client,
            operation=DOWNLOAD,
            parameters=parameters,
            request=DOWNLOAD.request(parameters),
            store=store,
            media=sink or Chunks(),
            timeout_seconds=5.0,
        )
        (bundle,) = [bundle async for bundle in store(call)]
    found: dict[str, Any] = orjson.loads(bundle)
    return found


async def announced(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"x" * (LARGEST + 1))


def flowing(size: int, *, pause: float = 0.0) -> Handler:
    """A server that sends so many bytes at a time, without end."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * size)
            await asyncio.sleep(pause)

    return handler


async def cut(request: web.BaseRequest) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "1000"})
    await answer.prepare(request)
    await answer.write(b"x" * 10)
    assert request.transport is not None
    request.transport.close()
    return answer


async def bomb(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=BOMB, headers={"Content-Encoding": "gzip"})


async def page(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="<html>Sign in</html>", content_type="text/html")


async def empty(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"", content_type="audio/x-wav")


CASES: dict[str, tuple[Handler, type[TwilioError], str]] = {
    "announced": (announced, Refused, "more than 300000 bytes"),
    "endless": (flowing(65_536), Refused, "more than 300000 bytes"),
    "a bomb": (bomb, Refused, "more than 300000 bytes"),
    "drop by drop": (flowing(1, pause=0.01), Unreadable, "did not end within"),
    "cut": (cut, Unreadable, "broke off"),
    "a page": (page, Unreadable, "text/html and not a recording"),
    "empty": (empty, Unreadable, "is empty"),
}


@pytest.mark.parametrize("kind", ["topic", "file"])
@pytest.mark.parametrize("case", CASES)
async def test_a_download_that_is_too_large_or_does_not_end_or_is_something_else_is_given_up(
    case: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, error, sentence = CASES[case]
    monkeypatch.setattr(media, "LARGEST_BYTES", LARGEST)
    monkeypatch.setattr(media, "DOWNLOAD_SECONDS", 0.5 if case == "drop by drop" else 30.0)
    sink = Chunks()
    store = media.topic_store("t.recording-media") if kind == "topic" else media.object_store(f"file://{tmp_path}")
    with pytest.raises(error, match=sentence):
        await download(handler, store, sink)
    assert sink.taken == []
    assert not (tmp_path / f"{PARAMETERS['sid']}.wav").exists()


async def test_a_download_that_is_compressed_on_the_way_is_stored_as_it_is() -> None:
    content = bytes(range(256)) * 500

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=gzip.compress(content), headers={"Content-Encoding": "gzip"})

    sink = Chunks()
    found = await download(handler, media.topic_store("t.recording-media"), sink)
    assert b"".join(sink.taken) == content
    assert (found["size"], found["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


async def test_no_room_for_a_temporary_file_is_said() -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(2 * media.SPOOL_BYTES))

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        with pytest.raises(Unreadable, match="no room to keep the recording"):
            await download(handler, media.topic_store("t.recording-media"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_downloads_share_the_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SPOOLED_BYTES", 1_500)
    is_kept, may_end = asyncio.Event(), asyncio.Event()

    async def quick(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=bytes(1_000))

    class Held(Chunks):
        """Keeps its file until the other download has ended."""

        async def write(self, chunks: AsyncIterator[Record]) -> int:
            count = await super().write(chunks)
            is_kept.set()
            await may_end.wait()
            return count

    store = media.topic_store("t.recording-media")
    first = asyncio.create_task(download(quick, store, Held()))
    await is_kept.wait()
    with pytest.raises(NotExecuted, match="Other downloads"):
        await download(quick, store)
    may_end.set()
    assert (await first)["size"] == 1_000
    assert (await download(quick, store))["size"] == 1_000
