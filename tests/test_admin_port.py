"""The admin port takes anything from anyone, and stays small, quiet and answering."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.admin import port as http_layer
from connector.admin import sign_in
from connector.admin.port import read_body
from connector.admin.security import Guard
from connector.admin.server import AdminServer
from connector.admin.sign_in import FAILURE_SECONDS, MOST_WAITING, Sessions
from connector.telemetry.metrics import REGISTRY
from tests.examples import examples

TOKEN = "a-token-of-the-console"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer not-the-token"}
OURS = {"X-Twilio-Kafka": "test"}
LOGIN = b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Port:
    """An admin port with two routes of a console: one reads a body, one fails."""

    number: int
    session: aiohttp.ClientSession
    guard: Guard

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.number}"

    async def call(self, path: str = "/api/echo", *, method: str = "GET", **options: Any) -> int:
        async with self.session.request(method, self.url + path, allow_redirects=False, **options) as answer:
            await answer.read()
            return answer.status

    async def sign_in(self) -> dict[str, str]:
        async with self.session.post(f"{self.url}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
            assert answer.status == 303
            return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}

    async def raw(self, request: bytes, *, ends: bool = True) -> bytes:
        """What is answered to these bytes until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        writer.write(request)
        if ends:
            writer.write_eof()
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.transport.abort()


async def _echo(request: web.Request) -> web.Response:
    return web.Response(body=await read_body(request, most=http_layer.LARGEST_BODY))


async def _fail(_request: web.Request) -> web.Response:
    raise KeyError("a secret")


async def _large(_request: web.Request) -> web.Response:
    return web.Response(body=b"x" * 16 * 1024 * 1024)


@asynccontextmanager
async def opened(token: str | None = TOKEN) -> AsyncIterator[Port]:
    guard = Guard(token)
    server = AdminServer(live=list, ready=list, guard=guard)
    server.app.add_routes(
        [web.route("*", "/api/echo", _echo), web.get("/api/fail", _fail), web.get("/api/large", _large)]
    )
    number = await server.start(host="127.0.0.1", port=0)
    timeout = aiohttp.ClientTimeout(total=30)
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(timeout=timeout, connector=connector, cookie_jar=jar) as session:
        yield Port(number, session, guard)
    await server.stop()


@pytest.fixture
async def port() -> AsyncIterator[Port]:
    async with opened() as found:
        yield found


@pytest.fixture(autouse=True)
def unlogged() -> None:
    """Nothing has been logged a moment ago."""
    http_layer.refusals._next.clear()
    http_layer.failures._next.clear()


def refused(status: int) -> float:
    return REGISTRY.get_sample_value("twilio_kafka_admin_refused_total", {"status": str(status)}) or 0.0


# --- what cannot be read ----------------------------------------------------------------------------------------------
ODD_HEADERS: list[dict[str, str]] = [
    {"Cookie": "twilio-kafka=" + "9" * 5000 + ".00"},
    {"Cookie": "twilio-kafka=" + "9" * 300 + ".00"},
    {"Cookie": "twilio-kafka=²³.00; twilio-kafka=\udc80"},
    {"Cookie": "; ".join(f"c{number}={number}" for number in range(700))},
    {"Cookie": '$Version=1; twilio-kafka="\\"; =;;=;'},
    {"Origin": "http://["},
    {"Origin": "http://[::1]:99999999"},
    {"Origin": "\udcff"},
    {"X-Forwarded-Host": "[", "Origin": "null"},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer \udc80\udcff"},
    {"Authorization": "Bearer " + "x" * 7000},
    {"Authorization": "\udc80"},
    {"Host": "["},
    {"Host": "]["},
    {"Host": ""},
    {"Sec-Fetch-Site": "\udcff"},
    {"Content-Type": "text/html; charset=zzz"},
    {"Content-Encoding": "zzz"},
    {"Expect": "the unexpected"},
    {"If-None-Match": '"\udcff'},
    {"Range": "bytes=9-1"},
    {"Upgrade": "websocket", "Connection": "Upgrade"},
]


@pytest.mark.parametrize("headers", ODD_HEADERS, ids="-".join)
@pytest.mark.parametrize("token", [TOKEN, None])
async def test_odd_headers_are_never_an_internal_error(headers: dict[str, str], token: str | None) -> None:
    async with opened(token) as port:
        for path in ("/", "/login", "/api/echo", "/livez"):
            lines = [f"{name}: {text}" for name, text in ({"Host": "localhost"} | headers).items()]
            head = "\r\n".join([f"GET {path} HTTP/1.1", *lines, "Connection: close"])
            answer = await port.raw(head.encode(errors="surrogateescape") + b"\r\n\r\n", ends=False)
            assert re.match(rb"HTTP/1\.1 (2|4)\d\d ", answer), answer[:200]
        assert await port.call("/livez") == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/x-www-form-urlencoded; charset=zzz"}, b"token=x", 400),
        ({"Content-Type": "multipart/form-data"}, b"token=x", 400),
        ({"Content-Type": "multipart/form-data; boundary=x"}, b"--x\r\n", 400),
        ({"Content-Type": "application/json"}, b'{"token": "x"}', 400),
        ({}, b"token=x", 400),
        (FORM, b"token=\xff\xfe", 400),
        (FORM, b"token=%ff", 400),
        (FORM, b"", 400),
        (FORM, b"token=x&token=y", 400),
        (FORM, b"&".join(b"a=b" for _ in range(100)), 400),
        (FORM, b"token=" + b"x" * 5000, 413),
        (FORM | {"Content-Encoding": "gzip"}, b"token=x", 401),
        (FORM, b"token=%00%0a", 401),
        (FORM, b"token=" + "ü".encode(), 401),
    ],
)
async def test_a_login_that_is_no_small_form_is_refused(
    port: Port, headers: dict[str, str], body: bytes, status: int
) -> None:
    if "Content-Type" not in headers:
        headers = {"Content-Type": ""}
    assert await port.call("/login", method="POST", data=body, headers=headers) == status


