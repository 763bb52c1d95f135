"""The client against the simulator, and against servers that misbehave below HTTP."""

import asyncio
import datetime as dt
import gzip
import resource
from pathlib import Path

import pytest
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs

from connector.errors import BadCredentials, NotExecuted, PerhapsExecuted, Refused, TwilioError, Unreadable
from connector.events import boot_seconds
from connector.resources.rows import ACCOUNT, Request
from connector.simulator import ACCOUNT_SID, API_KEY, API_SECRET, AUTH_TOKEN, PHONE_NUMBER, Simulator
from connector.telemetry import baseline
from connector.twilio.client import LARGEST_ANSWER_BYTES, LARGEST_EXPLANATION_BYTES, TwilioClient
from connector.twilio.pacing import backoff_seconds
from connector.twilio.wire import answer_outcome
from tests.twilio_servers import LIST, SEND, answering, connected, listening, sample, serving, tls_pair

pytestmark = pytest.mark.simulated(auto_advance=False)

DEADLINE_SECONDS = 30.0


async def test_a_create_gives_the_parsed_answer_with_twilios_clock_and_request_id(client: TwilioClient) -> None:
    response = await client.send(SEND)
    assert response.status == 201
    assert response.json()["body"] == "grüße & 100 %"
    assert response.request_id is not None
    assert response.request_id.startswith("RQ")
    assert response.date is not None
    assert abs((response.date - dt.datetime.now(dt.UTC)).total_seconds()) < 60
    assert response.content_type == "application/json"


async def test_a_delete_has_no_document(simulator: Simulator, client: TwilioClient) -> None:
    simulator.configure(early_delete="allow")
    sid = (await client.send(SEND)).json()["sid"]
    assert (await client.send(Request("DELETE", f"{ACCOUNT}/Messages/{sid}.json"))).json() is None


async def test_a_refusal_carries_code_and_explanation(client: TwilioClient) -> None:
    with pytest.raises(Refused) as caught:
        await client.send(
            Request("POST", f"{ACCOUNT}/Messages.json", form=(("To", "nobody"), ("From", PHONE_NUMBER), ("Body", "x")))
        )
    error = caught.value
    assert (error.status, error.code) == (400, 21211)
    assert error.more_info is not None
    assert error.more_info.endswith("21211")
    assert error.request_id is not None
    assert isinstance(error.body, dict)


