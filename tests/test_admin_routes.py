"""Every route of the console takes whatever its operator sends: never an internal error, nor a page that waits."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
import pytest_asyncio
from yarl import URL

from connector.simulator import Simulator
from tests.console_client import OURS
from tests.console_routes import admin_routes
from tests.running import Connector, configuration, read_all, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

LEAST_INTERNAL_ERROR = 500
NUMBERS = ("-1", "9" * 9, "9" * 18, "9" * 19, "9" * 40, "9" * 5000, "٣", "1e9", "%31", "1;2")
NAMES = (
    "none",
    "%00",
    "%ff%fe",
    "%2e%2e%2f",
    "..%2f..",
    "%0d%0aX:%20y",
    "\u202e",
    "a" * 5000,
    "%F0%9F%92%A9",
    "{}",
    "*",
)
QUERIES = (
    "",
    "?",
    "?content=%ff",
    "?known=%00&known=2",
    "?state=%ed%a0%80&text=" + "x" * 3000,
    "?&&==&=;",
    "?a[]=1&a[b]=2",
)
BODIES: tuple[bytes, ...] = (
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'"\\ud800"',
    b'{"note": "\\ud800"}',
    b"NaN",
    b'{"value": 1e999}',
    json.dumps({"value": "x", "again": "yes"}).encode(),
    json.dumps({"value": {"a": [1]}, "again": 1, "note": {"a": 1}, "to": 9, "command": 1}).encode(),
    json.dumps({"to": "9999-12-31T23:59:59Z"}).encode(),
    json.dumps({"to": "0001-01-01T00:00:00+23:59"}).encode(),
    json.dumps({"to": "2026-01-01T00:00:00" + "0" * 10_000}).encode(),
    json.dumps({"command": "send-message", "id": "x" * 100_000, "value": {}}).encode(),
    json.dumps({"command": "send-message", "id": "\u0000\u202e\r\n", "key": {"a": 1}, "value": None}).encode(),
    json.dumps({"command": "send-message", "id": ["a"], "connection": {}, "expires-at": 1, "value": [1]}).encode(),
    json.dumps({"command": "get", "value": {"resource": "message", "sid": 12345678901234567890123}}).encode(),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Connector]:
    async with Simulator() as simulator:
        prefix = f"routes-{os.getpid()}"
        document = configuration(simulator, kafka=kafka, prefix=prefix, watches=[{"resource": "messages"}])
        async with running(document, tmp_path_factory.mktemp("routes")) as (found,):
            yield found


def filled() -> Iterator[tuple[str, str]]:
    """Each route with odd values in its path."""
    for route in admin_routes():
        if "{topic}" in route.path:
            yield from ((route.method, f"/api/callbacks/messages/{number}/0") for number in NUMBERS)
        elif "{partition" in route.path:
            path = "/api/dead-letters/{}/{}" + route.path.rpartition("}")[2]
            yield from ((route.method, path.format(number, "0")) for number in NUMBERS)
            yield from ((route.method, path.format("0", number)) for number in NUMBERS)
        elif "{number" in route.path:
            path = "/api/callbacks/{}" + route.path.rpartition("}")[2]
            yield from ((route.method, path.format(number)) for number in NUMBERS)
        elif "{name}" in route.path:
            yield from ((route.method, f"/api/watches/{name}/{action}") for name in NAMES for action in ("pause", name))
        elif "{id" in route.path:
            yield from ((route.method, f"/api/timelines/{name}") for name in NAMES)
    yield from (("GET", path) for path in ("/../../etc/passwd", "/%2e%2e/server.py", "/login.html", "//", "/%00"))
    yield from ((method, "/") for method in ("DELETE", "OPTIONS", "TRACE", "X" * 20))


def asked() -> Iterator[tuple[str, str, bytes]]:
    """Methods, paths and bodies."""
    yield from ((method, path, b"") for method, path in filled())
    lists = ("overview", "settings", "schemas", "watches", "dead-letters", "callbacks", "commands", "events", "health")
    for path in (*lists, "timelines/a", "search"):
        yield from (("GET", f"/api/{path}{query}", b"") for query in QUERIES)
    for path in ("commands", "commands/check", "watches/messages/rewind", "dead-letters/plan", "dead-letters/run"):
        yield from (("POST", f"/api/{path}", body) for body in BODIES)


async def test_no_path_query_or_body_is_an_internal_error(process: Connector) -> None:
    places = asyncio.Semaphore(8)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:

        async def status(method: str, path: str, body: bytes) -> int:
            async with places:
                return await call(session, process, method, path, body)

        counted = Counter(await asyncio.gather(*(status(*request) for request in asked())))
    assert set(counted) <= {200, 400, 404, 405, 413, 422, 431}, counted
    assert counted[200] > 20
    assert "admin request failed" not in process.log
    assert "Traceback" not in process.log
    told = [line for line in process.log.splitlines() if "admin request refused" in line]
    assert len(told) < 10, told


async def test_a_watch_that_does_not_exist_is_told_at_once_and_asked_nothing(process: Connector) -> None:
    async with aiohttp.ClientSession() as session:
        assert await call(session, process, "POST", "/api/watches/mesages/pause", b"{}") == 404
    written = await read_all(process.settings.kafka.bootstrap_servers, process.settings.topic("control"))
    assert b"mesages" not in {record.key for record in written}


async def call(session: aiohttp.ClientSession, process: Connector, method: str, path: str, body: bytes) -> int:
    url = URL(process.admin + path, encoded=True)
    data = body if method == "POST" else None
    async with session.request(method, url, data=data, headers=OURS, allow_redirects=False) as answer:
        text = await answer.read()
        assert answer.status < LEAST_INTERNAL_ERROR, (method, path, body[:60], text)
        return answer.status
