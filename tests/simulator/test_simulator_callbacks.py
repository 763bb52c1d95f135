"""Webhooks: signatures that the official SDK accepts, and Twilio's delivery policy."""

import asyncio
import socket

import pytest
from twilio.request_validator import RequestValidator

from connector.simulator import AUTH_TOKEN, MESSAGING_SERVICE_SID, Account, MessagingService, Simulator
from connector.simulator.callbacks import EVENT_STREAMS, Policy
from tests.simulator.simulator_world import Hooks, ask, dial, send


@pytest.fixture(autouse=True)
def quick(simulator: Simulator) -> None:
    simulator.configure(callback_retry_delay=0.01, event_retry_delay=0.01)


async def test_a_delivered_message_reports_sent_and_delivered_signed(simulator: Simulator, hooks: Hooks) -> None:
    sid = (await send(simulator, StatusCallback=hooks.url + "/cb?cid=a%2Fb#rc=3&rp=all")).json["sid"]
    await simulator.settle()
    assert hooks.values("MessageStatus") == hooks.values("SmsStatus") == ["sent", "delivered"]
    assert {received.url for received in hooks.received} == {hooks.url + "/cb?cid=a%2Fb"}
    assert set(hooks.values("MessageSid")) == set(hooks.values("SmsSid")) == {sid}
    assert all(received.is_signed() for received in hooks.received)
    assert len(hooks.values("RawDlrDoneDate")) == 1


