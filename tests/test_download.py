"""Downloads: chunks, redirects and what breaks."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from connector.errors import PerhapsExecuted, Refused
from connector.resources.rows import ACCOUNT, Request
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN
from connector.twilio.client import TwilioClient
from tests.twilio_servers import answering, connected, serving, tls_pair

pytestmark = pytest.mark.simulated(auto_advance=False)

DEADLINE_SECONDS = 30.0


MEDIA = Request("GET", f"{ACCOUNT}/Recordings/RE1.wav", operation="FetchRecordingMedia")
BYTES = bytes(range(256)) * 1000


async def test_a_download_comes_in_chunks_of_the_size_asked_for() -> None:
    async def media(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=BYTES, content_type="audio/x-wav")

    async with serving(media) as base, connected(base) as client, client.stream(MEDIA) as download:
        assert (download.content_length, download.content_type) == (len(BYTES), "audio/x-wav")
        chunks = [chunk async for chunk in download.chunks(100_000)]
    assert [len(chunk) for chunk in chunks] == [100_000, 100_000, 56_000]
    assert b"".join(chunks) == BYTES


async def test_a_download_from_elsewhere_is_followed_without_credentials(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def store(request: web.BaseRequest) -> web.StreamResponse:
        seen[request.path] = request.headers.get("Authorization")
        if request.path == "/store":
            return web.Response(status=302, headers={"Location": "/store/inner"})
        return web.Response(body=BYTES)

    server_side, client_side = tls_pair(tmp_path)
    async with serving(store, tls=server_side) as elsewhere:

        async def own(request: web.BaseRequest) -> web.StreamResponse:
            seen[request.path] = request.headers.get("Authorization")
            target = f"{elsewhere}/store" if request.path == "/second" else "/second"
            return web.Response(status=307, headers={"Location": target})

        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_side))
        async with serving(own) as base, connected(base, session=session) as client, client.stream(MEDIA) as download:
            assert b"".join([chunk async for chunk in download.chunks(65_536)]) == BYTES
    path = MEDIA.path.replace("{AccountSid}", ACCOUNT_SID)
    assert seen.keys() == {path, "/second", "/store", "/store/inner"}
    assert seen[path] == seen["/second"] == aiohttp.encode_basic_auth(ACCOUNT_SID, AUTH_TOKEN)
    assert seen["/store"] is seen["/store/inner"] is None


async def test_credentials_do_not_come_back_after_a_foreign_host(tmp_path: Path) -> None:
    seen: list[str | None] = []
    server_side, client_side = tls_pair(tmp_path)

    async def own(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.headers.get("Authorization"))
        if request.path == "/back":
            return web.Response(body=b"x")
        return web.Response(status=302, headers={"Location": elsewhere})

    async def bounce(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{base}/back"})

    async with serving(bounce, tls=server_side) as elsewhere, serving(own) as base:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_side))
        async with connected(base, session=session) as client, client.stream(MEDIA):
            pass
    assert len(seen) == 2
    assert seen[0] is not None
    assert seen[1] is None


@pytest.mark.parametrize(
    "location", ["http://elsewhere.invalid/x", "ftp://elsewhere.invalid/x", "https://", "http://[::1"]
)
async def test_a_download_is_not_followed_without_tls_or_to_nowhere(location: str) -> None:
    async def own(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    async with serving(own) as base, connected(base) as client:
        with pytest.raises(Refused):
            async with client.stream(MEDIA):
                pass


async def test_endless_redirects_are_refused() -> None:
    async def own(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "/again"})

    async with serving(own) as base, connected(base) as client:
        with pytest.raises(Refused, match="redirects"):
            async with client.stream(MEDIA):
                pass


async def test_a_download_that_breaks_off_is_in_doubt() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nabc"
    async with answering(half) as (base, _), connected(base) as client, client.stream(MEDIA) as download:
        with pytest.raises(PerhapsExecuted):
            _ = [chunk async for chunk in download.chunks(10)]


async def test_a_download_that_falls_silent_is_in_doubt() -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "99"})
        await answer.prepare(request)
        await answer.write(b"abc")
        await asyncio.sleep(DEADLINE_SECONDS)
        return answer

    async with serving(silent) as base, connected(base) as client, client.stream(MEDIA, idle_seconds=0.2) as download:
        with pytest.raises(PerhapsExecuted):
            _ = [chunk async for chunk in download.chunks(10)]


async def test_a_missing_recording_is_refused(client: TwilioClient) -> None:
    with pytest.raises(Refused) as caught:
        async with client.stream(MEDIA):
            pass
    assert caught.value.status == 404


async def test_what_the_reader_of_a_download_raises_is_its_own() -> None:
    async def media(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=BYTES)

    async with serving(media) as base, connected(base) as client:
        with pytest.raises(TimeoutError, match="mine"):
            async with client.stream(MEDIA):
                raise TimeoutError("mine")