ODD_BYTES = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /livez\r\n\r\n",
    b"GET /livez HTTP/9.9\r\n\r\n",
    b"GET  /livez HTTP/1.1\r\n\r\n",
    b"GET http://[/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://evil.example:99999999/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET \xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nCookie: " + b"; ".join(b"c%d=1" % number for number in range(10_000)) + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX\x00: a\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX: \x01\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999999\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    LOGIN + b"Transfer-Encoding: chunked\r\n\r\n5\r\ntokenXX\r\n",
    b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zzz\r\n\r\n",
]


@pytest.mark.parametrize("sent", ODD_BYTES, ids=lambda sent: repr(sent[:40]))
async def test_what_is_not_http_is_answered_in_one_line_and_logged_once(port: Port, sent: bytes) -> None:
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            answer = await port.raw(sent)
            assert re.match(rb"HTTP/1\.[01] 4\d\d |$", answer), answer[:200]
    assert len(logged) <= 2
    assert all(line["event"] == "admin request refused" for line in logged)
    assert await port.call("/livez") == 200


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(junk=st.binary(max_size=300), head=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"POST /login HTTP/1.1\r\n"]))
def test_no_bytes_make_an_internal_error(junk: bytes, head: bytes) -> None:
    async def attack() -> bytes:
        async with opened() as port:
            return await port.raw(head + junk)

    assert not re.match(rb"HTTP/1\.[01] 5", asyncio.run(attack()))


async def test_a_failure_of_a_page_is_one_line_without_what_it_says(port: Port) -> None:
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            assert await port.call("/api/fail", headers=RIGHT) == 500
    assert [(line["event"], line["reason"]) for line in logged] == [("admin request failed", "KeyError")]


async def test_no_answer_names_the_servers_software(port: Port) -> None:
    for path in ("/", "/livez", "/metrics", "/api/echo", "/api/fail"):
        async with port.session.get(port.url + path, headers=RIGHT) as answer:
            assert "Server" not in answer.headers
    assert b"Server" not in await port.raw(b"nonsense\r\n\r\n")


# --- sizes and times --------------------------------------------------------------------------------------------------
async def test_a_head_that_never_ends_is_refused_when_it_has_grown_too_large(port: Port) -> None:
    before = refused(431)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(b"GET / HTTP/1.1\r\n")
    for _ in range(33):
        writer.write(b"X: " + b"a" * 1000 + b"\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 431 ")
    writer.close()
    assert refused(431) == before + 1


async def test_a_head_and_a_body_that_do_not_arrive_in_time_are_given_up(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_layer, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(http_layer, "BODY_SECONDS", 0.2)
    assert await port.raw(b"", ends=False) == b""
    assert (await port.raw(b"GET / HT", ends=False)).startswith(b"HTTP/1.1 408 ")
    assert (await port.raw(LOGIN + b"Content-Length: 10\r\n\r\nto", ends=False)).startswith(b"HTTP/1.1 408 ")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"ok\n")).startswith(b"HTTP/1.1 200 ")
    writer.write(b"GET / HT")
    assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_body_is_read_only_from_who_may_send_one_and_up_to_its_limit(port: Port) -> None:
    async def post(size: int, **headers: str) -> int:
        return await port.call(method="POST", data=BytesIO(b"x" * size), headers=headers)

    assert await post(http_layer.LARGEST_BODY + 1, **RIGHT) == 413
    assert await post(http_layer.LARGEST_BODY, **RIGHT) == 200
    assert await post(http_layer.LARGEST_BODY) == 401