async def test_a_service_reports_queued_first(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(report_sending=True)
    await send(simulator, From="", MessagingServiceSid=MESSAGING_SERVICE_SID, StatusCallback=hooks.url)
    await simulator.settle()
    assert hooks.values("MessageStatus") == ["queued", "sending", "sent", "delivered"]
    assert set(hooks.values("MessagingServiceSid")) == {MESSAGING_SERVICE_SID}


async def test_a_failure_is_reported_with_its_error_code(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(outcomes={"undelivered": 1}, error_codes=[30003])
    await send(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    assert hooks.values("ErrorCode") == ["30003"]


async def test_the_callback_of_service_or_application_is_used_without_one_of_its_own(hooks: Hooks) -> None:
    service = MessagingService(status_callback=hooks.url + "/service")
    async with Simulator(accounts=[Account(services=(service,))]) as simulator:
        form = {"FriendlyName": "a", "MessageStatusCallback": hooks.url + "/application"}
        application = (await ask(simulator, "POST", "Applications.json", data=form)).json["sid"]
        await send(simulator, ApplicationSid=application)
        await send(simulator, From="", MessagingServiceSid=MESSAGING_SERVICE_SID, ApplicationSid=application)
        await send(simulator, StatusCallback=hooks.url + "/own", ApplicationSid=application)
        await simulator.settle()
    targets = [received.url.removeprefix(hooks.url) for received in hooks.received]
    assert {target: targets.count(target) for target in targets} == {"/application": 2, "/service": 3, "/own": 2}


async def test_a_callback_by_get_carries_its_fields_in_the_signed_url(simulator: Simulator, hooks: Hooks) -> None:
    await dial(simulator, StatusCallback=hooks.url + "/cb?a=b", StatusCallbackMethod="GET")
    await simulator.settle()
    (received,) = hooks.received
    assert (received.method, received.body) == ("GET", b"")
    assert "a=b&CallSid=CA" in received.url
    assert received.is_signed()


async def test_by_default_an_error_answer_loses_the_callback(simulator: Simulator, hooks: Hooks) -> None:
    hooks.answers += [500]
    await send(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    assert hooks.values("MessageStatus") == ["sent", "delivered"]
    lost, arrived = simulator.deliveries.of("message-status")
    assert (lost.outcome, len(lost.attempts), arrived.outcome) == ("failed", 1, "delivered")


async def test_by_default_only_a_failed_connect_is_retried_once(simulator: Simulator) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        await send(simulator, StatusCallback=f"http://127.0.0.1:{closed.getsockname()[1]}/")
        await simulator.settle()
    assert [len(row.attempts) for row in simulator.deliveries.of("message-status")] == [2, 2]


@pytest.mark.parametrize(
    ("overrides", "answers", "attempts"),
    [
        ("rc=3&rp=all", [500, 404, 503, 204], 4),
        ("rc=3&rp=5xx", [500, 404], 2),
        ("rc=2&rp=4xx,5xx", [429, 500, 500], 3),
        ("rc=0&rp=all", [500], 1),
        ("rc=9&rp=5xx", [500, 500], 2),
        ("rp=5xx", [500, 204], 2),
    ],
)
async def test_connection_overrides_say_what_is_retried(
    simulator: Simulator, hooks: Hooks, overrides: str, answers: list[int], attempts: int
) -> None:
    simulator.configure(outcomes={"sent": 1})
    hooks.answers += answers
    await send(simulator, StatusCallback=f"{hooks.url}/cb#{overrides}")
    await simulator.settle()
    (row,) = simulator.deliveries.of("message-status")
    assert row.outcome == ("delivered" if answers[-1] == 204 else "failed")
    assert len(row.attempts) == attempts
    assert len({received.headers["I-Twilio-Idempotency-Token"] for received in hooks.received}) == 1
    assert len({received.body for received in hooks.received}) == 1


async def test_a_read_timeout_is_retried_when_asked_for(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(outcomes={"sent": 1})
    hooks.answers += ["hang"]
    await send(simulator, StatusCallback=f"{hooks.url}#rt=100&rc=1&rp=rt")
    await simulator.settle()
    (row,) = simulator.deliveries.of("message-status")
    assert (row.outcome, [attempt["status"] for attempt in row.attempts]) == ("delivered", [0, 204])


async def test_all_tries_end_within_the_total_time(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(outcomes={"sent": 1}, callback_retry_delay=0.15)
    hooks.answers += [500] * 6
    await send(simulator, StatusCallback=f"{hooks.url}#tt=400&rc=5&rp=all")
    await simulator.settle()
    (row,) = simulator.deliveries.of("message-status")
    assert row.outcome == "failed"
    assert len(row.attempts) <= 2


@pytest.mark.parametrize(
    ("fragment", "policy"),
    [
        ("", Policy()),
        ("rc=5&rp=all", Policy(retries=5, retried=frozenset({"4xx", "5xx", "ct", "rt"}))),
        ("ct=200&rt=300&tt=400", Policy(connect=0.2, read=0.3, total=0.4)),
        ("ct=1&rt=x&tt=99999&rc=-1&rp=nonsense", Policy()),
    ],
)
def test_a_fragment_is_read_within_twilios_ranges(fragment: str, policy: Policy) -> None:
    assert Policy.of(f"https://example.com/#{fragment}") == policy


async def test_a_webhook_can_come_twice_with_one_token(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(duplicate_callbacks=1.0, outcomes={"sent": 1})
    await send(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    tokens = [received.headers["I-Twilio-Idempotency-Token"] for received in hooks.received]
    assert len(tokens) == 2
    assert len(set(tokens)) == 1


async def test_a_webhook_can_be_lost(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(lost_callbacks=1.0)
    await send(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    assert hooks.received == []
    assert {row.outcome for row in simulator.deliveries.of("message-status")} == {"lost"}


async def test_a_failed_callback_becomes_an_alert_with_request_and_response(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(outcomes={"sent": 1})
    hooks.answers += [404]
    sid = (await send(simulator, StatusCallback=hooks.url + "/gone")).json["sid"]
    await simulator.settle()
    (alert,) = (await ask(simulator, "GET", "/v1/Alerts")).json["alerts"]
    assert (alert["error_code"], alert["resource_sid"], alert["log_level"]) == ("11217", sid, "error")
    details = (await ask(simulator, "GET", f"/v1/Alerts/{alert['sid']}")).json
    assert "MessageStatus=sent" in details["request_variables"]


async def test_the_token_of_a_subaccount_signs_its_callbacks(hooks: Hooks) -> None:
    child = Account(sid="AC" + "c" * 32, auth_token="child", parent=Account().sid)
    async with Simulator(accounts=[Account(), child]) as simulator:
        path = f"/2010-04-01/Accounts/{child.sid}/Messages.json"
        form = {"To": "+15550100002", "From": "+15550100001", "Body": "x", "StatusCallback": hooks.url + "/cb"}
        await ask(simulator, "POST", path, data=form)
        await simulator.settle()
    assert [received.is_signed("child") for received in hooks.received] == [True, True]
    assert not hooks.received[0].is_signed(AUTH_TOKEN)


@pytest.mark.parametrize("batch", [True, False])
async def test_event_streams_bodies_are_covered_by_the_signature(
    simulator: Simulator, hooks: Hooks, *, batch: bool
) -> None:
    body = {"url": hooks.url + "/events?a=b", "events": [{"id": "EZ1"}, {"id": "EZ2"}], "batch": batch}
    assert (await ask(simulator, "POST", "/_sim/events", json=body)).status == 200
    await simulator.settle()
    assert len(hooks.received) == (1 if batch else 2)
    for received in hooks.received:
        signature = received.headers["X-Twilio-Signature"]
        assert RequestValidator(AUTH_TOKEN).validate(received.url, received.body.decode(), signature)


async def test_event_streams_retry_429_and_5xx_but_never_400(simulator: Simulator, hooks: Hooks) -> None:
    hooks.answers += [429, 503, 204, 400]
    for number in range(2):
        await ask(simulator, "POST", "/_sim/events", json={"url": hooks.url, "events": [{"id": str(number)}]})
        await simulator.settle()
    assert [(row.outcome, len(row.attempts)) for row in simulator.deliveries.of("events")] == [
        ("delivered", 3),
        ("failed", 1),
    ]
    assert EVENT_STREAMS.read == 5.0


async def test_a_sink_gets_cloudevents_of_messages_and_of_calls_with_a_callback(
    simulator: Simulator, hooks: Hooks
) -> None:
    simulator.configure(event_sink=hooks.url + "/events")
    await send(simulator)
    await dial(simulator)
    await dial(simulator, StatusCallback=hooks.url)
    await simulator.settle()
    bodies = [received.body.decode() for received in hooks.received if "/events" in received.url]
    assert sum("com.twilio.messaging.message" in body for body in bodies) == 2
    assert sum("com.twilio.voice.status-callback.call" in body for body in bodies) == 4


async def test_hundreds_of_callbacks_at_once_all_arrive(simulator: Simulator, hooks: Hooks) -> None:
    simulator.configure(callback_jitter=0.05)
    await asyncio.gather(*(send(simulator, StatusCallback=hooks.url) for _ in range(100)))
    await simulator.settle()
    assert len(hooks.received) == 200
    assert len({received.headers["I-Twilio-Idempotency-Token"] for received in hooks.received}) == 200
