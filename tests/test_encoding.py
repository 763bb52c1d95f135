"""Requests as they go out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from connector.errors import Rejected
from connector.resources.hosts import Host
from connector.resources.rows import ACCOUNT, Request
from connector.simulator import ACCOUNT_SID, AUTH_TOKEN, Simulator
from connector.twilio.client import TwilioClient
from tests.twilio_servers import connected, serving

pytestmark = pytest.mark.simulated(auto_advance=False)

DEADLINE_SECONDS = 30.0


@asynccontextmanager
async def echoing() -> AsyncIterator[TwilioClient]:
    async def echo(request: web.BaseRequest) -> web.Response:
        body = (await request.read()).decode()
        return web.json_response(
            {"method": request.method, "target": request.raw_path, "headers": dict(request.headers), "body": body}
        )

    async with serving(echo) as base, connected(base) as client:
        yield client


async def test_repeated_keys_empty_values_and_inequalities_are_written_as_twilio_reads_them() -> None:
    async with echoing() as client:
        form = (("MediaUrl", "a"), ("MediaUrl", "b"), ("Body", ""), ("To", "+1"))
        sent = (await client.send(Request("POST", f"{ACCOUNT}/Messages.json", form=form))).json()
        assert sent["body"] == "MediaUrl=a&MediaUrl=b&Body=&To=%2B1"
        assert sent["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
        listed = (
            await client.send(Request("GET", "/x.json", query=(("DateSent>", "2026-01-02"), ("To", "+1"))))
        ).json()
        assert listed["target"] == "/x.json?DateSent%3E=2026-01-02&To=%2B1"


async def test_paths_and_queries_go_out_byte_for_byte_and_unsafe_bytes_are_encoded() -> None:
    async with echoing() as client:
        link = "/2010-04-01/x.json?a=%3A%2F%7e:/~'()&PageToken=PA%2b=,;@!$*[]"
        assert (await client.send(Request("GET", link))).json()["target"] == link
        strange = Request("GET", "/x y\r\nX: 1/é#f?q=1", query=(("r", "2"),))
        assert (await client.send(strange)).json()["target"] == "/x%20y%0D%0AX:%201/%C3%A9%23f?q=1&r=2"


async def test_a_get_has_no_body_and_the_account_stands_in_the_path() -> None:
    async with echoing() as client:
        sent = (await client.send(Request("GET", f"{ACCOUNT}/x.json", body=b"ignored"))).json()
        assert (sent["body"], sent["target"]) == ("", f"/2010-04-01/Accounts/{ACCOUNT_SID}/x.json")


async def test_a_commands_headers_cannot_replace_ours() -> None:
    async with echoing() as client:
        headers = (
            ("authorization", "Bearer x"),
            ("HOST", "evil.example"),
            ("Content-Type", "application/json"),
            ("X-A", "1"),
        )
        sent = (await client.send(Request("POST", "/x", body=b"{}", headers=headers))).json()
        assert sent["headers"]["Authorization"] == aiohttp.encode_basic_auth(ACCOUNT_SID, AUTH_TOKEN)
        assert sent["headers"]["Host"].startswith("127.0.0.1")
        assert (sent["headers"]["Content-Type"], sent["headers"]["X-A"]) == ("application/json", "1")
        assert sent["headers"]["User-Agent"].startswith("twilio-kafka-connector/")
        assert "Cookie" not in sent["headers"]


@pytest.mark.parametrize(
    "request_",
    [
        Request("GET", "x.json"),
        Request("GET", "@evil.example/x.json"),
        Request("GET", "/x", headers=(("X", "a\r\nY: b"),)),
        Request("GET", "/x", headers=(("X\n", "a"),)),
        Request("GET", "/x", headers=(("", "a"),)),
    ],
)
async def test_what_cannot_be_sent_is_rejected_before_anything_is_sent(
    simulator: Simulator, client: TwilioClient, request_: Request
) -> None:
    with pytest.raises(Rejected):
        await client.send(request_)
    assert simulator.journal.total == 0


@pytest.mark.parametrize("host", ["monitor", "verify"])
async def test_requests_go_to_the_host_of_their_product(host: Host) -> None:
    async with echoing() as client:
        client.bases[host] = f"{client.bases['api']}/{host}"
        answer = await client.send(Request("GET", "/v1/Alerts", host=host))
        assert answer.json()["target"] == f"/{host}/v1/Alerts"