async def test_an_answer_that_is_not_read_is_given_up(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_layer, "ANSWER_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number, limit=1024)
    writer.write(b"GET /api/large HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
    before = refused(408)
    async with asyncio.timeout(20):
        while refused(408) == before:  # noqa: ASYNC110 - the other side of the connection
            await asyncio.sleep(0.02)
    writer.transport.abort()
    del reader


async def test_a_caller_that_goes_away_is_not_a_failure(port: Port) -> None:
    before = refused(400)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(20):
            while refused(400) == before:  # the other side may have read nothing yet
                _, writer = await asyncio.open_connection("127.0.0.1", port.number)
                writer.write(LOGIN + b"Content-Length: 1000\r\n\r\ntoken=")
                await port.call("/livez")
                writer.transport.abort()
                await port.call("/livez")
    assert logs == []


async def test_the_oldest_unfinished_connection_makes_room(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_layer, "MOST_CONNECTIONS", 20)
    starts = (
        b"",
        b"GET / HTTP/1.1\r\n",
        LOGIN + b"Content-Length: 10\r\n\r\nto",
        b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    held = []
    for number in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.write(starts[number % 4])
        held.append((reader, writer))
    for _ in range(10):
        assert await port.call("/livez", headers={"Connection": "close"}) == 200
    async with asyncio.timeout(10):
        for reader, _ in held[:20]:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(10_000)
    assert not held[-1][0].at_eof()
    for _, writer in held:
        writer.transport.abort()


# --- signing in -------------------------------------------------------------------------------------------------------
async def test_wrong_tokens_are_bounded_and_a_right_one_among_them_waits_as_long(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "FAILURE_SECONDS", 0.2)
    cookie = await port.sign_in()

    async def guess(headers: dict[str, str]) -> tuple[int, float]:
        began = time.monotonic()
        return await port.call(headers=headers), time.monotonic() - began

    guesses = [asyncio.create_task(guess(WRONG)) for _ in range(MOST_WAITING - 1)]
    await asyncio.sleep(0)
    guesses.append(asyncio.create_task(guess(RIGHT)))
    more = [asyncio.create_task(guess(WRONG)) for _ in range(100)]
    # A session goes on meanwhile.
    assert await port.call(headers=cookie) == 200
    found = await asyncio.gather(*guesses, *more)
    statuses = [status for status, _ in found]
    # The first one finds the gate open.
    assert 99 <= statuses.count(429) <= 100
    # One after the other, whether right or wrong.
    waited = sorted(seconds for status, seconds in found if status != 429)
    assert waited[-1] >= (MOST_WAITING - 1) * 0.2
    right = next((seconds for status, seconds in found if status == 200), None)
    assert right is None or right >= 0.2


async def test_without_a_wrong_token_before_it_a_right_one_does_not_wait(port: Port) -> None:
    began = time.monotonic()
    for _ in range(20):
        assert await port.call(headers=RIGHT) == 200
    assert time.monotonic() - began < 20 * FAILURE_SECONDS


async def test_a_wrong_token_makes_the_next_one_wait_whether_that_is_right_or_wrong(port: Port) -> None:
    for headers in (RIGHT, WRONG):
        assert await port.call(headers=WRONG) == 401
        began = time.monotonic()
        await port.call(headers=headers)
        assert time.monotonic() - began >= FAILURE_SECONDS * 0.9


async def test_the_login_form_and_bearer_tokens_share_the_same_turns(port: Port) -> None:
    assert await port.call("/login", method="POST", data=b"token=wrong", headers=FORM) == 401
    began = time.monotonic()
    assert await port.call(headers=RIGHT) == 200
    assert time.monotonic() - began >= FAILURE_SECONDS * 0.9


async def test_too_many_sign_ins_get_the_form_and_a_time_to_come_back(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "MOST_WAITING", 0)
    assert await port.call(headers=RIGHT) == 429
    async with port.session.post(f"{port.url}/login", data={"token": TOKEN}) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"].isdigit()
        assert "Too many sign-ins" in await answer.text()


async def test_signing_out_ends_the_session_here_and_not_only_in_the_browser(port: Port) -> None:
    first, second = await port.sign_in(), await port.sign_in()
    assert first != second
    assert await port.call("/logout", method="POST", headers=first) == 403
    assert await port.call("/logout", method="POST", headers={**first, **OURS}) == 204
    assert await port.call(headers=first) == 401
    assert await port.call(headers=second) == 200
    port.guard.replace_token("another-token-of-the-console")
    assert await port.call(headers=second) == 401


async def test_behind_tls_the_cookie_is_of_this_host_alone(port: Port) -> None:
    origin = f"https://127.0.0.1:{port.number}"
    for headers in ({"X-Forwarded-Proto": "https"}, {"Origin": origin}):
        data = {"token": TOKEN}
        async with port.session.post(f"{port.url}/login", data=data, headers=headers, allow_redirects=False) as answer:
            cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-twilio-kafka=")
        assert "Secure" in cookie
        assert "Domain" not in cookie
        assert "Path=/" in cookie
        pair = cookie.partition(";")[0]
        assert await port.call(headers={"Cookie": pair}) == 200
        # The secret under the other name, which a neighbouring host could plant, is nothing.
        assert await port.call(headers={"Cookie": pair.removeprefix("__Host-")}) == 401
    async with port.session.post(f"{port.url}/login", data={"token": TOKEN}, allow_redirects=False) as answer:
        assert answer.headers["Set-Cookie"].startswith("twilio-kafka=")


def test_sessions_are_bounded_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions()
    secrets = [sessions.begin("c") for _ in range(150)]
    assert [sessions.has("c", secret) for secret in secrets] == [False] * 50 + [True] * 100
    monkeypatch.setattr(sign_in, "SESSION_SECONDS", 0)
    assert not sessions.has("c", sessions.begin("c"))