async def test_an_answer_that_is_no_json_is_in_doubt() -> None:
    async def gateway(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    async with serving(gateway) as base, connected(base) as client:
        response = await client.send(SEND)
        with pytest.raises(PerhapsExecuted, match="not JSON"):
            response.json()


@pytest.mark.parametrize("request_", [SEND, Request("POST", "/v1/Tokens"), Request("DELETE", "/v1/Keys/SK1")])
async def test_what_is_too_late_at_the_socket_is_not_written_whether_it_has_a_body_or_not(request_: Request) -> None:
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append((request.method, request.headers.get("Content-Type")))
        return web.json_response({"sid": "SM1"})

    async with serving(handler) as base, connected(base) as client:
        with pytest.raises(NotExecuted):
            await client.send(request_, write_until=boot_seconds())
        await client.send(request_, write_until=boot_seconds() + DEADLINE_SECONDS)
    assert seen == [(request_.method, "application/x-www-form-urlencoded" if request_ is SEND else None)]


async def test_a_redirect_of_an_api_call_is_not_followed() -> None:
    seen: list[str] = []

    async def redirecting(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(redirecting) as base, connected(base) as client:
        with pytest.raises(Refused):
            await client.send(SEND)
    assert len(seen) == 1


async def test_compressed_answers_are_read() -> None:
    async def compressing(_request: web.BaseRequest) -> web.Response:
        answer = web.json_response({"messages": ["x" * 1000]})
        answer.enable_compression()
        return answer

    async with serving(compressing) as base, connected(base) as client:
        assert (await client.send(LIST)).json() == {"messages": ["x" * 1000]}


async def test_an_answer_beyond_the_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.twilio.client.LARGEST_ANSWER_BYTES", 100)

    async def long(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"x" * 101)

    async with serving(long) as base, connected(base) as client:
        with pytest.raises(Unreadable, match="more than 100 bytes"):
            await client.send(LIST)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_refusal_is_one_however_long_its_explanation_is(encoding: str) -> None:
    async def long(_request: web.BaseRequest) -> web.Response:
        body = b"x" * (LARGEST_EXPLANATION_BYTES + 1)
        answer = web.Response(status=429, body=gzip.compress(body) if encoding == "gzip" else body)
        answer.headers["Content-Encoding"] = encoding
        return answer

    async with serving(long) as base, connected(base) as client:
        with pytest.raises(NotExecuted) as caught:
            await client.send(LIST)
    assert len(str(caught.value.body)) <= LARGEST_EXPLANATION_BYTES


async def test_a_small_answer_that_unpacks_to_a_huge_one_is_not_unpacked() -> None:
    bomb = gzip.compress(b"[" + b" " * 400_000_000 + b"]", compresslevel=1)

    async def bombing(_request: web.BaseRequest) -> web.Response:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with serving(bombing) as base, connected(base) as client:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(Unreadable, match="more than"):
            await client.send(LIST)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 3 * LARGEST_ANSWER_BYTES


# --- no answer ---
async def test_a_refused_connection_is_certainly_not_executed(unused_tcp_port: int) -> None:
    async with connected(f"http://127.0.0.1:{unused_tcp_port}") as client:
        with pytest.raises(NotExecuted, match="cannot be reached"):
            await client.send(SEND)


async def test_an_unknown_host_is_certainly_not_executed() -> None:
    async with connected("http://nowhere.invalid") as client:
        with pytest.raises(NotExecuted):
            await client.send(SEND)


async def test_a_tls_failure_is_certainly_not_executed(simulator: Simulator) -> None:
    async with connected(simulator.url.replace("http:", "https:")) as client:
        with pytest.raises(NotExecuted):
            await client.send(SEND)
    assert simulator.journal.total == 0


async def test_an_untrusted_certificate_is_certainly_not_executed(tmp_path: Path) -> None:
    seen: list[str] = []

    async def handler(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        return web.Response()

    server_side, _ = tls_pair(tmp_path)
    async with serving(handler, tls=server_side) as base, connected(base) as client:
        with pytest.raises(NotExecuted):
            await client.send(SEND)
    assert seen == []


async def test_a_connect_timeout_is_certainly_not_executed() -> None:
    async def mute(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()  # the TLS handshake is never answered

    async with listening(mute) as place, connected(f"https://{place}") as client:
        with pytest.raises(NotExecuted):
            await client.send(SEND, timeout_seconds=0.4)


@pytest.mark.parametrize(("fault", "executed"), [("drop", 0), ("lose-answer", 1), ("cut-answer", 1)])
async def test_a_create_without_an_answer_is_in_doubt_and_sent_once(
    simulator: Simulator, client: TwilioClient, fault: str, executed: int
) -> None:
    simulator.fault(fault, "CreateMessage")
    await client.send(LIST)  # leaves a connection in the pool
    with pytest.raises(PerhapsExecuted) as caught:
        await client.send(SEND)
    assert caught.value.status == 0
    assert len(simulator.journal.as_json(operation="CreateMessage")["entries"]) == 1
    assert len(simulator.state.stores[ACCOUNT_SID].messages.rows) == executed


async def test_an_answer_that_comes_too_late_is_in_doubt(simulator: Simulator, client: TwilioClient) -> None:
    simulator.fault("slow-answer", "CreateMessage", seconds=100.0)
    async with asyncio.timeout(30):
        with pytest.raises(PerhapsExecuted, match="did not answer in time"):
            await client.send(SEND, timeout_seconds=0.3)


async def test_a_create_on_a_connection_that_the_server_gave_up_is_not_repeated() -> None:
    ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(ok, None, ok) as (base, received), connected(base) as client:
        await client.send(LIST)
        with pytest.raises(PerhapsExecuted):
            await client.send(SEND)
    assert [head.split(b" ")[0] for head in received] == [b"GET", b"POST"]


@pytest.mark.parametrize(
    ("status", "kind"), [(b"404 Not Found", Refused), (b"429 Slow", NotExecuted), (b"201 OK", PerhapsExecuted)]
)
async def test_a_truncated_explanation_does_not_hide_a_refusal(status: bytes, kind: type[TwilioError]) -> None:
    async with (
        answering(b"HTTP/1.1 " + status + b"\r\nContent-Length: 99\r\n\r\n{") as (base, _),
        connected(base) as client,
    ):
        with pytest.raises(kind):
            await client.send(SEND)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01garbage\r\n\r\n", b"HTTP/1.1 two hundred\r\n\r\n"])
async def test_an_answer_that_is_no_http_is_in_doubt(garbage: bytes) -> None:
    async with answering(garbage) as (base, _), connected(base) as client:
        with pytest.raises(PerhapsExecuted):
            await client.send(SEND)


# --- repeating ---
@pytest.mark.parametrize("fault", ["error", "throttle", "drop", "lose-answer"])
async def test_a_repeatable_request_is_repeated_until_it_is_answered(
    simulator: Simulator, client: TwilioClient, fault: str
) -> None:
    simulator.fault(fault, "ListMessage", times=2)
    response = await client.request(LIST)
    assert response.status == 200
    assert len(simulator.journal.as_json(operation="ListMessage")["entries"]) >= 3


async def test_a_refusal_is_not_repeated(simulator: Simulator, client: TwilioClient) -> None:
    simulator.fault("error", "ListMessage", status=400, code=20001)
    with pytest.raises(Refused):
        await client.request(LIST)
    assert simulator.journal.total == 1


async def test_the_last_error_is_raised_when_patience_ends(simulator: Simulator, client: TwilioClient) -> None:
    simulator.fault("error", "ListMessage", status=503)
    with pytest.raises(PerhapsExecuted) as caught:
        await client.request(LIST, patience_seconds=0.1)
    assert caught.value.status == 503


def test_backoff_grows_with_jitter_and_never_undercuts_retry_after() -> None:
    assert all(0.25 <= backoff_seconds(0, None) <= 0.5 for _ in range(100))
    assert all(15 <= backoff_seconds(99, None) <= 30 for _ in range(100))
    assert all(40 <= backoff_seconds(3, 40) <= 43 for _ in range(100))


# --- credentials ---
async def test_an_api_key_authenticates(simulator: Simulator) -> None:
    async with connected(simulator.url, auth=(API_KEY, SecretStr(API_SECRET))) as client:
        assert (await client.send(LIST)).status == 200


async def test_three_refused_logins_in_a_row_mark_the_connection_and_success_clears_it(client: TwilioClient) -> None:
    client.replace_credentials(ACCOUNT_SID, SecretStr("wrong"))
    with capture_logs() as logs:
        for attempt in range(5):
            assert client.refused is (attempt >= 3)
            with pytest.raises(BadCredentials):
                await client.send(LIST)
        client.replace_credentials(ACCOUNT_SID, SecretStr(AUTH_TOKEN))
        await client.send(LIST)
    assert not client.refused
    assert [entry["event"] for entry in logs] == ["credentials refused", "credentials accepted again"]
    assert "wrong" not in repr(logs)


async def test_a_single_refused_login_marks_nothing(simulator: Simulator, client: TwilioClient) -> None:
    for _ in range(3):
        simulator.fault("unauthorized", times=2)
        for _ in range(2):
            with pytest.raises(BadCredentials):
                await client.send(LIST)
        await client.send(LIST)
    assert not client.refused


# --- metrics ---
async def test_requests_are_counted_by_connection_operation_status_and_code(
    simulator: Simulator, client: TwilioClient
) -> None:
    name = "twilio_kafka_twilio_requests_total"
    counted_here = {"connection": client.name, "operation": "FetchTest"}
    ok = {**counted_here, "status": "200", "code": ""}
    refused = {**counted_here, "status": "400", "code": "20001"}
    before = sample(name, **ok), sample(name, **refused)
    counted = Request("GET", f"{ACCOUNT}/Messages.json", operation="FetchTest")
    await client.send(counted)
    simulator.fault("error", "ListMessage", status=400, code=20001)
    with pytest.raises(Refused):
        await client.send(counted)
    assert (sample(name, **ok), sample(name, **refused)) == (before[0] + 1, before[1] + 1)
    assert sample("twilio_kafka_twilio_request_seconds_count", operation="FetchTest") >= 2


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0, "missing"),
        (200, "accepted"),
        (204, "accepted"),
        (302, "refused"),
        (401, "unauthorized"),
        (403, "refused"),
        (404, "refused"),
        (429, "throttled"),
        (500, "failed"),
        (599, "failed"),
    ],
)
def test_every_answer_has_one_of_the_outcomes_that_alerts_read(status: int, outcome: str) -> None:
    assert answer_outcome(status) == outcome
    assert outcome in baseline.REQUESTED
