"""The public port as an HTTP server: what it takes, what it refuses, and its bounds, each shown with and without."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import pytest
from structlog.testing import capture_logs

from connector.receiver import connection
from connector.receiver import port as ports
from connector.twilio.signature import compute
from tests.callback_port import (
    DEADLINE_SECONDS,
    FORM_TYPE,
    HEAD,
    PATH,
    PUBLIC,
    STATUS,
    TOKEN,
    Port,
    counted,
    opened,
    signed,
)
from tests.running import PATIENCE_SECONDS, until

FORM = HEAD + b"Content-Type: application/x-www-form-urlencoded\r\n"
EVIL = signed({**STATUS, "MessageSid": "SMevil"})
KEPT = ""
UNBOUNDED = 10**9


@pytest.fixture(autouse=True)
def _sweeps_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "SWEEP_SECONDS", 0.05)


def statuses(answers: bytes) -> list[int]:
    """The statuses of pipelined answers."""
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# --- what is taken ---
async def test_an_answer_has_a_date_and_no_server(port: Port) -> None:
    answer = await port.raw(signed())
    assert answer.startswith(b"HTTP/1.1 204 No Content\r\nDate: ")
    assert answer.endswith(b" GMT\r\nConnection: close\r\n\r\n")
    assert b"erver" not in answer


async def test_requests_of_one_connection_are_answered_in_their_order(port: Port) -> None:
    port.kafka.acknowledges.clear()
    asking = asyncio.create_task(
        port.raw(
            signed(more=KEPT),
            b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
            signed(more=KEPT),
            HEAD + b"\r\n",
            b"nonsense\r\n\r\n",
        )
    )
    await until(lambda: port.kafka.asked_for == 2)
    assert not (await asyncio.wait({asking}, timeout=0.1))[0]
    port.kafka.acknowledges.set()
    assert statuses(await asking) == [204, 404, 204, 415, 400]


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_requests_may_arrive_in_pieces_of_any_size(port: Port, size: int) -> None:
    whole = signed(more=KEPT) + signed()
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert statuses(await port.raw(*pieces)) == [204, 204]


async def test_a_body_in_chunks_with_extensions_and_trailers_is_read(port: Port) -> None:
    body = urlencode(STATUS).encode()
    signature = compute(PUBLIC + PATH, STATUS.items(), TOKEN)
    framing = f"Transfer-Encoding: Chunked\r\nConnection: close\r\nContent-Type: {FORM_TYPE}\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{framing}"
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n"
    trailer = f"X-Twilio-Signature: {signature}\r\n"
    assert statuses(await port.raw((head + trailer).encode() + b"\r\n" + chunks + b"X-Other: 1\r\n\r\n")) == [204]
    # A trailer is no header: the signature comes before what it signs.
    assert statuses(await port.raw(head.encode() + b"\r\n" + chunks + trailer.encode() + b"\r\n")) == [403]


async def test_a_caller_that_waits_for_continue_gets_it(port: Port) -> None:
    head, _, body = signed(more="Connection: close\r\nExpect: 100-Continue\r\n").partition(b"\r\n\r\n")
    reader, writer = await asyncio.open_connection("127.0.0.1", port.server.port)
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert statuses(await reader.read()) == [204]
    writer.close()
    large = await port.raw(FORM + b"Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert statuses(large) == [413]


async def test_a_caller_of_http_1_0_is_answered_and_let_go(port: Port) -> None:
    for more in ("", "Connection: keep-alive\r\n"):
        request = signed(more=more).replace(b"HTTP/1.1", b"HTTP/1.0")
        answer = await port.raw(request, request)
        assert statuses(answer) == [204]
        assert b"Connection: close" in answer


async def test_a_caller_that_closes_its_side_is_answered(port: Port) -> None:
    port.kafka.acknowledges.clear()
    asking = asyncio.create_task(port.raw(signed(more=KEPT), signed(more=KEPT), ends=True))
    await until(lambda: port.kafka.asked_for == 2)
    port.kafka.acknowledges.set()
    assert statuses(await asking) == [204, 204]
    assert await port.raw(HEAD, ends=True) == b""


async def test_the_answer_to_head_has_no_content(port: Port) -> None:
    answer = await port.raw(b"HEAD " + PATH.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n" + signed())
    assert statuses(answer) == [405, 204]
    assert b"Content-Length: 20" in answer
    assert b"allowed" not in answer.partition(b"\r\n\r\n")[2]


async def test_an_absolute_target_is_an_ordinary_one(port: Port) -> None:
    for origin in ("http://x", "https://evil.example:1", "http://a@b"):
        request = signed().replace(b"POST /", f"POST {origin}/".encode())
        assert statuses(await port.raw(request)) == [204]
    assert statuses(await port.raw(signed().replace(b"POST /", b"POST ftp://x/"))) == [404]


@pytest.mark.parametrize("host", ["evil.example", "", "127.0.0.1:1", "a b"])
async def test_the_host_decides_nothing(port: Port, host: str) -> None:
    assert statuses(await port.raw(signed(host=host))) == [204]


async def test_a_get_of_1600_letters_of_any_script_is_stored(port: Port) -> None:
    for letter in "xя漢🎉":
        fields = {**STATUS, "Body": letter * 1600}
        path = f"{PATH}&{urlencode(fields)}"
        status, _, _ = await port.call(path, method="GET", X_Twilio_Signature=compute(PUBLIC + path, (), TOKEN))
        assert status == 204
        assert json.loads(port.kafka.records[-1].value or b"")["body"] == fields["Body"]


# --- what is refused ---
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
        b"GET /callbacks/message-status HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /callbacks/message-status#x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"X: a\x01b\r\n\r\n",
        HEAD + b"X\x7f: b\r\n\r\n",
        HEAD + b"X : b\r\n\r\n",
        HEAD + b"no colon\r\n\r\n",
        HEAD + b"X: a\r\n folded\r\n\r\n",
        HEAD + b"Host: y\r\n\r\n",
        HEAD + b"X-Twilio-Signature: a\r\nx-twilio-signature: b\r\n\r\n",
        HEAD + b"Content-Type: a\r\nContent-Type: a\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: +1\r\n\r\n1",
        HEAD + b"Content-Length: 1, 1\r\n\r\n1",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n1",
        HEAD + b"Content-Length: \r\n\r\n1",
        HEAD + b"Content-Length: 0x1\r\n\r\n1",
        HEAD + b"Content-Length: 99999999999999999999\r\n\r\n1",
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        FORM + CHUNKED + b"\r\nzz\r\n",
        FORM + CHUNKED + b"\r\n0x1\r\n1\r\n0\r\n\r\n",
        FORM + CHUNKED + b"\r\n1\n1\n0\n\n",
        FORM + CHUNKED + b"\r\nffffffffffffffffff\r\n",
    ],
)
async def test_broken_requests_are_bad_requests(port: Port, request_: bytes, caplog: pytest.LogCaptureFixture) -> None:
    before = counted("unknown", "invalid") + counted("message-status", "invalid")
    with capture_logs() as logs:
        answer = await port.raw(request_)
    assert statuses(answer) == [400]
    assert answer.endswith(b"\r\n\r\nBad request.\n")
    assert not caplog.records
    assert [line["event"] for line in logs] == ["callback refused"]
    assert counted("unknown", "invalid") + counted("message-status", "invalid") == before + 1
    assert statuses(await port.raw(signed())) == [204]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n"),
        (CHUNKED + b"Content-Length: %d\r\n" % len(EVIL), b"0\r\n\r\n"),
        (b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(EVIL), b""),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
        (CHUNKED + CHUNKED, b"0\r\n\r\n"),
        (b"X: y\r\n Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"X: y\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n", b"x"),
        (b"Connection: close\r\nContent-Length: 0\r\n", b""),
    ],
)
async def test_what_another_server_may_read_as_two_requests_is_read_as_one_or_none(
    port: Port, head: bytes, body: bytes
) -> None:
    answer = await port.raw(FORM + head + b"\r\n" + body + EVIL)
    assert statuses(answer) in ([400], [403])
    assert port.kafka.records == []


async def test_chunks_of_http_1_0_are_refused(port: Port) -> None:
    request = FORM.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n"
    assert statuses(await port.raw(request + EVIL)) == [400]


async def test_a_get_with_a_body_is_refused(port: Port) -> None:
    path = f"{PATH}&{urlencode(STATUS)}"
    signature = compute(PUBLIC + path, (), TOKEN)
    assert (await port.call(path, method="GET", X_Twilio_Signature=signature))[0] == 204
    assert (await port.call(path, method="GET", body=b"x", X_Twilio_Signature=signature))[0] == 400


async def test_headers_of_proxies_may_be_repeated(port: Port) -> None:
    more = "Connection: close\r\nX-Forwarded-Host: a\r\nX-Forwarded-Host: b\r\nVia: a\r\nVia: b\r\n"
    assert statuses(await port.raw(signed(more=more))) == [204]
    (recent,) = port.server.recent
    assert recent.origins[0] == "https://a"


async def test_refusals_of_one_reason_are_one_line(port: Port) -> None:
    with capture_logs() as logs:
        for _ in range(20):
            await port.raw(b"nonsense\r\n\r\n")
            await port.raw(HEAD.replace(b"status", b"other") + b"Connection: close\r\n\r\n")
    assert [(line["reason"], line["kind"]) for line in logs] == [
        ("broken request", "unknown"),
        ("Not found.", "unknown"),
    ]


async def test_refusals_of_the_http_layer_are_among_the_recent_requests(port: Port) -> None:
    await port.raw(FORM + b"Content-Length: 99999999\r\n\r\n")
    (recent,) = port.server.recent
    assert (recent.kind, recent.status, recent.target) == ("message-status", 413, "/callbacks/message-status")


# --- bounds of one request ---
@pytest.mark.parametrize("bound", [True, False])
async def test_the_target_is_bounded_by_the_largest_body(*, bound: bool) -> None:
    async with opened(max_body=4096 if bound else 64 * 1024) as port:
        path = f"{PATH}&{urlencode({**STATUS, 'Body': 'x' * 5000})}"
        status, _, _ = await port.call(path, method="GET", X_Twilio_Signature=compute(PUBLIC + path, (), TOKEN))
        assert status == (414 if bound else 204)
        assert (await port.form())[0] == 204


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("pieces", [1, 9])
async def test_the_headers_are_bounded(monkeypatch: pytest.MonkeyPatch, pieces: int, *, bound: bool) -> None:
    if not bound:
        monkeypatch.setattr(connection, "LEAST_HEAD_BYTES", UNBOUNDED)
        monkeypatch.setattr(ports, "LEAST_HEAD_BYTES", UNBOUNDED)
    request = signed(more="Connection: close\r\nX: " + "x" * 180_000 + "\r\n")
    size = len(request) // pieces + 1
    async with opened() as port:
        answer = await port.raw(*(request[start : start + size] for start in range(0, len(request), size)))
    assert statuses(answer) == [431 if bound else 204]


@pytest.mark.parametrize("bound", [True, False])
async def test_the_number_of_headers_is_bounded(port: Port, monkeypatch: pytest.MonkeyPatch, *, bound: bool) -> None:
    if not bound:
        monkeypatch.setattr(connection, "MAX_HEADERS", UNBOUNDED)
    more = "Connection: close\r\n" + "".join(f"X-{number}: x\r\n" for number in range(200))
    assert statuses(await port.raw(signed(more=more))) == [431 if bound else 204]


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize("bound", [True, False])
async def test_a_body_is_bounded_while_it_arrives(framing: str, *, bound: bool) -> None:
    body = b"x" * 200_000
    chunks = b"".join(b"%x\r\n%b\r\n" % (1000, body[:1000]) for _ in range(200))
    framed = (
        b"Content-Length: 200000\r\n\r\n" + body if framing == "length" else CHUNKED + b"\r\n" + chunks + b"0\r\n\r\n"
    )
    async with opened(max_body=64 * 1024 if bound else UNBOUNDED) as port:
        answer = await port.raw(FORM + b"Connection: close\r\n" + framed)
    assert statuses(answer) == [413 if bound else 403]


@pytest.mark.parametrize(
    "begun", [HEAD[:30], HEAD, FORM + b"Content-Length: 50\r\n\r\nabc", FORM + CHUNKED + b"\r\n2\r\nab"]
)
@pytest.mark.parametrize("bound", [True, False])
async def test_a_request_that_does_not_arrive_is_given_up(
    monkeypatch: pytest.MonkeyPatch, begun: bytes, *, bound: bool
) -> None:
    monkeypatch.setattr(ports, "REQUEST_SECONDS", 0.2 if bound else UNBOUNDED)
    async with opened() as port:
        asking = asyncio.create_task(port.raw(begun))
        done, _ = await asyncio.wait({asking}, timeout=DEADLINE_SECONDS if bound else 0.5)
        assert [statuses(task.result()) for task in done] == ([[408]] if bound else [])
        asking.cancel()


@pytest.mark.parametrize("bound", [True, False])
async def test_a_connection_without_a_request_is_let_go(monkeypatch: pytest.MonkeyPatch, *, bound: bool) -> None:
    monkeypatch.setattr(ports, "IDLE_SECONDS", 0.2 if bound else UNBOUNDED)
    async with opened() as port:
        for first in ((), (signed(more=KEPT),)):
            asking = asyncio.create_task(port.raw(*first))
            done, _ = await asyncio.wait({asking}, timeout=DEADLINE_SECONDS if bound else 0.5)
            assert [statuses(task.result()) for task in done] == ([[204] * len(first)] if bound else [])
            asking.cancel()


# --- bounds of one connection ---
@pytest.mark.parametrize("bound", [True, False])
async def test_few_requests_of_a_connection_wait_for_their_answer(
    port: Port, monkeypatch: pytest.MonkeyPatch, *, bound: bool
) -> None:
    if not bound:
        monkeypatch.setattr(connection, "MAX_PIPELINED", UNBOUNDED)
    port.kafka.acknowledges.clear()
    count = 1000
    asking = asyncio.create_task(port.raw(signed(more=KEPT) * (count - 1) + signed()))
    with_all = until(lambda: port.kafka.asked_for == count, within=1 if bound else PATIENCE_SECONDS)
    if bound:
        with pytest.raises(TimeoutError):
            await with_all
        read_at_once = connection.BUFFER_BYTES // len(signed(more=KEPT))
        assert connection.MAX_PIPELINED <= port.kafka.asked_for <= read_at_once + connection.MAX_PIPELINED
    else:
        await with_all
    port.kafka.acknowledges.set()
    assert statuses(await asking) == [204] * count


@pytest.mark.parametrize("bound", [True, False])
async def test_a_caller_that_does_not_read_its_answers_is_not_read(
    port: Port, monkeypatch: pytest.MonkeyPatch, *, bound: bool
) -> None:
    if not bound:
        monkeypatch.setattr(connection, "UNREAD_ANSWERS_BYTES", UNBOUNDED)
    before, count = counted("unknown", "invalid"), 60_000
    reader, writer = await asyncio.open_connection("127.0.0.1", port.server.port, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket
    writer.write(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * count)
    handled = until(lambda: counted("unknown", "invalid") - before == count, within=4 if bound else 60)
    if bound:
        with pytest.raises(TimeoutError):
            await handled
    else:
        await handled
    writer.transport.abort()
    del reader


# --- bounds of all connections ---
@asynccontextmanager
async def held(port: Port, count: int, *parts: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """So many connections that send these parts and then nothing."""
    found = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.server.port)
        for part in parts:
            writer.write(part)
        found.append((reader, writer))
    try:
        yield [reader for reader, _ in found]
    finally:
        for _, writer in found:
            writer.transport.abort()


@pytest.mark.parametrize("begun", [b"", HEAD[:20], HEAD, FORM + b"Content-Length: 50\r\n\r\na"])
async def test_the_connection_that_waits_longest_makes_room(monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 20)
    async with opened() as port, held(port, 60, begun) as readers:
        for _ in range(10):
            assert statuses(await port.raw(signed())) == [204]
        assert len(port.kafka.records) == 10
        for reader in readers[:30]:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        assert not any(reader.at_eof() or reader.exception() for reader in readers[-9:])


async def test_without_a_bound_no_connection_makes_room() -> None:
    async with opened() as port, held(port, 60, HEAD) as readers:
        assert statuses(await port.raw(signed())) == [204]
        assert not any(reader.at_eof() or reader.exception() for reader in readers)


async def test_connections_that_are_kept_open_make_room_before_requests_that_have_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 20)
    monkeypatch.setattr(ports, "FRESH_SECONDS", 0.0)
    async with opened() as port, held(port, 10, HEAD) as begun, held(port, 15, signed(more=KEPT)):
        await until(lambda: len(port.kafka.records) == 15)
        kept = port.server._port.connections
        await until(lambda: (len(kept.idle), len(kept.unfinished)) == (10, 10))
        assert not any(reader.at_eof() or reader.exception() for reader in begun)


async def test_a_newcomer_is_not_the_first_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that have begun are older than a connection that has just come and not yet said anything."""
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 20)
    async with opened() as port, held(port, 20, HEAD) as begun:
        reader, writer = await asyncio.open_connection("127.0.0.1", port.server.port)
        async with held(port, 10, HEAD):
            writer.write(signed())
            assert statuses(await reader.read()) == [204]
        writer.close()
        assert sum(bool(other.exception() or other.at_eof()) for other in begun) >= 10


