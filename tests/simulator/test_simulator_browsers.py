"""Pages of other sites, in the browser of the simulator's user, steer nothing."""

import aiohttp
import pytest

from connector.simulator import AUTH_TOKEN, Simulator

INBOUND = '{"from": "+15550100002", "to": "+15550100001", "body": "x", "url": "http://127.0.0.1:9/anything"}'
JSON = {"Content-Type": "application/json"}


async def status(
    simulator: Simulator, path: str, *, method: str = "POST", body: str | None = INBOUND, **headers: str
) -> int:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    async with (
        aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session,
        session.request(method, simulator.url + path, data=body, headers=named, allow_redirects=False) as answer,
    ):
        assert "Server" not in answer.headers
        return answer.status


def own(simulator: Simulator) -> dict[str, str]:
    return {"Origin": simulator.url, "Sec-Fetch-Site": "same-origin"}


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
async def test_what_a_form_of_another_site_can_send_is_refused(simulator: Simulator, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert await status(simulator, "/_sim/inbound", **headers) == 415
    assert await status(simulator, "/_sim/reset", body=None, **headers) == 415
    assert not simulator.deliveries.rows
    assert await status(simulator, "/_sim/inbound", **JSON) == 200
    assert await status(simulator, "/_sim/inbound", **JSON, **own(simulator)) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8090"},
        {"Host": "evil.example.", "Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example."},
        {"Host": "["},
        {"Host": ""},
    ],
)
async def test_pages_of_other_sites_and_foreign_names_are_refused(
    simulator: Simulator, headers: dict[str, str]
) -> None:
    for method, path in (
        ("POST", "/_sim/inbound"),
        ("POST", "/_sim/reset"),
        ("DELETE", "/_sim/faults"),
        ("GET", "/_sim/settings"),
        ("GET", "/_sim"),
    ):
        body = INBOUND if method == "POST" else None
        assert await status(simulator, path, method=method, body=body, **JSON, **headers) == 403
    assert not simulator.deliveries.rows


@pytest.mark.parametrize(
    "host", ["localhost:1", "127.0.0.1", "[::1]:8090", "10.0.0.7", "simulator:8090", "sim.dev.svc"]
)
async def test_names_of_this_machine_and_network_are_answered(simulator: Simulator, host: str) -> None:
    assert await status(simulator, "/_sim/inbound", Host=host, **JSON) == 200


async def test_a_browser_of_another_site_does_not_reach_the_api_either_and_programs_do(simulator: Simulator) -> None:
    path = f"/2010-04-01/Accounts/{simulator.account_sid}/Messages.json"
    auth = aiohttp.encode_basic_auth(simulator.account_sid, AUTH_TOKEN)
    assert await status(simulator, path, method="GET", body=None, Authorization=auth) == 200
    assert await status(simulator, path, method="GET", body=None, Authorization=auth, Host="twilio.example.com") == 200
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example", "Sec-Fetch-Site": "same-origin"}):
        assert await status(simulator, path, method="GET", body=None, Authorization=auth, **headers) == 403


async def test_reading_changes_nothing(simulator: Simulator) -> None:
    before = simulator.state.settings
    assert await status(simulator, "/_sim/settings", method="GET", body='{"auto_advance": false}', **JSON) == 200
    assert await status(simulator, "/_sim/faults", method="GET", body='[{"kind": "drop"}]', **JSON) == 200
    assert simulator.state.settings == before
    assert not simulator.faults.rows


@pytest.mark.parametrize(
    "path", ["rows/__class__", "rows/account", "settings", "status", "accounts", "faults", "settle"]
)
@pytest.mark.parametrize("body", ["[]", "[1]", '"a"', "null", "{", '{"sid": 1, "status": [], "timeout": "x"}'])
async def test_odd_orders_are_told_what_is_wrong(simulator: Simulator, path: str, body: str) -> None:
    assert await status(simulator, f"/_sim/{path}", body=body, **JSON) in (200, 400)
