"""Who may see the console, and which requests may change something."""

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from connector.simulator import Simulator
from tests.console_client import OURS, Console
from tests.running import configuration, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = "a-token-of-the-console"


async def status(session: aiohttp.ClientSession, url: str, *, method: str = "GET", **headers: str) -> int:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with session.request(method, url, headers=named, allow_redirects=False) as answer:
        return answer.status


async def _console(kafka: str, folder: Path, name: str, **admin: str) -> AsyncIterator[Console]:
    async with Simulator() as simulator:
        prefix = f"security-{os.getpid()}-{name}"
        document = configuration(simulator, kafka=kafka, prefix=prefix, admin=admin)
        jar = aiohttp.DummyCookieJar()
        async with running(document, folder) as (process,), aiohttp.ClientSession(cookie_jar=jar) as session:
            yield Console(process, session)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """Open to this machine."""
    async for found in _console(kafka, tmp_path_factory.mktemp("open"), "open"):
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def locked(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Console]:
    """With a token."""
    async for found in _console(kafka, tmp_path_factory.mktemp("locked"), "locked", token=TOKEN):
        yield found


PATHS = ("/", "/app.js", "/console.css", "/api/overview", "/api/stream", "/api/settings", "/nothing", "/api/nothing")


async def test_without_the_token_only_health_metrics_and_version_are_there(locked: Console) -> None:
    base = locked.process.admin
    for path in ("/livez", "/readyz", "/metrics", "/version"):
        assert await status(locked.session, base + path) == 200
    for path in PATHS:
        assert await status(locked.session, base + path) == 401, path
        assert await status(locked.session, base + path, Authorization="Bearer wrong") == 401, path
        assert await status(locked.session, base + path, Cookie="twilio-kafka=99999999999.00") == 401, path
    async with locked.session.get(f"{base}/") as answer:
        assert '<form method="post">' in await answer.text()


async def test_a_bearer_token_opens_the_console_and_needs_no_further_header(locked: Console) -> None:
    base = locked.process.admin
    assert await status(locked.session, f"{base}/", Authorization=f"Bearer {TOKEN}") == 200
    assert await status(locked.session, f"{base}/api/overview", Authorization=f"Bearer {TOKEN}") == 200
    code = await status(locked.session, f"{base}/api/commands", method="POST", Authorization=f"Bearer {TOKEN}")
    assert code == 422


async def signed_in(locked: Console) -> Mapping[str, str]:
    base = locked.process.admin
    async with locked.session.post(f"{base}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.status == 303
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    return {"Cookie": cookie.partition(";")[0]}


async def test_the_login_form_gives_a_cookie_that_opens_the_console_until_it_is_given_back(locked: Console) -> None:
    base = locked.process.admin
    async with locked.session.post(f"{base}/login", data={"token": "wrong"}) as answer:
        assert answer.status == 401
        assert "That is not the token" in await answer.text()
    cookie = await signed_in(locked)
    assert await status(locked.session, f"{base}/api/overview", **cookie) == 200
    async with locked.session.post(f"{base}/logout", headers={**cookie, **OURS}) as answer:
        assert answer.status == 204
        assert "Max-Age=0" in answer.headers["Set-Cookie"]


async def test_a_cookie_alone_changes_nothing(locked: Console) -> None:
    """What another site's form can send: the cookie (were it not SameSite) and no header of its own."""
    base, cookie = locked.process.admin, await signed_in(locked)
    assert await status(locked.session, f"{base}/api/watches/messages/pause", method="POST", **cookie) == 403
    assert await status(locked.session, f"{base}/api/commands", method="POST", **cookie, **OURS) == 422


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "evil.example:9090"},
    ],
)
async def test_other_sites_are_refused_though_the_console_is_open(console: Console, headers: dict[str, str]) -> None:
    base = console.process.admin
    assert await status(console.session, f"{base}/api/overview", **headers) == 403
    assert await status(console.session, f"{base}/api/commands", method="POST", **headers, **OURS) == 403
    assert await status(console.session, f"{base}/livez", **headers) == 200


async def test_every_answer_forbids_foreign_content_and_frames(console: Console) -> None:
    for path in ("/", "/app.js", "/api/overview", "/api/nothing", "/nothing"):
        async with console.session.get(console.process.admin + path) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_has_not_changed_is_not_sent_again(console: Console) -> None:
    async with console.session.get(f"{console.process.admin}/app.js") as answer:
        tag = answer.headers["ETag"]
        assert answer.content_type == "text/javascript"
    assert await status(console.session, f"{console.process.admin}/app.js", If_None_Match=tag) == 304
