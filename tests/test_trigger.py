"""`twilio-kafka trigger`: what it lets happen at the simulated Twilio, and where the callbacks go."""

import pytest

from connector.cli.trigger import EVENTS, happen
from connector.errors import Unavailable
from connector.simulator import Simulator
from tests.running import until

CALLBACKS = "http://127.0.0.1:9/callbacks/"


@pytest.mark.parametrize(
    ("event", "kinds"),
    [
        ("inbound-message", {"inbound-message"}),
        ("delivered-message", {"message-status"}),
        ("failed-message", {"message-status"}),
        ("call", {"call-status"}),
        ("alert", set()),
    ],
)
async def test_an_event_happens_and_its_callbacks_go_beside_those_of_inbound_messages(
    event: str, kinds: set[str], simulator: Simulator
) -> None:
    simulator.configure(inbound_url=f"{CALLBACKS}inbound-message", alert_on_failed_callback=False)
    sid = (await happen(event, simulator.url)).split()[0].rstrip(",")
    await simulator.settle()
    store = simulator.state.stores[simulator.account_sid]
    assert sid in {**store.messages.rows, **store.calls.rows, **store.alerts.rows}
    assert {delivery.url.partition("?")[0].removeprefix(CALLBACKS) for delivery in simulator.deliveries.rows} == kinds


async def test_a_message_that_fails_is_undelivered_with_a_code_and_an_alert(simulator: Simulator) -> None:
    sid = (await happen("failed-message", simulator.url)).split()[0]
    store = simulator.state.stores[simulator.account_sid]
    await until(lambda: store.messages.rows[sid].is_final)
    assert store.messages.rows[sid].status == "undelivered"
    assert [alert.resource_sid for alert in store.alerts.rows.values()] == [sid]


@pytest.mark.parametrize("event", EVENTS)
async def test_what_is_no_simulator_is_told_with_the_remedy(event: str) -> None:
    with pytest.raises(Unavailable, match="--simulator URL"):
        await happen(event, "http://127.0.0.1:9")
