"""Servers that stand in for Twilio where the simulator is too well-behaved, and a client of any of them."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import SecretStr
from yarl import URL

from connector.resources.hosts import HOSTS
from connector.resources.rows import ACCOUNT, Request
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, OTHER_PHONE_NUMBER, PHONE_NUMBER, Simulator
from connector.telemetry.metrics import REGISTRY
from connector.twilio.client import TwilioClient
from connector.twilio.connecting import open_session

LIST = Request("GET", f"{ACCOUNT}/Messages.json", operation="ListMessage")
SEND = Request(
    "POST",
    f"{ACCOUNT}/Messages.json",
    form=(("To", OTHER_PHONE_NUMBER), ("From", PHONE_NUMBER), ("Body", "grüße & 100 %")),
    operation="CreateMessage",
)


@asynccontextmanager
async def connected(
    base: str, *, session: aiohttp.ClientSession | None = None, **options: Any
) -> AsyncIterator[TwilioClient]:
    """A client of one server."""
    given: dict[str, Any] = {
        "name": "default",
        "account_sid": ACCOUNT_SID,
        "auth": (ACCOUNT_SID, SecretStr(AUTH_TOKEN)),
        "bases": dict.fromkeys(HOSTS, base),
    }
    async with session or open_session() as opened:
        yield TwilioClient(**(given | options), session=opened)


@asynccontextmanager
async def serving(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """An HTTP server of one handler; gives its base URL."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "localhost" if tls else "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}" if tls else f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def odd_twilio(simulator: Simulator, rows: Sequence[Any]) -> AsyncIterator[str]:
    """The simulator, whose lists show these rows before its own; gives the base URL."""
    async with aiohttp.ClientSession() as session:

        async def handler(request: web.BaseRequest) -> web.StreamResponse:
            headers = {name: text for name, text in request.headers.items() if name.lower() != "host"}
            body = await request.read()
            try:
                url = simulator.url + request.path_qs
                async with session.request(request.method, url, headers=headers, data=body) as answer:
                    content = await answer.read()
            except aiohttp.ClientError:
                raise ConnectionResetError from None
            if request.method == "GET" and answer.status == HTTPStatus.OK:
                document = orjson.loads(content)
                listed = next((name for name, value in document.items() if isinstance(value, list)), None)
                content = orjson.dumps({**document, listed: [*rows, *document[listed]]}) if listed else content
            return web.Response(status=answer.status, body=content, content_type="application/json")

        async with serving(handler) as base:
            yield base


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[str]:
    """A TCP server; gives host and port. Leave the client first: the end waits for every conversation."""
    conversations: set[asyncio.Task[Any]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        if conversations:
            await asyncio.wait(conversations, timeout=10)


@asynccontextmanager
async def answering(*answers: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers one request of a connection after the other, closing where the answer is None."""
    received: list[bytes] = []
    pending = list(answers)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while pending and (head := await reader.readuntil(b"\r\n\r\n")):
            received.append(head)
            answer = pending.pop(0)
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()

    async with listening(talk) as place:
        yield f"http://{place}", received


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def tls_pair(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of a server called localhost and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


@asynccontextmanager
async def changing(base: str, change: Callable[[str, bytes], bytes]) -> AsyncIterator[str]:
    """The server at `base`, whose answers are changed on the way: `change(path, body)`."""

    async def relay(request: web.BaseRequest) -> web.Response:
        kept = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url = URL(base + request.raw_path, encoded=True)
        async with session.request(request.method, url, data=await request.read(), headers=kept) as answer:
            body = change(request.path, await answer.read())
            named = {name: answer.headers[name] for name in ("Date", "Content-Type") if name in answer.headers}
            return web.Response(status=answer.status, body=body, headers=named)

    async with aiohttp.ClientSession() as session, serving(relay) as url:
        yield url