async def test_a_request_that_is_being_answered_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "MOST_CONNECTIONS", 5)
    async with opened() as port:
        port.kafka.acknowledges.clear()
        waiting = asyncio.create_task(port.form())
        await port.kafka.asked.wait()
        async with held(port, 20):
            port.kafka.acknowledges.set()
            assert (await waiting)[0] == 204


@pytest.mark.parametrize("bound", [True, False])
async def test_unfinished_requests_hold_little_memory_together(monkeypatch: pytest.MonkeyPatch, *, bound: bool) -> None:
    monkeypatch.setattr(ports, "MOST_HELD_BYTES", 600_000 if bound else UNBOUNDED)
    begun = FORM + b"Content-Length: 30000\r\n\r\n" + b"x" * 20_000
    async with opened() as port, held(port, 60, begun) as readers:
        kept = port.server._port.connections
        if bound:
            await until(lambda: sum(bool(reader.exception() or reader.at_eof()) for reader in readers) >= 30)
            assert kept._held <= 600_000
        else:
            await until(lambda: kept._held == 60 * len(begun))
            assert not any(reader.exception() or reader.at_eof() for reader in readers)
        assert statuses(await port.raw(signed())) == [204]


# --- the end ---
async def test_while_draining_the_last_answer_closes_and_no_request_is_lost(port: Port) -> None:
    port.kafka.acknowledges.clear()
    asking = asyncio.create_task(port.raw(signed(more=KEPT) * 3))
    await until(lambda: port.kafka.asked_for == 3)
    port.server.drain()
    port.kafka.acknowledges.set()
    answers = await asking
    assert statuses(answers) == [204, 204, 204]
    assert answers.count(b"Connection: close") == 1


async def test_closing_lets_idle_connections_go_and_answers_begun_ones(port: Port) -> None:
    async with held(port, 3) as idle, held(port, 1, signed(more=KEPT)) as served:
        await until(lambda: len(port.kafka.records) == 1)
        begun_reader, begun = await asyncio.open_connection("127.0.0.1", port.server.port)
        begun.write(signed()[:100])
        await until(lambda: len(port.server._port.connections.unfinished) == 1)
        closing = asyncio.create_task(port.server.close())
        assert [await reader.read() for reader in idle] == [b""] * 3
        assert statuses(await served[0].read()) == [204]
        begun.write(signed()[100:])
        assert statuses(await begun_reader.read()) == [503]
        await closing
        begun.close()
